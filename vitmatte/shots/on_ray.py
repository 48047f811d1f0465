"""Many jobs on Ray: on this machine's processors or GPUs, or on those of a cluster.

Jobs are rows of a Ray dataset. A pool of actors, each with the task loaded once, turns runs of jobs into outcomes with
the same pipeline as one process; results go to files, and rows carry names and sentences alone. Ray gives the jobs of
an actor or a machine that died to another one: since results are whole or absent, doing one twice harms nothing.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import pipeline
from .jobs import Job
from .outcome import Loaded, Outcome, Report, Task
from .pipeline import Busy, RunEndedError

SHARED = "paths have to be the same on all machines, on storage that they share"
RUN = 16  # jobs that an actor takes at once: as many are done again when it dies
RUNS_EACH = 8  # at least, so that none waits long for the last


@dataclass(frozen=True)
class Pool:
    """Where jobs are done.

    Args:
        address: of a cluster, such as "auto" on one of its machines or "ray://head:10001"; None for this machine alone.
        workers: actors. None: as many as the GPUs hold, or one for each two processors where there is none. On this
            machine alone, so many processors are used.
        gpus_per_worker: share of a GPU that each takes; None: a whole one where there is any.
        threads: pictures that each reads, and as many that it writes, beside the net.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; expected 1 or more")
        if self.gpus_per_worker is not None and not 0 <= self.gpus_per_worker <= 64:
            raise ValueError(f"gpus-per-worker is {self.gpus_per_worker}; expected a share of a GPU such as 0.5, or 0")


def run(jobs: Sequence[Job], task: Task, report: Report, pool: Pool) -> Busy:
    """Does jobs, in no order.

    Args:
        jobs: what is to be done; on a cluster their paths are the same on all of its machines.
        task: how; each actor loads it.
        report: called with the outcome of each job as it comes.
        pool: where.

    Raises:
        RuntimeError: no Ray, or no cluster at the address. RunEndedError: see there. What `report` raises.
    """
    ray, busy, start = _ray(), Busy(), time.perf_counter()
    with redirect_stdout(sys.stderr), _connected(ray, pool):  # Ray says on standard output what it sees die
        count, cpus, gpus = _places(ray, pool, len(jobs))
        # Closed, and so ended, before Ray is, also when something is raised.
        with closing(_outcomes(ray, jobs, Actor, (task, os.getcwd(), pool.threads), count, cpus, gpus)) as made:
            for row in made:
                outcome = Outcome.from_text(row["outcome"])
                busy.net_seconds += outcome.net_seconds / count
                if outcome.ends_run:
                    raise RunEndedError(outcome.error)
                report(_seen_from_here(outcome))
    busy.seconds = time.perf_counter() - start
    return busy


def check() -> None:
    """Raises RuntimeError where there is no Ray."""
    _ray()


class Actor:
    """Holds a loaded task and does runs of jobs with it."""

    _work: Loaded | None

    def __init__(self, task: Task, folder: str, threads: int) -> None:
        self._threads, self._work, self._error = threads, None, ""
        try:
            if not os.path.isdir(folder):
                raise FileNotFoundError(f"no folder {folder} on {platform.node()}, in which paths begin; {SHARED}")
            os.chdir(folder)
            self._work = task.loaded()
        except (ValueError, OSError, RuntimeError, MemoryError) as error:  # told with the jobs: Ray would try again
            self._error = str(error) or "out of memory"

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Rows of jobs to rows of outcomes."""
        found: list[Outcome] = []
        jobs = [_job(text) for text in batch["job"]]
        try:
            if self._work is None:
                raise RunEndedError(self._error)
            pipeline.run(jobs, self._work, found.append, threads=self._threads)
        except RunEndedError as error:
            found.append(Outcome(jobs[len(found)].name, "failed", error=str(error), ends_run=True))
        by_name = {job.name: job for job in jobs}
        return {"outcome": [_where_it_was(one, by_name[one.file]).as_text() for one in found]}


def _outcomes(
    ray: Any, jobs: Sequence[Job], actor: type, how: tuple[Any, ...], count: int, cpus: float, gpus: float
) -> Generator[dict[str, Any], None, None]:
    run_length = max(1, min(RUN, len(jobs) // (count * RUNS_EACH)))
    rows = ray.data.from_items([{"job": _text(job)} for job in jobs],
                               override_num_blocks=-(-len(jobs) // run_length))
    made = rows.map_batches(
        actor, fn_constructor_args=how, batch_size=None, batch_format="numpy", num_cpus=cpus,
        num_gpus=gpus or None,
        compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=2))
    try:
        yield from made.iter_rows()
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise RuntimeError(f"Ray: {str(cause).strip().splitlines()[-1]}") from error


def _text(job: Job) -> str:
    return json.dumps([job.name, *(str(path) for path in (job.photo, job.guide, job.output)),
                       None if job.alpha is None else str(job.alpha), [[mark, str(path)] for mark, path in job.marks]])


def _job(text: str) -> Job:
    name, photo, guide, output, alpha, marks = json.loads(text)
    return Job(name, Path(photo), Path(guide), Path(output), None if alpha is None else Path(alpha),
               tuple((mark, Path(path)) for mark, path in marks))


def _where_it_was(outcome: Outcome, job: Job) -> Outcome:
    """The outcome, and of a file that is not there on which machine it is not."""
    lacking = [path for path in (job.photo, job.guide) if outcome.state == "failed" and not path.exists()]
    if not lacking:
        return outcome
    return replace(outcome, error=f"{outcome.error} (as {platform.node()} sees it; {SHARED})")


def _seen_from_here(outcome: Outcome) -> Outcome:
    """The outcome; a failure where a machine wrote what this one cannot see."""
    lacking = [path for path in outcome.results if not os.path.exists(path)]
    if not lacking:
        return outcome
    return replace(outcome, state="failed", results=(), error=(
        f"{lacking[0]} was written and is not seen from {platform.node()}; {SHARED}"))


def _places(ray: Any, pool: Pool, jobs: int) -> tuple[int, float, float]:
    """(actors, processors and GPUs for each)."""
    there = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 1.0), there.get("GPU", 0.0)
    each = pool.gpus_per_worker if pool.gpus_per_worker is not None else (1.0 if gpus else 0.0)
    if each > gpus:
        raise ValueError(f"gpus-per-worker is {each:g}, and there {'is' if gpus == 1 else 'are'} {gpus:g} GPU(s)")
    workers = pool.workers or max(1, int(gpus / each) if each else int(cpus // 2))
    workers = min(workers, max(1, jobs))
    if workers > cpus or workers * each > gpus + 1e-6:
        raise ValueError(f"{workers} workers take {workers} processors and {workers * each:g} GPUs; there are "
                         f"{cpus:g} and {gpus:g}")
    return workers, max(1.0, min(2.0, cpus // workers)), each


@contextmanager
def _connected(ray: Any, pool: Pool) -> Iterator[None]:
    """Within it there is a cluster, which is left as it was; one that was started for it is ended."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGINT") if hasattr(signal, name)]
    before = {name: signal.getsignal(name) for name in names if threading.current_thread() is threading.main_thread()}
    here: dict[str, Any] = {"include_dashboard": False}
    if pool.workers is not None and pool.address is None:
        here["num_cpus"] = pool.workers
    try:
        ray.init(address=pool.address, log_to_driver=False, logging_level=logging.ERROR,
                 **(here if pool.address is None else {}))
    except ConnectionError as error:
        raise RuntimeError(f"no Ray cluster at {pool.address!r}: {str(error).splitlines()[0]}; start one with `ray "
                           "start --head`, or leave the address out for this machine alone") from error
    try:
        for name, handler in before.items():  # Ray takes SIGTERM for itself
            signal.signal(name, handler)
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RuntimeError(f"--engine ray needs the package ray ({error}); install it with: pip install "
                           "\"vitmatte[ray]\"") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
