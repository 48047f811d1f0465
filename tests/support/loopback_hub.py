"""As much of the hub as its client needs for files, on loopback, with faults to order."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from nets import random_net
from safetensors.torch import save

from vitmatte import VitMatteImageProcessor
from vitmatte.weights import released as models
from vitmatte.weights.released import Released

NET = random_net()
WEIGHTS = save(NET.state_dict())
FILES = {
    "model.safetensors": WEIGHTS,
    "config.json": NET.config.to_json_string().encode(),
    "preprocessor_config.json": json.dumps(VitMatteImageProcessor().to_dict()).encode(),
}
COMMIT = "c" * 40
REVISION = "a" * 40
NAME = "vitmatte-test"
PAGE = b"<!DOCTYPE html><html>Please sign in to this network</html>"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer.

    Args:
        kind: "status": HTTP status `number`. "cut": the connection ends after `number` bytes. "stall": nothing more
            comes after `number` bytes. "flip": the byte at `number` is another. "short", "long": the content is so
            many bytes shorter or longer. "page": a web page, with status 200. "redirect": to another address of this
            hub. "whole": a range is asked for, the whole is sent. "commit": of another revision. "etag": of another
            content. "no etag": none.
        number: see kind.
        method: "HEAD" or "GET", which it happens to.
    """

    kind: str
    number: int = 0
    method: str = "GET"


class Hub(ThreadingHTTPServer):
    """The server; `faults` are used up, the others stay."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = dict(FILES)
        self.status: dict[str, int] = {}  # file -> HTTP status to refuse it with
        self.cut: dict[str, int] = {}  # file -> bytes after which the next answer breaks off, once
        self.faults: dict[str, list[Fault]] = {}  # file -> what happens to its next answers, in turn
        self.pause = 0.0  # seconds between pieces of 10,000 bytes
        self.asked: list[tuple[str, str, str | None]] = []  # (method, file, range)
        self.over = threading.Event()  # ends what stalls

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self, file: str, method: str) -> Fault:
        """What is to happen to an answer; kind "" for nothing."""
        waiting = self.faults.get(file, [])
        if waiting and waiting[0].method == method:
            return waiting.pop(0)
        if method == "GET" and file in self.cut:
            return Fault("cut", self.cut.pop(file))
        return Fault("status", self.status[file]) if file in self.status else Fault("")

    def handle_error(self, *_) -> None:
        """Clients that go away are part of the plan."""


class Answer(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self) -> None:
        """As the hub does, or with the next fault of the file."""
        _, owner, name, resolve, revision, file = self.path.split("?")[0].split("/", 5)
        self.server.asked.append((self.command, file, self.headers.get("Range")))
        content = self.server.files.get(file)
        fault = self.server.fault(file, self.command)
        known = (owner, name, resolve) in (("hustvl", NAME, "resolve"), ("hustvl", NAME, "cdn"))
        if content is None or not known or fault.kind == "status":
            return self.refuse(fault.number if fault.kind == "status" else 404)
        sent = {"flip": lambda: _flipped(content, fault.number), "short": lambda: content[:-fault.number],
                "long": lambda: content + bytes(fault.number), "page": lambda: PAGE}.get(fault.kind, lambda: content)()
        if fault.kind == "redirect":
            return self.redirect(f"/hustvl/{NAME}/cdn/{revision}/{file}", revision, file)
        start = 0
        if (wanted := self.headers.get("Range")) and fault.kind not in ("whole", "page"):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        if start >= len(sent):
            return self.refuse(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(sent) - 1}/{len(sent)}")
        if fault.kind != "page":
            self.describe(revision, file, fault)
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(sent) - start))
        self.end_headers()
        if self.command == "GET":
            self.send(sent[start:], fault)

    def describe(self, revision: str, file: str, fault: Fault) -> None:
        """The headers by which the client knows a file."""
        if fault.kind != "no etag":
            self.send_header("ETag", f'"{etag_of(file, FILES[file] + b"x" * (fault.kind == "etag"))}"')
        right = revision if len(revision) == 40 else COMMIT
        self.send_header("X-Repo-Commit", "d" * 40 if fault.kind == "commit" else right)

    def redirect(self, place: str, revision: str, file: str) -> None:
        """To where the bytes are, with the hub's own description of them, as for large files."""
        self.send_response(302)
        self.describe(revision, file, Fault(""))
        self.send_header("X-Linked-Etag", f'"{etag_of(file, FILES[file])}"')
        self.send_header("X-Linked-Size", str(len(FILES[file])))
        self.send_header("Location", self.server.url + place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def refuse(self, status: int) -> None:
        """An error, as the hub words it."""
        self.send_response(status)
        self.send_header("X-Error-Code", {404: "EntryNotFound"}.get(status, ""))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, content: bytes, fault: Fault) -> None:
        """The bytes, as slowly and as far as ordered."""
        stop = min(fault.number, len(content) - 1) if fault.kind in ("cut", "stall") else len(content)
        for i in range(0, min(stop, len(content)), 10_000):
            self.wfile.write(content[i:min(i + 10_000, stop)])
            if self.server.pause:
                self.server.over.wait(self.server.pause)
        if fault.kind == "stall":
            self.server.over.wait(5)
        if fault.kind in ("cut", "stall"):
            self.close_connection = True
            self.connection.close()


def etag_of(file: str, content: bytes) -> str:
    """As the hub makes it: the SHA-256 of large files, git's name of small ones."""
    if file.endswith(".json"):
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return hashlib.sha256(content).hexdigest()


def _flipped(content: bytes, at: int) -> bytes:
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1:]


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that huggingface_hub takes for the real one, with one model that `models.RELEASED` knows."""
    from huggingface_hub import constants, file_download

    with Hub() as hub_server:
        threading.Thread(target=hub_server.serve_forever, args=(0.02,), daemon=True).start()
        for name, value in (("ENDPOINT", hub_server.url), ("HF_HUB_OFFLINE", False), ("HUGGINGFACE_CO_URL_TEMPLATE",
                            hub_server.url + "/{repo_id}/resolve/{revision}/{filename}")):
            monkeypatch.setattr(constants, name, value)
            if hasattr(file_download, name):  # huggingface_hub 0.24 has copies there
                monkeypatch.setattr(file_download, name, value)
        offer(monkeypatch, sha256=hashlib.sha256(WEIGHTS).hexdigest(), size=len(WEIGHTS))
        yield hub_server
        hub_server.over.set()
        hub_server.shutdown()


def offer(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Puts a model of the server's into the table of released ones."""
    values = {"name": NAME, "revision": REVISION, "weights": "model.safetensors", "size": None, "sha256": None,
              "accuracy": "-", "licence": "-", **changes}
    monkeypatch.setitem(models.RELEASED, NAME, Released(**values))


def names(folder) -> list[str]:
    """The files below a folder, without locks."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")
