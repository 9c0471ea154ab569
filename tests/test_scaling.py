"""The page on scaling says what its results say."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", BENCHMARKS / "scaling.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module
    spec.loader.exec_module(module)
    return module


def test_quality_lies_on_lines_of_logarithms_and_says_what_is_a_guess(scaling):
    curve = [(10.0, 100.0), (100.0, 10.0), (1000.0, 1.0)]
    assert scaling.quality(curve, 100, 4) == (pytest.approx(10), False)
    assert scaling.quality(curve, 10**1.5, 4) == (pytest.approx(10**1.5), False)
    assert scaling.quality(curve, 3000, 4) == (pytest.approx(1 / 3), True)
    assert all(math.isnan(scaling.quality(curve, steps, 4)[0]) for steps in (1, 10_000))
    assert scaling.quality(curve, 1000, 1) == (pytest.approx(1), False)
    assert math.isnan(scaling.quality(curve, 1001, 1)[0])  # of a loss nothing is guessed


def records(seconds):
    """Losses ``1000 / steps`` of a narrow size and ``30000 / steps^2`` of a wide one, which takes twice as long."""
    losses = {"s/8": lambda steps: 1000 / steps, "s/4": lambda steps: 30_000 / steps**2}
    for size, time in seconds.items():
        curve = [{"step": n, "held_out": losses[size](n)} for n in (25, 50, 100, 200, 400)]
        about = {"data": "fashion-mnist", "paradigm": "flow", "size": size, "part": 1}
        yield about | {"kind": "curve", "curve": curve}
        yield about | {"kind": "speed", "machine": "AMX, one core", "seconds": time}


def test_a_size_pays_from_where_it_is_better_in_equal_time(scaling):
    rows = list(records({"s/8": 0.1, "s/4": 0.2}))
    steps, guess = scaling.crossing(rows, "flow", "s/8", "s/4", "AMX, one core")
    assert 60 <= steps <= 60 * 1.05  # 30000 / n^2 = 1000 / 2n
    assert not guess
    assert scaling.crossing(rows, "flow", "s/4", "s/2", "AMX, one core") is None


def test_nothing_is_best_where_a_narrower_size_is_unknown(scaling):
    rows = scaling.table(list(records({"s/8": 0.1, "s/4": 0.2})), "flow", "AMX, one core")
    narrow, wide = (row.split("|")[5:7] for row in rows)  # after 15 s and 60 s: 135 and 540, 67 and 270 steps
    assert [cell.strip() for cell in narrow] == ["7.407", "?"]
    assert [cell.strip() for cell in wide] == ["**6.584**", "0.412"]


def test_the_page_is_that_of_the_results(scaling):
    assert scaling.page(scaling.earlier_records()) == (BENCHMARKS.parent / "docs" / "scaling.md").read_text(
        encoding="utf-8"
    )


def of_table(size, steps, nats):
    about = {"data": "table", "recipe": "autoregressive/any-order", "s": 15, "batch": 256, "kind": "exact"}
    return about | {"size": size, "steps": steps, "likelihood": nats, "better": "higher", "distance": 1.0}


def test_needs_are_those_of_the_script_and_follow_what_was_measured(monkeypatch):
    """A size that lost needs twice its steps, one that won no more than it had, and in between where both are known."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sizes = importlib.import_module("sizes")
    assert sizes.rule(sizes.rows_of(BENCHMARKS / "results" / "sizes.json")) == sizes.RULE.read_text(encoding="utf-8")
    rows = [of_table("s/4", 900, -16.0), of_table("s/2", 150, -15.0), of_table("s", 300, -17.0)]

    def needs(rows):
        table = [row for row in json.loads(sizes.rule(rows))["needs"] if row["data"] == "Table"]
        return {row["size"]: row["steps"] for row in table}

    assert needs([]) == {"s/4": 100, "s/2": 200, "s": 500}
    assert needs(rows) == {"s/4": 100, "s/2": 150, "s": 600}
    won = [of_table("s/2", 1000, -16.0) | {"s": 60}, of_table("s", 400, -15.0) | {"s": 60}]
    assert needs(rows + won)["s"] == round(math.sqrt(600 * 400))
    level = [of_table("s", 700, -16.0) | {"s": 60}, of_table("m", 300, -16.1) | {"s": 60}]
    assert needs(level) == needs([])  # as good as the narrower
    assert needs([level[0], level[1] | {"likelihood": -15.0}])["m"] == 300
