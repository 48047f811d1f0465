"""Fuzzers: what each draws, how its outcomes are judged and counted.

    python -m tests.support.fuzz --examples 1000 --counts counts.json

runs every tests/fuzz/test_fuzz_*.py with that many inputs per fuzzer and tells how many of them ended how. Under plain
pytest each draws the few inputs named in `fuzzed`; the same ones every time.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import gc
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis

EXAMPLES, SEED = "VITMATTE_FUZZ_EXAMPLES", "VITMATTE_FUZZ_SEED"
CLEAR = (ValueError, OSError)  # what users are promised for files; subclasses included
HANGS = 60  # seconds that no single input may take; the process ends with a traceback
LONGEST = 1500  # characters of a message
SLACK = 256 * 2**20  # bytes that an input may take

tally: dict[str, Counter[str]] = {}


def fuzzed(examples: int, **drawn: Any) -> Callable[[Callable[..., str | None]], Callable[..., None]]:
    """A test of so many inputs drawn from hypothesis strategies; what it returns names the outcome in the counts."""
    wanted = int(os.environ.get(EXAMPLES, examples))

    def decorate(test: Callable[..., str | None]) -> Callable[..., None]:
        counts = tally.setdefault(f"{test.__module__.rpartition('.')[2]}.{test.__name__}", Counter())

        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            counts["drawn"] += 1
            outcome = test(*args, **kwargs)
            if outcome is not None:
                counts[outcome] += 1

        given = hypothesis.given(**drawn)(counted)
        settings = hypothesis.settings(
            max_examples=wanted, derandomize=SEED not in os.environ, database=None, deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck), print_blob=False,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink))
        if SEED in os.environ:
            given = hypothesis.seed(int(os.environ[SEED]))(given)
        return settings(given)

    return decorate


def judged(call: Callable[[], Any], *names: str | os.PathLike[str], also: tuple[type[Exception], ...] = ()) -> Any:
    """(outcome, result) of a call that may give a result or one clear error, in bounded time and memory.

    Args:
        call: without arguments.
        names: the error's message names one of these files.
        also: further errors that are promised.

    Returns:
        ("right", result), or (name of the error's class, the error).
    """
    with bounded():
        try:
            return "right", call()
        except (*CLEAR, *also) as error:
            told = str(error)
            named = any(str(Path(name)) in told or repr(str(Path(name)))[1:-1] in told for name in names)
            assert named or not names, f"{type(error).__name__} names none of {[str(n) for n in names]}: {told}"
            assert 0 < len(told) <= LONGEST, f"{len(told)} characters: {told[:LONGEST]}"
            kind = next((c.__name__ for c in (*also, OSError, ValueError) if isinstance(error, c)), "")
            return kind, error


@contextmanager
def bounded(most: int = SLACK) -> Iterator[None]:
    """Fails when what runs inside hangs, asks for much more address space (Linux), or touches much more memory."""
    faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.__stderr__)
    try:
        with _address_space(16 * most), _touched(most):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _address_space(most: int) -> Iterator[None]:
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    kept = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + most, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, kept)


@contextmanager
def _touched(most: int) -> Iterator[None]:
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    try:
        reset.write_text("5")  # the peak starts again from what is used now
    except OSError:  # not Linux, or not allowed
        yield
        return
    before = _peak(status)
    yield
    growth = _peak(status) - before
    assert growth <= most, f"{growth / 2**20:.0f} MiB were touched, {most / 2**20:.0f} are allowed"


def _peak(status: Path) -> int:
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def emptied(folder: Path) -> None:
    """Removes everything in a folder, of an input before."""
    if sys.platform == "win32":
        gc.collect()  # files whose tensors somebody still has cannot be removed there
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def strays(folder: Path) -> list[str]:
    """Files that somebody began to write below a folder and left."""
    return [p.name for p in folder.rglob(".writing-*")]


def main() -> int:
    """The long run."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="inputs for each fuzzer (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="other inputs than the usual ones")
    parser.add_argument("--counts", type=Path, help="where to write the counts, as JSON")
    parser.add_argument("-k", dest="only", default="", help="only fuzzers whose names fit, as pytest's -k")
    options = parser.parse_args()
    os.environ[EXAMPLES] = str(options.examples)
    if options.seed is not None:
        os.environ[SEED] = str(options.seed)
    import pytest

    here = Path(__file__).parents[1]
    sys.path.insert(0, str(here / "support"))
    files = [str(path) for path in sorted(here.glob("fuzz/test_fuzz_*.py"))]
    failed = pytest.main(["-q", "-p", "no:cacheprovider", "-c", str(here / "pytest.ini"), "-k", options.only, *files])
    counts = {name: dict(found) for name, found in sys.modules["fuzz"].tally.items() if found}
    if options.counts is not None:
        options.counts.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")
    for name, found in sorted(counts.items()):
        rest = ", ".join(f"{count} {what}" for what, count in sorted(found.items()) if what != "drawn")
        sys.stdout.write(f"{name}: {found['drawn']} ({rest})\n")
    sys.stdout.write(f"{sum(found['drawn'] for found in counts.values())} inputs\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
