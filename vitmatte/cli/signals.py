"""What ends a command from outside: signals, and output that nobody reads any more."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

BROKEN_PIPE = 128 + 13  # exit status, as the shell gives it for a tool that ended of SIGPIPE


class Terminated(BaseException):
    """A signal asked the process to end; no error, so that nothing catches it but what cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


@contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Terminated`, so that files half written go away; ignored ones (nohup) stay ignored."""
    def end(number: int, _: FrameType | None) -> None:
        for name in taken:
            signal.signal(name, signal.SIG_IGN)  # once is enough: cleaning up is not to be disturbed
        raise Terminated(number)

    taken: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():  # elsewhere signals are somebody else's
        names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        taken = [name for name in names if signal.getsignal(name) is signal.SIG_DFL]
    for name in taken:
        signal.signal(name, end)
    try:
        yield
    finally:
        for name in taken:
            signal.signal(name, signal.SIG_DFL)


def forget_output() -> None:
    """What is still in the buffers of standard output and error goes nowhere, and fails nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        places = [stream.fileno() for stream in (sys.stdout, sys.stderr)]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for place in places:
            os.dup2(nowhere, place)
        os.close(nowhere)
