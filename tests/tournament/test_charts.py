"""Charts: what is drawn is where it should be, and every chart is well-formed."""

import itertools
import math
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from fourfold.metrics import Floor
from fourfold.pictures.charts import (
    Axis,
    Curve,
    Point,
    _marks_of,
    _places,
    _shared,
    cloud,
    count,
    curves,
    number,
    scatter,
    sparkline,
    strip,
)


def test_axes_map_ends_to_ends_and_keep_values_inside() -> None:
    linear, log = Axis(0, 10, 100, 200), Axis(0.1, 10, 0, 100, True)
    assert [linear(v) for v in (0, 5, 10, 99)] == [100, 150, 200, 200]
    assert [log(v) for v in (0.1, 1, 10, -3)] == [0, 50, 100, 0]


@pytest.mark.parametrize(("low", "high", "log"), [(0, 1, False), (-3e-4, 2e-4, False), (0.02, 900, True), (3, 4, True)])
def test_ticks_are_few_round_and_inside(low: float, high: float, log: bool) -> None:
    ticks = Axis(low, high, 0, 1, log).ticks()
    assert 2 <= len(ticks) <= 11
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize("log", [False, True])
def test_an_axis_around_one_value_is_not_empty(log: bool) -> None:
    axis = Axis.around([5.0, math.nan], 0, 100, log)
    assert axis.low < 5 < axis.high


def test_numbers() -> None:
    assert [number(v) for v in (0.12345, 1234.5, -2.0, math.nan, 0.0)] == ["0.123", "1\u202f234", "−2", "–", "0"]
    assert number(1.5e-7) == "1.5·10⁻⁷"
    assert [count(v) for v in (999, 732_049, 1_431_830)] == ["999", "732 k", "1.43 M"]


def test_every_chart_is_well_formed() -> None:
    points = [
        Point(0.1, 2.0, 1.5, 2.5, "a <b> & c", "c0", [(0.05, 3.0, "5 evaluations")]),
        Point(90.0, 0.5, math.nan, math.nan, "d", "c1"),
    ]
    charts = [
        scatter(points, "ms", "d", floor=Floor(0.3, 0.2, 0.4)),
        scatter([Point(1.0, -0.1, -0.2, 0.1, "negative", "c0")], "ms", "d"),
        curves([Curve(range(1000), [math.sin(i) for i in range(1000)], "loss", "c0")], "s"),
        sparkline([1, 2, math.nan, 3], "c0"),
        strip(0.5, 0.4, 0.6, Floor(0.1, 0.0, 0.2), (0, 1, False), "c0"),
        cloud([[0.1, 0.2]], [[0.3, 5.0]], (0, 1, 0, 1), ("a < b", "c & d"), "c0"),
    ]
    for chart in charts:
        assert isinstance(chart, Markup)
        assert ElementTree.fromstring(chart).tag == "svg"
    assert curves([], "s") == ""
    assert curves([Curve([1.0], [2.0], "one point", "c0")], "s") == ""  # not an empty frame
    assert sparkline([1.0], "c0") == ""


def test_what_is_put_into_a_chart_is_escaped() -> None:
    attack = '"><script>alert(1)</script>'
    path = [(0.5, 1.0, attack)]
    charts = [
        scatter([Point(1.0, 1.0, 0.5, 2.0, attack, attack, path)], attack, attack),
        curves([Curve([1.0, 2.0], [2.0, 1.0], attack, attack)], attack),
        sparkline([1, 2], attack),
        strip(0.5, 0.4, 0.6, Floor(0.1), (0, 1, False), attack),
        cloud([[0.1, 0.2]], [], (0, 1, 0, 1), (attack, attack), attack),
    ]
    for chart in charts:
        assert "<script" not in chart
        assert ElementTree.fromstring(chart).tag == "svg"


def test_labels_keep_clear_of_each_other_and_of_what_is_drawn() -> None:
    ax, ay = Axis(0.1, 100, 62, 1114, True), Axis(0.1, 10, 384, 14, True)
    near = [Point(1 + i / 10, 1 + i / 20, 0.95 + i / 20, 1.05 + i / 20, f"paradigm-{i}", "c0") for i in range(5)]
    path = Point(3.0, 2.0, 1.9, 2.1, "few-step", "c1", [(1.5, 2.5, "1 evaluation"), (6.0, 1.5, "8 evaluations")])
    end = Point(95.0, 5.0, math.nan, math.nan, "latent-autoregressive", "c2")
    points = [*near, path, end]
    places = _places(points, ax, ay, 1130)
    labels = [(x, y - 11, x + 7.4 * len(p.label), y + 3) for p, (x, y) in zip(points, places, strict=True)]
    for label, other in itertools.combinations(labels, 2):
        assert _shared(label, other) == 0
    for box in labels:
        assert box[2] <= 1130
        assert all(_shared(box, mark) < 15 for p in points for mark in _marks_of(p, ax, ay))


def test_a_name_too_long_for_the_chart_is_placed_all_the_same() -> None:
    chart = scatter(
        [Point(1.0, 1.0, 0.5, 2.0, "a paradigm with a name as long as this one", "c0")], "ms", "d", width=380
    )
    assert "a paradigm with a name" in chart
