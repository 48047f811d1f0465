"""The command `vitmatte train`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Adds the command to the command line's subparsers."""
    parser = commands.add_parser("train", help="train a net by a recipe, or go on with a run")
    parser.add_argument("recipe", type=Path, metavar="CONFIG", help="a JSON file; see vitmatte/training/recipes")
    parser.add_argument("--steps", type=int, default=None, metavar="N", help="do at most N steps in this call")
    parser.set_defaults(run=_train, logs=True)


def _train(options: argparse.Namespace) -> int:
    from ..training.loop import train
    from ..training.precision import denormals_flushed
    from ..training.recipe import read_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    with denormals_flushed():
        train(read_recipe(options.recipe), stop_after=options.steps)
    return 0
