"""Where things are in the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DATA = TESTS / "data"
SUPPORT = TESTS / "support"
PICTURES = ROOT / "pictures"
PORTRAIT, PORTRAIT_MASK = PICTURES / "portrait.jpg", PICTURES / "portrait-mask.png"
