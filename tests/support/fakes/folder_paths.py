"""ComfyUI's registry of model folders."""

import os

models_dir = "models"
folder_names_and_paths = {}


def add_model_folder_path(folder_name, full_folder_path, is_default=False):
    paths, _ = folder_names_and_paths.setdefault(folder_name, ([], set()))
    if full_folder_path not in paths:
        paths.append(full_folder_path)


def get_folder_paths(folder_name):
    return folder_names_and_paths[folder_name][0][:]


def get_temp_directory():
    return os.path.join(os.path.dirname(models_dir), "vitmatte-temp")


def get_output_directory():
    return f"{models_dir}-output"


def get_save_image_path(filename_prefix, output_dir, image_width=0, image_height=0):
    subfolder, name = os.path.split(os.path.normpath(filename_prefix))
    folder = os.path.join(output_dir, subfolder)
    if os.path.commonpath((output_dir, os.path.abspath(folder))) != output_dir:
        raise Exception("Saving image outside the output folder is not allowed.")
    os.makedirs(folder, exist_ok=True)
    counters = [int(file[len(name) + 1:].split("_")[0]) for file in os.listdir(folder) if file.startswith(name + "_")]
    return folder, name, max(counters, default=0) + 1, subfolder, filename_prefix


def get_filename_list(folder_name):
    paths, suffixes = folder_names_and_paths[folder_name]
    found = set()
    for path in paths:
        for folder, _, files in os.walk(path):
            found |= {os.path.relpath(os.path.join(folder, file), path) for file in files
                      if not suffixes or os.path.splitext(file)[-1].lower() in suffixes}
    return sorted(found)


def get_full_path(folder_name, filename):
    filename = os.path.relpath(os.path.join("/", filename), "/")
    for path in get_folder_paths(folder_name):
        if os.path.isfile(os.path.join(path, filename)):
            return os.path.join(path, filename)
    return None


def get_full_path_or_raise(folder_name, filename):
    path = get_full_path(folder_name, filename)
    if path is None:
        raise FileNotFoundError(f"Model in folder '{folder_name}' with filename '{filename}' not found.")
    return path
