"""The page of a report on a synthetic database: the verdict in plain sentences, the schema, each table, each link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from fourfold.metrics import Measurement
from fourfold.output.printable import plural
from fourfold.pictures.markup import element, svg
from fourfold.pictures.panels import short
from fourfold.tournament.judgement import words_beside
from fourfold.tournament.ranking import apart_from_floor
from fourfold_databases.findings import ATTACK, COPIES, LIKENESS, NEARNESS, conclusion, findings, score_of
from fourfold_databases.judging import DatabaseJudgement, page_name
from fourfold_databases.schema import Link, Schema

__all__ = ["schema_picture", "write_page"]

STYLE = """
:root { --ink: #1d2430; --soft: #5b6472; --line: #dfe3e8; --paper: #fff; --box: #f6f7f9; --c: #3f6fd1 }
:root { --behind: #b0b5bd; --bad: #b3261e; --fine: #1f7a3f; --fair: #a66300 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 66em; margin: 1.6em auto; padding: 0 1.2em }
body { color: var(--ink); background: var(--paper) }
h1 { font-size: 1.5em; margin: 0 } h2 { margin: 1.8em 0 .4em; font-size: 1.2em } h3 { margin: 1.4em 0 .3em }
.soft { color: var(--soft) } .conclusion { font-size: 1.15em; padding: .6em .9em; border-left: 5px solid var(--fine) }
.conclusion { background: var(--box); margin: .8em 0 } .conclusion.bad { border-color: var(--bad); color: inherit }
.conclusion.fair { border-color: var(--fair) } .wide { overflow-x: auto }
.wide td:first-child { min-width: 7em }
table { border-collapse: collapse } th { font-weight: 600; vertical-align: bottom; color: var(--soft) }
td, th { padding: .2em .9em .2em 0; text-align: left; border-bottom: 1px solid var(--line) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bad { color: var(--bad) } td.bad { font-weight: 600 } a { color: var(--c) }
ul.findings { padding: 0; list-style: none; margin: .4em 0 } ul.findings li { padding-left: 1.5em; text-indent: -1.5em }
li::before { content: "✓"; color: var(--fine); display: inline-block; width: 1.5em; text-indent: 0 }
li.bad::before { content: "✗"; color: var(--bad) } li.bad { color: inherit }
.beside { display: flex; flex-wrap: wrap; gap: .4em 1.6em; align-items: flex-start } .beside > div { min-width: 0 }
svg text { font: 13px system-ui, sans-serif; fill: currentColor } svg text.small { font-size: 11px; fill: var(--soft) }
svg.bars { max-width: 100%; height: auto } svg.bars text { font-size: 10px }
@media (prefers-color-scheme: dark) { :root { --ink: #dde1e7; --soft: #9aa3b0; --line: #3a414b; --paper: #16191d }
  :root { --box: #20252b; --c: #8ab4f8; --behind: #5d6672; --bad: #ff7b8a; --fine: #6fcf97; --fair: #e0a84a } }
"""
LEGEND = (
    "Each chart shows how many rows of a table the rows of its owner have: grey bars for the real database, blue lines "
    "for the synthetic one."
)
NUMBERS = (
    "Membership attack: how well an attack tells the rows that the system learned from. Told from real: how well "
    "trained trees tell synthetic rows from real ones. For both 0.50 is a guess, and 1.00 is always right. A dash: too "
    "few rows, or rows of keys alone. Red numbers are worse than those of new real rows by more than chance."
)
"""The meaning of the numbers of the first screen."""
BOX = (190, 42)
"""Width and height of a table in the picture of the schema."""
GAP = (60, 22)
"""The space between two tables."""


def write_page(judgement: DatabaseJudgement, schema: Schema, folder: Path) -> Path:
    """Write ``index.html`` into the folder of a report, and return its path.

    The first screen has the verdict in plain sentences and a row for each table. Then come the schema, a section for
    each table, and one for each link.
    """
    body = [
        *_first_screen(judgement, schema),
        element("h2", "Schema"),
        element("div", schema_picture(schema, judgement.sizes), css="wide"),
        element("h2", "Tables"),
        *(part for table in schema.order if table in judgement.views for part in _section(table, judgement, [table])),
        element("h2", "Links"),
        element("p", LEGEND, css="soft"),
        *(part for link in schema.links for part in _link_section(link, judgement, schema)),
        _details(judgement),
    ]
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


# --- the first screen -------------------------------------------------------------------------------------------------


def _first_screen(judgement: DatabaseJudgement, schema: Schema) -> list[Markup]:
    items = findings(judgement, schema)
    bad = "bad" if any(item.bad and item.private for item in items) else "fair" if any(i.bad for i in items) else ""
    references = (
        "Held-out rows are those of a database that the system never saw."
        if judgement.held_out
        else "No held-out database was given, so a part of the real rows takes its place. The system may have learned "
        "from that part: then nearness and attack show copies alone. Give one with --held-out."
    )
    return [
        element("h1", f"{judgement.name}: a synthetic database"),
        element("p", conclusion(judgement, schema), css=f"conclusion {bad}".strip()),
        element("ul", *(element("li", item.text, css="bad" if item.bad else None) for item in items), css="findings"),
        _table(_head("table", *_COLUMNS), *(_row(table, judgement) for table in schema.order)),
        element("p", NUMBERS, f" Every number is a measurement, and none is a guarantee. {references}", css="soft"),
    ]


_COLUMNS = (
    "rows",
    "real rows",
    "broken keys",
    "exact copies",
    "nearer to training",
    "membership attack",
    "told from real",
)
"""The columns of the first screen beside the table's name."""


def _row(table: str, judgement: DatabaseJudgement) -> Markup:
    """The numbers of a table on the first screen."""
    real, synthetic = judgement.sizes.get(table, (0, 0))
    broken = sum(check.broken for check in judgement.checks if _of_table(check.name, table))
    shares = [(COPIES, "{:.1%}"), (NEARNESS, "{:.1%}"), (ATTACK, "{:.2f}"), (LIKENESS, "{:.2f}")]
    cells = [_score_cell(score_of(judgement, table, name), form) for name, form in shares]
    name = element("a", table, href=f"#{_anchor(table)}") if table in judgement.views else table
    sizes = [element("td", f"{count:,}", css="number") for count in (synthetic, real)]
    return element("tr", element("td", name), *sizes, _count_cell(broken), *cells)


def _of_table(check: str, table: str) -> bool:
    """Whether the check of a key or a link is of a table."""
    return check.partition(" ")[2].startswith(f"{table}.")


def _score_cell(score: Measurement | None, form: str) -> Markup:
    if score is None:
        return element("td", "\u2013", css="number")
    css = "number bad" if apart_from_floor(score) else "number"
    return element("td", form.format(score.value), css=css, title=f"new real rows: {form.format(score.floor)}")


def _count_cell(broken: int) -> Markup:
    return element("td", f"{broken:,}", css="number bad" if broken else "number")


def _table(*rows: Markup) -> Markup:
    """A table that scrolls by itself where it is wider than the screen."""
    return element("div", element("table", *rows), css="wide")


def _head(*words: str) -> Markup:
    return element("tr", element("th", words[0]), *(element("th", word, css="number") for word in words[1:]))


# --- sections ---------------------------------------------------------------------------------------------------------


def _section(title: str, judgement: DatabaseJudgement, names: Sequence[str]) -> list[Markup]:
    """The scores of some views below a title."""
    return [element("h3", title, id=_anchor(title)), *(_scores(name, judgement) for name in names)]


def _scores(view: str, judgement: DatabaseJudgement) -> Markup:
    """All scores of a view, which lead to its report."""
    head, *rows = judgement.views[view].rows
    cells = [
        element(
            "tr",
            element("td", name),
            element("td", value, css="number"),
            element("td", floor, css="number"),
            element("td", word, css="bad" if word == "worse" else "soft"),
        )
        for name, value, floor, word in rows
    ]
    about = element("p", element("a", "charts, rows and all scores", href=page_name(view)), css="soft")
    return element("div", _table(_head(*head), *cells), about)


def _link_section(link: Link, judgement: DatabaseJudgement, schema: Schema) -> list[Markup]:
    """A link: its checks, how many rows each owner has, rules between its tables, and the views of what it leads to."""
    check = next(check for check in judgement.checks if check.name == f"link {link}")
    exist = f"In {plural(check.broken, 'case')} that row does not exist" if check.broken else "All these rows exist"
    facts = [f"{plural(check.rows, 'row')} of {link.child} name a row of {link.parent}. {exist}."]
    facts += [f"{rule}." for rule in judgement.rules if rule.link == link]
    views = [(name, words) for name, words in _views_of(link, schema) if name in judgement.views]
    rows = [_view_row(name, words, judgement) for name, words in views]
    table = _table(_head("question", "told from real", "real rows", ""), *rows) if rows else Markup("")
    bars = judgement.counts.get(link)
    chart = Markup("")
    if bars is not None:
        chart = element("div", bars.svg(), style="flex:0 0 180px")
    return [
        element("h3", str(link), id=_anchor(str(link))),
        *(element("p", fact, css="bad" if fact == facts[0] and check.broken else None) for fact in facts),
        element("div", chart, table, css="beside"),
    ]


def _views_of(link: Link, schema: Schema) -> list[tuple[str, str]]:
    """The views of a link, and the question that each answers."""
    child, parent = link.child, link.parent
    views = [(f"{child} by {link.column}", f"Do rows of {child} fit the row of {parent} that they name?")]
    if link == schema.owner(child):
        views += [
            (f"numbers of {child}", f"Does each row of {parent} own as many rows?"),
            (f"siblings in {child}", "Does a row fit the one before it?"),
        ]
        others = [other.child for other in schema.children(parent) if other.child != child]
        views += [(f"{child} beside {other}", f"Do they fit the rows of {other}?") for other in others]
    return views


def _view_row(name: str, question: str, judgement: DatabaseJudgement) -> Markup:
    score = score_of(judgement, name, LIKENESS)
    floor, word = ("\u2013", "") if score is None else (f"{score.floor:.2f}", words_beside(score))
    link = element("a", question, href=page_name(name))
    cells = element("td", floor, css="number"), element("td", word, css="bad" if word == "worse" else "soft")
    return element("tr", element("td", link), _score_cell(score, "{:.2f}"), *cells)


def _details(judgement: DatabaseJudgement) -> Markup:
    few = f" Too few rows to be measured: {', '.join(judgement.short)}." if judgement.short else ""
    return element(
        "p",
        "An AUC of 0.5 means that trained trees cannot tell synthetic rows from real ones. Behind each score stands "
        f"that of real rows, with half a 95 % interval.{few}",
        css="soft",
    )


def _anchor(name: str) -> str:
    return page_name(name).removesuffix(".html")


def schema_picture(schema: Schema, sizes: Mapping[str, tuple[int, int]]) -> Markup:
    """The tables as boxes with their rows, parents left of children, and links as lines."""
    depth: dict[str, int] = {}
    for table in schema.order:
        parents = [depth[link.parent] for link in schema.links_of(table) if link.parent != table]
        depth[table] = 1 + max(parents, default=-1)
    for table in reversed(schema.order):  # beside its nearest child, so that lines cross no box between
        children = [depth[link.child] for link in schema.links if link.parent == table != link.child]
        depth[table] = min(children, default=depth[table] + 1) - 1
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
            path = (
                f"M {start} {y0 + 8} C {start + 26} {y0 + 4} {start + 26} {y0 + height - 4} {start} {y0 + height - 8}"
            )
        dashes = None if link == schema.owner(link.child) else "4 3"
        lines.append(element("path", d=path, fill="none", stroke="#888", stroke_dasharray=dashes))
    boxes = [
        element(
            "g",
            element("rect", x=x, y=y, width=width, height=height, rx=4, fill="var(--box)", stroke="currentColor"),
            element("text", short(table, 22), x=x + 10, y=y + 18),
            element("text", _rows(sizes.get(table)), x=x + 10, y=y + 34, css="small"),
        )
        for table, (x, y) in places.items()
    ]
    size = [max(place[i] for place in places.values()) + BOX[i] + 12 for i in (0, 1)]
    title = element("title", "Tables and links. A dashed line is a reference.")
    return svg(size[0], size[1], title, *lines, *boxes, role="img")


def _rows(sizes: tuple[int, int] | None) -> str:
    return "" if sizes is None else f"{sizes[1]:,} rows, real {sizes[0]:,}"
