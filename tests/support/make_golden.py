"""Writes tests/data/golden.safetensors: transformers' alpha of the bundled model for a piece of the demo portrait.

The piece lies in the corner of a black picture of 512 x 512 pixels, all background: at this size transformers does not
stretch the model's position tables, so that it computes the function that the model has learnt.

Run from the repository's root when the bundled model changes: python tests/support/make_golden.py
"""

from __future__ import annotations

import numpy as np
import torch
from paths import DATA, ROOT
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import VitMatteConfig, VitMatteForImageMatting

BUNDLED = ROOT / "vitmatte" / "bundled" / "vitmatte-tiny"
SIDE = 512  # pixels
BOX = (420, 20, 580, 148)  # hair, at a size that needs no padding
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def main() -> None:
    image = torch.from_numpy(np.array(Image.open(ROOT / "pictures" / "portrait.jpg").convert("RGB").crop(BOX)))
    mask = np.array(Image.open(ROOT / "pictures" / "portrait-mask.png").crop(BOX)) > 127
    trimap = torch.full(mask.shape, 128, dtype=torch.uint8)
    trimap[: mask.shape[0] // 3, -30:] = 0
    trimap[-30:, :20] = 255
    net = VitMatteForImageMatting(VitMatteConfig.from_pretrained(BUNDLED)).eval()
    net.load_state_dict({name: value.float() if value.is_floating_point() else value
                         for name, value in load_file(BUNDLED / "model.safetensors").items()}, strict=True)
    height, width = trimap.shape
    half, colours = torch.zeros(SIDE, SIDE), torch.zeros(SIDE, SIDE, 3)
    half[:height, :width], colours[:height, :width] = torch.where(trimap == 128, 0.5, trimap / 255), image / 255
    pixels = torch.cat([(colours - MEAN) / STD, half.unsqueeze(-1)], dim=-1)
    with torch.inference_mode():
        alpha = net(pixels.permute(2, 0, 1).unsqueeze(0)).alphas[0, 0, :height, :width]
    tensors = {"image": image, "trimap": trimap, "alpha": alpha.contiguous()}
    save_file(tensors, DATA / "golden.safetensors")


if __name__ == "__main__":
    main()
