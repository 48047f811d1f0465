"""Runs the test files of a checkout of transformers, each run in a process of its own, and compares the outcomes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from .known import explanation

HERE = Path(__file__).parent
FILES = ("tests/models/vitmatte", "tests/models/vitdet")
OURS, THEIRS = "ours", "theirs"

Outcomes = dict[str, dict[str, str]]


def run(checkout: Path, *, which: str = OURS, expression: str = "") -> Outcomes:
    """Each test's outcome ("passed", "failed", "skipped") and reason, by its name.

    Args:
        checkout: folder with transformers' tests/ and utils/.
        which: OURS with our classes in place of transformers', THEIRS without.
        expression: pytest's -k.

    Raises:
        FileNotFoundError: no tests of ViTMatte there. RuntimeError: pytest could not run at all.
    """
    if not (checkout / FILES[0]).is_dir():
        raise FileNotFoundError(f"no {FILES[0]} in {checkout}; expected a checkout of transformers' repository")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcomes.json"
        path = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        environment = {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", **os.environ,
                       "SUITE_OUTCOMES": str(file), "PYTHONPATH": path}
        # Their conftest.py serves their CI: downloads, several processes.
        command = [sys.executable, "-m", "pytest", *FILES, "-q", "--noconftest", "-p", "no:cacheprovider", "-p",
                   "outcomes", "-W", "ignore", "--tb=short", *(["-p", "shim"] if which == OURS else []),
                   *(["-k", expression] if expression else [])]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if not file.exists():
            raise RuntimeError(f"pytest did not run:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return json.loads(file.read_text(encoding="utf-8"))


def short(name: str) -> str:
    """A test's name as class.test."""
    return ".".join(name.split("::")[1:]) or name


def count(outcomes: Outcomes) -> str:
    """How many passed, failed and were skipped."""
    numbers = Counter(outcome["outcome"] for outcome in outcomes.values())
    return ", ".join(f"{numbers[kind]} {kind}" for kind in ("passed", "failed", "skipped"))


def compare(ours: Outcomes, theirs: Outcomes | None, *, skips: bool = False) -> str:
    """Both counts, and each failure with its reason and what became of the test in transformers itself."""
    used = [outcome for outcome in ours.values() if outcome.get("uses") == "yes"]
    lines = [f"this library:        {count(ours)}",
             f"  of those that make an object of it: {count({str(i): each for i, each in enumerate(used)})}"]
    if theirs is not None:
        lines.append(f"transformers itself: {count(theirs)}")
        passed = [name for name in theirs if theirs[name]["outcome"] == "passed"]
        also = sum(ours.get(name, {}).get("outcome") == "passed" for name in passed)
        lines.append(f"of the {len(passed)} that pass there, {also} pass here")
    for kind in ("failed", "skipped") if skips and theirs is not None else ("failed",):
        lines += ["", f"{kind} here:"]
        for name, outcome in sorted(ours.items()):
            there = theirs.get(name, {}).get("outcome", "absent") if theirs is not None else ""
            if outcome["outcome"] == kind and (kind == "failed" or there != "skipped"):
                lines.append(f"  {short(name)}{f' ({there} there)' if there else ''}: {outcome['reason']}")
                if kind == "failed" and (why := explanation(name)):
                    lines.append(f"      explained: {why}")
    return "\n".join(lines) + "\n"
