"""The map, as text and as one self-contained page: bands are paradigms, columns are costs, dots are systems.

Both are derived from ``vocabulary.FACTS`` and the catalogue. Nothing about a paradigm is written here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TypeAlias

from markupsafe import Markup

from fourfold.output.printable import printable
from fourfold.pictures.markup import element
from fourfold.vocabulary import FACTS, Cost, Facts
from fourfold_atlas.catalogue import System, systems
from fourfold_atlas.evidence import Cell
from fourfold_atlas.placement import Placement

__all__ = ["as_text", "html", "svg"]

COLUMNS: tuple[tuple[str, str], ...] = (
    ("constant", "one pass"),
    ("length", "token after token"),
    ("steps", "solver steps"),
    ("chain", "Markov chain"),
    ("not_applicable", "nothing is drawn"),
)
COLOURS = dict(zip(Cell, ("#2f6fb5", "#2e8b57", "#c2452d", "#7b4fb3", "#b8860b", "#a83279", "#6b7280"), strict=True))
BORDER = (
    "Beyond the border: p(y given x), vectors, codes or one best answer. "
    "A generative model has p(x) or p(x given c), and draws from it."
)
GAP, PAD, LEFT, TOP, WIDTH = 19, 14, 250, 64, 20


def as_text() -> str:
    """The map in 80 columns: each paradigm's two answers, their consequences, failure modes, and number of systems."""
    counts = {cell: sum(system.paradigm is cell for system in systems()) for cell in Cell}
    parts = [_paradigm_text(cell, FACTS[cell.paradigm], counts[cell]) for cell in Cell if cell.paradigm]
    parts.append(
        "\n".join(["NOT GENERATIVE" + f"({counts[Cell.NOT_GENERATIVE]} systems)".rjust(66), textwrap.fill(BORDER, 80)])
    )
    return "\n\n".join(parts)


def _paradigm_text(cell: Cell, facts: Facts, count: int) -> str:
    rows = [
        ("represents", facts.represents),
        ("objective", facts.objective),
        ("", facts.objective_formula),
        ("sampling", facts.sampling),
        ("", facts.sampling_formula),
        ("likelihood", _likelihood(facts)),
        ("cost", f"{facts.cost.value}: {facts.cost_note}"),
        ("gives", facts.gives),
        ("drawbacks", facts.drawbacks),
        *_labelled("watch", (f"{mode.name}: {mode.measurement}" for mode in facts.failure_modes)),
        *_labelled("papers", (f"{paper.authors} {paper.year}, {paper.link}" for paper in facts.references)),
    ]
    body = [
        textwrap.fill(text, 80, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14, break_long_words=False)
        for label, text in rows
    ]
    return "\n".join([cell.value.upper() + f"({count} systems)".rjust(80 - len(cell.value)), *body])


def _labelled(label: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Texts below one label."""
    return [(label if i == 0 else "", text) for i, text in enumerate(texts)]


def _likelihood(facts: Facts) -> str:
    return f"{facts.likelihood.value.replace('_', ' ')}: {facts.likelihood_note}"


@dataclass(frozen=True)
class _Dot:
    name: str
    cell: Cell
    column: str
    card: Mapping[str, object]
    placed: bool = False


def _dots(placed: Iterable[Placement]) -> list[_Dot]:
    rows = [_Dot(system.name, system.paradigm, system.cost, _card(system)) for system in systems()]
    answers = [(row, row.cell) for row in placed if row.cell is not None]
    return rows + [_Dot(row.subject, cell, _column(row.cost), _placed_card(row), placed=True) for row, cell in answers]


def _column(cost: Cost | None) -> str:
    return cost.value if cost else "not_applicable"


def _card(system: System) -> dict[str, object]:
    return {
        "name": system.name,
        "line": f"{system.year}, {system.organisation}, {system.modality}",
        "paradigm": system.paradigm.value,
        "objective": system.objective,
        "sampling": system.sampling,
        "likelihood": system.likelihood.replace("_", " "),
        "inherited": ", ".join(system.inherited),
        "parts": [f"{p.name}: {p.role}" + (f" ({p.trained})" if p.trained else "") for p in system.components],
        "source": list(system.source),
    }


def _placed_card(row: Placement) -> dict[str, object]:
    quotes = [f"“{evidence.quote}” [{evidence.where}]" for evidence in row.evidence[:5] if evidence.weight > 0]
    return {
        "name": row.subject,
        "line": "prior knowledge" if row.prior else f"placed with confidence {row.confidence:.0%}",
        "paradigm": str(row.cell),
        "objective": "; ".join(quotes[:3]),
        "sampling": row.cost_note,
        "likelihood": row.likelihood.value.replace("_", " "),
        "inherited": ", ".join(part.role.replace("_", " ") for part in row.parts),
        "parts": [],
        "source": [],
    }


def _facts_card(cell: Cell) -> dict[str, object]:
    if cell.paradigm is None:
        return {"name": cell.value, "line": BORDER, "paradigm": cell.value, "parts": [], "source": []}
    facts = FACTS[cell.paradigm]
    return {
        "name": cell.value,
        "line": facts.represents,
        "paradigm": cell.value,
        "objective": f"{facts.objective}. {facts.objective_formula}",
        "sampling": f"{facts.sampling}. {facts.sampling_formula}",
        "likelihood": _likelihood(facts),
        "inherited": facts.drawbacks,
        "parts": [f"{mode.name}: {mode.meaning}; seen by {mode.measurement}" for mode in facts.failure_modes],
        "source": [paper.link for paper in facts.references],
    }


_Span: TypeAlias = tuple[float, float]
"""Two coordinates, or where something begins and how long it is."""


def _layout(dots: list[_Dot]) -> tuple[dict[Cell, _Span], dict[str, _Span], list[_Span], float, float]:
    """Bands per paradigm (y, height), columns (x, width), a point per dot, and the whole size."""
    counts: dict[tuple[Cell, str], int] = {}
    for dot in dots:
        counts[dot.cell, dot.column] = counts.get((dot.cell, dot.column), 0) + 1
    across = {
        key: max((min(WIDTH, n) for (_, column), n in counts.items() if column == key), default=0) for key, _ in COLUMNS
    }
    columns: dict[str, _Span] = {}
    x = float(LEFT)
    for key, _ in COLUMNS:
        width = max(across[key], 6) * GAP + 2 * PAD
        columns[key] = (x, width)
        x += width
    bands, y = {}, float(TOP)
    for cell in Cell:
        deepest = max(
            (-(-n // max(across[column], 6)) for (owner, column), n in counts.items() if owner is cell), default=1
        )
        height = max(deepest * GAP + 2 * PAD, 92.0)
        bands[cell] = (y, height)
        y += height + 6
    return bands, columns, _points(dots, bands, columns, across), x, y


def _points(
    dots: list[_Dot], bands: Mapping[Cell, _Span], columns: Mapping[str, _Span], across: Mapping[str, int]
) -> list[_Span]:
    counts: dict[tuple[Cell, str], int] = {}
    points = []
    for dot in dots:
        k = counts.get((dot.cell, dot.column), 0)
        counts[dot.cell, dot.column] = k + 1
        row, place = divmod(k, max(across[dot.column], 6))
        points.append(
            (columns[dot.column][0] + PAD + (place + 0.5) * GAP, bands[dot.cell][0] + PAD + (row + 0.5) * GAP)
        )
    return points


def svg(placed: Iterable[Placement]) -> str:
    """The map as an SVG picture: bands are objectives, columns are sampling procedures, dots are systems."""
    dots = _dots(placed)
    bands, columns, points, width, height = _layout(dots)
    heads = [(columns[key][0] + PAD, title) for key, title in COLUMNS]
    words = {"y": 46, "font_size": 15, "fill": "#444"}
    parts = [
        element("rect", width=f"{width:.0f}", height=f"{height:.0f}", fill="#fbfaf7"),
        *(element("text", title, x=f"{x:.0f}", **words) for x, title in heads),
        element("text", "objective ↓  sampling →", x=14, **words),
        *(part for cell, (y, tall) in bands.items() for part in _band(cell, y, tall, width)),
        *(_mark(i, dot, point) for i, (dot, point) in enumerate(zip(dots, points, strict=True))),
    ]
    page = {"xmlns": "http://www.w3.org/2000/svg", "id": "map", "font_family": "system-ui, sans-serif"}
    return element("svg", Markup("\n").join(parts), viewBox=f"0 0 {width:.0f} {height:.0f}", **page)


def _band(cell: Cell, y: float, tall: float, width: float) -> list[Markup]:
    """The band of a paradigm, its name and its objective."""
    colour, paradigm = COLOURS[cell], cell.paradigm
    lines = textwrap.wrap(FACTS[paradigm].objective if paradigm else "labels, vectors, codes, one best answer", 36)[:3]
    box = {"x": 4, "y": f"{y:.0f}", "width": f"{width - 8:.0f}", "height": f"{tall:.0f}", "rx": 8}
    title = {"css": "title", "data_cell": cell.value, "x": 16, "y": f"{y + 28:.0f}", "font_size": 19}
    return [
        element("rect", **box, fill=colour, fill_opacity="0.10", stroke=colour, stroke_opacity="0.5"),
        element("text", cell.value, **title, font_weight=600, fill=colour),
        *(
            element("text", line, x=16, y=f"{y + 48 + 15 * i:.0f}", font_size="11.5", fill="#444")
            for i, line in enumerate(lines)
        ),
    ]


def _mark(index: int, dot: _Dot, point: _Span) -> Markup:
    """The dot of a system, with a ring around one that was just placed."""
    x, y = point
    name = printable(dot.name)
    label = name if len(dot.name) <= 16 else printable(dot.name[:15]) + "…"
    ring = element("circle", cx=x, cy=y, r=9, fill="none", stroke="#111", stroke_width=2) if dot.placed else ""
    circle = element("circle", element("title", name), cx=x, cy=y, r=5, fill=COLOURS[dot.cell])
    text = element("text", label, x=x, y=y + 8.2, font_size="2.1", text_anchor="middle", fill="#222")
    return element("g", ring, circle, text, css="dot", data_i=index)


def html(placed: Iterable[Placement]) -> str:
    """The map as one page: the wheel zooms, dragging moves, a click shows a card, typing finds a system.

    Names and quotes come from outside. They are put in by one pass over the page, escaped, and the page runs no script
    but its own.
    """
    rows = list(placed)
    page, style, script = (
        resources.files("fourfold_atlas").joinpath(f"map.{kind}").read_text(encoding="utf-8")
        for kind in ("html", "css", "js")
    )
    data = {"dots": [dot.card for dot in _dots(rows)], "cells": {cell.value: _facts_card(cell) for cell in Cell}}
    parts = {
        "MAP": svg(rows),
        "DATA": _in_script(json.dumps(data, ensure_ascii=False)),
        "COUNT": str(len(systems())),
        "STYLE": style,
        "SCRIPT": script,
        "POLICY": f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'",
    }
    return re.sub("%([A-Z]+)%", lambda match: parts[match.group(1)], page)


def _in_script(data: str) -> str:
    """JSON that can end no script element and open no comment in one."""
    return printable(data).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _digest(text: str) -> str:
    """The name of an inline script or style in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
