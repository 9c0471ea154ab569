"""The animation of several traces as one SVG: it plays in any browser, and in a README.

Each point is a circle that goes along the states of its sample. Colours follow the reader's theme.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence

import torch
from markupsafe import Markup
from torch import Tensor

from fourfold.pictures.markup import element, svg
from fourfold_web.traces import REACH, Layer, Trace

__all__ = ["animation", "positions"]

SIDE, GAP, HEAD = 210, 16, 62
"""Pixels of a plane, between planes, and of the lines above one."""
COLUMNS = 3
SECONDS = 9.0
MOMENTS = 45
"""Moments of one round, of which a browser draws all between."""
STYLE = """
text { font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: #1b1d22; }
.note { fill: #565b66; } .plane { fill: #ffffff; stroke: #dedfdb; } .data { fill: #565b66; opacity: .45; }
.curve { fill: #2f6fb5; opacity: .35; }
.lines { fill: none; stroke: #565b66; opacity: .3; stroke-width: .6; } .p { fill-opacity: .92; }
@media (prefers-color-scheme: dark) {
  text { fill: #eceef2; } .note { fill: #a6adba; } .plane { fill: #1c1f25; stroke: #333842; }
  .data { fill: #a6adba; } .lines { stroke: #a6adba; } .p { filter: brightness(1.45); }
}
"""


def animation(traces: Mapping[str, Trace], points: int = 110) -> Markup:
    """All traces at once, each in a plane of its own under its name.

    Args:
        traces: traces of points of the plane, by title.
        points: the number of points of each.
    """
    planes = [_plane(title, trace, points) for title, trace in traces.items()]
    rows = math.ceil(len(planes) / COLUMNS)
    width, height = COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + HEAD + GAP) + GAP
    placed = [
        element(
            "g",
            plane,
            transform=f"translate({GAP + i % COLUMNS * (SIDE + GAP)},{GAP + i // COLUMNS * (SIDE + HEAD + GAP)})",
        )
        for i, plane in enumerate(planes)
    ]
    clip = element("clipPath", element("rect", width=SIDE, height=SIDE, rx=8), id="plane")
    title = element("title", f"{len(planes)} models turn noise into samples of the same data")
    return svg(
        width,
        height,
        title,
        element("style", Markup(STYLE)),
        element("defs", clip),
        *placed,
        xmlns="http://www.w3.org/2000/svg",
    )


def positions(trace: Trace, layer: Layer, moments: int = MOMENTS) -> Tensor:
    """The values of a layer at evenly spaced moments, ``(moments, *)``. Between two frames they go straight."""
    values = []
    for k in range(moments):
        frame, t = trace.moment(k / (moments - 1))
        before, after = (layer.values[min(max(i, 0), len(layer.values) - 1)] for i in (frame - 1, frame))
        between = before + t * (after - before)
        values.append(torch.where(between.isnan(), after, between))
    return torch.stack(values)


def _plane(title: str, trace: Trace, count: int) -> Markup:
    panel = trace.panels[-1]
    layers = {layer.kind: layer for layer in panel.layers}
    data = [_circle(*_pixel(row), 0.9, css="data") for row in layers["data"].values[0, :220].tolist()]
    lines = [_line(row) for row in layers["lines"].values[-1].tolist()] if "lines" in layers else []
    lines += [_curve(layers["curve"].values[0].tolist())] if "curve" in layers else []
    states = positions(trace, layers["points"])[:, :count]
    states = torch.where(states.isnan(), torch.tensor([0.0, -REACH - 0.3]), states)
    dots = [_dot(states[:, i].tolist()) for i in range(states.shape[1])]
    head = [
        element("text", title, x=2, y=16, font_size=15, font_weight=650),
        element("text", f"likelihood: {trace.answers['likelihood']}", x=2, y=33, font_size=11.5, css="note"),
        element(
            "text", f"network evaluations a sample: {trace.evaluations:.0f}", x=2, y=48, font_size=11.5, css="note"
        ),
    ]
    inside = element("g", *data, *lines, *dots, clip_path="url(#plane)")
    frame = element("rect", width=SIDE, height=SIDE, rx=8, css="plane")
    return element("g", *head, element("g", frame, inside, transform=f"translate(0,{HEAD - 8})"))


def _pixel(point: Sequence[float]) -> tuple[float, float]:
    half = SIDE / 2
    return half + half / REACH * point[0], half - half / REACH * point[1]


def _circle(x: float, y: float, r: float, **attributes: str) -> Markup:
    return element("circle", cx=round(x, 1), cy=round(y, 1), r=r, **attributes)


def _line(points: Sequence[Sequence[float]]) -> Markup:
    pixels = [_pixel(point) for point in points[::2] if not math.isnan(point[0])]
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in pixels), css="lines")


def _curve(values: Sequence[float]) -> Markup:
    """A density along the bottom."""
    tall, step = SIDE / 6 / max(values), SIDE / len(values)
    points = " ".join(f"{(i + 0.5) * step:.1f},{SIDE - tall * value:.1f}" for i, value in enumerate(values))
    return element("polygon", points=f"0,{SIDE} {points} {SIDE},{SIDE}", css="curve")


def _dot(states: Sequence[Sequence[float]]) -> Markup:
    """A circle that goes through states. Its hue tells where it ends."""
    x, y = states[-1]
    red, green, blue = colorsys.hls_to_rgb((math.atan2(y, x) / (2 * math.pi)) % 1, 0.42, 0.62)
    colour = f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
    (x_end, y_end), places = _pixel(states[-1]), map(_pixel, states)
    values = ";".join(f"{x - x_end:.0f},{y - y_end:.0f}" for x, y in places)  # whoever draws no motion sees the end
    motion = element("animateMotion", dur=f"{SECONDS:g}s", repeatCount="indefinite", calcMode="linear", values=values)
    return element("circle", motion, cx=round(x_end, 1), cy=round(y_end, 1), r=2.6, fill=colour, css="p")
