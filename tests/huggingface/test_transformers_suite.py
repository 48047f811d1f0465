"""transformers' own tests, where TRANSFORMERS_CHECKOUT names a checkout of it; and the comparison of outcomes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from transformers_suite.known import explanation
from transformers_suite.suite import compare, count, run

CHECKOUT = os.environ.get("TRANSFORMERS_CHECKOUT")

OURS = {"f.py::T::test_a": {"outcome": "passed", "reason": ""},
        "f.py::T::test_b": {"outcome": "failed", "reason": "E: no"},
        "f.py::T::test_backends_equivalence": {"outcome": "failed", "reason": "E: offline"},
        "f.py::T::test_c": {"outcome": "skipped", "reason": "no GPU"}}
THEIRS = {name: {"outcome": "passed", "reason": ""} for name in OURS}


def test_outcomes_are_counted_and_compared():
    assert count(OURS) == "1 passed, 2 failed, 1 skipped"
    told = compare(OURS, THEIRS, skips=True)
    assert "of the 4 that pass there, 1 pass here" in told
    assert "T.test_b (passed there): E: no" in told and "T.test_c (passed there): no GPU" in told
    assert told.count("explained:") == 1 and "T.test_a" not in told
    assert compare(OURS, None).startswith("this library:") and "test_c" not in compare(OURS, None)


def test_a_folder_without_their_tests_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a checkout of transformers' repository"):
        run(tmp_path)


@pytest.mark.skipif(CHECKOUT is None, reason="TRANSFORMERS_CHECKOUT names no checkout of transformers")
def test_their_tests_pass_here():
    outcomes = run(Path(str(CHECKOUT)))
    failed = {name: outcome["reason"] for name, outcome in outcomes.items() if outcome["outcome"] == "failed"}
    assert len(outcomes) > 100 and {name: why for name, why in failed.items() if not explanation(name)} == {}
