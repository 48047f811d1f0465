"""Links to files of the repository, for the site; a hook of mkdocs, see mkdocs.yml.

Pages link to files outside of docs/ by relative paths, which work on GitHub; on the site they become GitHub's address.
Files and tests that are named as code become links as well. A link to a file that is not there is a warning, with which
`make docs` fails.
"""

from __future__ import annotations

import logging
import posixpath
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
log = logging.getLogger("mkdocs.hooks.links")

LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
FOLDERS = r"vitmatte|nodes|tests|benchmarks|docs|web|locales|workflows|\.github"
FILE = re.compile(rf"(?<![\[`])`((?:{FOLDERS})/[\w./-]*)`(?!\])")
TEST = re.compile(r"(?<![\[`])`(test_\w+)`(?!\])")
FENCE = re.compile(r"(^```.*?^```|^ {4}\S.*?$)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Called by mkdocs for each page."""
    folder = posixpath.dirname(page.file.src_uri)
    site = config["repo_url"].rstrip("/")

    def address(path: str) -> str:
        return f"{site}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"

    def linked(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, match.group(1)))
        if path.startswith("docs/") and not path.endswith(".py"):
            return match.group(1)  # mkdocs checks those
        if not (ROOT / path).exists():
            log.warning("%s links to %s, which is not in the repository", page.file.src_uri, path)
        return address(path)

    def named(match: re.Match[str]) -> str:
        path = match.group(1)
        return f"[{match.group()}]({address(path)})" if (ROOT / path).exists() else match.group()

    def tested(match: re.Match[str]) -> str:
        place = places().get(match.group(1))
        return f"[{match.group()}]({address(place[0])}#L{place[1]})" if place else match.group()

    pieces = FENCE.split(markdown)
    pieces[::2] = [TEST.sub(tested, FILE.sub(named, LINK.sub(linked, piece))) for piece in pieces[::2]]
    return "".join(pieces)


@lru_cache
def places() -> dict[str, tuple[str, int]]:
    """File and line of each test, by its name; of a file of tests, its first line."""
    found: dict[str, tuple[str, int]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT).as_posix()
        found.setdefault(path.stem, (name, 1))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if match := re.match(r"\s*def (test_\w+)\(", line):
                found.setdefault(match.group(1), (name, number))
    return found
