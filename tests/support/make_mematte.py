"""Writes tests/data/mematte.safetensors: a tiny random MEMatte and its alphas, by its authors' code.

    python tests/support/make_mematte.py FOLDER

FOLDER holds a copy of https://github.com/linyiheng123/MEMatte (commit 44e8ac6), which is not part of this repository.
What its modeling files import besides torch is stood in for, see `authors_code`.

The weights are those of float16, so that the file stays small. No margin is near 0, nor near that of the token at the
limit: rounding routes the same tokens everywhere. Names: "net." and the authors' names; image.N, trimap.N in 8 bits;
alpha.N, and alpha.1.limit with at most LIMIT routed tokens; routed.N and routed.1.limit, how many were in each block.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from paths import DATA, ROOT

sys.path.insert(0, str(ROOT))

from authors_code import MEAN, STD, imported  # noqa: E402
from mematte import balanced  # noqa: E402
from nets import SPREAD, randomise  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

SIZES = ((96, 64), (61, 90), (96, 70))  # both sides multiples of 32, none, one
LIMIT = 6
APART = 1e-3  # of margins, at least
WIDTH, STREAM, FUSION = 24, [6, 8, 12], [16, 12, 8, 8]


def authors_net(folder: Path) -> Any:
    """Their MEMatte, tiny, with random weights."""
    vit, decoder, meta = imported(folder, ("backbone.vit", "decoder.detail_capture", "meta_arch.mematte"))
    backbone = vit.ViT(
        in_chans=4, img_size=96, patch_size=16, embed_dim=WIDTH, depth=4, num_heads=2, window_size=3, use_rel_pos=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), window_block_indexes=[0, 2], residual_block_indexes=[1, 3],
        pretrain_img_size=80)
    capture = decoder.Detail_Capture(in_chans=WIDTH, fusion_out=FUSION)
    capture.convstream = decoder.ConvStream(4, STREAM)  # its width is no argument of theirs
    maps, details = [WIDTH, *FUSION], [*reversed(STREAM), 4]
    capture.fusion_blks = nn.ModuleList(
        decoder.Fusion_Block(i + d, o) for i, d, o in zip(maps, details, maps[1:], strict=False))
    net = meta.MEMatte(
        teacher_backbone=None, backbone=backbone, criterion=nn.Identity(), input_format="RGB", size_divisibility=32,
        pixel_mean=list(MEAN), pixel_std=list(STD), decoder=capture)
    return randomise(net, 2)


def alpha_of(net: Any, image: torch.Tensor, trimap: torch.Tensor, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(alpha [H, W], how many tokens each block routes) for 8-bit image [H, W, 3] and trimap [H, W]."""
    net.backbone.max_number_token = limit
    given = {"image": (image / 255).permute(2, 0, 1)[None], "trimap": given_trimap(trimap)[None, None]}
    found, scores, kept = net(given, patch_decoder=False)
    for score in scores:
        margins = (score[..., 0] - score[..., 1]).flatten().sort(descending=True).values
        assert float(margins.abs().min()) > APART, "a margin near 0: take another seed"
        assert float(margins[limit - 1:limit + 1].diff().abs().sum() if limit < len(margins) else 1) > APART
    return found["phas"][0, 0].clone(), torch.tensor([int(each.sum()) for each in kept])


def given_trimap(trimap: torch.Tensor) -> torch.Tensor:
    """0, 0.5 and 1 of 0, 128 and 255."""
    return torch.where(trimap == 128, 0.5, trimap / 255)


def in_float16(net: nn.Module) -> None:
    """Rounds the weights, and not what normalises pictures."""
    for value in (value for value in net.state_dict().values() if value.is_floating_point()):
        value.copy_(value.half())


@torch.no_grad()
def main() -> None:
    net = authors_net(Path(sys.argv[1]))
    generator = torch.Generator().manual_seed(0)
    scenes = []
    for size in SIZES:
        image = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
        trimap = torch.tensor([0, 128, 255], dtype=torch.uint8)[torch.randint(0, 3, size, generator=generator)]
        scenes.append((image, trimap))
    in_float16(net)
    balanced(net.backbone, [router.out_conv[4] for router in net.backbone.routers], torch.randn(1, 4, 96, 96,
                                                                                               generator=generator))
    in_float16(net)
    tensors = {f"net.{name}": value.half() if value.is_floating_point() else value
               for name, value in net.state_dict().items()}
    for i, (image, trimap) in enumerate(scenes):
        tensors |= {f"image.{i}": image, f"trimap.{i}": trimap}
        for name, limit in (("", 10**6), (".limit", LIMIT))[:1 + (i == 1)]:
            alpha, routed = alpha_of(net, image, trimap, limit)
            assert float(alpha.std()) > SPREAD
            sys.stdout.write(f"{tuple(alpha.shape)} {name or 'no limit'}: {routed.tolist()} routed\n")
            tensors |= {f"alpha.{i}{name}": alpha, f"routed.{i}{name}": routed}
    save_file(tensors, DATA / "mematte.safetensors")


if __name__ == "__main__":
    main()
