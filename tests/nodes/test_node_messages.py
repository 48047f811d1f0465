"""What the nodes say and show: empty masks, warnings, other packs' models, previews, progress and cancel."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pack
import pytest
import torch
from cancel import Cancel
from PIL import Image
from test_nodes import BY_ID, IMAGE, MASK, PACK, model, models_folder, run

import comfy.model_management as management  # isort: skip  as the pack left them: real or stand-ins
import comfy.utils  # isort: skip
import folder_paths  # isort: skip

__all__ = ["model", "models_folder"]  # fixtures


@pytest.mark.parametrize("mask", [torch.zeros(1, 64, 64), torch.zeros(64, 64), torch.zeros(3, 40, 56)])
def test_an_empty_mask_is_refused_where_it_is_given(mask):
    with pytest.raises(ValueError, match="the mask is empty: .*mask editor .*Remove Background") as told:
        run("ViTMatteTrimap", mask=mask, inner=1.0, outer=1.0, invert=True, image=IMAGE)
    assert ("what Load Image gives" in str(told.value)) == (mask.shape[-2:] == (64, 64))
    painted = torch.zeros(40, 56)
    painted[10:20] = 1
    if mask.shape[-1] == 56:  # drawn by hand alone
        trimap = run("ViTMatteTrimap", mask=mask, inner=1.0, outer=1.0, foreground=painted)
        assert (trimap[0] == painted).all()


def test_a_mask_of_another_size_is_refused_where_it_is_given():
    with pytest.raises(ValueError, match="the image is 56x40 and the mask 20x20 .* expected equal sizes"):
        run("ViTMatteTrimap", mask=torch.ones(1, 20, 20), inner=1.0, outer=1.0, image=IMAGE)


def warnings_of(node_id, **inputs):
    with torch.inference_mode():
        return BY_ID[node_id].execute(**inputs).ui["vitmatte_warnings"]


def test_warnings_reach_the_node(model):
    big = torch.zeros(1, 40, 56)
    big[:, 8:32, 16:40] = 1
    trimap = run("ViTMatteTrimap", mask=big, inner=4.0, outer=4.0)
    assert warnings_of("ViTMatteTrimap", mask=big, inner=4.0, outer=4.0) == []
    assert warnings_of("ViTMatteMatting", model=model, image=IMAGE, trimap=trimap) == []
    assert "no unknown area" in warnings_of("ViTMatteTrimap", mask=big, inner=0.0, outer=0.0)[0]
    assert "no foreground" in warnings_of("ViTMatteTrimap", mask=big, inner=99.0, outer=1.0)[0]
    assert "no background" in warnings_of("ViTMatteTrimapPreview", image=IMAGE, trimap=torch.ones(40, 56))[-1]
    hard = warnings_of("ViTMatteMatting", model=model, image=IMAGE, trimap=big)
    assert "no unknown area" in hard[0] and "it is all 0 and 1" in hard[1] and "Trimap from Mask" in hard[1]
    edge = big.clone()
    edge[:, 8], edge[:, 31] = 0.5, 0.3
    (thin,) = warnings_of("ViTMatteMatting", model=model, image=IMAGE, trimap=edge)
    assert "narrower than 4 pixels" in thin and "Trimap from Mask" in thin
    blurred = torch.nn.functional.avg_pool2d(big, 13, stride=1, padding=6)
    (soft,) = warnings_of("ViTMatteMatting", model=model, image=IMAGE, trimap=blurred)
    assert "all values between 0 and 1" in soft and "Trimap from Mask" in soft


def test_a_model_of_another_pack_is_refused():
    """SimpleSyrup's wires have the same type."""
    class LoadedViTMatteModel:
        model = None

    with pytest.raises(TypeError, match="model is a LoadedViTMatteModel of another .*expected .* Load ViTMatte Model"):
        run("ViTMatteMatting", model=LoadedViTMatteModel(), image=IMAGE, trimap=MASK)


def test_colours_are_checked_before_anything_is_computed():
    node = BY_ID["ViTMatteReplaceBackground"]
    for good in ("#ffffff", "#fff", "red", None):
        assert node.validate_inputs(colour=good) is True
    for bad in ("", "reddish", "#12"):
        assert "expected #RRGGBB, #RGB or a name" in node.validate_inputs(colour=bad)
    port = next(port for port in node.GET_SCHEMA().inputs if port.id == "colour")
    assert port.io_type == "STRING"  # wires of saved workflows
    if hasattr(sys.modules["comfy_api.latest"].io, "Color"):
        assert port.extra_dict["widgetType"] == "COLOR"


def test_previews_are_whole_pictures_and_cancel_leaves_no_file(monkeypatch):
    folder = Path(folder_paths.get_temp_directory())
    alpha = torch.rand(1, 40, 56)
    output = BY_ID["ViTMatteForeground"].execute(image=IMAGE, alpha=alpha)
    written = Image.open(folder / output.ui["images"][0]["filename"])
    assert written.mode == "RGBA" and written.size == (56, 40)
    shown = torch.from_numpy(np.array(written))
    assert shown.equal(output.result[1][0].clamp(0, 1).mul(255).round().to(torch.uint8))

    before = set(folder.iterdir())
    with pytest.raises(KeyboardInterrupt):
        sys.modules[f"{pack.NAME}.nodes.preview"].shown(torch.rand(1, 700, 90, 3), Cancel(5))
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("node_id", ["ViTMatteTrimap", "ViTMatteTrimapPreview", "ViTMatteForeground",
                                     "ViTMatteReplaceBackground"])
def test_progress_and_cancel_of_the_other_nodes(node_id):
    given = {"image": torch.rand(1, 600, 40, 3), "alpha": torch.rand(1, 600, 40), "trimap": torch.rand(1, 600, 40)}
    inputs = {
        "ViTMatteTrimap": {"mask": (given["alpha"] > 0.5).float(), "inner": 9.0, "outer": 9.0, "strands": 9.0,
                           "image": given["image"]},
        "ViTMatteTrimapPreview": {"image": given["image"], "trimap": given["trimap"]},
        "ViTMatteForeground": {"image": given["image"], "alpha": given["alpha"]},
        "ViTMatteReplaceBackground": {"image": given["image"], "alpha": given["alpha"], "fit": "cover",
                                      "colour": "red", "foreground_colours": "estimated", "linear_light": False},
    }[node_id]
    seen = []
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: seen.append((value, total)))
    try:
        run(node_id, **inputs)
        least = 1 if pack.HOST else 3  # newer hosts pass on a few a second
        assert seen == sorted(seen) and len(seen) >= least and seen[-1] == (100, 100)
        management.interrupt_current_processing()
        with pytest.raises(management.InterruptProcessingException):
            run(node_id, **inputs)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        management.interrupt_current_processing(False)


def test_other_packs_find_their_files_and_ours_finds_theirs(models_folder):
    """LayerStyle downloads to models/vitmatte if that does not exist, and keeps its base model beside it."""
    assert PACK.folders.download_folder() == folder_paths.models_dir
    base = Path(folder_paths.models_dir) / "vitmatte-base-composition-1k"
    base.mkdir()
    try:
        assert PACK.folders.resolve(base.name) == base.name  # would be downloaded
        for name in ("config.json", "pytorch_model.bin"):
            (base / name).write_text("{}")
        assert PACK.folders.resolve(base.name) == base
        own = models_folder / base.name  # as SimpleSyrup has it, and this pack's first version
        shutil.copytree(base, own)
        assert PACK.folders.resolve(base.name) == own
    finally:
        shutil.rmtree(base)
