"""The ComfyUI nodes, over stand-ins or, with COMFYUI_HOST set, inside a real ComfyUI."""

from __future__ import annotations

import gc
import inspect
import re
import shutil
import sys
import weakref
from pathlib import Path

import pack
import pytest
import torch
from diffmatte_nets import random_diffmatte
from mematte import mematte_names, random_mematte
from nets import SPREAD, assert_close, random_net
from rounding import ALPHA

from vitmatte import cut_out, load_model, make_trimap, matte, replace_background

PACK, NODES = pack.load()
BY_ID = {node.GET_SCHEMA().node_id: node for node in NODES}
BUNDLED = "vitmatte-tiny (bundled)"

HOST = sys.modules[f"{pack.NAME}.nodes.host"]

import comfy.model_management as management  # noqa: E402  as the pack left them: real or stand-ins
import comfy.utils  # noqa: E402
import folder_paths  # noqa: E402


def run(node_id: str, **inputs):
    """What a node gives out, computed as ComfyUI does, under inference_mode."""
    with torch.inference_mode():
        return BY_ID[node_id].execute(**inputs).result[0]


@pytest.fixture
def models_folder():
    folder = Path(folder_paths.get_folder_paths("vitmatte")[0])
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def model():
    return run("ViTMatteModelLoader", model_name=BUNDLED, precision="auto", normalization="as trained")


IMAGE = torch.rand(1, 40, 56, 3)
MASK = torch.zeros(1, 40, 56)
MASK[..., 28:] = 1


def test_every_node_explains_itself():
    assert set(BY_ID) == {"ViTMatteModelLoader", "ViTMatteTrimap", "ViTMatteTrimapPreview", "ViTMatteMatting",
                          "ViTMatteForeground", "ViTMatteReplaceBackground", "ViTMatteExample", "ViTMatteVideo",
                          "ViTMatteSteady", "ViTMatteExampleVideo"}
    for node_id, node in BY_ID.items():
        schema = node.GET_SCHEMA()
        assert schema.display_name and len(schema.description) > 40 and schema.category, node_id
        for port in [*schema.inputs, *schema.outputs]:
            assert port.tooltip, f"{node_id}.{port.id}"
        assert all(port.display_name for port in schema.outputs), node_id
        lines = [line for line in inspect.getsource(node.execute).splitlines() if line.strip()]
        assert len(lines) <= 25, f"{node_id} computes too much itself"


def test_mask_to_matte_is_the_librarys(model):
    trimap = run("ViTMatteTrimap", mask=MASK, inner=6.0, outer=4.5)
    assert trimap.equal(make_trimap(MASK, inner=6, outer=4.5))
    alpha = run("ViTMatteMatting", model=model, image=IMAGE, trimap=trimap)
    assert_close(alpha, matte(load_model(), IMAGE, trimap), ALPHA)
    assert alpha.dtype == torch.float32 and alpha.device == management.intermediate_device()


def test_old_trimap_prompts_go_on_working():
    """Version 0.1.0 had three inputs, in this order; the others came later and may be absent."""
    inputs = BY_ID["ViTMatteTrimap"].GET_SCHEMA().inputs
    assert [port.id for port in inputs[:3]] == ["mask", "inner", "outer"]
    assert all(port.optional for port in inputs[3:])


def test_trimap_options_are_the_librarys():
    marked = torch.zeros(40, 56)
    marked[:4] = 1
    options = {"invert": True, "low": 0.2, "high": 0.8, "fill_holes": 9, "remove_specks": 9, "strands": 3.0,
               "image": IMAGE, "unknown": marked, "foreground": None, "background": marked.flip(0)}
    found = run("ViTMatteTrimap", mask=MASK, inner=10.0, outer=5.0, unit="% of subject size", **options)
    assert found.equal(make_trimap(MASK, inner=10, outer=5, unit="percent", **options))
    with pytest.raises(ValueError, match="unit is 'cm'; expected one of pixels, % of subject size"):
        run("ViTMatteTrimap", mask=MASK, inner=10.0, outer=5.0, unit="cm")
    assert run("ViTMatteTrimapPreview", image=IMAGE, trimap=found).shape == (1, 40, 56, 3)
    assert BY_ID["ViTMatteTrimapPreview"].GET_SCHEMA().is_output_node  # nothing else would run it


def test_cutout_nodes_are_the_librarys():
    alpha = torch.rand(1, 40, 56)
    output = BY_ID["ViTMatteForeground"].execute(image=IMAGE, alpha=alpha, despill="green")
    foreground, cutout = output.result
    assert cutout.equal(cut_out(IMAGE, alpha, despill="green")) and foreground.equal(cutout[..., :3])
    assert len(output.ui["images"]) == 1
    choices = {"fit": "contain", "colour": "#ff0000", "foreground_colours": "estimated", "linear_light": True}
    behind, red = torch.rand(1, 9, 9, 3), torch.tensor([1.0, 0.0, 0.0])
    found = run("ViTMatteReplaceBackground", image=IMAGE, alpha=alpha, background=behind, **choices)
    assert found.equal(replace_background(IMAGE, alpha, behind, fit="contain", fill=red, linear=True))
    plain = run("ViTMatteReplaceBackground", image=IMAGE, alpha=alpha,
                **{**choices, "foreground_colours": "as in the picture"})
    assert plain.equal(replace_background(IMAGE, alpha, red, linear=True, estimate=False))
    for wrong, said in (({"colour": "reddish"}, "expected #RRGGBB"), ({"fit": "crop"}, "fit is 'crop'"),
                        ({"foreground_colours": "no"}, "foreground_colours is 'no'")):
        with pytest.raises(ValueError, match=said):
            run("ViTMatteReplaceBackground", image=IMAGE, alpha=alpha, background=behind, **{**choices, **wrong})


def test_batches(model):
    frames = torch.rand(4, 40, 56, 3)
    trimap = run("ViTMatteTrimap", mask=MASK, inner=6.0, outer=6.0)
    many = run("ViTMatteMatting", model=model, image=frames, trimap=trimap)
    assert many.shape == (4, 40, 56)
    assert_close(run("ViTMatteMatting", model=model, image=frames[2:3], trimap=trimap[0]), many[2:3], ALPHA)
    rgba = torch.cat([frames, torch.rand(4, 40, 56, 1)], dim=-1)
    assert_close(run("ViTMatteMatting", model=model, image=rgba, trimap=trimap), many, 0)
    four = run("ViTMatteMatting", model=model, image=IMAGE, trimap=trimap.expand(4, -1, -1))
    assert four.shape == (4, 40, 56)


def test_masks_without_a_batch():
    assert run("ViTMatteTrimap", mask=MASK[0], inner=1.0, outer=1.0).shape == (40, 56)


@pytest.mark.parametrize(("image", "trimap", "said"), [
    (IMAGE.expand(3, -1, -1, -1), MASK.expand(2, -1, -1), "3 images and 2 trimaps"),
    (IMAGE, torch.zeros(1, 64, 64), "image is 56x40 and trimap 64x64"),
    (IMAGE[:0], MASK, "it is empty"),
    (IMAGE / 0, MASK, "not finite"),
])
def test_errors_say_what_is_wrong(model, image, trimap, said):
    with pytest.raises(ValueError, match=said):
        run("ViTMatteMatting", model=model, image=image, trimap=trimap)


def test_previews_are_few(model):
    trimap = BY_ID["ViTMatteTrimap"].execute(mask=MASK.expand(40, -1, -1), inner=1.0, outer=1.0)
    assert trimap.result[0].shape[0] == 40
    assert len(trimap.ui["images"]) == 16


def test_progress_and_cancel(model):
    seen = []
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: seen.append((value, total)))
    try:
        frames = IMAGE.expand(3, -1, -1, -1)
        run("ViTMatteMatting", model=model, image=frames, trimap=torch.full((1, 40, 56), 0.5))
        assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]
        management.interrupt_current_processing()
        with pytest.raises(management.InterruptProcessingException):
            run("ViTMatteMatting", model=model, image=frames, trimap=torch.full((1, 40, 56), 0.5))
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        management.interrupt_current_processing(False)


def test_frames_are_shown_as_they_finish(model):
    shown = []
    comfy.utils.set_progress_bar_global_hook(lambda value, total, preview, **_: shown.append(preview))
    try:
        run("ViTMatteMatting", model=model, image=IMAGE.expand(3, -1, -1, -1), trimap=torch.full((1, 40, 56), 0.5))
        pictures = [preview for preview in shown if preview is not None]
        assert [(kind, picture.size) for kind, picture, _ in pictures] == [("JPEG", (56, 40))] * 3
        shown.clear()
        run("ViTMatteMatting", model=model, image=IMAGE, trimap=torch.full((1, 40, 56), 0.5))
        assert not any(shown)  # a single one has its preview anyway
    finally:
        comfy.utils.set_progress_bar_global_hook(None)


def test_what_newer_hosts_know():
    schema = BY_ID["ViTMatteMatting"].GET_SCHEMA()
    limit = next(port for port in schema.inputs if port.id == "memory_limit")
    if hasattr(schema, "search_aliases"):
        assert "cut out" in schema.search_aliases
    if hasattr(limit, "advanced"):
        assert limit.advanced is True


def test_examples():
    node = BY_ID["ViTMatteExample"]
    for picture in node.GET_SCHEMA().inputs[0].options:
        image, mask = node.execute(picture=picture, frames=1).result
        assert image.shape[:3] == mask.shape and image.ndim == 4 and min(mask.shape[1:]) >= 400
        assert (mask.mean() > 0.05) == (picture != "lake")
    clip, masks = node.execute(picture="lemur", frames=5).result
    whole = node.execute(picture="lemur", frames=1).result[0]
    assert clip.shape[:3] == masks.shape and len(clip) == 5
    assert clip[0].equal(whole[0, :, :clip.shape[2]]) and clip[-1].equal(whole[0, :, -clip.shape[2]:])
    with pytest.raises(ValueError, match="picture is 'cat'; expected one of portrait"):
        node.execute(picture="cat", frames=1)


def test_memory_is_asked_for_through_comfyui(model, monkeypatch):
    asked = []
    real = management.load_models_gpu

    def load(models, **how):
        asked.append(how["memory_required"])
        return real(models, **how)

    monkeypatch.setattr(management, "load_models_gpu", load)
    for side in (64, 128):
        run("ViTMatteMatting", model=model, image=torch.rand(1, side, side, 3), trimap=torch.full((1, side, side), 0.5))
    assert 0 < asked[0] < asked[1]


def test_a_full_card_gets_smaller_pieces_and_the_same_matte(model, monkeypatch):
    image, trimap = torch.rand(1, 400, 300, 3), torch.full((1, 400, 300), 0.5)
    expected = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0)
    limits = []
    real = HOST.run
    monkeypatch.setattr(HOST, "run", lambda job, plan, *a, **how: (limits.append(plan.peak_bytes),
                                                                   real(job, plan, *a, **how))[1])
    monkeypatch.setattr(management, "get_free_memory", lambda *a, **how: 40 * 2**20)
    found = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0)
    assert limits[0] <= 40 * 2**20
    assert torch.allclose(found, expected, atol=ALPHA)
    # less than the least there is: tried all the same
    monkeypatch.setattr(management, "get_free_memory", lambda *a, **how: 1)
    found = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0)
    assert torch.allclose(found, expected, atol=ALPHA)


@pytest.mark.parametrize("place", ["attention", "decoder"])
def test_out_of_memory_is_survived(model, monkeypatch, place):
    image, trimap = torch.rand(1, 300, 200, 3), torch.full((1, 300, 200), 0.5)
    expected = run("ViTMatteMatting", model=model, image=image, trimap=trimap)
    library = f"{pack.NAME}.vitmatte"
    module, name = ((sys.modules[f"{library}.inference.bands"], "attention") if place == "attention"
                    else (sys.modules[f"{library}.inference.frames"], "decoded_tile"))
    real, failed, freed = getattr(module, name), [], []

    def faulty(*arguments, **named):
        if len(failed) < 2:
            failed.append(1)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(*arguments, **named)

    monkeypatch.setattr(module, name, faulty)
    monkeypatch.setattr(management, "soft_empty_cache", lambda *a, **how: freed.append(1))
    found = run("ViTMatteMatting", model=model, image=image, trimap=trimap)
    assert len(failed) == 2 and len(freed) >= 2
    assert torch.allclose(found, expected, atol=ALPHA)


@pytest.mark.host
@pytest.mark.skipif(not pack.HOST, reason="how ComfyUI loads a model in part, as with --novram, is its own affair")
def test_a_model_that_is_loaded_in_part(monkeypatch):
    model = run("ViTMatteModelLoader", model_name=BUNDLED, precision="fp16", normalization="as trained")
    image, trimap = torch.rand(1, 200, 150, 3), torch.full((1, 200, 150), 0.5)
    expected = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0)
    model.patcher.detach()
    asked = []

    def load(models, memory_required, **how):
        asked.append(memory_required)
        models[0].patch_model(models[0].load_device, lowvram_model_memory=64 * 1024)

    monkeypatch.setattr(management, "load_models_gpu", load)
    found = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0)
    assert asked and model.patcher.model.model_lowvram and model.patcher.model.lowvram_patch_counter == 0
    assert torch.allclose(found, expected, atol=ALPHA)


def test_memory_limit_and_strategy(model):
    image, trimap = torch.rand(1, 300, 200, 3), torch.full((1, 300, 200), 0.5)
    exact = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0)
    found = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0, memory_limit=45)
    assert torch.allclose(found, exact, atol=ALPHA)
    large, band = torch.rand(1, 560, 560, 3), torch.zeros(1, 560, 560)  # wider than the reach of the bundled model
    band[:, 200:300, 100:130], band[:, 200:300, 130:] = 0.5, 1
    found = {name: run("ViTMatteMatting", model=model, image=large, trimap=band, refine=0.0, strategy=name)
             for name in ("exact", "grid", "local", "auto")}
    assert found["grid"].equal(found["local"]) and found["auto"].equal(found["local"])
    assert not torch.allclose(found["exact"], found["local"], atol=1e-3)
    with pytest.raises(ValueError, match="memory_limit is 1 MB; a frame of 200x300 takes at least [0-9]+ MB") as told:
        run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0, memory_limit=1)
    least = int(re.search("least ([0-9]+)", str(told.value)).group(1))
    found = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0, memory_limit=least)
    assert torch.allclose(found, exact, atol=1e-5)


def test_refine(model):
    random = torch.Generator().manual_seed(0)
    image, trimap = torch.rand(2, 60, 50, 3, generator=random), torch.zeros(1, 60, 50)
    trimap[:, 20:, 10:], trimap[:, 10:50, 5:30] = 1, 0.5
    plain = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=0.0)
    found = run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=2.0)
    refine_matte = sys.modules[f"{pack.NAME}.vitmatte"].refine_matte
    assert found.equal(refine_matte(image, plain, trimap, strength=2.0)) and not found.equal(plain)
    own = refine_matte(image, plain, trimap, strength=1.0)  # what the bundled model was made for
    for how in ({}, {"refine": -1}):
        assert run("ViTMatteMatting", model=model, image=image, trimap=trimap, **how).equal(own)
    with pytest.raises(ValueError, match="refine is -0.5; expected a number from 0"):
        run("ViTMatteMatting", model=model, image=image, trimap=trimap, refine=-0.5)


def test_nothing_outlives_the_graph():
    model = run("ViTMatteModelLoader", model_name=BUNDLED, precision="fp32", normalization="as on the hub")
    run("ViTMatteMatting", model=model, image=IMAGE, trimap=MASK)
    net = weakref.ref(model.model.net)
    getattr(management, "loaded", []).clear()  # the stand-in's record
    del model
    gc.collect()
    if pack.HOST:
        management.cleanup_models()
        gc.collect()
    assert net() is None


def test_choices_are_bundled_released_and_the_users_own(models_folder):
    random_net().save_pretrained(models_folder / "mine")
    (models_folder / "vitmatte-small-composition-1k").mkdir()
    (models_folder / "vitmatte-small-composition-1k" / "model.safetensors").touch()
    (models_folder / "readme.txt").touch()
    names = BY_ID["ViTMatteModelLoader"].define_schema().inputs[0].options
    assert names[0] == BUNDLED
    assert names[1:5] == ["vitmatte-small-composition-1k", "vitmatte-base-composition-1k",
                          "vitmatte-small-distinctions-646", "vitmatte-base-distinctions-646"]
    assert [name.replace("\\", "/") for name in names[5:]] == ["mine/model.safetensors"]
    model = run("ViTMatteModelLoader", model_name=names[5], precision="fp32", normalization="as trained")
    assert run("ViTMatteMatting", model=model, image=IMAGE, trimap=MASK).shape == (1, 40, 56)


def test_a_memattes_file_is_one_of_the_users_own(models_folder):
    net = random_mematte()
    torch.save({"model": mematte_names(net.state_dict())}, models_folder / "MEMatte_ViTS_DIM.pth")
    assert BY_ID["ViTMatteModelLoader"].define_schema().inputs[0].options[5:] == ["MEMatte_ViTS_DIM.pth"]
    chosen = {"model_name": "MEMatte_ViTS_DIM.pth", "normalization": "as trained"}
    model = run("ViTMatteModelLoader", precision="fp32", **chosen)
    trimap = torch.full((1, 40, 56), 0.5)
    found = run("ViTMatteMatting", model=model, image=IMAGE, trimap=trimap)
    expected = matte(load_model(models_folder / "MEMatte_ViTS_DIM.pth"), IMAGE, trimap)
    assert_close(found.cpu(), expected, ALPHA)
    for strategy in ("grid", "local"):
        with pytest.raises(ValueError, match="this net is a MEMatte"):
            run("ViTMatteMatting", model=model, image=IMAGE, trimap=trimap, strategy=strategy)
    half = run("ViTMatteModelLoader", precision="fp16", **chosen)
    assert run("ViTMatteMatting", model=half, image=IMAGE, trimap=trimap).isfinite().all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_diffmatte_of_the_users(models_folder, precision):
    """The authors' file in models/vitmatte, through the layers that ComfyUI makes."""
    net = random_diffmatte()
    torch.save({"model": {f"model.{name}": value for name, value in net.state_dict().items()}},
               models_folder / "diffmatte.pth")
    assert "diffmatte.pth" in BY_ID["ViTMatteModelLoader"].define_schema().inputs[0].options
    model = run("ViTMatteModelLoader", model_name="diffmatte.pth", precision=precision, normalization="as trained")
    image, trimap = torch.rand(1, 40, 56, 3), torch.full((1, 40, 56), 0.5)
    alpha = run("ViTMatteMatting", model=model, image=image, trimap=trimap)
    expected = matte(load_model(models_folder / "diffmatte.pth"), image, trimap)
    assert expected.std() > SPREAD
    assert_close(alpha, expected, ALPHA if precision == "fp32" else 0.6)


def test_replaced_files_are_noticed(models_folder):
    node = BY_ID["ViTMatteModelLoader"]
    choice = {"precision": "fp32", "normalization": "as trained"}
    (models_folder / "a.safetensors").write_bytes(b"1")
    before = node.fingerprint_inputs(model_name="a.safetensors", **choice)
    (models_folder / "a.safetensors").write_bytes(b"22")
    assert node.fingerprint_inputs(model_name="a.safetensors", **choice) != before
    assert node.fingerprint_inputs(model_name=BUNDLED, **choice) == BUNDLED
    assert node.fingerprint_inputs(model_name="gone.safetensors", **choice) == "gone.safetensors"


@pytest.mark.parametrize(("inputs", "error", "said"), [
    ({"model_name": "nothing.safetensors"}, FileNotFoundError, "nothing.safetensors"),
    ({"model_name": "../../etc/passwd"}, FileNotFoundError, "passwd"),
    ({"precision": "int8"}, ValueError, "precision is 'int8'; expected one of auto, fp32"),
    ({"normalization": "none"}, ValueError, "normalization is 'none'"),
])
def test_wrong_choices_are_refused(models_folder, inputs, error, said):
    """ComfyUI before 0.8 does not check what a prompt says."""
    chosen = {"model_name": BUNDLED, "precision": "auto", "normalization": "as trained", **inputs}
    with pytest.raises(error, match=said):
        run("ViTMatteModelLoader", **chosen)


def test_corrupt_files_are_refused(models_folder):
    (models_folder / "bad.safetensors").write_bytes(b"\x10" * 100)
    with pytest.raises(ValueError, match=r"bad\.safetensors .*is not a whole safetensors file"):
        run("ViTMatteModelLoader", model_name="bad.safetensors", precision="auto", normalization="as trained")


def test_released_models_offline(models_folder, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RuntimeError, match="HF_HUB_OFFLINE forbids") as error:
        run("ViTMatteModelLoader", model_name="vitmatte-small-composition-1k", precision="auto",
            normalization="as trained")
    assert str(Path(folder_paths.models_dir) / "vitmatte-small-composition-1k") in str(error.value)
    assert type(error.value) is RuntimeError  # ComfyUI would show where the pack is installed with a kind of our own


def test_folders_named_in_extra_model_paths(tmp_path, monkeypatch):
    """A folder that extra_model_paths.yaml put under our key keeps its place, and gains the suffixes."""
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {"vitmatte": ([str(tmp_path)], set())})
    PACK.folders.register()
    paths, suffixes = folder_paths.folder_names_and_paths["vitmatte"]
    assert paths[0] == str(tmp_path) and len(paths) == 2 and {".safetensors", ".pth", ".bin"} <= suffixes


@pytest.mark.host
@pytest.mark.skipif(not pack.HOST, reason="reads extra_model_paths.yaml with ComfyUI's own code")
def test_extra_model_paths_in_all_its_forms(tmp_path, monkeypatch):
    from utils.extra_config import load_extra_path_config

    for place in ("shared/vitmatte/one", "shared/more", "absolute", "first"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / f"{place.split('/')[-1]}.safetensors").touch()
    (tmp_path / "extra.yaml").write_text(
        f"a:\n  base_path: {tmp_path}/shared\n  vitmatte: |\n    vitmatte\n    more\n"
        f"b:\n  vitmatte: {tmp_path}/absolute\n"
        f"c:\n  base_path: {tmp_path}\n  is_default: true\n  vitmatte: first\n")
    known = {key: (list(paths), set(kinds)) for key, (paths, kinds) in folder_paths.folder_names_and_paths.items()
             if key != "vitmatte"}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    load_extra_path_config(str(tmp_path / "extra.yaml"))
    PACK.folders.register()
    found = {name.replace("\\", "/") for name in BY_ID["ViTMatteModelLoader"].define_schema().inputs[0].options[5:]}
    assert found == {"one/one.safetensors", "more.safetensors", "absolute.safetensors", "first.safetensors"}
    assert PACK.folders.download_folder() == str(tmp_path / "first")
