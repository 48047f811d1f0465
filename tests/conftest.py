"""Every test draws the same random numbers whenever it runs, alone or among others, whoever calls torch.rand."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_collectstart():
    """Modules draw too, when they are imported."""
    seed()


def pytest_fixture_setup():
    """So does a fixture that several tests share, and the first of them need not be the same one every time."""
    seed()


def pytest_runtest_call():
    seed()
