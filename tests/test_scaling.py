"""The page on scaling says what its results say."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scaling():
    found = importlib.util.spec_from_file_location("scaling", BENCHMARKS / "scaling.py")
    module = importlib.util.module_from_spec(found)
    sys.modules["scaling"] = module
    found.loader.exec_module(module)
    return module


def test_quality_lies_on_lines_of_logarithms_and_says_what_is_a_guess(scaling):
    curve = [(10.0, 100.0), (100.0, 10.0), (1000.0, 1.0)]
    assert scaling.quality(curve, 100) == (pytest.approx(10), False)
    assert scaling.quality(curve, 10**1.5) == (pytest.approx(10**1.5), False)
    assert scaling.quality(curve, 3000) == (pytest.approx(1 / 3), True)
    assert all(math.isnan(scaling.quality(curve, steps)[0]) for steps in (1, 10_000))


def test_the_page_is_that_of_the_results(scaling):
    assert scaling.page(scaling.known()) == (BENCHMARKS.parent / "docs" / "scaling.md").read_text(encoding="utf-8")
