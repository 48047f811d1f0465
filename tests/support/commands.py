"""The command line, called within the process."""

from __future__ import annotations

from vitmatte.cli.main import main


def run(*arguments) -> int:
    """The exit status."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
