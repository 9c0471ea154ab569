"""Keep compiled modules, for every test, and the data of several.

Two workers and some hundred processes that tests start load the same modules. Where the environment keeps no bytecode,
each of them would compile all of fourfold again, and rewrite the assertions of all tests.
"""

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fourfold.data import Dataset

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def moons() -> "Dataset":
    """Rows of two moons, few enough for trainings of seconds."""
    from fourfold.data import load

    return load("two-moons", limit=400)
