"""The report of a comparison: one self-contained HTML file."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import torch
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from torch import Tensor

from fourfold.core import Album, Clips, Cloud, Excerpts, Matrices, Panels, Picture, Rows, Sheet, Space, Strips, Tracks
from fourfold.engine import parse_budget
from fourfold.metrics import Floor, Measurement, References
from fourfold.paradigms import build, cards, resolve
from fourfold.pictures.charts import Axis, Curve, Point, cloud, count, curves, number, scatter, sparkline, strip
from fourfold.runs.budget import Seconds
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import examples
from fourfold.tournament import modes
from fourfold.tournament.baselines import Rated, losses
from fourfold.tournament.entries import Entry, mark
from fourfold.tournament.galleries import TITLES, galleries, nearest_of
from fourfold.tournament.modes import Measured, read_log
from fourfold.tournament.outputs import GENERATOR, check_outputs, results_path
from fourfold.tournament.results import Results
from fourfold.tournament.samples import load_samples
from fourfold.tournament.verdict import verdict
from fourfold.tournament.words import interval, label, plural
from fourfold.vocabulary import Card, Facts, FailureMode, Kind, recorded_facts

__all__ = ["save_report"]

COLOURS = 12
"""The number of colours in the page's style sheet."""
SHOWN = 2000
"""The most samples in a picture. A space may show fewer."""
MOST_COLUMNS = 60
"""The most columns in a table of their likelihoods."""
LONGEST = 400
"""The most characters of an example that is shown as text."""


def save_report(results: Results, record: Mapping[str, Any], path: Path) -> Path:
    """Write the numbers beside the report (``results.json`` for ``report.html``), then the report. Return its path.

    Raises:
        ValueError: if a file is in the way that no comparison wrote, or the place cannot be written to.
        RuntimeError: if the report cannot be drawn. The numbers are written.
    """
    check_outputs(path)
    numbers = results_path(path)
    write_json(numbers, record)
    try:
        _write(results, path)
    except Exception as error:
        raise RuntimeError(
            f"the report cannot be drawn ({type(error).__name__}: {error}); the results are in {numbers}"
        ) from error
    return path


def _write(comparison: Results, path: Path) -> None:
    """Render the page of a comparison and write it. All HTML is in the template. Every inserted value is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": number,
        "count": count,
        "formula": _formula,
        "label": label,
        "interval": interval,
        "plural": plural,
        "sparkline": sparkline,
    }
    template = environment.from_string(
        files("fourfold.tournament").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    path.write_text(template.render(_context(comparison, path)), encoding="utf-8")


def _context(comparison: Results, path: Path) -> dict[str, Any]:
    beside = [*comparison.baselines, *comparison.published, *comparison.samples]
    entries = [*comparison.entries, *(rated.entry for rated in beside)]
    colours = _colours([entry.name for entry in entries])
    space, references = comparison.dataset.space, examples(comparison.dataset, comparison.data["references"])
    views = [_View(entry, colours[entry.name], comparison, references) for entry in comparison.entries]
    scored = [view for view in views if view.entry.has_scores]
    for view in scored:
        view.teacher = next((v for v in scored if view.taught and v.entry.name == view.card.teacher), None)
    rows = [*(view.entry for view in scored), *(rated.entry for rated in beside)]
    plain = replace(references, cond=None)  # samples of others were not drawn for the conditions of test examples
    baselines, published, samples = (
        [_BesideView(rated, colours[rated.entry.name], space, of_group) for rated in group]
        for group, of_group in (
            (comparison.baselines, references),
            (comparison.published, references),
            (comparison.samples, plain),
        )
    )
    listed = [view.entry for view in scored] + [rated.entry for rated in comparison.samples]
    return {
        "c": comparison,
        "verdict": verdict(comparison),
        "views": views,
        "done": scored,
        "baselines": baselines,
        "published": published,
        "samples": samples,
        "by_name": {view.entry.name: view for view in views} | {view.entry.name: view for view in samples},
        "used": _budget_words(scored, comparison.settings.budget),
        "kinds": _kind_groups(scored),
        "quality": _Column([entry.headline for entry in rows]),
        "coverage": _Column([entry.score("coverage") or entry.score("repetition") for entry in rows]),
        "trade": _trade(scored, 1130, 430),
        "narrow_trade": _trade(scored, 380, 400),
        "data_picture": _picture(space, references.test, references, "behind"),
        "references": comparison.data["references"] * comparison.settings.folds,
        "first_of": {score.name: score for entry in reversed(listed) for score in entry.scores},
        "names": list(dict.fromkeys(score.name for entry in listed for score in entry.scores)),
        "counted": space.item_name,
        "rows": "examples" if space.window is None else "windows",
        "phases": _phases(scored),
        "generator": GENERATOR,
        "results": results_path(path).name,
    }


def _colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each entry. A paradigm of this package has the same colour in every report.

    Other paradigms, and a second recipe of one paradigm, take colours that are free.
    """
    places = {name: i for i, name in enumerate(sorted(name for name, card in cards().items() if _of_package(card)))}
    colours: dict[str, int] = {}
    for name in names:
        colour = places.get(name.partition("/")[0], -1)
        if 0 <= colour < COLOURS and colour not in colours.values():
            colours[name] = colour
    free = [i for i in range(COLOURS - 1, -1, -1) if i not in colours.values()] or list(range(COLOURS))
    for i, name in enumerate(name for name in names if name not in colours):
        colours[name] = free[i % len(free)]
    return {name: f"c{colour}" for name, colour in colours.items()}


def _of_package(card: Card) -> bool:
    functions = [getattr(recipe, "func", recipe) for recipe in card.recipes.values()]  # some are partials
    return all(function.__module__.startswith("fourfold.") for function in functions)


def _budget_words(views: Sequence[_View], budget: str) -> str:
    """The budget of each training, and the seconds that were used."""
    healths = [health for view in views for health in view.entry.health]
    if not healths:
        return f"{budget} asked"
    limit = parse_budget(budget)
    seconds = [health.seconds for health in healths]
    words = f"{limit.amount:g} s" if isinstance(limit, Seconds) else str(limit)
    low, high = (number(f(seconds)) for f in (min, max))
    return f"{words} asked, {low if low == high else f'{low} to {high}'} s used"


def _phases(views: Sequence[_View]) -> dict[str, float]:
    """The seconds of all runs together, by phase."""
    total: dict[str, float] = {}
    for result in (result for view in views for result in view.entry.results):
        for phase, seconds in result["phases"].items():
            total[phase] = total.get(phase, 0.0) + seconds
    return total


# --- the table --------------------------------------------------------------------------------------------------------


@final
class _Column:
    """A score of every row on one axis."""

    def __init__(self, scores: Sequence[Measurement | None]) -> None:
        self.scores = [score for score in scores if score is not None]
        self.first = self.scores[0] if self.scores else Measurement("", math.nan)
        self.label, self.direction = label(self.first.name), self.first.direction
        values = [v for s in self.scores for v in (s.value, s.low, s.high, s.floor) if math.isfinite(v)]
        points = [v for s in self.scores for v in (s.value, s.floor) if math.isfinite(v)]
        # A share of the data, of which more is better, is read on a linear axis.
        self.log = self.first.better == "lower" and bool(points) and min(points) > 0 and max(points) > 8 * min(points)
        axis = Axis.around(values or [0.0, 1.0], 0, 1, self.log)
        self.axis = (axis.low, axis.high, self.log)

    def strip(self, score: Measurement, css: str) -> Markup:
        """A score as a dot on the column's axis."""
        floor = Floor(score.floor, score.floor_low, score.floor_high)
        return strip(score.value, score.low, score.high, floor, self.axis, css)


def _kind_groups(views: Sequence[_View]) -> list[tuple[str, list[_View]]]:
    """Rows by kind of likelihood, in the order of the entries."""
    groups: dict[str, list[_View]] = {}
    for view in views:
        score = view.entry.likelihood
        kind = Kind.NONE if score is None or score.kind is None else score.kind
        groups.setdefault(kind.words, []).append(view)
    return list(groups.items())


def _trade(views: Sequence[_View], width: int, height: int) -> Markup:
    """Quality against sampling time, all at one number of samples."""
    points = [point for view in views if (point := view.point()) is not None]
    heads = [head for view in views if (head := view.entry.headline) is not None]
    if len(points) + sum(len(point.path) for point in points) < 2:
        return Markup("")  # one dot against nothing
    floor = Floor(heads[0].floor, heads[0].floor_low, heads[0].floor_high)
    return scatter(points, "milliseconds per sample (logarithmic)", label(heads[0].name), floor, width, height)


# --- one paradigm -----------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class _Mode:
    """A failure mode and its measurements."""

    mode: FailureMode
    measured: list[Measured]
    origin: str = ""

    @property
    def word(self) -> str:
        """The worst verdict of its measurements."""
        return modes.worst(self.measured)


@final
@dataclass(frozen=True, eq=False)
class _BesideView:
    """A baseline, a published model or the samples of another system as the page shows it."""

    rated: Rated
    css: str
    space: Space
    references: References

    @property
    def entry(self) -> Entry:
        """Its name and scores."""
        return self.rated.entry

    @property
    def anchor(self) -> str:
        """The part of the page that tells of it."""
        return f"beside-{self.entry.name}"

    @property
    def likelihood(self) -> str:
        """The likelihood with the mark of its kind."""
        return _likelihood(self.entry)

    def galleries(self) -> list[tuple[str, Markup]]:
        """A few samples of each kind, those with neighbours above these."""
        tensors = galleries(self.space, self.rated.x, self.references.all_train)
        return _galleries(self.space, tensors.get, self.references, self.css)

    def picture(self) -> Markup:
        """The picture of its samples."""
        return _picture(self.space, self.rated.x[:SHOWN], self.references, self.css)

    def details(self) -> list[tuple[str, Markup]]:
        """Pictures of how its samples differ from the data, each with a title."""
        return _details(self.space, self.rated.x[:SHOWN], self.references, self.css)


def _likelihood(entry: Entry) -> str:
    """A likelihood with the mark of its kind."""
    score = entry.likelihood
    if score is None or not math.isfinite(score.value):
        return "none"
    sign = mark(score)
    return f"{'' if sign == '=' else f'{sign} '}{number(score.value)}"


@final
class _View:
    """An entry as the page shows it."""

    def __init__(self, entry: Entry, css: str, comparison: Results, references: References) -> None:
        self.entry, self.css, self.comparison, self.references = entry, css, comparison, references
        self.card = cards()[entry.name.partition("/")[0]]
        self.anchor = entry.name.replace("/", "-")
        self.folder = next((o.folder for o in entry.outcomes if o.result is not None), None)
        self.result = entry.results[0] if entry.results else {}
        self.facts = self._facts()
        self.log = [] if self.folder is None else read_log(self.folder / "run" / "log.jsonl")
        self.teacher: _View | None = None

    def _facts(self) -> Facts:
        """The facts in the record of the run or, if no run has finished, those of a model that is built anew."""
        if self.result:
            return self.card.facts(recorded_facts(self.result["facts"]))
        return self.card.facts(build(self.entry.name, self.comparison.dataset.space, "xs").facts)

    @property
    def recipe(self) -> str:
        """The full name of the recipe."""
        return self.result["recipe"] if self.result else resolve(self.entry.name, self.comparison.dataset.space)

    @property
    def taught(self) -> bool:
        """True if a diffusion model taught it."""
        return "teacher" in self.facts.parts

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The steps, seconds and share of each stage of training. Empty if there is only one."""
        stages: list[dict[str, Any]] = self.result["stages"] if self.result else []
        return stages

    @property
    def steps(self) -> int:
        """The steps of the last stage, to which the shown batch size belongs."""
        return int(self.stages[-1]["steps"] if self.stages else self.result["steps"])

    @property
    def choice(self) -> str:
        """The choice of the weights, with its reason. Empty if no run has finished."""
        return str(self.result["choice"]["note"]) if self.result else ""

    @property
    def split(self) -> str:
        """The stages' shares of the budget, in a few words."""
        return ", ".join(f"{stage['name']} {round(100 * stage['share'])}\u202f%" for stage in self.stages)

    @property
    def likelihood_note(self) -> str:
        """The way in which the likelihood was computed, or the reason why there is none."""
        score = self.entry.likelihood
        if score is None or score.kind is None or score.kind is Kind.NONE:
            return "" if score is None else score.protocol
        return self.facts.likelihood_note

    @property
    def against_teacher(self) -> str:
        """The gains and losses of a student against the diffusion model of the same comparison. Empty without one."""
        if self.teacher is None:
            return ""
        parts = []
        for name in ("evaluations_per_sample", "milliseconds_per_sample"):
            student, teacher = self.entry.score(name), self.teacher.entry.score(name)
            if student is not None and teacher is not None:
                parts.append(f"{label(name)} {number(student.value)} instead of {number(teacher.value)}")
        student, teacher = self.entry.headline, self.teacher.entry.headline
        if student is not None and teacher is not None:
            parts.append(f"{label(student.name)} {number(student.value)} instead of {number(teacher.value)}")
        likelihood = self.teacher.likelihood
        loss = "" if likelihood == "none" else f"; lost is the likelihood (there {likelihood})"
        return f", trained as long: {', '.join(parts)}{loss}."

    @property
    def likelihood(self) -> str:
        """The likelihood with the mark of its kind."""
        return _likelihood(self.entry)

    @property
    def half_width(self) -> str:
        """Half the interval of the likelihood."""
        score = self.entry.likelihood
        return number((score.high - score.low) / 2) if score is not None and math.isfinite(score.high) else ""

    @property
    def evaluations(self) -> str:
        """The network evaluations per sample, in words."""
        score = self.entry.score("evaluations_per_sample")
        value = 0.0 if score is None else score.value
        return f"{number(value)} network evaluation{'' if value == 1 else 's'}"

    @property
    def memory(self) -> float:
        """The peak memory of training and sampling, in MiB: the largest of all seeds."""
        return max(max(r["training_memory"], r["sampling_memory"]) for r in self.entry.results)

    @property
    def formulas(self) -> list[tuple[str, str, str]]:
        """The two answers, objective and sampling, with their formulas."""
        facts = self.facts
        return [
            ("Objective", facts.objective, facts.objective_formula),
            ("Sampling", facts.sampling, facts.sampling_formula),
        ]

    def picture(self) -> Markup:
        """The picture of its samples."""
        x = None if self.folder is None else load_samples(self.folder, "samples", SHOWN)
        return Markup("") if x is None else _picture(self.comparison.dataset.space, x, self.references, self.css)

    @property
    def losses_to(self) -> list[str]:
        """The baselines that it loses to, with the scores that show it."""
        return losses(self.comparison.entries, self.comparison.baselines)[self.entry.name]

    def details(self) -> list[tuple[str, Markup]]:
        """Pictures of how its samples differ from the data, each with a title."""
        x = None if self.folder is None else load_samples(self.folder, "samples", SHOWN)
        if x is None:
            return []
        return [*self._nats_of_columns(), *_details(self.comparison.dataset.space, x, self.references, self.css)]

    def _nats_of_columns(self) -> list[tuple[str, Markup]]:
        """Nats of each column given the earlier ones, beside those of the first baseline that can tell."""
        nats: list[float] = (self.result and self.result["nats_of_columns"]) or []
        names, baselines = self.comparison.dataset.space.columns, self.comparison.baselines
        if not nats or not all(map(math.isfinite, nats)):
            return []
        beside = next((rated.columns for rated in baselines if rated.columns), ())
        rows = [
            (name, f"{mine:.3f}", *((f"{beside[i]:.3f}", f"{mine - beside[i]:+.3f}") if beside else ()))
            for i, (name, mine) in enumerate(zip(names, nats, strict=True))
        ]
        rows.sort(key=lambda row: float(row[1]))
        head = ("column", "given the earlier ones", *(("by itself (counted)", "gain") if beside else ()))
        title = "Nats of each column of test rows, the most surprising first; they add up to the likelihood"
        return [(title, _figure(Rows(head, tuple(rows[:MOST_COLUMNS])), self.css, ""))]

    def galleries(self) -> list[tuple[str, Markup]]:
        """A few samples of each kind, those with neighbours above these."""
        if self.folder is None:
            return []
        load = partial(load_samples, self.folder)
        return _galleries(self.comparison.dataset.space, load, self.references, self.css)

    @cached_property
    def given_pictures(self) -> list[tuple[Markup, Markup]]:
        """A few test conditions, each beside the true example and draws given it. Empty for an unconditional model."""
        draws = None if self.folder is None else load_samples(self.folder, "given")
        rows = None if self.folder is None else load_samples(self.folder, "rows")
        if draws is None or rows is None:
            return []
        return [self._given(x, row) for x, row in zip(draws, rows.tolist(), strict=True)]

    def _given(self, draws: Tensor, row: int) -> tuple[Markup, Markup]:
        """The condition of a test example, and that example beside draws ``(k, *shape)`` given it."""
        space, references = self.comparison.dataset.space, self.references
        assert space.given is not None
        assert references.cond is not None
        condition = _beside(
            partial(space.given.picture_of_one, space.given.examples_of(references.cond[row : row + 1])[0]), self.css
        )
        data = references.train.pool
        return condition, _beside(partial(space.picture_of_draws, draws, references.test[row], data), self.css)

    def point(self) -> Point | None:
        """Its point in the plot of quality against time, with a path through other numbers of steps."""
        head, time = self.entry.headline, self.entry.score("milliseconds_per_sample")
        if head is None or time is None or not math.isfinite(head.value):
            return None
        path = [
            (sweep["milliseconds"], sweep["score"]["value"], f"{number(sweep['evaluations'])} evaluations")
            for sweep in self.entry.sweeps
            if sweep["score"]["value"] is not None
        ]
        return Point(time.value, head.value, head.low, head.high, self.entry.name, self.css, path)

    def losses(self) -> Markup:
        """A chart of the training loss of each term, and of the held-out loss if it is logged, over seconds."""
        return curves([self._curve(key) for key, _ in self._keys()], "seconds of training")

    @property
    def terms(self) -> str:
        """A legend of the lines of :meth:`losses`."""
        labels = [f"{name} {style}" for (_, name), style in zip(self._keys(), _STYLES, strict=False)]
        last = " of the last stage" if self.stages else ""
        return f"loss{last}: {', '.join(labels)}" if len(labels) > 1 else f"loss{last}"

    def _keys(self) -> list[tuple[str, str]]:
        """The keys of losses in the log, each with a name for the legend."""
        keys = dict.fromkeys(key for line in self.log for key in line)
        terms = [key.removesuffix("/loss") for key in keys if key.endswith("/loss")]
        pairs = [(f"{term}/loss", term if len(terms) > 1 else "training") for term in terms]
        validation = [key for key in keys if key.endswith("/held_out")]
        return [*pairs, *((key, "held out") for key in validation)][: len(_STYLES)]

    def _curve(self, key: str) -> Curve:
        lines = [line for line in self.log if _finite(line.get(key)) and _finite(line.get("seconds"))]
        return Curve([line["seconds"] for line in lines], [line[key] for line in lines], key, self.css)

    def modes(self) -> list[_Mode]:
        """Every failure mode of the paradigm and the card with its measurements, and those that a stage measured."""
        modes_of_card = [_Mode(mode, self._measured(mode)) for mode in self.facts.failure_modes]
        inherited = self._inherited_modes({mode.mode.name for mode in modes_of_card if mode.measured})
        names = {mode.mode.name for mode in inherited}
        return [mode for mode in modes_of_card if mode.mode.name not in names] + inherited

    def _measured(self, mode: FailureMode) -> list[Measured]:
        logged = modes.from_log(mode, self.log, self.result["choice"]["kept_step"] if self.result else None)
        return [*logged, *modes.from_scores(mode, self.entry), *modes.from_sweep(mode, self.entry)]

    def _inherited_modes(self, measured: set[str]) -> list[_Mode]:
        """The failure modes of the models that were trained first, from their logs, without those measured already."""
        inherited = []
        stages = build(self.entry.name, self.comparison.dataset.space, "xs").stages() if self.stages else []
        for stage in stages:
            log = [] if self.folder is None else read_log(self.folder / "run" / "stages" / stage.name / "log.jsonl")
            of_cards = [m for c in cards().values() if c.paradigm is stage.model.paradigm for m in c.failure_modes]
            modes_of_stage = (*stage.model.facts.failure_modes, *of_cards, *self.card.failure_modes)
            for mode in {mode.name: mode for mode in modes_of_stage}.values():
                values = modes.from_log(mode, log)
                if mode.name not in measured and values:
                    inherited.append(_Mode(mode, values, stage.name))
        return inherited


_STYLES = ("solid", "dashed", "dotted", "dash-dotted")
"""The styles of the lines of a chart, in order."""


def _formula(text: str) -> Markup:
    """A formula with its subscripts set as such."""
    letters = "A-Za-zα-ωΑ-Ω0-9"
    parts = re.split(f"_(<?[{letters}]+(?:,[{letters}]+)*)", text)
    low = [Markup("<sub>{}</sub>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)]
    return Markup("").join(low)


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


# --- pictures ---------------------------------------------------------------------------------------------------------


def _picture(space: Space, x: Tensor, references: References | None, css: str, columns: int | None = None) -> Markup:
    """Examples as their space shows them. If a third party's space fails to, they are shown as text."""
    try:
        return _figure(space.picture(x, references, columns), css, "grid" if columns is None else "pairs")
    except Exception as error:
        why = Markup('<p class="small-print">no picture: {}: {}</p>').format(type(error).__name__, str(error)[:LONGEST])
        return _figure(Excerpts(tuple(map(str, x[:2]))), css, "") + why


def _beside(picture: Callable[[], Picture], css: str) -> Markup:
    """A picture of a row of conditions and draws. If a third party's space fails, it is said."""
    try:
        return _figure(picture(), css, "beside")
    except Exception as error:
        return Markup('<p class="small-print">{}: {}</p>').format(type(error).__name__, str(error)[:LONGEST])


def _details(space: Space, x: Tensor, references: References, css: str) -> list[tuple[str, Markup]]:
    """The pictures of a space that compare samples with the data. If a third party's space fails, it is said."""
    try:
        return [(title, _figure(picture, css, "pairs")) for title, picture in space.details(x, references)]
    except Exception as error:
        why = Markup('<p class="small-print">{}: {}</p>').format(type(error).__name__, str(error)[:LONGEST])
        return [("No details", why)]


def _galleries(
    space: Space, tensor: Callable[[str], Tensor | None], references: References, css: str
) -> list[tuple[str, Markup]]:
    """The galleries that have samples, each with its title."""
    pictures = []
    for name, title in TITLES.items():
        x, below = tensor(name), tensor(nearest_of(name))
        if x is not None and below is not None:
            grid = _picture(space, torch.cat([x, below]), None, css, len(x))
            pictures.append((f"{title}, and under each its nearest training example", grid))
        elif x is not None:
            pictures.append((title, _beside(partial(space.picture_of_few, x, references), css)))
    return pictures


def _figure(picture: Picture, css: str, role: str) -> Markup:
    """A picture as HTML."""
    match picture:
        case Sheet(png):
            data = f"data:image/png;base64,{base64.b64encode(png).decode()}"
            alt = {"grid": "samples", "beside": "examples"}.get(role, "samples over nearest training examples")
            return Markup('<img class="{}" alt="{}" src="{}">').format(role, alt, data)
        case Cloud(points, box, names, behind):
            return cloud(points.tolist(), [] if css == "behind" else behind.tolist(), box, names, css)
        case Panels() | Matrices() | Rows() | Strips() | Tracks() | Clips():
            return Markup('<div class="{}">{}</div>').format(css, Markup(picture._repr_html_()))
        case Album(pictures):
            return Markup("").join(_figure(part, css, role) for part in pictures)
        case Excerpts(texts):
            return Markup("").join(Markup("<pre>{}</pre>").format(text[:LONGEST]) for text in texts)
