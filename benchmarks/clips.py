"""Made clips with true mattes and true motion: cut-outs that move over photographs that move, and masks that flicker.

Everything is drawn from the place that a pixel of a frame comes from in the cut-out and in the photograph, so motion is
known exactly: the subject's point at x in one frame is where the other frame takes its colour from the same place.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor
from torch.nn import functional as F

SUPER = 2  # samples a pixel along each axis
# Of the time in frames: angle (radians), scale, shift along x and y (pixels).
Path2 = Callable[[float], tuple[float, float, float, float]]


@dataclass(frozen=True)
class Scene:
    """How a clip moves.

    Args:
        name: of the clip.
        foreground: kind of the cut-out, and which of its kind.
        subject, camera: angle, scale and shift of the cut-out and of the photograph at a time, counted in frames.
        wave: pixels that the subject waves to and fro, more so the higher up.
        shutter: share of a frame that the shutter is open.
        noise: standard deviation of the noise of each frame's pixels.
        h264: quality (crf) of a compression; None for none.
    """

    name: str
    foreground: tuple[str, int]
    subject: Path2 = field(default=lambda t: (0.0, 1.0, 0.0, 0.0))
    camera: Path2 = field(default=lambda t: (0.0, 1.0, 0.0, 0.0))
    wave: float = 0.0
    shutter: float = 0.0
    noise: float = 0.0
    h264: int | None = None


@dataclass(frozen=True)
class Clip:
    """images [T, H, W, 3], alpha [T, H, W] and masks [T, H, W] in 0..1; motion [T - 1, H, W, 2]: the subject's, from a
    frame to the next, in pixels."""

    images: Tensor
    alpha: Tensor
    masks: Tensor
    motion: Tensor


HAIR, OBJECT, PLANT = "hair_fur_predicted", "photo_object", "vegetation"

SCENES = [
    Scene("translation", (HAIR, 0), lambda t: (0, 1, 2.3 * t - 26, 0.7 * t)),
    Scene("fast translation", (OBJECT, 8), lambda t: (0, 1, 9.0 * t - 100, 0)),
    Scene("rotation", (HAIR, 2), lambda t: (0.02 * t - 0.24, 1, 0, 0), lambda t: (0, 1, 0.5 * t, 0)),
    Scene("scale", (HAIR, 1), lambda t: (0, 1 + 0.008 * t, 0, 0), lambda t: (0, 1 + 0.003 * t, 0, 0)),
    Scene("waving hair", (HAIR, 1), lambda t: (0, 1, 0.5 * t, 0), wave=3.0),
    Scene("waving hair, pan", (HAIR, 2), camera=lambda t: (0, 1, 3.0 * t, 0.5 * t), wave=4.0),
    Scene("camera pan", (HAIR, 0), lambda t: (0, 1, 0.4 * t, 0), lambda t: (0, 1, -4.0 * t + 40, 0)),
    Scene("camera shake", (HAIR, 2), lambda t: (0.01 * math.sin(t), 1, 2 * math.sin(1.7 * t), 2 * math.cos(2.3 * t)),
          lambda t: (0.01 * math.sin(t), 1, 3 * math.sin(1.7 * t), 3 * math.cos(2.3 * t))),
    Scene("motion blur", (HAIR, 0), lambda t: (0, 1, 6.0 * t - 66, 0), lambda t: (0, 1, -1.0 * t, 0), shutter=0.5),
    Scene("noise", (HAIR, 1), lambda t: (0, 1, 1.5 * t, 0), lambda t: (0, 1, -t, 0), noise=0.03),
    Scene("H.264", (HAIR, 2), lambda t: (0.005 * t, 1, 2.0 * t - 20, 0), lambda t: (0, 1, 0.7 * t, 0), noise=0.01,
          h264=30),
    Scene("hard edges", (OBJECT, 4), lambda t: (0.015 * t, 1, 1.3 * t - 15, 0), lambda t: (0, 1, -1.5 * t, 0)),
    Scene("plant", (PLANT, 8), lambda t: (0, 1, 1.1 * t, 0), lambda t: (0, 1, 1.9 * t, 0), wave=1.5),
    Scene("still", (HAIR, 0), noise=0.01),
]


def pictures(data: Path, kind: str, split: str = "val") -> list[Path]:
    """The pictures of a kind, in order."""
    with (data / "index.csv").open(encoding="utf-8") as file:
        return [data / row["file"] for row in csv.DictReader(file) if row["kind"] == kind and row["split"] == split]


def make_clip(scene: Scene, data: Path, *, frames: int = 24, size: tuple[int, int] = (360, 480), flicker: float = 2.0,
              seed: int = 0) -> Clip:
    """Draws a clip.

    Args:
        scene: what it shows.
        data: folder of pictures with index.csv.
        frames: how many.
        size: (height, width).
        flicker: pixels, standard deviation of the masks' edges, anew in each frame.
        seed: of noise and flicker.
    """
    rng = np.random.default_rng(seed)
    cut = _cut_out(pictures(data, scene.foreground[0])[scene.foreground[1]], size)
    photo = pictures(data, "photo")
    behind = _photograph(photo[(7 * SCENES.index(scene) + 3) % len(photo)] if scene in SCENES else photo[0], size)
    times = [0.0] if not scene.shutter else [scene.shutter * (i / 8 - 0.4375) for i in range(8)]
    images, alphas = [], []
    for t in range(frames):
        layers = [_composite(cut, behind, scene, t + dt, size) for dt in times]
        image, alpha = (torch.stack(some).mean(0) for some in zip(*layers, strict=True))
        if scene.noise:
            image = image + scene.noise * torch.from_numpy(rng.standard_normal(image.shape).astype(np.float32))
        images.append((image.clamp(0, 1) * 255).round() / 255)
        alphas.append(alpha)
    stack = torch.stack(images)
    if scene.h264 is not None:
        stack = compressed(stack, scene.h264)
    masks = torch.stack([_flickering(alpha, flicker, rng) for alpha in alphas])
    motion = torch.stack([_motion(scene, t, t + 1, size) for t in range(frames - 1)])
    return Clip(stack, torch.stack(alphas), masks, motion)


def _cut_out(path: Path, size: tuple[int, int]) -> Tensor:
    """[1, 4, H, W], premultiplied, within a clear border: about the frame's height."""
    with Image.open(path) as picture:
        rgba = picture.convert("RGBA")
    scale = 0.8 * min(size[0] / rgba.height, size[1] / rgba.width)
    rgba = rgba.resize((round(rgba.width * scale), round(rgba.height * scale)), Image.Resampling.LANCZOS)
    planes = torch.from_numpy(np.asarray(rgba, np.float32) / 255).permute(2, 0, 1)
    planes[:3] *= planes[3:]
    canvas = torch.zeros(1, 4, *size)
    top, left = (size[0] - rgba.height) // 2, (size[1] - rgba.width) // 2
    canvas[0, :, top:top + rgba.height, left:left + rgba.width] = planes
    return canvas


def _photograph(path: Path, size: tuple[int, int]) -> Tensor:
    """[1, 3, 2H, 2W]: a photograph with room to move in."""
    with Image.open(path) as picture:
        rgb = picture.convert("RGB")
    scale = 1.6 * max(size[0] / rgb.height, size[1] / rgb.width)
    rgb = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(rgb, np.float32) / 255).permute(2, 0, 1).unsqueeze(0)


def _grid(size: tuple[int, int], samples: int = 1) -> tuple[Tensor, Tensor]:
    """x and y of samples, [H * samples, W * samples], in pixels from the middle of the frame, float64."""
    y, x = ((torch.arange(side * samples, dtype=torch.float64) + 0.5) / samples - side / 2 for side in size)
    return x[None, :].expand(len(y), -1), y[:, None].expand(-1, len(x))


def _source(path: Path2, wave: float, t: float, x: Tensor, y: Tensor, height: int) -> tuple[Tensor, Tensor]:
    """Where the points of a frame come from in the layer, both in pixels from the middle."""
    angle, scale, right, down = path(t)
    x, y = x - right, y - down
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    x, y = cos * x + sin * y, -sin * x + cos * y
    if wave:
        x = x - wave * (0.5 - y / height) * torch.sin(0.9 * t + y / 23)
    return x, y


def _drawn(layer: Tensor, x: Tensor, y: Tensor) -> Tensor:
    grid = torch.stack([x / (layer.shape[3] / 2), y / (layer.shape[2] / 2)], -1)[None].float()
    return F.grid_sample(layer, grid, mode="bicubic", padding_mode="zeros" if layer.shape[1] == 4 else "reflection",
                         align_corners=False)


def _composite(cut: Tensor, behind: Tensor, scene: Scene, t: float, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    x, y = _grid(size, SUPER)
    front = _drawn(cut, *_source(scene.subject, scene.wave, t, x, y, size[0]))
    back = _drawn(behind, *_source(scene.camera, 0.0, t, x, y, size[0])).clamp(0, 1)
    alpha = front[:, 3:].clamp(0, 1)
    image = front[:, :3].clamp(0, 1).minimum(alpha) + (1 - alpha) * back
    image, alpha = F.avg_pool2d(image, SUPER), F.avg_pool2d(alpha, SUPER)
    return image[0].permute(1, 2, 0), alpha[0, 0]


def _motion(scene: Scene, start: float, end: float, size: tuple[int, int]) -> Tensor:
    """[H, W, 2]: found by steps, the motion between two frames being far from folding over."""
    x, y = _grid(size)
    there = _source(scene.subject, scene.wave, start, x, y, size[0])
    angle, scale, _, _ = scene.subject(end)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    u, v = x.clone(), y.clone()
    for _ in range(60):
        now = _source(scene.subject, scene.wave, end, u, v, size[0])
        dx, dy = there[0] - now[0], there[1] - now[1]
        u, v = u + cos * dx - sin * dy, v + sin * dx + cos * dy
    return torch.stack([u - x, v - y], -1).float()


def _flickering(alpha: Tensor, flicker: float, rng: np.random.Generator) -> Tensor:
    """A hard mask whose edge lies off by some pixels, smoothly along it."""
    inside = alpha.numpy() >= 0.5
    distance = distance_transform_edt(inside) - distance_transform_edt(~inside)
    noise = gaussian_filter(rng.standard_normal(inside.shape), 8)
    return torch.from_numpy((distance + flicker * noise / noise.std() > 0).astype(np.float32))


def compressed(images: Tensor, quality: int) -> Tensor:
    """The frames [T, H, W, 3] after H.264 with this crf; needs PyAV."""
    import av

    kept = io.BytesIO()
    with av.open(kept, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": str(quality)})
        stream.height, stream.width, stream.pix_fmt = images.shape[1], images.shape[2], "yuv420p"
        for image in images:
            frame = av.VideoFrame.from_ndarray((image * 255).round().byte().numpy(), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    kept.seek(0)
    with av.open(kept) as file:
        read = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    return torch.from_numpy(np.stack(read).astype(np.float32) / 255)
