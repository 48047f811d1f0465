"""Downloads: the real huggingface_hub client against a small hub on loopback."""

from __future__ import annotations

import hashlib
import threading

import pytest
import torch
from loopback_hub import FILES, NAME, NET, WEIGHTS, names, offer
from nets import assert_close, random_input
from rounding import ALPHA

from vitmatte import VitMatteForImageMatting, VitMatteImageProcessor, load_model
from vitmatte.weights import download as hub
from vitmatte.weights import released as models
from vitmatte.weights.download import DownloadError
from vitmatte.weights.repository import fetch_repository

pytestmark = pytest.mark.network

WHOLE = [f"{NAME}/{file}" for file in sorted(FILES)]


def test_download_is_whole_and_loads(server, tmp_path):
    seen = []
    place = hub.download(NAME, tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert place == tmp_path / NAME and names(tmp_path) == WHOLE
    assert {file: (place / file).read_bytes() for file in FILES} == FILES
    assert seen and seen[-1] == (len(WEIGHTS), len(WEIGHTS)) and seen == sorted(seen)
    pixels = random_input(64, 64)
    with torch.inference_mode():
        found = VitMatteForImageMatting.from_pretrained(place)(pixels).alphas
        assert_close(found, NET(pixels).alphas, ALPHA)


def test_loading_by_name_downloads_once(server, tmp_path):
    load_model(NAME, folder=tmp_path)
    asked = len(server.asked)
    assert asked > 0
    load_model(f"hustvl/{NAME}", folder=tmp_path)
    assert len(server.asked) == asked


def test_bundled_model_needs_no_network(server):
    load_model("vitmatte-tiny")
    assert server.asked == []


@pytest.mark.parametrize("known", [True, False], ids=["known hash", "the hub's own hash"])
def test_other_bytes_are_refused_and_removed(server, tmp_path, monkeypatch, known):
    if not known:
        offer(monkeypatch)
    server.files["model.safetensors"] = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])
    with pytest.raises(DownloadError, match="not the published file .*sha256 .*removed"):
        hub.download(NAME, tmp_path)
    assert not any(name.endswith("model.safetensors") for name in names(tmp_path))
    assert models.on_disk(NAME, tmp_path) is None
    server.files["model.safetensors"] = WEIGHTS
    assert names(hub.download(NAME, tmp_path)) == sorted(FILES)


def test_another_size_is_refused(server, tmp_path, monkeypatch):
    offer(monkeypatch, size=len(WEIGHTS) + 1, sha256=hashlib.sha256(WEIGHTS).hexdigest())
    with pytest.raises(DownloadError, match=f"{len(WEIGHTS):,} bytes.*expected {len(WEIGHTS) + 1:,} bytes"):
        hub.download(NAME, tmp_path)


@pytest.mark.parametrize(("file", "status"), [("model.safetensors", 404), ("config.json", 403),
                                              ("preprocessor_config.json", 404)])
def test_refusals_are_told(server, tmp_path, file, status):
    server.status[file] = status
    with pytest.raises(DownloadError, match=f"could not download {file} of {NAME}: .*{NAME}") as error:
        hub.download(NAME, tmp_path)
    assert "Get the files of" in str(error.value) and str(tmp_path / NAME) in str(error.value)
    assert models.on_disk(NAME, tmp_path) is None


def test_offline_is_said(server, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE forbids .*put them into"):
        load_model(NAME, folder=tmp_path)
    assert server.asked == []


def test_two_at_once_fetch_it_once(server, tmp_path):
    places, errors = [], []

    def fetch():
        try:
            places.append(hub.download(NAME, tmp_path))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and places == [tmp_path / NAME] * 2
    assert sum(method == "GET" and file == "model.safetensors" for method, file, _ in server.asked) == 1


def test_files_put_there_by_hand_count(server, tmp_path):
    (tmp_path / NAME).mkdir()
    for file, content in FILES.items():
        (tmp_path / NAME / file).write_bytes(content)
    load_model(NAME, folder=tmp_path)
    assert server.asked == []
    (tmp_path / NAME / "model.safetensors").write_bytes(WEIGHTS[:-1])  # cut short: not the published size
    assert models.on_disk(NAME, tmp_path) is None


def test_files_of_other_packs_are_found(server, tmp_path, monkeypatch):
    """Straight in the folder, told by their SHA-256, and in a cache of huggingface_hub's made there."""
    for file, content in FILES.items():
        (tmp_path / file).write_bytes(content)
    assert models.on_disk(NAME, tmp_path) == tmp_path
    load_model(NAME, folder=tmp_path)
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"x")  # another model of the same size
    assert models.on_disk(NAME, tmp_path) is None
    cached = tmp_path / f"models--hustvl--{NAME}" / "snapshots" / ("a" * 40)
    cached.mkdir(parents=True)
    for file, content in FILES.items():
        (cached / file).write_bytes(content)
    assert models.on_disk(NAME, tmp_path) == cached
    assert server.asked == []


def test_several_folders_are_looked_through(tmp_path, monkeypatch):
    """By name in all of them before the files straight in one, whose SHA-256 costs time."""
    offer(monkeypatch, size=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest())
    monkeypatch.setenv("VITMATTE_HOME", str(tmp_path / "home"))
    first, second, third = folders = [tmp_path / name for name in ("first", "second", "third")]
    assert models.on_disk(NAME, *folders) is None and models.on_disk(NAME) is None
    assert models.on_disk("other", *folders) is None

    def put(folder):
        folder.mkdir(parents=True)
        for file, content in FILES.items():
            (folder / file).write_bytes(content)

    put(second)
    assert models.on_disk(NAME, *folders) == models.on_disk(f"hustvl/{NAME}", *folders) == second
    assert models.on_disk(NAME, first, third) is None
    put(third / NAME)
    assert models.on_disk(NAME, *folders) == third / NAME
    put(tmp_path / "home" / NAME)
    assert models.on_disk(NAME) == models.on_disk(NAME, None) == tmp_path / "home" / NAME
    assert models.on_disk(NAME, first, None) == tmp_path / "home" / NAME


def test_a_folder_with_other_weights_is_none(tmp_path, monkeypatch):
    """config.json and model.safetensors straight in a folder, of a model that was published as pytorch_model.bin."""
    offer(monkeypatch, weights="pytorch_model.bin", sha256=hashlib.sha256(WEIGHTS).hexdigest())
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes(FILES[file])
    assert models.on_disk(NAME, tmp_path) is None


def test_what_transformers_downloaded_is_used(server, tmp_path, monkeypatch):
    from huggingface_hub import constants, file_download

    for module in (constants, file_download):  # the second in huggingface_hub 0.24
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path / "cache"), raising=module is constants)
    assert models.in_hub_cache(NAME) is None
    fetch_repository(NAME, cache_dir=tmp_path / "cache")
    asked = len(server.asked)
    load_model(NAME, folder=tmp_path / "models")
    assert len(server.asked) == asked and not (tmp_path / "models").exists()


def test_from_pretrained_by_hub_id(server, tmp_path):
    net = VitMatteForImageMatting.from_pretrained(f"hustvl/{NAME}", cache_dir=tmp_path)
    pixels = random_input(64, 64)
    with torch.inference_mode():
        assert_close(net(pixels).alphas, NET(pixels).alphas, ALPHA)
    processor = VitMatteImageProcessor.from_pretrained(f"hustvl/{NAME}", cache_dir=tmp_path)
    assert processor.to_dict() == VitMatteImageProcessor().to_dict()
    asked = len(server.asked)
    VitMatteForImageMatting.from_pretrained(f"hustvl/{NAME}", cache_dir=tmp_path, local_files_only=True)
    assert len(server.asked) == asked


def test_from_pretrained_of_what_is_not_there(server, tmp_path):
    with pytest.raises(FileNotFoundError, match="'hustvl/other' is no file or folder"):
        VitMatteForImageMatting.from_pretrained("hustvl/other", cache_dir=tmp_path)


def test_the_table_of_released_models():
    assert len(models.RELEASED) == 4
    for name, model in models.RELEASED.items():
        assert model.name == name and model.repository == f"hustvl/{name}" and len(model.revision) == 40
        assert model.sha256 is None or len(model.sha256) == 64
        assert "non-commercial" in model.licence or "research" in model.licence


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="'x' is not a released model; expected one of vitmatte-small"):
        hub.download("x", tmp_path)
