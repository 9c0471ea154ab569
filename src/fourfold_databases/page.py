"""The first page of a report on a synthetic database: keys, the schema as a picture, and the scores of each view."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from fourfold.pictures.markup import element, svg
from fourfold_databases.judging import DatabaseJudgement, LinkCheck, page_name
from fourfold_databases.schema import Schema

__all__ = ["schema_picture", "write_page"]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
body { color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums } .bad { color: #b00020; font-weight: 600 }
svg text { font: 13px system-ui, sans-serif; fill: currentColor } svg { max-width: 100%; height: auto }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } td, th { border-color: #444 }
  .bad { color: #ff7b8a } a { color: #8ab4f8 } }
"""
BOX = (150, 26)
"""Width and height of a table in the picture of the schema."""
GAP = (60, 22)
"""The space between two tables."""


def write_page(judgement: DatabaseJudgement, schema: Schema, folder: Path) -> Path:
    """Write ``index.html`` into the folder of a report, and return its path."""
    broken = sum(check.broken for check in judgement.checks)
    state = f"{broken:,} rows break a key or a link." if broken else "Every key differs, and every link leads to a row."
    body = [
        element("h1", f"{judgement.name}: a synthetic database"),
        element("p", state, css="bad" if broken else None),
        element("h2", "Schema"),
        schema_picture(schema),
        element("h2", "Keys and links"),
        element("table", _head("key or link", "rows", "broken"), *(_check_row(check) for check in judgement.checks)),
        element("h2", "Tables, and what links them"),
        element(
            "p",
            "A score of 0.5 for two-sample AUC means that trained trees cannot tell synthetic rows from real ones. "
            "Behind each score stands that of real rows. Each name leads to all scores of that view.",
        ),
        element("table", _head(*judgement.rows[0]), *_view_rows(judgement)),
    ]
    if judgement.short:
        body.append(element("p", f"Too few rows to be measured: {', '.join(judgement.short)}."))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width"),
        element("title", judgement.name),
        element("style", Markup(STYLE)),
    )
    path = folder / "index.html"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<!doctype html>\n{element('html', head, element('body', *body), lang='en')}\n", encoding="utf-8")
    return path


def _head(*words: str) -> Markup:
    return element("tr", *(element("th", word) for word in words))


def _check_row(check: LinkCheck) -> Markup:
    css = "number bad" if check.broken else "number"
    cells = (element("td", f"{check.rows:,}", css="number"), element("td", f"{check.broken:,}", css=css))
    return element("tr", element("td", check.name), *cells)


def _view_rows(judgement: DatabaseJudgement) -> list[Markup]:
    """The scores of all views. The name of a view leads to its report."""
    return [
        element(
            "tr",
            element("td", element("a", view, href=page_name(view))),
            *(element("td", value or "\u2013", css="number") for value in values),
        )
        for view, *values in judgement.rows[1:]
    ]


def schema_picture(schema: Schema) -> Markup:
    """The tables as boxes, parents left of children, and links as lines."""
    depth: dict[str, int] = {}
    for table in schema.order:
        parents = [depth[link.parent] for link in schema.links_of(table) if link.parent != table]
        depth[table] = 1 + max(parents, default=-1)
    (width, height), (across, down) = BOX, GAP
    places: dict[str, tuple[int, int]] = {}
    for table in schema.order:
        above = sum(depth[other] == depth[table] for other in places)
        places[table] = (10 + depth[table] * (width + across), 10 + above * (height + down))
    lines = []
    for link in schema.links:
        (x0, y0), (x1, y1) = places[link.parent], places[link.child]
        start, end, middle = x0 + width, x1, height // 2
        path = f"M {start} {y0 + middle} C {start + 30} {y0 + middle} {end - 30} {y1 + middle} {end} {y1 + middle}"
        if link.parent == link.child:
            path = f"M {start - 30} {y0} C {start - 20} {y0 - 14} {start + 14} {y0 - 4} {start} {y0 + 8}"
        dashes = None if link == schema.owner(link.child) else "4 3"
        lines.append(element("path", d=path, fill="none", stroke="#888", stroke_dasharray=dashes))
    boxes = [
        element(
            "g",
            element("rect", x=x, y=y, width=width, height=height, rx=4, fill="none", stroke="currentColor"),
            element("text", _short(table), x=x + 8, y=y + 18),
        )
        for table, (x, y) in places.items()
    ]
    size = [max(place[i] for place in places.values()) + BOX[i] + 12 for i in (0, 1)]
    title = element("title", "Tables and links. A dashed line is a reference.")
    return svg(size[0], size[1], title, *lines, *boxes, role="img")


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
