"""The pipeline of one process: order, what overlaps, what waits, and faults."""

from __future__ import annotations

import errno
import logging
import threading
import time
from pathlib import Path

import pytest
import torch

from vitmatte.shots import pipeline
from vitmatte.shots.jobs import Job
from vitmatte.shots.pipeline import RunEndedError

log = logging.getLogger("vitmatte.test")


def jobs(count):
    return [Job(f"{i}", Path(f"p{i}"), Path(f"g{i}"), Path(f"o{i}")) for i in range(count)]


class Work:
    """Notes what is done, and fails where it is told to."""

    def __init__(self, faults=(), seconds=0.0):
        self.faults, self.seconds = dict(faults), seconds
        self.written, self.waiting, self.most, self.lock = [], 0, 0, threading.Lock()

    def _step(self, name, job, count=0):
        with self.lock:
            self.waiting += count
            self.most = max(self.most, self.waiting)
        time.sleep(self.seconds)
        log.warning("%s of %s", name, job.name)
        if (fault := self.faults.get((name, job.name))) is not None:
            raise fault
        return job

    def read(self, job):
        return self._step("read", job, 1)

    def compute(self, given, on_progress=None):
        return self._step("compute", given)

    def write(self, computed):
        self._step("write", computed, -1)
        self.written.append(computed.name)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_outcomes_come_in_order_with_their_own_warnings(threads):
    found, work = [], Work(seconds=0.001)
    pipeline.run(jobs(30), work, found.append, threads=threads)
    assert [outcome.file for outcome in found] == [str(i) for i in range(30)]
    for outcome in found:
        assert outcome.state == "done" and outcome.results == (f"o{outcome.file}",)
        assert outcome.warnings == tuple(f"p{outcome.file}: {step} of {outcome.file}"
                                         for step in ("read", "compute", "write"))


@pytest.mark.parametrize("threads", [1, 3])
def test_what_waits_is_bounded(threads):
    work = Work()
    pipeline.run(jobs(200), work, lambda outcome: time.sleep(0.0005), threads=threads)
    assert work.most <= 2 * (threads + 2) + 1  # read ahead, at the net, and to be written


def test_steps_overlap():
    """In all 60 steps of 10 ms; one after the other they take 0.6 s."""
    busy = pipeline.run(jobs(20), Work(seconds=0.01), lambda outcome: None, threads=1)
    one_by_one = pipeline.run(jobs(20), Work(seconds=0.01), lambda outcome: None, threads=0)
    assert busy.seconds < 0.75 * one_by_one.seconds and busy.share > 1.5 * one_by_one.share


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("step", ["read", "compute", "write"])
@pytest.mark.parametrize(("fault", "said"), [
    (ValueError("bad picture"), "bad picture"), (RuntimeError("oh"), "p3: oh"), (MemoryError(), "p3: out of memory"),
    (PermissionError(errno.EACCES, "o3 could not be written"), "o3 could not be written"),
])
def test_a_fault_is_its_pictures_own(threads, step, fault, said):
    found, work = [], Work({(step, "3"): fault})
    pipeline.run(jobs(6), work, found.append, threads=threads)
    assert [outcome.state for outcome in found] == ["done"] * 3 + ["failed"] + ["done"] * 2
    assert said in found[3].error and found[3].results == () and sorted(work.written) == ["0", "1", "2", "4", "5"]


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_ends_the_run(threads, number):
    found, work = [], Work({("write", str(i)): OSError(number, "o could not be written") for i in range(3, 50)})
    with pytest.raises(RunEndedError, match="could not be written"):
        pipeline.run(jobs(50), work, found.append, threads=threads)
    assert [outcome.file for outcome in found] == sorted(work.written)
    assert {*work.written} <= {"0", "1", "2"} and (threads > 1 or len(found) == 3)


def test_a_disk_that_cannot_be_read_is_a_pictures_own():
    """Of one file on it, as far as anybody knows."""
    found = []
    pipeline.run(jobs(3), Work({("read", "1"): OSError(errno.EIO, "cannot be read")}), found.append, threads=1)
    assert [outcome.state for outcome in found] == ["done", "failed", "done"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("end", [KeyboardInterrupt(), TypeError("a mistake of ours")])
def test_what_was_computed_before_an_interrupt_is_written_and_told(threads, end):
    found, work = [], Work({("compute", "9"): end}, seconds=0.002)
    with pytest.raises(type(end)):
        pipeline.run(jobs(50), work, found.append, threads=threads)
    assert [outcome.file for outcome in found] == [str(i) for i in range(9)] == sorted(work.written)
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if t.name.startswith("write")]


def test_after_a_closed_pipe_nothing_is_told():
    told = []

    def report(outcome):
        told.append(outcome)
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        pipeline.run(jobs(20), Work(), report, threads=1)
    assert len(told) == 1


def test_the_nets_threads_stay_its_own():
    count = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = []

        class Counted(Work):
            def compute(self, given, on_progress=None):
                seen.append(torch.get_num_threads())
                return given

        pipeline.run(jobs(5), Counted(), lambda outcome: None, threads=2)
        assert seen == [2] * 5 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(count)
