"""transformers' tests on this library and on transformers, side by side.

    python -m tests.support.transformers_suite CHECKOUT

CHECKOUT is a checkout of transformers' repository, of the version that is installed or near it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .suite import THEIRS, compare, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.transformers_suite", description=__doc__)
    parser.add_argument("checkout", type=Path, help="folder with transformers' tests/ and utils/")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only these tests, as pytest takes it")
    parser.add_argument("--ours-only", action="store_true", help="without running transformers on itself")
    parser.add_argument("--skips", action="store_true", help="also list what only this library skips")
    given = parser.parse_args()
    ours = run(given.checkout, expression=given.k)
    theirs = None if given.ours_only else run(given.checkout, which=THEIRS, expression=given.k)
    sys.stdout.write(compare(ours, theirs, skips=given.skips))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
