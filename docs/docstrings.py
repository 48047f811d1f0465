"""Makes the house's docstrings Markdown for the library reference; a griffe extension, see mkdocs.yml.

Sections (Args, Returns, Raises, Attributes) become headings in bold with lists. A line may name several arguments
("low, high: ..."), and several errors may stand in one paragraph ("TypeError: ... ValueError: ..."). Shapes such as
[B, H, W] become code, since brackets mean links in Markdown.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

SECTIONS = {"Args": "Arguments", "Attributes": "Attributes", "Returns": "Returns", "Raises": "Raises"}
SHAPE = re.compile(r"(?<![`\w\])])\[[^\[\]`]*[A-Z0-9.][^\[\]`]*\](?!\()")
ENTRY = re.compile(r"(?:^|(?<=[.;] ))((?:\w+\.)?\w+(?:, (?:\w+\.)?\w+)*): ")
ERROR = re.compile(r"(?:^|(?<=[.;] ))((?:[\w.]*(?:Error|Exception))(?:, [\w.]*(?:Error|Exception))*): ")


def as_markdown(text: str) -> str:
    """A docstring as Markdown."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):[ ]*\n", text, flags=re.MULTILINE)
    result = [_prose(parts[0])]
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        inside = re.match(r"(?:(?:[ ]{4}.*)?\n?)*", body)
        assert inside is not None
        section, rest = inside.group(), body[inside.end():]
        result += [f"**{SECTIONS[name]}**", _section(name, textwrap.dedent(section).strip()), _prose(rest)]
    return "\n\n".join(part for part in result if part)


def _section(name: str, body: str) -> str:
    if name == "Returns":
        return _prose(" ".join(body.split()))
    if name == "Raises":
        return _listed(ERROR, " ".join(body.split()))
    # An entry goes on where lines are indented; a line that names two ("a: ... b: ...") is two.
    entries = re.split(r"\n(?=\S)", body)
    return "\n".join(_listed(ENTRY, " ".join(entry.split())) for entry in entries)


def _listed(pattern: re.Pattern[str], text: str) -> str:
    """A list with an item for each "name: ..." in a text; the text itself where it begins without one."""
    found = list(pattern.finditer(text))
    if not found or found[0].start() > 0:
        return _prose(text)
    ends = [match.start() for match in found[1:]] + [len(text)]
    return "\n".join(f"- {', '.join(f'`{name}`' for name in match.group(1).split(', '))}: "
                     f"{_prose(text[match.end():end].strip())}" for match, end in zip(found, ends, strict=True))


def _prose(text: str) -> str:
    """Shapes as code, except in what is code already."""
    lines = [line if line.startswith("    ") else SHAPE.sub(lambda m: f"`{m.group()}`", line)
             for line in text.strip("\n").split("\n")]
    return "\n".join(lines)


class HouseStyle(griffe.Extension):
    """Rewrites every docstring as it is collected."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None and not obj.is_alias:
            obj.docstring.value = as_markdown(obj.docstring.value)
