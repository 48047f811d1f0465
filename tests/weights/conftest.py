"""What the tests of downloads share: a small hub on this machine."""

from __future__ import annotations

import pytest
from loopback_hub import running


@pytest.fixture
def server(monkeypatch):
    with running(monkeypatch) as hub_server:
        yield hub_server
