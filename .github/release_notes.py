"""Prints a version's part of CHANGELOG.md, once the tag, pyproject.toml, the library and the changelog agree on it.

    python .github/release_notes.py v0.1.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r'^(?:__version__|version) = "(.+)"$', re.MULTILINE)
ENTRY = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}\n", re.MULTILINE)


def declared(path: str) -> str:
    """The version that a file of the repository states."""
    found = VERSION.search((ROOT / path).read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{path} states no version")
    return found[1]


def newest_entry() -> tuple[str, str]:
    """(version, text) of the first released version in CHANGELOG.md."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = ENTRY.search(text)
    if found is None:
        raise ValueError("CHANGELOG.md has no entry like: ## [1.2.3] - 2026-01-31")
    after = re.search(r"^(## |\[[^\]]+\]: )", text[found.end():], re.MULTILINE)
    return found[1], text[found.end():found.end() + after.start() if after else None].strip()


def notes(tag: str) -> str:
    """The text of the version that `tag` (v0.1.0) names. Raises ValueError where anything states another version."""
    version, text = newest_entry()
    stated = {"the tag": tag.removeprefix("v"), "pyproject.toml": declared("pyproject.toml"),
              "vitmatte/version.py": declared("vitmatte/version.py"), "CHANGELOG.md": version}
    if len(set(stated.values())) > 1:
        raise ValueError("versions differ: " + ", ".join(f"{where} {what}" for where, what in stated.items()))
    if not text:
        raise ValueError(f"CHANGELOG.md says nothing about {version}")
    return text


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(sys.argv[1]) + "\n")
    except ValueError as error:
        sys.exit(str(error))
