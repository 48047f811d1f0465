"""What ends a command from outside: signals, and output that nobody reads any more."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

BROKEN_PIPE = 128 + 13  # exit status, as the shell gives it for a tool that ended of SIGPIPE
PATIENCE = 10.0  # seconds that cleaning up after a signal may take before another one ends it


class Terminated(BaseException):
    """A signal asked the process to end; no error, so that nothing catches it but what cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


@contextmanager
def signals_raise(*, process_ends: bool = False) -> Iterator[None]:
    """Within it the first signal ends the command, so that files half written go away: SIGINT raises KeyboardInterrupt,
    SIGTERM and SIGHUP raise `Terminated`. Further ones do not disturb the cleaning up; one that comes when it has taken
    longer than `PATIENCE` ends the process at once. Ignored signals (nohup) stay ignored.

    Args:
        process_ends: whether the process ends after it, so that SIGINT is ignored from then on: Python's own end says
            a traceback otherwise. Else all is as it was before.
    """
    first: list[float] = []

    def end(number: int, _: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)
        if time.monotonic() - first[0] > PATIENCE:  # such as a disk that does not answer
            os.write(2, b"vitmatte: ended while cleaning up; hidden files that were being written may be left\n")
            os._exit(128 + number)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere signals are somebody else's
        names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {name: handler for name in names
                  if (handler := signal.getsignal(name)) in (signal.SIG_DFL, signal.default_int_handler)}
    for name in before:
        signal.signal(name, end)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, signal.SIG_IGN if process_ends and name == signal.SIGINT else handler)


def forget_output() -> None:
    """What is still in the buffers of standard output and error goes nowhere, and fails nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        places = [stream.fileno() for stream in (sys.stdout, sys.stderr)]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for place in places:
            os.dup2(nowhere, place)
        os.close(nowhere)
