"""The command line: cutout, video, trimap, models, download, export, evaluate, train.

Written files are listed on standard output, one a line; progress and errors go to standard error. Exit status: 0
done, 1 something failed (the message says what), 2 wrong arguments, 130 interrupted, 143 terminated, 141 nobody reads
the output any more (quietly, as other tools end then). However it ends, what was finished is whole and nothing else is
left behind; `--skip-existing` goes on with the rest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from io import TextIOWrapper

from ..files import check_new_folder
from ..version import __version__
from . import cutout, evaluate, export, model_options, models, train, trimap, video
from .signals import BROKEN_PIPE, Terminated, forget_output, signals_raise
from .told import all_warnings


def program() -> int:
    """Runs the command of this process, which ends after it; returns the exit status."""
    with signals_raise(process_ends=True):
        return main()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    try:
        try:
            return _command(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        forget_output()
        return BROKEN_PIPE
    except OSError as error:  # such as a full disk below the output
        print(f"vitmatte: {error}", file=sys.stderr)
        forget_output()
        return 1
    except KeyboardInterrupt:
        print("vitmatte: interrupted", file=sys.stderr)
        return 130
    except Terminated as end:
        print("vitmatte: terminated", file=sys.stderr)
        return end.status


def _command(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    _print_any_name()
    try:
        with signals_raise(), nullcontext() if hasattr(options, "logs") else all_warnings():
            if hasattr(options, "models_folder"):
                check_new_folder(options.models_folder, "--models-folder")
            return options.run(options)
    except BrokenPipeError:
        raise
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        print(f"vitmatte: {error or 'out of memory'}", file=sys.stderr)
        return 1


def _print_any_name() -> None:
    """Lets standard output take the names of files that its encoding has no letters for, as pipes on Windows often."""
    if isinstance(sys.stdout, TextIOWrapper):
        unicode = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vitmatte", description="Alpha mattes and cut-outs with ViTMatte.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    with_models = [cutout.register(commands)]
    with_models.append(video.register(commands))
    trimap.register(commands)
    with_models += models.register(commands)
    train.register(commands)
    evaluate.register(commands)
    with_models.append(export.register(commands))
    for command in with_models:
        model_options.add_models_folder(command)
    return parser
