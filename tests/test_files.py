"""Files given where folders are expected, and the other way round, from Python; `cli/test_before_work` has the command
line's."""

from __future__ import annotations

import pytest
from nets import random_net, small_config

from vitmatte import VitMatteConfig, download
from vitmatte.pictures import reading
from vitmatte.pictures.pairing import by_stem
from vitmatte.scale import Cutout, run_folder
from vitmatte.shots.record import Record
from vitmatte.training.data.pictures import find_backgrounds
from vitmatte.training.recipe import Source, read_recipe
from vitmatte.weights.save import save_net


@pytest.mark.parametrize(("call", "said"), [
    (lambda file, folder: run_folder(file, Cutout(), masks=folder, output="o"), "is a file; expected a folder"),
    (lambda file, folder: Record(file, {}), "manifest is .*, a file; expected a folder"),
    (lambda file, folder: download("vitmatte-base-composition-1k", file), "models is .*, a file; expected a folder"),
    (lambda file, folder: VitMatteConfig().save_pretrained(file), "folder is .*, a file; expected a folder"),
    (lambda file, folder: save_net(random_net(small_config()), file), "folder is .*, a file; expected a folder"),
    (lambda file, folder: VitMatteConfig.from_json_file(folder), "is a folder; expected a JSON file"),
    (lambda file, folder: read_recipe(folder), "is a folder; expected a recipe"),
    (lambda file, folder: reading.read_image(folder), "is a folder; expected a picture"),
    (lambda file, folder: reading.read_mask(folder), "is a folder; expected a picture"),
    (lambda file, folder: reading.read_size(folder), "is a folder; expected a picture"),
    (lambda file, folder: by_stem(file), "is a file; expected a folder"),
    (lambda file, folder: find_backgrounds([Source(str(file))]), "is a file; expected a folder"),
])
def test_files_for_folders_and_folders_for_files(tmp_path, call, said):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("no folder")
    folder.mkdir()
    with pytest.raises(OSError, match=said) as told:
        call(file, folder)
    assert "Errno" not in str(told.value) and file.read_text() == "no folder" and not list(folder.iterdir())
