"""Compares our DiffMatte with its authors' code, and writes tests/data/diffmatte.safetensors from that.

    python tests/support/make_diffmatte_golden.py CODE [--compare]

CODE is a folder with github.com/YihanHu-2022/DiffMatte; see `diffmatte_authors`. The file holds a small net's random
weights by the authors' names, a picture, a trimap, noise and their alpha. With --compare nothing is written, and a net
of the size of DiffMatte-ViTS with random weights is compared at several sizes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from paths import DATA, ROOT

sys.path.insert(0, str(ROOT))

from diffmatte_authors import alpha, build  # noqa: E402
from nets import randomise  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from vitmatte import load_model, matte  # noqa: E402
from vitmatte.model.diffusion import noise  # noqa: E402

# Their arguments: the tests' size, and DiffMatte-ViTS's.
SMALL = {
    "backbone": {"embed_dim": 12, "depth": 3, "num_heads": 2, "img_size": 96, "pretrain_img_size": 80, "window_size": 3,
                 "window_block_indexes": [0, 1], "residual_block_indexes": [1, 2]},
    "decoder": {"model_channels": 6, "emb_channels": 5, "downsample_in": [7, 5, 6, 8],
                "upsample_in": [12, 10, 8, 6, 4]},
}
VITS = {
    "backbone": {"embed_dim": 384, "depth": 12, "num_heads": 6, "img_size": 512, "window_size": 14,
                 "window_block_indexes": [0, 1, 3, 4, 6, 7, 9, 10], "residual_block_indexes": [2, 5, 8, 11]},
    "decoder": {"model_channels": 32, "emb_channels": 32, "downsample_in": [7, 32, 64, 128],
                "upsample_in": [384, 256, 128, 64, 32]},
}
STEPS, SCALE = 10, 0.2
GOLDEN = DATA / "diffmatte.safetensors"
SIZES = ((96, 64), (75, 110), (150, 131), (64, 41))
SMALL_SIZE = (41, 70)


def scene(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(image [H, W, 3], trimap [H, W]) of noise and blocks."""
    generator = torch.Generator().manual_seed(height)
    image = torch.randint(0, 256, (height, width, 3), generator=generator) / 255
    blocks = torch.randint(0, 3, (height // 16 + 1, width // 16 + 1), generator=generator) / 2
    return image, blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)[:height, :width].contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", type=Path)
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args()
    sizes, arguments = (SIZES, VITS) if options.compare else ((SMALL_SIZE,), SMALL)
    theirs = randomise(build(options.code, **arguments, steps=STEPS, scale=SCALE), 3)
    state = {name: value.contiguous() for name, value in theirs.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"model": state}, f"{folder}/net.pth")
        ours = load_model(f"{folder}/net.pth")
    for height, width in sizes:
        image, trimap = scene(height, width)
        start = noise(height, width, 0)
        expected = alpha(theirs, image, trimap, start)
        found = matte(ours, image[None], trimap)[0]
        unknown = trimap == 0.5
        apart = float((found - expected)[unknown].abs().max())
        spread = float(expected[unknown].std())
        sys.stdout.write(f"{width}x{height}: {apart:.1e} apart, alphas spread by {spread:.2f}\n")
        if not options.compare:
            inside = {"image": (image * 255).round().byte(), "trimap": trimap, "noise": start, "alpha": expected}
            save_file({name: value.contiguous() for name, value in {**state, **inside}.items()}, GOLDEN)


if __name__ == "__main__":
    main()
