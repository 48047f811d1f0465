"""Nodes as users meet them: signatures that saved workflows rely on, translations, help pages, templates."""

from __future__ import annotations

import copy
import json
import re

import pack
import pytest
from describe_nodes import LOCALES, SIGNATURES, breaks, schemas, signature, texts
from make_help import BYTES, GAP, PANEL
from PIL import Image

SCHEMAS = {schema.node_id: schema for schema in schemas()}
LANGUAGES = ("de", "es", "fr", "ja", "ko", "pt-BR", "ru", "zh", "zh-TW")
HELP = pack.ROOT / "web" / "docs"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_no_saved_workflow_breaks():
    stored = read(SIGNATURES)
    assert set(stored) == set(SCHEMAS), "run python tests/support/describe_nodes.py"
    for name, schema in SCHEMAS.items():
        assert breaks(stored[name], signature(schema)) == []
        assert stored[name] == json.loads(json.dumps(signature(schema))), "run python tests/support/describe_nodes.py"


@pytest.mark.parametrize(("change", "said"), [
    (lambda s: s["inputs"].pop(2), "inputs were"),
    (lambda s: s["inputs"].insert(1, {"id": "new", "type": "INT", "optional": True}), "add at the end only"),
    (lambda s: s["inputs"].append({"id": "new", "type": "INT", "optional": False}), "new is new and not optional"),
    (lambda s: s["inputs"][1].update(default=3), "inner: type or default changed"),
    (lambda s: s["inputs"][1].update(max=8), "inner has narrower limits"),
    (lambda s: s["inputs"][3].update(options=["pixels"]), "unit lost an option"),
    (lambda s: s["inputs"][3].update(optional=False), "unit was optional"),
    (lambda s: s["outputs"][0].update(type="IMAGE"), "an output changed its type"),
])
def test_what_breaks_workflows_is_seen(change, said):
    old = signature(SCHEMAS["ViTMatteTrimap"])
    new = copy.deepcopy(old)
    change(new)
    assert any(said in text for text in breaks(old, new))


def test_english_is_the_schemas():
    assert read(LOCALES / "en" / "nodeDefs.json") == {name: texts(schema) for name, schema in SCHEMAS.items()}, \
        "run python tests/support/describe_nodes.py"


def leaves(tree, path=()):
    """(path, text) of every text of a translation."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_are_complete(language):
    english = dict(leaves(read(LOCALES / "en" / "nodeDefs.json")))
    translated = dict(leaves(read(LOCALES / language / "nodeDefs.json")))
    assert set(translated) == set(english)
    for path, text in translated.items():
        assert text.strip() and "\ufffd" not in text, path
        if path[-1] in ("tooltip", "description"):
            assert text != english[path], f"{path} is not translated"
        # Numbers and file names say the same in every language.
        assert sorted(re.findall(r"\d+(?:\.\d+)?|[\w.]+\.json|models/vitmatte", text)) == \
            sorted(re.findall(r"\d+(?:\.\d+)?|[\w.]+\.json|models/vitmatte", english[path])), path


@pytest.mark.parametrize("name", SCHEMAS)
def test_help_tells_of_every_input_and_output(name):
    page = (HELP / f"{name}.md").read_text(encoding="utf-8")
    rows = set(re.split(r"[|,\s]+", " ".join(re.findall(r"^\|([^|]*)\|", page, re.M))))
    schema = SCHEMAS[name]
    for port in schema.inputs:
        assert port.id in rows, f"{port.id} is not in the help"
    for port in schema.outputs:
        assert port.display_name in rows, f"{port.display_name} is not in the help"


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_help_is_translated(name, language):
    english = (HELP / f"{name}.md").read_text(encoding="utf-8")
    page = (HELP / name / f"{language}.md").read_text(encoding="utf-8")

    def shape(text):
        lines = [line[:2] for line in text.splitlines() if line[:1] in ("|", "#", "-", "!")]
        return lines, sorted(re.findall(r"`[^`]+`", text)), re.findall(r"\]\(([^)]*)\)", text)

    assert shape(page) == shape(english) and page != english


@pytest.mark.parametrize("name", SCHEMAS)
def test_help_says_what_went_wrong(name):
    """The last section of each page: a picture of numbered panels, and a table that explains each and more."""
    for path in [HELP / f"{name}.md", *(HELP / name).glob("*.md")]:
        section = path.read_text(encoding="utf-8").split("\n## ")[-1]
        (picture,) = re.findall(r"!\[[^\]]+\]\((\w+/wrong\.jpg)\)", section)
        with Image.open(HELP / picture) as sheet:
            panels = (sheet.width + GAP) // (PANEL + GAP)
        rows = [row.split("|")[1:3] for row in section.splitlines() if row.startswith("| ")][1:]
        numbers = sorted(int(row[0].split()[0]) for row in rows if row[0].split()[0].isdecimal())
        assert numbers == list(range(1, panels + 1)), path
        assert len(rows) > panels and all(cell.strip() for row in rows for cell in row), path
        assert (HELP / picture).stat().st_size <= BYTES


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_help_tells_of_every_strategy(language):
    """A page that names some of an input's choices names all of them."""
    page = HELP / ("ViTMatteMatting.md" if language == "en" else f"ViTMatteMatting/{language}.md")
    (row,) = re.findall(r"^\| strategy.*$", page.read_text(encoding="utf-8"), re.M)
    port = next(port for port in SCHEMAS["ViTMatteMatting"].inputs if port.id == "strategy")
    assert all(f"*{option}*" in row for option in port.options)


@pytest.mark.parametrize("name", SCHEMAS)
def test_help_pictures_are_there(name):
    """Both frontends look for them from web/docs, in every language."""
    for path in [HELP / f"{name}.md", *(HELP / name).glob("*.md")]:
        for target in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", path.read_text(encoding="utf-8")):
            assert (HELP / target).is_file(), f"{path}: {target}"
