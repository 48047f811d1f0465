"""Downloads that are cut off, cancelled or killed go on where they were."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loopback_hub import FILES, NAME, REVISION, WEIGHTS, Fault, names
from paths import ROOT

from vitmatte.weights import download as hub
from vitmatte.weights import released as models
from vitmatte.weights import transfer
from vitmatte.weights.download import DownloadError

pytestmark = pytest.mark.network


@pytest.fixture
def small_steps(monkeypatch):
    """What has been written is what is resumed from; tests do not wait."""
    monkeypatch.setattr(transfer, "CHUNK", 10_000)
    monkeypatch.setattr(transfer, "WAITS", (0.01, 0.01))


def parts_asked(server) -> list[str | None]:
    """The ranges of the weights that were asked for, in turn."""
    return [wanted for method, file, wanted in server.asked if method == "GET" and file == "model.safetensors"]


class Cancelled(Exception):
    """What a host raises when its user presses cancel."""


def test_an_interrupted_download_is_resumed(server, tmp_path, small_steps):
    seen = []

    def cancel(done, total):
        seen.append(done)
        if done >= 30_000:
            raise Cancelled

    with pytest.raises(Cancelled):
        hub.download(NAME, tmp_path, on_progress=cancel)
    assert models.on_disk(NAME, tmp_path) is None and seen == [10_000, 20_000, 30_000]
    seen.clear()
    place = hub.download(NAME, tmp_path, on_progress=lambda done, total: seen.append(done))
    assert (place / "model.safetensors").read_bytes() == WEIGHTS
    assert parts_asked(server) == [None, "bytes=30000-"] and seen[0] == 40_000


@pytest.mark.parametrize("file", sorted(FILES))
def test_it_is_interrupted_between_any_two_chunks_and_resumed(server, tmp_path, small_steps, file):
    def cancel():
        if any(method == "GET" and asked == file for method, asked, _ in server.asked):
            raise Cancelled

    with pytest.raises(Cancelled):
        hub.download(NAME, tmp_path, check_interrupt=cancel)
    assert not (tmp_path / NAME / file).exists()
    assert names(hub.download(NAME, tmp_path)) == sorted(FILES)


def test_a_broken_connection_is_resumed(server, tmp_path, small_steps):
    """Within the call, with every huggingface_hub."""
    server.cut["model.safetensors"] = 50_000
    assert (hub.download(NAME, tmp_path) / "model.safetensors").read_bytes() == WEIGHTS
    assert parts_asked(server) == [None, "bytes=50000-"]


def test_a_call_that_gave_up_is_resumed(server, tmp_path, small_steps):
    server.faults["model.safetensors"] = [Fault("cut", 50_000), *[Fault("status", 503)] * 3]
    with pytest.raises(DownloadError, match="503 .*What has arrived is kept; try again to go on"):
        hub.download(NAME, tmp_path)
    assert (hub.download(NAME, tmp_path) / "model.safetensors").read_bytes() == WEIGHTS
    assert parts_asked(server) == [None, *["bytes=50000-"] * 4]


def test_bytes_that_come_start_the_count_of_tries_anew(server, tmp_path, small_steps):
    """A connection that breaks again and again gets there, as long as something comes each time."""
    server.faults["model.safetensors"] = [Fault("cut", 20_000)] * (tries := len(WEIGHTS) // 20_000)
    assert tries > len(transfer.WAITS)
    assert (hub.download(NAME, tmp_path) / "model.safetensors").read_bytes() == WEIGHTS
    assert parts_asked(server) == [None, *(f"bytes={20_000 * i}-" for i in range(1, tries + 1))]


@pytest.mark.parametrize("file", sorted(FILES))
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_waiting_for_a_connection_can_be_interrupted(server, tmp_path, monkeypatch, file, method):
    monkeypatch.setattr(transfer, "WAITS", (60.0,))
    server.faults[file] = [Fault("status", 503, method)]

    def cancel():
        if not server.faults[file]:
            raise Cancelled

    begun = time.monotonic()
    with pytest.raises(Cancelled):
        hub.download(NAME, tmp_path, check_interrupt=cancel)
    assert time.monotonic() - begun < 30
    assert names(hub.download(NAME, tmp_path)) == sorted(FILES)


def test_a_server_that_gives_no_parts(server, tmp_path, small_steps):
    server.faults["model.safetensors"] = [Fault("cut", 50_000), Fault("whole")]
    seen = []
    place = hub.download(NAME, tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert (place / "model.safetensors").read_bytes() == WEIGHTS
    assert seen[4:6] == [(50_000, len(WEIGHTS)), (10_000, len(WEIGHTS))] and seen[-1] == (len(WEIGHTS),) * 2


def test_a_page_in_place_of_the_rest_costs_nothing(server, tmp_path, small_steps):
    """A network that wants a sign-in answers everything with its page, and status 200."""
    server.faults["model.safetensors"] = [Fault("cut", 50_000), Fault("page")]
    with pytest.raises(DownloadError, match=rf"the answer has \d+ bytes instead of {len(WEIGHTS):,}.*is kept"):
        hub.download(NAME, tmp_path)
    assert (hub.download(NAME, tmp_path) / "model.safetensors").read_bytes() == WEIGHTS
    assert parts_asked(server) == [None, *["bytes=50000-"] * 2]


def test_a_full_disk_is_told_and_what_has_arrived_stays(server, tmp_path, small_steps, monkeypatch):
    class Full(io.FileIO):
        def write(self, content):
            if self.tell() >= 30_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    def opened(self, *args, **kwargs):
        return Full(self, *args) if self.name.startswith("model.safetensors") else opens(self, *args, **kwargs)

    opens = type(tmp_path).open
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "open", opened)
        with pytest.raises(DownloadError, match="could not download model.safetensors .*No space left on device"):
            hub.download(NAME, tmp_path)
    assert parts_asked(server) == [None], "the network is not at fault, and not asked again"
    assert (hub.download(NAME, tmp_path) / "model.safetensors").read_bytes() == WEIGHTS
    assert parts_asked(server) == [None, "bytes=30000-"]


ELSEWHERE = f"""
import sys
from vitmatte.weights import download as hub, released as models, transfer
transfer.CHUNK = 10_000
models.RELEASED[{NAME!r}] = models.Released({NAME!r}, {REVISION!r}, "model.safetensors", {len(WEIGHTS)}, sys.argv[2],
                                            "", "")
print(hub.download({NAME!r}, sys.argv[1]))
"""


def started(server, folder: Path) -> subprocess.Popen[str]:
    """The same download in a process of its own."""
    settings = {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "5",
                "HF_HUB_OFFLINE": "0", "no_proxy": "127.0.0.1"}
    return subprocess.Popen([sys.executable, "-c", ELSEWHERE, str(folder), models.RELEASED[NAME].sha256],
                            cwd=ROOT, env={**os.environ, **settings}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_two_processes_and_one_that_is_killed(tmp_path, server):
    """Two at once: one is killed in the middle of the weights; the other takes over what it left, and goes on there."""
    server.pause = 0.2
    both = [started(server, tmp_path) for _ in range(2)]
    try:
        deadline = time.monotonic() + 60
        while not _part_of_the_weights(tmp_path) and time.monotonic() < deadline:
            assert all(process.poll() is None for process in both), [p.communicate() for p in both if p.poll()]
            time.sleep(0.02)
        assert len(parts_asked(server)) == 1, "only one of them downloads"
        assert not (tmp_path / NAME / "model.safetensors").exists()
        assert models.on_disk(NAME, tmp_path) is None
        # Which of the two has the lock is not told; the lock passes to the other when its holder dies.
        holder = next((p for p in both if _has_open(p.pid, tmp_path)), both[0])
        holder.kill()
        holder.wait()
        server.pause = 0.0
        other = both[1 - both.index(holder)]
        told, errors = other.communicate(timeout=60)
        assert other.returncode == 0, errors
        assert told.strip() == str(tmp_path / NAME)
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert {file: (tmp_path / NAME / file).read_bytes() for file in FILES} == FILES
    assert names(tmp_path) == [f"{NAME}/{file}" for file in sorted(FILES)]
    again = parts_asked(server)[1:]
    assert len(again) <= 1 and all(wanted is not None for wanted in again), "it begins where the other was killed"


def _part_of_the_weights(folder: Path) -> bool:
    parts = folder.glob(f".incomplete/{NAME}/model.safetensors.*")
    return any(10_000 <= part.stat().st_size < len(WEIGHTS) for part in parts)


def _has_open(process: int, folder: Path) -> bool:
    """Whether a process writes the weights in that folder (Linux; elsewhere nobody is known to)."""
    begun = str(folder / ".incomplete" / NAME / "model.safetensors.")
    try:
        return any(os.readlink(handle).startswith(begun) for handle in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False
