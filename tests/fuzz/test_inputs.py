"""What comes in by nodes and by the command line: as by the library, to the bit and to the word of an error."""

from __future__ import annotations

import numpy as np
import pack
import pytest
import torch
from drawn import drawn, images, planes
from hypothesis import event, given
from hypothesis import strategies as st
from nets import random_net, small_config
from PIL import Image
from rounding import ALPHA
from test_tensors import SOUND, pairs

from vitmatte import cut_out, load_model, make_trimap, matte, replace_background
from vitmatte.cli.main import main
from vitmatte.compositing.blend import FITS, colour
from vitmatte.compositing.overlay import tint
from vitmatte.pictures import reading
from vitmatte.weights.save import save_net

BY_ID = {node.GET_SCHEMA().node_id: node for node in pack.load()[1]}
LIMITS = [0, 0, 1, 40, 4096, -1]


def told(call):
    """(result, None), or (None, what the error says)."""
    try:
        return call(), None
    except (ValueError, TypeError) as error:
        return None, str(error)


def same(node_id: str, expected, **inputs) -> None:
    """The node gives what the library gives, or refuses in the same words."""
    found, said = told(lambda: BY_ID[node_id].execute(**inputs).result)
    result, why = told(expected)
    assert said == why
    event("refused" if said else "result")
    if result is not None:
        assert all(part.equal(other) for part, other in zip(found, result, strict=True))


@pytest.fixture(scope="module")
def hosted():
    """The bundled model as ComfyUI holds it, and as the library does."""
    node = BY_ID["ViTMatteModelLoader"]
    model = node.execute(model_name="vitmatte-tiny (bundled)", precision="fp32", normalization="as trained").result[0]
    return model, load_model()


@drawn(15)
@given(pair=pairs("trimap", levels=True), limit=st.sampled_from(LIMITS),
       strategy=st.sampled_from(["exact", "grid", "best"]))
def test_matting_node(hosted, pair, limit, strategy):
    image, trimap = (given_.value for given_ in pair)
    expected, why = told(lambda: matte(hosted[1], image, trimap, strategy=strategy))
    found, said = told(lambda: BY_ID["ViTMatteMatting"].execute(
        model=hosted[0], image=image, trimap=trimap, strategy=strategy, memory_limit=limit).result[0])
    event("refused" if said else "result")
    if limit in (1, -1) and said is not None and "memory_limit is" in said:
        return
    if said is None or why is None:
        assert said == why
        assert torch.allclose(found, expected, atol=ALPHA) and found.dtype == torch.float32
    elif "strategy is" not in said and "strategy is" not in why:
        assert said == why


@drawn(20)
@given(st.data(), SOUND, st.booleans())
def test_trimap_node(data, sound, invert):
    mask = data.draw(planes("mask", 2, 20, 30, sound=sound)).value
    numbers = {"inner": [0.0, 3.0, 4096.0], "outer": [0.5, 9.0], "low": [0.0, 0.5] if sound else [0.0, 0.5, 1.0],
               "fill_holes": [0, 9, 10**8], "strands": [0.0, 4.0]}
    options = {name: data.draw(st.sampled_from(values)) for name, values in numbers.items()}
    picture = data.draw(images(2, 20, 30, sound=sound)).value
    options.update(high=0.5, invert=invert, image=picture)
    found, said = told(lambda: BY_ID["ViTMatteTrimap"].execute(mask=mask, **options))
    if said is not None and "the mask is empty" in said:  # what Load Image gives of a picture without a mask
        assert found is None and not mask.any()
        return
    same("ViTMatteTrimap", lambda: (make_trimap(mask, **options),), mask=mask, **options)


@drawn(20)
@given(pairs("alpha"), pairs("trimap", levels=True), st.sampled_from(["none", "green", "pink"]))
def test_colour_nodes(pair, preview, despill):
    image, alpha = (given_.value for given_ in pair)

    def expected():
        cutout = cut_out(image, alpha, despill=despill)
        return cutout[..., :3], cutout

    same("ViTMatteForeground", expected, image=image, alpha=alpha, despill=despill)
    picture, trimap = (given_.value for given_ in preview)
    same("ViTMatteTrimapPreview", lambda: (tint(picture, trimap),), image=picture, trimap=trimap)


@drawn(20)
@given(st.data(), pairs("alpha"), SOUND, st.sampled_from(FITS), st.booleans())
def test_background_node(data, pair, sound, fit, linear):
    image, alpha = (given_.value for given_ in pair)
    behind = data.draw(images(1, 9, 40, name="background", counted=4, sound=sound)).value
    text = "#1020ff" if sound else data.draw(st.sampled_from(["#1020ff", "red", "#12", ""]))
    same("ViTMatteReplaceBackground",
         lambda: (replace_background(image, alpha, colour(text) if behind is None else behind, fit=fit, linear=linear,
                                     fill=colour(text)),),
         image=image, alpha=alpha, background=behind, fit=fit, colour=text, linear_light=linear,
         foreground_colours="estimated")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a small model, pictures and guides of several modes and sizes."""
    folder = tmp_path_factory.mktemp("files")
    save_net(random_net(small_config()), folder / "model")
    random = np.random.default_rng(0)
    for name, size in (("a", (30, 41)), ("b", (1, 1)), ("c", (64, 3))):
        colours = random.integers(0, 256, (*size, 4), dtype=np.uint8)
        levels = random.choice(np.array([0, 128, 255], np.uint8), size)
        for kind, picture in (
            ("rgb.png", Image.fromarray(colours[..., :3].copy())), ("rgba.png", Image.fromarray(colours)),
            ("l.png", Image.fromarray(colours[..., 0].copy())), ("trimap.png", Image.fromarray(levels)),
            ("1.png", Image.fromarray(levels).convert("1")),
            ("i16.png", Image.fromarray(levels.astype(np.uint16) * 257)),
            ("f.tif", Image.fromarray(levels.astype(np.float32) / 255)),
            ("wild.tif", Image.fromarray(levels.astype(np.float32))),
            ("p.png", Image.fromarray(colours[..., :3].copy()).quantize(16)),
        ):
            picture.save(folder / f"{name}-{kind}")
    return folder


KINDS = ["rgb.png", "rgba.png", "l.png", "trimap.png", "1.png", "i16.png", "f.tif", "wild.tif", "p.png"]
WORDS = {"--inner": ["0", "2.5", "1e3", "-1", "nan"], "--outer": ["0", "3", "inf"], "--low": ["0", "0.5", "2"],
         "--high": ["1", "0.5", "0.1"], "--unit": ["pixels", "percent"], "--strands": ["0", "5"],
         "--fill-holes": ["0", "7"], "--background": ["#00ff00", "#nonsense"], "--fit": FITS,
         "--colours": ["picture", "estimated"], "--despill": ["green"], "--strategy": ["exact", "grid"],
         "--refine": ["0", "1", "-2", "1e9"],
         "--memory-limit": ["500", "nan", "inf", "-3", "0.001"], "--device": ["cpu", "auto", "meta", "abacus"],
         "--precision": ["fp32", "bf16"], "--normalization": ["hub"]}


class Lines(list):
    """A stream that keeps what is written to it."""

    def write(self, text: str) -> int:
        self.append(text)
        return len(text)

    def flush(self) -> None:
        return None

    def isatty(self) -> bool:
        return False


@drawn(25)
@given(st.data())
def test_command_line(files, data):
    """Exit status 0 and whole files of the picture's size, equal to the library's; or 1, one line, and no file."""
    names = data.draw(st.sampled_from(["aa", "aa", "bb", "cc", "ab"]))
    photo, guide = (files / f"{name}-{data.draw(st.sampled_from(KINDS))}" for name in names)
    kind = data.draw(st.sampled_from(["--mask", "--trimap"]))
    options = {word: data.draw(st.sampled_from(list(WORDS[word])))
               for word in data.draw(st.lists(st.sampled_from(list(WORDS)), max_size=3, unique=True))}
    output, alpha = files / "out" / "o.png", files / "out" / "alpha.png"
    words = [word for pair in options.items() for word in pair]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stderr", said := Lines())
        patched.setattr("sys.stdout", Lines())
        status = main(["cutout", str(photo), kind, str(guide), "-o", str(output), "--alpha", str(alpha), "--model",
                       str(files / "model"), *words])
    written = sorted(path.name for path in output.parent.iterdir()) if output.parent.exists() else []
    event(f"status {status}")
    lines = [line for line in "".join(said).splitlines() if line.startswith("vitmatte: ")]
    if status == 0:
        assert written == ["alpha.png", "o.png"]
        image = reading.read_image(photo)
        found = reading.read_mask(alpha)
        assert Image.open(output).size == (image.shape[2], image.shape[1]) and found.shape == image.shape[:3]
        if not options and kind == "--trimap":
            expected = matte(load_model(files / "model"), image, reading.read_trimap(guide))
            assert torch.allclose(found, expected, atol=1 / 65535)
    else:
        assert status == 1 and written == [] and len(lines) == 1 and len(lines[0]) > 20
        assert not any(word in lines[0] for word in ("Traceback", "NoneType", "object has no", "not implemented for"))
    for name in written:
        (output.parent / name).unlink()
