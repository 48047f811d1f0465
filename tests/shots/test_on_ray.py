"""Folders on Ray: the same bytes as in one process, and what is lost when a worker or a file is (nothing)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nets import random_net, small_config
from paths import ROOT
from PIL import Image

from vitmatte.shots import on_ray
from vitmatte.shots.jobs import Job
from vitmatte.shots.outcome import Outcome
from vitmatte.weights.save import save_net

COUNT = 12


def test_jobs_and_outcomes_travel_as_text():
    job = Job("s/a.png", Path("p/s/a.png"), Path("m/s/a.png"), Path("o/s/a.png"), None, (("unknown", Path("u.png")),))
    assert on_ray._job(on_ray._text(job)) == job
    outcome = Outcome("a", "failed", 1.5, 0.5, 0.25, ("w",), "no\nway", (), True)
    assert Outcome.from_text(outcome.as_text()) == outcome


def test_what_another_machine_does_not_see_is_said(tmp_path):
    job = Job("a.png", tmp_path / "a.png", tmp_path / "m.png", tmp_path / "o.png")
    said = on_ray._where_it_was(Outcome("a.png", "failed", error=f"no picture {job.photo}"), job).error
    assert "paths have to be the same on all machines, on storage that they share" in said
    there = on_ray._seen_from_here(Outcome("a.png", "done", results=(str(job.output),)))
    assert there.state == "failed" and "was written and is not seen from" in there.error
    job.output.write_bytes(b"")
    assert on_ray._seen_from_here(Outcome("a.png", "done", results=(str(job.output),))).state == "done"


def test_an_actor_does_a_run_of_jobs_and_tells_of_a_full_disk(tmp_path, monkeypatch):
    class Work:
        def read(self, job):
            return job

        def compute(self, given, on_progress=None):
            return given

        def write(self, computed):
            if computed.name == "2":
                raise OSError(28, "o2 could not be written: No space left on device")
            computed.output.write_text("done")

    class Task:
        def loaded(self):
            return Work()

    monkeypatch.chdir(tmp_path)
    actor = on_ray.Actor(Task(), str(tmp_path), 1)
    jobs = [Job(str(i), Path(f"p{i}"), Path(f"g{i}"), Path(f"o{i}")) for i in range(5)]
    found = [Outcome.from_text(row) for row in actor({"job": [on_ray._text(job) for job in jobs]})["outcome"]]
    assert [(one.file, one.state, one.ends_run) for one in found] == [
        ("0", "done", False), ("1", "done", False), ("2", "failed", True)]
    lost = on_ray.Actor(Task(), str(tmp_path / "elsewhere"), 1)
    (row,) = lost({"job": [on_ray._text(job) for job in jobs]})["outcome"]
    assert "in which paths begin; paths have to be the same on all machines" in Outcome.from_text(row).error
    assert Outcome.from_text(row).ends_run


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RuntimeError, match=r'install it with: pip install "vitmatte\[ray\]"'):
        on_ray.check()


@pytest.fixture
def folder(tmp_path):
    """Pictures, trimaps and a small model."""
    pytest.importorskip("ray.data")
    save_net(random_net(small_config()), tmp_path / "model")
    random = np.random.default_rng(0)
    for i in range(COUNT):
        for kind, shape in (("photos", (40, 48, 3)), ("trimaps", (40, 48))):
            path = tmp_path / kind / f"{i % 3}/{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full(shape, 128, np.uint8)
            if kind == "photos":
                pixels = random.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    return tmp_path


def command(folder, out, *more):
    return [sys.executable, "-m", "vitmatte", "cutout", "photos", "--trimap", "trimaps", "--recursive",
            "-o", f"{out}/cut", "--alpha", f"{out}/alpha", "--model", "model", "--manifest", f"{out}/record", *more]


def started(folder, out, *more):
    return subprocess.Popen(command(folder, out, *more), cwd=folder, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})


def content(out):
    """All results; what a worker was writing when it was killed is hidden."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in Path(out).rglob("*.png")
            if not path.name.startswith(".")}


@pytest.mark.slow
def test_the_same_bytes_and_one_failure_as_a_row(folder):
    (folder / "photos/1/04.png").write_bytes(b"broken")
    plain = started(folder, "plain")
    assert plain.wait(300) == 1
    running = started(folder, "ray", "--engine", "ray", "--workers", "2")
    output, told = running.communicate(timeout=600)
    assert running.returncode == 1, told
    assert content(folder / "ray") == content(folder / "plain") and len(content(folder / "ray")) == 2 * COUNT - 2
    assert len(output.splitlines()) == 2 * COUNT - 2
    assert "04.png is not a picture" in told and "1 of 12 pictures failed" in told
    lines = [json.loads(line) for line in (folder / "ray/record/manifest.jsonl").read_text().splitlines()]
    assert sorted(line["file"] for line in lines if "file" in line) == sorted(
        f"{i % 3}/{i:02}.png" for i in range(COUNT))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_a_killed_workers_pictures_are_done_again(folder):
    running = started(folder, "ray", "--engine", "ray", "--workers", "1")
    running.stdout.readline()
    found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline")
             if b"MapWorker" in path.read_bytes() and _descends(int(path.parent.name), running.pid)]
    os.kill(found[0], signal.SIGKILL)
    # Not `communicate`, which would lose what `readline` has read ahead.
    output, told = running.stdout.read(), running.stderr.read()
    assert running.wait(600) == 0, told
    assert len(content(folder / "ray")) == 2 * COUNT == len(output.splitlines()) + 1


def _descends(process, ancestor):
    while process > 1:
        if process == ancestor:
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@pytest.mark.slow
def test_what_an_actor_cannot_load_is_one_sentence(folder):
    (folder / "model/model.safetensors").write_bytes(b"nothing")
    running = started(folder, "ray", "--engine", "ray", "--workers", "1")
    _, told = running.communicate(timeout=600)
    assert running.returncode == 1 and "model.safetensors" in told and "Traceback" not in told
