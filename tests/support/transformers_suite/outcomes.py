"""Writes what became of each test to the file that the environment's SUITE_OUTCOMES names. A pytest plugin."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

OUTCOMES: dict[str, dict[str, str]] = {}
USES: set[str] = set()  # tests that made an object of a class that the shim put in place


def pytest_configure(config: Any) -> None:
    for marker in ("slow", "is_pipeline_test", "accelerate_tests", "torch_compile_test", "torch_export_test",
                   "flash_attn_test", "flash_attn_3_test", "flash_attn_4_test", "all_flash_attn_test", "training_ci",
                   "tensor_parallel_ci", "fsdp_ci", "is_staging_test", "not_device_test", "generate"):
        config.addinivalue_line("markers", marker)


def pytest_runtest_logreport(report: Any) -> None:
    """Each test once: failed when any part of it failed, else skipped, else passed."""
    outcome = {"outcome": report.outcome, "reason": _reason(report)}
    if ("uses", True) in report.user_properties:
        USES.add(report.nodeid)
    before = OUTCOMES.get(report.nodeid, {}).get("outcome")
    order = ("passed", "skipped", "failed")
    if before is None or order.index(report.outcome) > order.index(before):
        OUTCOMES[report.nodeid] = outcome


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        OUTCOMES[report.nodeid] = {"outcome": "failed", "reason": _reason(report)}


def pytest_sessionfinish() -> None:
    for name, outcome in OUTCOMES.items():
        outcome["uses"] = "yes" if name in USES else "no"
    if os.environ.get("SUITE_OUTCOMES"):
        Path(os.environ["SUITE_OUTCOMES"]).write_text(json.dumps(OUTCOMES, indent=1), encoding="utf-8")


def _reason(report: Any) -> str:
    """The last line that says what went wrong, or why the test was skipped."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr or "")
    return re.sub(r"\s+", " ", text).strip()[:300]
