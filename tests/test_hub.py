"""Downloads: the real huggingface_hub client against a small hub on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from nets import assert_close, random_input, random_net
from safetensors.torch import save

from vitmatte import VitMatteForImageMatting, VitMatteImageProcessor, hub, load_model
from vitmatte.hub import DownloadError, Released

NET = random_net()
WEIGHTS = save(NET.state_dict())
FILES = {
    "model.safetensors": WEIGHTS,
    "config.json": NET.config.to_json().encode(),
    "preprocessor_config.json": json.dumps(VitMatteImageProcessor().to_dict()).encode(),
}
COMMIT = "c" * 40
NAME = "vitmatte-test"


class Hub(ThreadingHTTPServer):
    """As much of the hub as its client needs for files, with faults to order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = dict(FILES)
        self.status: dict[str, int] = {}  # file -> HTTP status to refuse it with
        self.cut: dict[str, int] = {}  # file -> bytes after which the next answer breaks off, once
        self.asked: list[tuple[str, str, str | None]] = []  # (method, file, range)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        _, owner, name, resolve, revision, file = self.path.split("?")[0].split("/", 5)
        self.server.asked.append((self.command, file, self.headers.get("Range")))
        content = self.server.files.get(file)
        status = self.server.status.get(file, 200 if content is not None else 404)
        if status >= 400 or content is None or (owner, name, resolve) != ("hustvl", NAME, "resolve"):
            self.send_response(status if status >= 400 else 404)
            self.send_header("X-Error-Code", {404: "EntryNotFound", 200: "RepoNotFound"}.get(status, ""))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.sha256(FILES[file]).hexdigest()}"')
        self.send_header("X-Repo-Commit", revision if len(revision) == 40 else COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            cut = self.server.cut.pop(file, None)
            self.wfile.write(content[start:cut])
            if cut is not None:
                self.close_connection = True
                self.connection.close()


@pytest.fixture
def server(monkeypatch):
    from huggingface_hub import constants

    with Hub() as hub_server:
        threading.Thread(target=hub_server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", hub_server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            hub_server.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        offer(monkeypatch, sha256=hashlib.sha256(WEIGHTS).hexdigest(), size=len(WEIGHTS))
        yield hub_server
        hub_server.shutdown()


def offer(monkeypatch, **changes):
    """Puts a model of the server's into the table of released ones."""
    values = {"name": NAME, "revision": "a" * 40, "weights": "model.safetensors", "size": None, "sha256": None,
              "accuracy": "-", "licence": "-", **changes}
    monkeypatch.setitem(hub.RELEASED, NAME, Released(**values))


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


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
        assert_close(found, NET(pixels).alphas, 1e-6)


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
    assert hub.on_disk(NAME, tmp_path) is None
    server.files["model.safetensors"] = WEIGHTS
    assert names(hub.download(NAME, tmp_path)) == sorted(FILES)


def test_another_size_is_refused(server, tmp_path, monkeypatch):
    offer(monkeypatch, size=len(WEIGHTS) + 1, sha256=hashlib.sha256(WEIGHTS).hexdigest())
    with pytest.raises(DownloadError, match=f"{len(WEIGHTS):,} bytes.*expected {len(WEIGHTS) + 1:,} bytes"):
        hub.download(NAME, tmp_path)


def test_an_interrupted_download_is_resumed(server, tmp_path):
    class Cancelled(Exception):
        pass

    def cancel_after_a_while():
        if any(method == "GET" and file == "model.safetensors" for method, file, _ in server.asked):
            raise Cancelled

    with pytest.raises(Cancelled):
        hub.download(NAME, tmp_path, check_interrupt=cancel_after_a_while)
    assert hub.on_disk(NAME, tmp_path) is None
    assert (hub.download(NAME, tmp_path) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_broken_connection_is_resumed(server, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # what has been written is what is resumed from
    server.cut["model.safetensors"] = 50_000
    assert (hub.download(NAME, tmp_path) / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [wanted for method, file, wanted in server.asked if method == "GET" and file == "model.safetensors"]
    assert len(ranges) == 2 and ranges[1] == "bytes=50000-"


@pytest.mark.parametrize(("file", "status"), [("model.safetensors", 404), ("config.json", 403),
                                              ("preprocessor_config.json", 404)])
def test_refusals_are_told(server, tmp_path, file, status):
    server.status[file] = status
    with pytest.raises(DownloadError, match=f"could not download {file} of {NAME}: .*{NAME}") as error:
        hub.download(NAME, tmp_path)
    assert "Get the files of" in str(error.value) and str(tmp_path / NAME) in str(error.value)
    assert hub.on_disk(NAME, tmp_path) is None


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
    assert hub.on_disk(NAME, tmp_path) is None


def test_files_of_other_packs_are_found(server, tmp_path, monkeypatch):
    """Straight in the folder, told by their SHA-256, and in a cache of huggingface_hub's made there."""
    for file, content in FILES.items():
        (tmp_path / file).write_bytes(content)
    assert hub.on_disk(NAME, tmp_path) == tmp_path
    load_model(NAME, folder=tmp_path)
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"x")  # another model of the same size
    assert hub.on_disk(NAME, tmp_path) is None
    cached = tmp_path / f"models--hustvl--{NAME}" / "snapshots" / ("a" * 40)
    cached.mkdir(parents=True)
    for file, content in FILES.items():
        (cached / file).write_bytes(content)
    assert hub.on_disk(NAME, tmp_path) == cached
    assert server.asked == []


def test_what_transformers_downloaded_is_used(server, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert hub.in_hub_cache(NAME) is None
    hub.fetch_repository(NAME, cache_dir=tmp_path / "cache")
    asked = len(server.asked)
    load_model(NAME, folder=tmp_path / "models")
    assert len(server.asked) == asked and not (tmp_path / "models").exists()


def test_from_pretrained_by_hub_id(server, tmp_path):
    net = VitMatteForImageMatting.from_pretrained(f"hustvl/{NAME}", cache_dir=tmp_path)
    pixels = random_input(64, 64)
    with torch.inference_mode():
        assert_close(net(pixels).alphas, NET(pixels).alphas, 1e-6)
    processor = VitMatteImageProcessor.from_pretrained(f"hustvl/{NAME}", cache_dir=tmp_path)
    assert processor.to_dict() == VitMatteImageProcessor().to_dict()
    asked = len(server.asked)
    VitMatteForImageMatting.from_pretrained(f"hustvl/{NAME}", cache_dir=tmp_path, local_files_only=True)
    assert len(server.asked) == asked


def test_from_pretrained_of_what_is_not_there(server, tmp_path):
    with pytest.raises(FileNotFoundError, match="'hustvl/other' is no file or folder"):
        VitMatteForImageMatting.from_pretrained("hustvl/other", cache_dir=tmp_path)


def test_the_table_of_released_models():
    assert len(hub.RELEASED) == 4
    for name, model in hub.RELEASED.items():
        assert model.name == name and model.repository == f"hustvl/{name}" and len(model.revision) == 40
        assert model.sha256 is None or len(model.sha256) == 64
        assert "non-commercial" in model.licence or "research" in model.licence


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="'x' is not a released model; expected one of vitmatte-small"):
        hub.download("x", tmp_path)
