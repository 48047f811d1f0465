"""Draws docs/images/layers.svg: the wings of the library on their floors, read from the imports in the source.

    python docs/layers.py

An arrow leads from a wing to one it imports. Arrows that say nothing new are left out: A to C where A leads to B and
B to C. Everything may import "ground", the files in vitmatte/ itself. Times, counts and line numbers are left out on
purpose, so that the picture changes with the order of the wings alone; tests/project/test_docs.py says when it is out
of date.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "layers.svg"

GROUND, PUBLIC, NODES = "ground", "vitmatte/__init__.py", "nodes/"
SAID = {
    GROUND: "Checks, values, padding, whole files",
    PUBLIC: "The public names of the library",
}
# Left edge of a box, in boxes. A wing that is not named here comes to stand right of its floor's last.
COLUMNS = {
    "cli": 1.6, "shots": 1.2, NODES: 3.9, PUBLIC: 0.4, "training": 2.2, "huggingface": 0.0, "export": 1.05,
    "evaluation": 2.5, "compositing": 3.45, "video": 3.9, "pictures": 4.4, "inference": 1.6, "weights": 1.6,
    "refinement": 2.9, "trimap": 3.0, "model": 1.6, GROUND: 0.0,
}
WIDTH, HEIGHT, GAP, FLOOR, MARGIN = 200, 70, 22, 116, 20  # pixels


def wing(module: str) -> str:
    """The wing of a dotted name: "ground" for the files in vitmatte/ itself."""
    parts = module.split(".")
    if parts[0] == "nodes":
        return NODES
    if parts in (["vitmatte"], ["vitmatte", "scale"]):
        return PUBLIC
    return parts[1] if len(parts) > 1 and (ROOT / "vitmatte" / parts[1]).is_dir() else GROUND


def imported(path: Path) -> Iterator[str]:
    """The dotted names of our modules that a file imports, inside functions too."""
    relative = path.relative_to(ROOT)
    package = list(relative.parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[:len(package) - node.level + 1]
            module = [*base, *(node.module.split(".") if node.module else [])]
            for name in node.names:
                longer = [*module, name.name]
                inside = (ROOT.joinpath(*longer)).with_suffix(".py").is_file() or ROOT.joinpath(*longer).is_dir()
                yield ".".join(longer if inside else module)


def wings() -> dict[str, set[str]]:
    """The wings that each wing imports, without itself and without "ground"."""
    found: dict[str, set[str]] = {}
    for path in sorted([*(ROOT / "vitmatte").rglob("*.py"), *(ROOT / "nodes").glob("*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = wing(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
        others = found.setdefault(name, set())
        if path.name != "__main__.py":  # starts the command line
            others |= {wing(module) for module in imported(path) if module} - {name, GROUND, ""}
    return found


def reach(graph: Mapping[str, set[str]], name: str) -> set[str]:
    """Every wing below one."""
    return graph[name].union(*(reach(graph, other) for other in graph[name]))


def reduced(graph: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """The graph without arrows that longer ways replace."""
    return {name: sorted(o for o in others if not any(o in reach(graph, p) for p in others - {o}))
            for name, others in graph.items()}


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each wing: as high as the wings that import it allow, and 0 for the ground."""
    def depth(name: str) -> int:
        return 1 + max((depth(other) for other in graph if name in graph[other]), default=0)

    found = {name: depth(name) for name in graph}
    lowest = max(found.values())
    return {name: 0 if name == GROUND else lowest + 1 - found[name] for name in graph}


def said(name: str) -> str:
    """What a wing is for: the first sentence of its package's docstring."""
    if name in SAID:
        return SAID[name]
    package = ROOT / (NODES if name == NODES else f"vitmatte/{name}") / "__init__.py"
    return (ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or "").splitlines()[0].split(". ")[0]


def picture() -> str:
    """The picture as SVG."""
    graph = wings()
    level, arrows = floors(graph), reduced(graph)
    top = max(level.values())
    corner: dict[str, tuple[float, float]] = {}
    for number in range(top + 1):
        row = sorted((name for name in level if level[name] == number), key=lambda name: COLUMNS.get(name, 99.0))
        right = 0.0
        for name in row:
            column = COLUMNS.get(name, right)
            right = column + 1.15
            corner[name] = MARGIN + column * (WIDTH + GAP), MARGIN + (top - number) * FLOOR
    width = max(x for x, _ in corner.values()) + WIDTH + MARGIN
    height = MARGIN * 2 + top * FLOOR + HEIGHT
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
             f'height="{height:.0f}" font-family="Helvetica, Arial, sans-serif">',
             "<title>The wings of the library; arrows lead to what a wing imports</title>",
             '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
             'orient="auto"><path d="M0 0 8 4 0 8z" fill="#5c6f84"/></marker></defs>',
             f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>']
    for name in sorted(arrows):
        below = sorted(arrows[name], key=lambda other: corner[other])  # from left to right, so that few cross
        lines += [_arrow(corner[name], corner[other], i, len(below)) for i, other in enumerate(below)]
    for name in sorted(corner):
        lines += _box(name, *corner[name], width - 2 * MARGIN if name == GROUND else WIDTH)
    return "\n".join([*lines, "</svg>", ""])


def _arrow(start: tuple[float, float], end: tuple[float, float], number: int, count: int) -> str:
    x, y = start[0] + WIDTH * (number + 1) / (count + 1), start[1] + HEIGHT
    to = end[0] + WIDTH / 2, end[1] - 1
    bend = min(60.0, (to[1] - y) / 2)
    return (f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {to[0]:.0f} {to[1] - bend:.0f} {to[0]:.0f} '
            f'{to[1]:.0f}" fill="none" stroke="#5c6f84" stroke-width="1.5" marker-end="url(#tip)"/>')


def _box(name: str, x: float, y: float, width: float) -> list[str]:
    fill = {GROUND: "#eceff2", NODES: "#fde7c8", PUBLIC: "#fde7c8"}.get(name, "#dbe9f7")
    text = textwrap.wrap(said(name).rstrip("."), int(width / 5.7))[:3]
    lines = [f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{HEIGHT}" rx="7" fill="{fill}" '
             'stroke="#8aa0b5"/>',
             f'<text x="{x + 10:.0f}" y="{y + 19:.0f}" font-size="14" font-weight="bold" fill="#16202c">'
             f'{escape(name)}</text>']
    return lines + [f'<text x="{x + 10:.0f}" y="{y + 34 + 13 * i:.0f}" font-size="11" fill="#33424f">{escape(line)}'
                    "</text>" for i, line in enumerate(text)]


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
