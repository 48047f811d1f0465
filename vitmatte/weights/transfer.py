"""A file of the hub, over HTTP: what the hub tells of it, and its bytes from any place on.

Two users lose by huggingface_hub's own `hf_hub_download(local_dir=...)`. What is sent of a file whose download is
interrupted at 60 % and called again, with huggingface_hub 2.4 (`python -m benchmarks.downloads`; six versions in
benchmarks/results/downloads.md):

    interrupted by          hf_hub_download                 this module
    a broken connection     118 %                           100 %
    no network              160 %, gives up after 5 s       100 %, gives up after 24 s
    the user                163 %                           100 %
    SIGKILL                 160 %, a part left for good     100 %

- The one on a slow line: 387 MB take 52 minutes at 1 Mbit/s. Since 1.18 hf_hub_download begins again with every call
  (huggingface_hub issue 4196), by its authors' choice (pull request 4306).
- The one who presses cancel: up to 1.0 nothing can end it from within. With hf_xet, which it prefers, an exception of
  its `tqdm_class` is swallowed and the download goes on (issue 4632; not measured here).

Hence a ranged GET, with functions that huggingface_hub exports from 0.24 to 2.4: hf_hub_url, get_hf_file_metadata,
get_session, build_hf_headers, hf_raise_for_status. HF_ENDPOINT, HF_TOKEN and HF_HUB_DOWNLOAD_TIMEOUT are its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

log = logging.getLogger(__name__)

CHUNK = 2**17  # bytes; a second at 1 Mbit/s
WAITS = (1.0, 2.0, 4.0, 8.0, 8.0)  # seconds before each further try; those with bytes start the count anew
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP statuses that pass


class TransferError(RuntimeError):
    """The hub, or the way there, gave no file; the message is the reason."""


def describe(
    repository: str, file: str, revision: str, *, token: str | bool | None, pause: Callable[[float], None]
) -> tuple[str, HfFileMetadata]:
    """The address of a file, and what the hub tells of it: size, etag, commit_hash.

    Args:
        repository: "owner/name". file: its path there. revision: commit, branch or tag.
        token: for huggingface_hub.
        pause: waits so many seconds before another try; what it raises ends the call.

    Raises:
        TransferError: refused, or not reachable.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repository, file, revision=revision)
    failures = 0
    while True:
        try:
            return url, get_hf_file_metadata(url, token=token)
        except Exception as error:
            wait = _wait(error, failures)
        pause(wait)
        failures += 1


def receive(
    url: str, start: int, size: int | None, *, token: str | bool | None, pause: Callable[[float], None]
) -> Generator[tuple[int, bytes], None, None]:
    """Yields the bytes of a file from `start` on, each chunk with its place in the file.

    A chunk at place 0 begins the file anew: the server does not give parts. Where the connection breaks, the rest is
    asked for again.

    Args:
        start: bytes that are there already.
        size: bytes in all; where the hub does not tell them, the file begins anew, as nobody knows when it is whole.
        token, pause: see `describe`.

    Raises:
        TransferError: refused, not reachable, or an answer of another length.
    """
    failures, start = 0, 0 if size is None else start
    while size is None or start < size:
        try:
            with _answer(url, start, token) as (begins, length, chunks):
                if size is not None and length is not None and begins + length != size:
                    raise TransferError(f"the answer has {begins + length:,} bytes instead of {size:,}")
                start = begins
                for chunk in chunks:
                    yield start, chunk
                    start, failures = start + len(chunk), 0
            if size is None or start >= size:
                return
            raise EOFError("the connection ended early")
        except Exception as error:
            wait = _wait(error, failures)
        pause(wait)
        failures += 1


@contextmanager
def _answer(url: str, start: int, token: str | bool | None) -> Iterator[tuple[int, int | None, Iterable[bytes]]]:
    """A GET: the place where the answer begins, its length where it is told, and its bytes."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    how: dict[str, Any] = {"headers": headers, "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT}
    session: Any = get_session()
    httpx = callable(getattr(session, "stream", None))  # since huggingface_hub 1.0; before, requests
    with session.stream("GET", url, **how) if httpx else session.get(url, stream=True, **how) as response:
        hf_raise_for_status(response)
        begins = start if response.status_code == 206 else 0
        length = None if "Content-Encoding" in response.headers else response.headers.get("Content-Length")
        chunks = response.iter_bytes(CHUNK) if httpx else response.iter_content(CHUNK)
        yield begins, None if length is None else int(length), chunks


def _wait(error: Exception, failures: int) -> float:
    """The seconds to wait before another try; TransferError where it would not help, or has not."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    status = getattr(getattr(error, "response", None), "status_code", None)
    passes = status in (None, *BUSY) and not isinstance(error, (TransferError, TypeError, ValueError))
    if passes and failures < len(WAITS):
        log.warning("the download stopped (%s); trying again in %g s", reason, WAITS[failures])
        return WAITS[failures]
    raise TransferError(reason) from error
