"""Checksums of files, as the hub gives them."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def is_checksum(etag: str) -> bool:
    """Whether an etag is a SHA-256, or a SHA-1 as git makes it."""
    return re.fullmatch("[0-9a-f]{64}|[0-9a-f]{40}", etag) is not None


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether a file is the one of the hub's etag: the SHA-256 of a large file, git's name (a SHA-1) of a small one;
    some mirrors give the plain SHA-1."""
    if len(checksum) == 64:
        return file_sha256(path) == checksum
    content = path.read_bytes()
    forms = (b"blob %d\0" % len(content) + content, content)
    return any(hashlib.sha1(form, usedforsecurity=False).hexdigest() == checksum for form in forms)
