"""What the tests of training share: a folder of a few generated pictures, and a recipe that trains on them."""

from __future__ import annotations

import pytest
from training_pictures import training_folder

from vitmatte.training.recipe import read_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return training_folder(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def recipe(folder):
    return read_recipe(folder / "recipe.json")
