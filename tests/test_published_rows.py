"""The metrics of ``benchmarks/published.py`` against direct computations, its stop at an anchor, and its page."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "docs")]

from make_published import best, ranks, verdict  # noqa: E402
from published_rows import Anchor, Line  # noqa: E402
from published_rows.binary import chow_liu  # noqa: E402
from published_rows.chorales import written  # noqa: E402
from published_rows.modes import centres, figures  # noqa: E402
from published_rows.simulated import Node, counted, probabilities, sampled  # noqa: E402
from published_rows.small_tables import points  # noqa: E402
from published_rows.three_way import distance  # noqa: E402

import published  # noqa: E402


def test_a_tree_is_a_distribution_and_the_likeliest_of_all_trees() -> None:
    random = np.random.default_rng(0)
    first = random.integers(2, size=(400, 1))
    chain = [first]
    for _ in range(3):
        chain.append(np.where(random.random((400, 1)) < 0.1, 1 - chain[-1], chain[-1]))
    rows = np.concatenate(chain, 1)[:, [2, 0, 3, 1]]
    every = np.array(list(itertools.product((0, 1), repeat=4)))
    assert chow_liu(rows, every).exp().sum().item() == pytest.approx(1)
    # the tree of a chain is the chain: 2 - 0 - 3 - 1 before the columns were mixed
    pairs = [(1, 3), (3, 0), (0, 2)]
    p = lambda *c: np.array([(np.all(rows[:, c] == v[list(c)], 1).sum() + 2 ** (2 - len(c))) / 404 for v in every])  # noqa: E731
    by_hand = p(1) * np.prod([p(a, b) / p(a) for a, b in pairs], axis=0)
    np.testing.assert_allclose(chow_liu(rows, every).exp(), by_hand)


def test_three_way_distance_equals_counted_marginals() -> None:
    random = np.random.default_rng(1)
    same, two = (
        pd.DataFrame(
            {"x": random.normal(size=300), "a": random.choice(list("pq"), 300), "b": random.choice([True, False], 300)}
        )
        for _ in range(2)
    )
    breaks = same["x"].quantile(np.linspace(0, 1, 6)).to_numpy()
    counted = []
    for frame in (same, two):
        place = np.where(
            (frame["x"] < breaks[0]) | (frame["x"] > breaks[-1]), -1, np.searchsorted(breaks[1:], frame["x"])
        )
        counted.append(pd.Series(list(zip(place, frame["a"], frame["b"], strict=True))).value_counts(normalize=True))
    expected = counted[0].sub(counted[1], fill_value=0).abs().sum() / 2
    assert distance(same, two) == pytest.approx(expected)


def test_a_network_is_a_distribution_that_its_rows_give_back() -> None:
    tables = np.array([0.3, 0.7]), np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5]])
    nodes = [Node(1, (), tables[0]), Node(0, (1,), tables[1])]
    every = np.array(list(itertools.product(range(3), range(2))))
    assert probabilities(nodes, every).sum() == pytest.approx(1)
    assert probabilities(nodes, np.array([[2, 1]]))[0] == pytest.approx(0.35)
    again = counted(nodes, sampled(nodes, 40_000, seed=0))
    for node, table in zip(again, tables, strict=True):
        np.testing.assert_allclose(node.table, table, atol=0.015)


def test_a_frame_has_one_text() -> None:
    roll = np.zeros((2, 88), dtype=np.uint8)
    roll[0, [40, 52]] = 1
    assert written(roll) == f"|{chr(0x100 + 52)}{chr(0x100 + 40)}\n\n"
    assert written(roll, shift=2) == f"|{chr(0x100 + 54)}{chr(0x100 + 42)}\n\n"


def test_even_draws_of_all_modes_have_no_divergence_and_one_mode_all_of_it() -> None:
    even, single = figures("grid", centres("grid")), figures("grid", centres("grid")[:1].repeat(9, 1))
    assert (even["modes"], even["modes x quality, %"]) == (25, 100)
    assert even["reverse KL"] == pytest.approx(0, abs=1e-5)
    assert (single["modes"], single["modes x quality, %"]) == (1, 4)
    assert single["reverse KL"] == pytest.approx(np.log(25))


def test_an_anchor_that_differs_stops_the_row() -> None:
    assert list(published.checked(iter([Anchor("tree", 1.0, 1.05, 0.1)])))
    with pytest.raises(published.Differs, match=r"tree must be 1\.0.*1\.2"):
        list(published.checked(iter([Anchor("tree", 1.0, 1.2, 0.1)])))


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        ((0.5, 0.4, 0.6), "fourfold"),
        ((0.9, 0.8, 1.1), "not significantly different"),
        ((2.0, 1.9, 2.1), "theirs"),
        (0.99, "fourfold"),
    ],
)
def test_a_verdict_names_the_better_only_outside_the_interval(ours: object, expected: str) -> None:
    row = {"figure": "loss", "lower": True, "ideals": {}}
    ours = list(ours) if isinstance(ours, tuple) else ours
    lines = [{"data": "a", "system": "theirs", "figures": {"loss": 1.0}, "reference": False}]
    lines.append({"data": "a", "system": "oracle", "figures": {"loss": 0.0}, "reference": True})
    theirs = best(row, lines, "a")
    assert verdict(row, {"data": "a", "system": "x", "figures": {"loss": ours}}, theirs) == expected


def test_sets_are_named_up_to_a_comma_of_their_own() -> None:
    row = published.row_of("posteriors")
    assert published.selected(row, None) == list(row.sets)
    assert published.selected(row, "two_moons") == ["two_moons, 1,000 simulations", "two_moons, 10,000 simulations"]
    with pytest.raises(SystemExit, match="got 'moons'"):
        published.selected(row, "two_moons,moons")


def test_a_line_of_ours_says_what_differs() -> None:
    row = published.row_of("forecasts")
    ours = published.described(row, Line("ETTh", "x", {"quantile loss": 1.0}))
    assert ours["same"]["split"] == "yes"
    assert ours["same"]["data"].startswith("no: trained")
    assert published.described(row, row.published[0])["same"] == {}


def test_mean_ranks_are_those_of_every_set_and_leave_references_out() -> None:
    names, sets = ["a", "b", "ours"], [f"set {i}" for i in range(8)]
    values = np.random.default_rng(0).normal(size=(8, 4))
    line = lambda data, system, value: {  # noqa: E731
        "data": data,
        "system": system,
        "figures": {"W1": [value, value - 1, value + 1]},
        "reference": system == "oracle",
    }
    published = [line(s, n, values[i, j]) for i, s in enumerate(sets) for j, n in enumerate(["a", "b", "oracle"])]
    lines = {s: {"lines": [line(s, "ours", values[i, 2]), line(s, "d", values[i, 3])]} for i, s in enumerate(sets)}
    (table,) = ranks({"figure": "W1", "lower": True, "ideals": {}, "published": published, "sets": lines})
    body = [row.strip("| ").split(" | ") for row in table.split("\n")[2:]]
    rows = {system: float(rank) for system, rank, _ in body}
    by_hand = {n: np.mean([1 + sum(v < row[j] for v in row) for row in values]) for j, n in enumerate([*names, "d"])}
    assert rows == pytest.approx(by_hand, abs=5e-3)
    assert "oracle" not in table


def test_points_scale_numbers_by_training_rows_and_halve_classes() -> None:
    train = pd.DataFrame({"x": [1.0, 3.0, 2.0], "target": ["class 0", "class 1", "class 0"]})
    test = pd.DataFrame({"x": [5.0, 1.5], "target": ["class 1", "class 1"]})
    np.testing.assert_allclose(points(train, test), [[2, 0, 0.5], [0.25, 0, 0.5]])
