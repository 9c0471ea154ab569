"""Charts as SVG. They take their colours from the page, so they suit a light page, a dark page and paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from markupsafe import Markup

from fourfold.metrics import Floor
from fourfold.pictures.markup import element, svg

__all__ = ["Axis", "Curve", "Point", "cloud", "count", "curves", "number", "scatter", "sparkline", "strip"]


NO_FLOOR = Floor()


@final
@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis from ``low`` to ``high`` onto pixels ``start`` to ``stop``."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    @classmethod
    def around(cls, values: Sequence[float], start: float, stop: float, log: bool, margin: float = 0.08) -> Axis:
        """The axis that covers all finite values with a margin. A logarithmic axis covers the positive ones."""
        finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [1.0]
        low, high = (math.log10(f(finite)) if log else f(finite) for f in (min, max))
        pad = (high - low) * margin or (0.5 if log else abs(high) * 0.1 or 1.0)
        low, high = low - pad, high + pad
        return cls(10**low, 10**high, start, stop, True) if log else cls(low, high, start, stop)

    def __call__(self, value: float) -> float:
        """The pixel of a value, kept within the axis."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        at = math.log10(max(value, self.low)) if self.log else value
        share = min(max((at - low) / (high - low), 0.0), 1.0)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values along the axis: 1, 2, 5 times powers of ten, or only the powers if there are many."""
        if not self.log:
            return _linear_ticks(self.low, self.high, about)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
            values = [f * 10.0**p for p in powers for f in factors if self.low <= f * 10.0**p <= self.high]
            if len(values) >= 3:
                break
        return values[:: max(1, len(values) // 7)]


def _linear_ticks(low: float, high: float, about: int) -> list[float]:
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= raw * 0.999)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]


def number(value: float) -> str:
    """A short number for a tick or a cell: three significant digits, and no exponent unless it is needed."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1e6 or (0 < size < 1e-4):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    if size >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    text = f"{value:.3g}"
    return text.replace("-", "−")


def count(value: float) -> str:
    """A large count in thousands or millions: 732 k, 1.43 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


@final
@dataclass(frozen=True)
class Point:
    """A point of a scatter chart with a vertical interval, and the path on which it lies."""

    x: float
    y: float
    low: float
    high: float
    label: str
    css: str
    path: Sequence[tuple[float, float, str]] = field(default=())


def scatter(
    points: Sequence[Point], x_label: str, y_label: str, floor: Floor = NO_FLOOR, width: int = 1130, height: int = 430
) -> Markup:
    """Quality against cost: points with intervals, paths through other settings of the same model, and the floor."""
    xs = [p.x for p in points] + [x for p in points for x, _, _ in p.path]
    ys = [v for p in points for v in (p.y, p.low, p.high)] + [y for p in points for _, y, _ in p.path] + [*floor]
    log_y = all(v > 0 for v in ys if math.isfinite(v))
    ax = Axis.around(xs, 62, width - 16, True, 0.14)
    ay = Axis.around(ys, height - 46, 14, log_y)
    body = [*_frame(ax, ay, width, height, x_label, y_label), *_floor_across(floor, ay, width)]
    places = _places(points, ax, ay, width)
    for p, place in zip(points, places, strict=True):
        body += _point(p, ax, ay, place)
    return _svg(width, height, body, f"{y_label} against {x_label}")


def _floor_across(floor: Floor, ay: Axis, width: int) -> list[Markup]:
    """The floor as a line over the chart, and its interval as a band."""
    value, low, high = floor
    body = []
    if math.isfinite(low):
        body.append(element("rect", css="band", x=62, width=width - 78, y=ay(high), height=ay(low) - ay(high)))
    if math.isfinite(value):
        y = ay(value)
        body.append(element("line", css="floor", x1=62, x2=width - 16, y1=y, y2=y))
        text = "floor: training examples" + ("" if math.isnan(low) or width < 600 else ", 95 % of draws in the band")
        body.append(element("text", text, css="note", x=66, y=y - 4))
    return body


_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def _places(points: Sequence[Point], ax: Axis, ay: Axis, width: int) -> list[tuple[float, float]]:
    """The place of each point's label: beside, below or above the point, where it covers least."""
    boxes_of_marks = [box for p in points for box in _marks_of(p, ax, ay)]
    places = []
    for p in points:
        x, y, wide = ax(p.x), ay(p.y), 8.4 * len(p.label)  # bold letters of a wide font
        beside = [(x + 10, y + 4), (x - 10 - wide, y + 4)]
        under = [(x - wide / 2, y + gap) for gap in (22, -13, 36, -27)]
        corners = [(x + 8, y + gap) for gap in (17, -9)] + [(x - 8 - wide, y + gap) for gap in (17, -9)]
        tries = [(start, base) for start, base in beside + under + corners if start >= 64 and start + wide <= width - 2]
        tries = tries or [(max(width - 2 - wide, 4.0), base) for _, base in under]  # a name too long for any of these
        boxes = [(start, base - 11, start + wide, base + 3) for start, base in tries]
        costs = [sum(_shared(box, mark) for mark in boxes_of_marks) for box in boxes]
        best = costs.index(min(costs))
        boxes_of_marks.append(boxes[best])
        places.append(tries[best])
    return places


def _marks_of(p: Point, ax: Axis, ay: Axis) -> list[_Box]:
    """The boxes that a point takes: its dot and whisker, its path, and the notes on the path."""
    x, y = ax(p.x), ay(p.y)
    low, high = (ay(p.low), ay(p.high)) if math.isfinite(p.low) else (y, y)
    marks = [(x - 7, y - 7, x + 7, y + 7), (x - 2, min(low, high), x + 2, max(low, high))]
    route = sorted([(ax(a), ay(b)) for a, b, _ in p.path] + [(x, y)])
    for (a, b), (c, d) in itertools.pairwise(route):
        between = [(a + (c - a) * i / 16, b + (d - b) * i / 16) for i in range(17)]
        marks += [(u - 3, v - 3, u + 3, v + 3) for u, v in between]
    return marks + [(ax(a) - 8, ay(b) - 18, ax(a) + 8, ay(b) + 4) for a, b, _ in p.path]


def _shared(a: _Box, b: _Box) -> float:
    """The area of the overlap of two boxes."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _point(p: Point, ax: Axis, ay: Axis, place: tuple[float, float]) -> list[Markup]:
    """A point with its interval, path and label."""
    x, y = ax(p.x), ay(p.y)
    parts = []
    if p.path:
        line = sorted([(a, b, t) for a, b, t in p.path] + [(p.x, p.y, "")])
        route = " ".join(f"{'L' if i else 'M'}{ax(a)} {ay(b)}" for i, (a, b, _) in enumerate(line))
        parts.append(element("path", css=f"line {p.css}", d=route))
        for a, b, text in p.path:
            title = element("title", text)
            parts.append(element("circle", title, css=f"small {p.css}", cx=ax(a), cy=ay(b), r=3))
            parts.append(
                element("text", text.partition(" ")[0], css="note", x=ax(a), y=ay(b) - 8, text_anchor="middle")
            )
    if math.isfinite(p.low):
        parts.append(element("line", css=f"whisker {p.css}", x1=x, x2=x, y1=ay(p.low), y2=ay(p.high)))
    dot = element("circle", element("title", p.label), css=f"dot {p.css}", cx=x, cy=y, r=6)
    return [*parts, dot, element("text", p.label, css=f"label {p.css}", x=place[0], y=place[1])]


def _frame(ax: Axis, ay: Axis, width: int, height: int, x_label: str, y_label: str) -> list[Markup]:
    """Grid lines, ticks and the names of both axes."""
    body = []
    for value in ay.ticks():
        body.append(element("line", css="grid", x1=ax.start, x2=ax.stop, y1=ay(value), y2=ay(value)))
        body.append(element("text", number(value), css="tick", x=ax.start - 6, y=ay(value) + 4, text_anchor="end"))
    for value in ax.ticks():
        body.append(element("line", css="grid", x1=ax(value), x2=ax(value), y1=ay.start, y2=ay.stop))
        body.append(element("text", number(value), css="tick", x=ax(value), y=ay.start + 16, text_anchor="middle"))
    axis = {"css": "axis", "text_anchor": "middle"}
    body.append(element("text", x_label, x=(ax.start + ax.stop) / 2, y=height - 6, **axis))
    if y_label:
        centre = (ay.start + ay.stop) / 2
        body.append(element("text", y_label, x=14, y=centre, transform=f"rotate(-90 14 {centre})", **axis))
    return body


@final
@dataclass(frozen=True)
class Curve:
    """One line of a line chart."""

    xs: Sequence[float]
    ys: Sequence[float]
    label: str
    css: str


def curves(lines: Sequence[Curve], x_label: str, width: int = 262, height: int = 160) -> Markup:
    """Lines over a common axis. The vertical range leaves out the outer hundredths, so that spikes do not flatten it.

    Empty if no line has two points.
    """
    ys = sorted(y for line in lines for y in line.ys if math.isfinite(y))
    if max((len(line.ys) for line in lines), default=0) < 2 or not ys:
        return Markup("")
    trim = len(ys) // 50
    inner = ys[trim : len(ys) - trim] or ys
    ax = Axis.around([x for line in lines for x in line.xs], 48, width - 8, False, 0.0)
    ay = Axis.around(inner, height - 40, 10, False)
    body = [*_frame(ax, ay, width, height, x_label, "")]
    for i, line in enumerate(lines):
        route = _route([(ax(x), ay(y)) for x, y in zip(line.xs, line.ys, strict=True) if math.isfinite(y)])
        body.append(element("path", css=f"line {line.css} dash{i}", d=route))
    return _svg(width, height, body, ", ".join(line.label for line in lines))


def sparkline(ys: Sequence[float], css: str, width: int = 90, height: int = 22) -> Markup:
    """A small line chart without axes."""
    finite = [y for y in ys if math.isfinite(y)]
    if len(finite) < 2:
        return Markup("")
    ay = Axis.around(finite, height - 2, 2, False, 0.02)
    route = _route([(round(2 + i * (width - 4) / (len(finite) - 1), 1), ay(y)) for i, y in enumerate(finite)])
    line = element("path", css=f"line {css}", d=route)
    return _svg(width, height, [line], "course during training", "spark")


def strip(value: float, low: float, high: float, floor: Floor, axis: tuple[float, float, bool], css: str) -> Markup:
    """A number as a dot with its interval, beside the floor with its own. All rows of a column share the axis."""
    width, height = 130, 18
    scale = Axis(axis[0], axis[1], 6, width - 6, axis[2])
    body = [element("line", css="grid", x1=6, x2=width - 6, y1=9, y2=9)]
    if math.isfinite(floor.low):
        left, right = scale(floor.low), scale(floor.high)
        body.append(element("rect", css="band", x=left, width=right - left, y=1, height=16))
    if math.isfinite(floor.value):
        at = scale(floor.value)
        body.append(element("line", css="floor", x1=at, x2=at, y1=1, y2=17))
    if math.isfinite(low):
        body.append(element("line", css=f"whisker {css}", x1=scale(low), x2=scale(high), y1=9, y2=9))
    body.append(element("circle", css=f"dot {css}", cx=scale(value), cy=9, r=4))
    return _svg(width, height, body, f"{number(value)} with its interval; the mark is the floor", "strip")


def cloud(
    points: Sequence[Sequence[float]],
    behind: Sequence[Sequence[float]],
    box: tuple[float, float, float, float],
    names: tuple[str, str],
    css: str,
) -> Markup:
    """Samples over data, as dots in one box (``x`` low, high, ``y`` low, high) with named axes."""
    size = 240
    ax, ay = Axis(box[0], box[1], 16, size - 4), Axis(box[2], box[3], size - 18, 4)
    body = []
    for rows, name in ((behind, "behind"), (points, css)):
        inside = [(x, y) for x, y in rows if box[0] <= x <= box[1] and box[2] <= y <= box[3]]
        if inside:
            route = "".join(f"M{ax(x)} {ay(y)}h0" for x, y in inside)
            body.append(element("path", css=f"dots {name}", d=route))
    note = {"css": "note", "text_anchor": "middle"}
    body.append(element("text", names[0][:32], x=126, y=236, **note))
    body.append(element("text", names[1][:32], x=10, y=112, transform="rotate(-90 10 112)", **note))
    return _svg(size, size, body, "samples over data", "cloud")


def _route(points: Sequence[tuple[float, float]], most: int = 240) -> str:
    """A path through points. If there are too many, neighbours are averaged."""
    step = max(1, math.ceil(len(points) / most))
    groups = [points[i : i + step] for i in range(0, len(points), step)]
    means = [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
    return " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(means))


def _svg(width: int, height: int, body: Sequence[Markup], title: str, css: str = "chart") -> Markup:
    return svg(width, height, *body, css=css, role="img", aria_label=title)
