"""The report of a comparison: one HTML file that needs nothing else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from safetensors.torch import load_file
from torch import Tensor

from fourfold.compare.charts import Axis, Curve, Point, cloud, count, curves, number, scatter, sparkline, strip
from fourfold.compare.pictures import Plane, grid, pairs
from fourfold.metrics import Score, examples
from fourfold.paradigms import build, cards, resolve
from fourfold.spaces import Images, Text, Vectors
from fourfold.vocabulary import FACTS, Facts, FailureMode, Kind

if TYPE_CHECKING:
    from fourfold.compare.comparison import Comparison, Entry

__all__ = ["label", "write_report"]

_LABELS = {
    "frechet_distance": "Fréchet distance",
    "mmd²": "MMD²",
    "ngram_divergence": "n-gram divergence",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "memorisation_ratio": "memorisation ratio",
    "detail_ratio": "detail ratio",
    "repetition": "repetition",
    "copied": "copied from training",
    "likelihood": "likelihood",
    "likelihood_gap": "training less test likelihood",
    "drift": "own samples less test likelihood",
    "evaluations_per_sample": "network evaluations per sample",
    "milliseconds_per_sample": "milliseconds per sample",
}
_MEASURED_BY: Mapping[str, tuple[str, ...]] = {
    "drift": ("drift",),
    "repetition": ("repetition",),
    "overfitting": ("likelihood_gap",),
    "blur": ("detail_ratio",),
    "mode collapse": ("recall", "coverage"),
    "memorisation": ("memorisation_ratio", "copied"),
    "prior hole": ("precision",),
    "bridges": ("precision",),
}
"""Failure modes that scores of samples reveal, beside what training logs."""
COLOURS = 12
"""Colours of the page's style sheet."""
_MARKS = {Kind.EXACT: "=", Kind.LOWER_BOUND: "≤", Kind.ESTIMATE: "≈", Kind.UNNORMALISED: "~", Kind.NONE: ""}


def write_report(comparison: Comparison, path: Path) -> None:
    """Render the page of a comparison and write it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "count": count, "formula": _formula, "label": label}
    template = environment.from_string(files("fourfold.compare").joinpath("report.html.j2").read_text(encoding="utf-8"))
    path.write_text(template.render(_context(comparison)), encoding="utf-8")


def label(name: str) -> str:
    """A score's name in words: ``frechet_distance[pixels]`` is "Fréchet distance (pixels)"."""
    stem, _, rest = name.partition("[")
    words = _LABELS.get(stem, stem.replace("_", " "))
    return f"{words} ({rest.rstrip(']')})" if rest else words


def _context(comparison: Comparison) -> dict[str, Any]:
    views = [_View(entry, f"c{i % COLOURS}", comparison) for i, entry in enumerate(comparison.entries)]
    done = [view for view in views if view.entry.finished]
    for view in done:
        view.teacher = next((other for other in done if view.taught and other.entry.name == "diffusion"), None)
    return {
        "c": comparison,
        "views": views,
        "done": done,
        "findings": _findings(done),
        "kinds": _kind_groups(done),
        "quality": _Column([v.entry.headline for v in done]),
        "coverage": _Column([v.entry.score("coverage") or v.entry.score("repetition") for v in done]),
        "trade": Markup(_trade(done)),
        "data_picture": _data_picture(comparison),
        "references": comparison.data["references"],
        "names": list(dict.fromkeys(score.name for view in done for score in view.entry.scores)),
        "texts": isinstance(comparison.dataset.space, Text),
        "phases": _phases(done),
    }


def _phases(views: Sequence[_View]) -> dict[str, float]:
    """Seconds that all runs took, by phase."""
    found: dict[str, float] = {}
    for result in (result for view in views for result in view.entry.results):
        for phase, seconds in result.get("phases", {}).items():
            found[phase] = found.get(phase, 0.0) + seconds
    return found


# --- the table --------------------------------------------------------------------------------------------------------


@final
class _Column:
    """A score of every row on one axis."""

    def __init__(self, scores: Sequence[Score | None]) -> None:
        self.scores = [score for score in scores if score is not None]
        self.label = label(self.scores[0].name) if self.scores else ""
        self.better = self.scores[0].better if self.scores else ""
        self.floor = self.scores[0].floor if self.scores else math.nan
        values = [v for s in self.scores for v in (s.value, s.low, s.high, s.floor) if math.isfinite(v)]
        points = [v for s in self.scores for v in (s.value, s.floor) if math.isfinite(v)]
        # A share of the data, of which more is better, is read on a linear axis.
        self.log = self.better == "lower" and bool(points) and min(points) > 0 and max(points) > 8 * min(points)
        axis = Axis.around(values or [0.0, 1.0], 0, 1, self.log)
        self.axis = (axis.low, axis.high, self.log)

    def strip(self, score: Score, css: str) -> Markup:
        """A score as a dot on the column's axis."""
        return Markup(strip(score.value, score.low, score.high, score.floor, self.axis, css))


def _kind_groups(views: Sequence[_View]) -> list[tuple[str, list[_View]]]:
    """Rows by kind of likelihood, in the order of the entries."""
    groups: dict[str, list[_View]] = {}
    for view in views:
        score = view.entry.likelihood
        kind = Kind.NONE if score is None or score.kind is None else score.kind
        groups.setdefault(kind.value.replace("_", " "), []).append(view)
    return list(groups.items())


# --- findings ---------------------------------------------------------------------------------------------------------


def _findings(views: Sequence[_View]) -> list[Markup]:
    """What the numbers say, in sentences; a lead that lies within the intervals is called none."""
    if not views:
        return []
    found = [_leader(views, "Closest to the data", lambda e: e.headline)]
    found.append(_leader(views, "Covers most of the test data", lambda e: e.score("coverage")))
    found.append(_likelihoods(views))
    found.append(_speeds(views))
    return [Markup(text) for text in found if text]


def _leader(views: Sequence[_View], title: str, pick: Callable[[Entry], Score | None]) -> str:
    pairs_ = [(view, score) for view in views if (score := pick(view.entry)) is not None and math.isfinite(score.value)]
    if len(pairs_) < 2:
        return ""
    pairs_.sort(key=lambda pair: pair[1].value, reverse=pairs_[0][1].better == "higher")
    (first, best), rest = pairs_[0], pairs_[1:]
    near = [view.link for view, s in rest if s.low <= best.high and best.low <= s.high]
    floor = f"; training examples score {number(best.floor)}" if math.isfinite(best.floor) else ""
    shared = f" Not told apart from it: {', '.join(near)}." if near else ""
    return (
        f"<b>{title}:</b> {first.link}, {label(best.name)} <b>{number(best.value)}</b>{_interval(best)}{floor}.{shared}"
    )


def _likelihoods(views: Sequence[_View]) -> str:
    parts = []
    for kind, group in _kind_groups(views):
        score = group[0].entry.likelihood
        # The level of an unnormalised one means nothing.
        if score is not None and math.isfinite(score.value) and score.kind is not Kind.UNNORMALISED:
            parts.append(f"{kind}: {group[0].link} {group[0].likelihood} {score.unit}")
    return f"<b>Likelihood,</b> each kind for itself: {'; '.join(parts)}." if parts else ""


def _speeds(views: Sequence[_View]) -> str:
    times = [(score.value, view) for view in views if (score := view.entry.score("milliseconds_per_sample"))]
    if len(times) < 2:
        return ""
    times.sort(key=lambda pair: pair[0])
    (fast, first), (slow, last) = times[0], times[-1]
    return (
        f"<b>Fastest to sample:</b> {first.link}, {number(fast)} ms and {first.evaluations}; "
        f"{last.link} takes {number(slow / max(fast, 1e-9))} times as long ({last.evaluations})."
    )


def _interval(score: Score) -> str:
    return f" ({number(score.low)} to {number(score.high)})" if math.isfinite(score.low) else ""


def _trade(views: Sequence[_View]) -> str:
    """Quality against sampling time."""
    points = [point for view in views if (point := view.point()) is not None]
    heads = [head for view in views if (head := view.entry.headline) is not None]
    if not points:
        return ""
    return scatter(points, "milliseconds per sample (logarithmic)", f"{label(heads[0].name)}", heads[0].floor)


# --- one paradigm -----------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class _Mode:
    """A failure mode and what was measured of it."""

    mode: FailureMode
    measured: list[Markup]
    origin: str = ""


@final
class _View:
    """An entry as the page shows it."""

    def __init__(self, entry: Entry, css: str, comparison: Comparison) -> None:
        self.entry, self.css, self.comparison = entry, css, comparison
        self.card = cards()[entry.name.partition("/")[0]]
        self.anchor = entry.name.replace("/", "-")
        self.folder = next((o.folder for o in entry.outcomes if o.result is not None), None)
        self.result = entry.results[0] if entry.results else {}
        self.facts = self._facts()
        self.log = _log(self.folder)
        self.teacher: _View | None = None

    def _facts(self) -> Facts:
        """What the run states of its model; where there is no such record, what a model built anew states."""
        stated = self.result.get("facts")
        if stated:
            return self.card.facts(Facts.from_record(stated))
        return self.card.facts(build(self.entry.name, self.comparison.dataset.space, "xs").facts)

    @property
    def recipe(self) -> str:
        """The full name of the recipe that ran."""
        return self.result.get("recipe") or resolve(self.entry.name, self.comparison.dataset.space)

    @property
    def taught(self) -> bool:
        """Whether a diffusion model taught it."""
        return "teacher" in self.facts.parts

    @property
    def stages(self) -> list[dict[str, Any]]:
        """Steps, seconds and share of each stage of training; empty where there is but one."""
        found: list[dict[str, Any]] = self.result.get("stages", [])
        return found

    @property
    def steps(self) -> int:
        """Steps of the last stage, which are those of the batch size that is told."""
        return int(self.stages[-1]["steps"] if self.stages else self.result["steps"])

    @property
    def split(self) -> str:
        """How the stages shared the budget, in a few words."""
        return ", ".join(f"{stage['name']} {round(100 * stage['share'])}\u202f%" for stage in self.stages)

    @property
    def likelihood_note(self) -> str:
        """How the number comes about, or why there is none."""
        score = self.entry.likelihood
        if score is None or score.kind is None or score.kind is Kind.NONE:
            return "" if score is None else score.protocol
        return self.facts.likelihood_note

    @property
    def lost(self) -> Markup:
        """What a student lost and gained beside the diffusion model of the same comparison."""
        if self.teacher is None:
            return Markup("")
        parts = []
        for name in ("evaluations_per_sample", "milliseconds_per_sample"):
            own, other = self.entry.score(name), self.teacher.entry.score(name)
            if own is not None and other is not None:
                parts.append(f"{label(name)} {number(own.value)} instead of {number(other.value)}")
        own, other = self.entry.headline, self.teacher.entry.headline
        if own is not None and other is not None:
            parts.append(f"{label(own.name)} {number(own.value)} instead of {number(other.value)}")
        likelihood = self.teacher.likelihood
        lost = "" if likelihood == "none" else f"; lost is the likelihood (there {likelihood})"
        return Markup(f"Beside {self.teacher.link}, trained as long: {', '.join(parts)}{lost}.")

    @property
    def link(self) -> str:
        """The name, as a link to the section."""
        return f'<a class="name {self.css}" href="#{self.anchor}">{self.entry.name}</a>'

    @property
    def likelihood(self) -> str:
        """The likelihood with the mark of its kind: an upper or a lower end, about, or exactly."""
        score = self.entry.likelihood
        if score is None or not math.isfinite(score.value):
            return "none"
        mark = _MARKS[score.kind or Kind.NONE]
        if score.kind is Kind.LOWER_BOUND and score.better == "higher":
            mark = "≥"  # the bound is on log p itself, and this unit keeps its sign
        return f"{'' if mark == '=' else mark + ' '}{number(score.value)}"

    @property
    def half_width(self) -> str:
        """Half the interval of the likelihood."""
        score = self.entry.likelihood
        return number((score.high - score.low) / 2) if score is not None and math.isfinite(score.high) else ""

    @property
    def evaluations(self) -> str:
        """Network evaluations per sample, in words."""
        score = self.entry.score("evaluations_per_sample")
        value = 0.0 if score is None else score.value
        return f"{number(value)} network evaluation{'' if value == 1 else 's'}"

    @property
    def memory(self) -> float:
        """Peak memory of training and sampling, in MiB; the largest over seeds."""
        return max(max(r["training_memory"], r["sampling_memory"]) for r in self.entry.results)

    @property
    def formulas(self) -> list[tuple[str, str, str]]:
        """The two answers."""
        facts = self.facts
        return [
            ("Objective", facts.objective, facts.objective_formula),
            ("Sampling", facts.sampling, facts.sampling_formula),
        ]

    def picture(self) -> Markup:
        """Its samples."""
        if self.folder is None:
            return Markup("")
        return _picture(_samples(self.folder)["samples"], self.comparison, self.css)

    def nearest(self) -> str:
        """Samples above their nearest training examples, as a data URI; empty where there are none."""
        space = self.comparison.dataset.space
        if self.folder is None or not isinstance(space, Images):
            return ""
        kept = _samples(self.folder)
        return pairs(kept["samples"], kept["nearest"], space)

    def point(self) -> Point | None:
        """Its place in the plot of quality against time, with the other numbers of steps that were tried."""
        head, time = self.entry.headline, self.entry.score("milliseconds_per_sample")
        if head is None or time is None or not math.isfinite(head.value):
            return None
        path = [
            (other["milliseconds"], other["score"]["value"], f"{number(other['evaluations'])} evaluations")
            for other in self.result.get("sweep", [])
            if other["score"]["value"] is not None
        ]
        return Point(time.value, head.value, head.low, head.high, self.entry.name, self.css, path)

    def losses(self) -> Markup:
        """A chart of the loss of each term over the seconds of training."""
        keys = self._loss_keys()
        lines = [self._curve(key) for key in keys]
        return Markup(curves(lines, "seconds of training"))

    @property
    def terms(self) -> str:
        """The names of several terms, as a legend; of one, nothing."""
        names = [key.removesuffix("/loss") for key in self._loss_keys()]
        styles = ("solid", "dashed", "dotted")
        words = [f"{name} {style}" for name, style in zip(names, styles, strict=False)]
        last = " of the last stage" if self.stages else ""
        return f"loss{last}: {', '.join(words)}" if len(names) > 1 else f"loss{last}"

    def _loss_keys(self) -> list[str]:
        return [key for key in (self.log[-1] if self.log else {}) if key.endswith("/loss")]

    def _curve(self, key: str) -> Curve:
        lines = [line for line in self.log if _finite(line.get(key))]
        return Curve([line["seconds"] for line in lines], [line[key] for line in lines], key, self.css)

    def modes(self) -> list[_Mode]:
        """Every failure mode of the paradigm with what was measured of it."""
        own = [_Mode(mode, self._measured(mode)) for mode in self.facts.failure_modes]
        return own + self._inherited_modes({mode.mode.name for mode in own})

    def _inherited_modes(self, known: set[str]) -> list[_Mode]:
        """The failure modes of the models that were trained first, as these logged them."""
        found = []
        stages = build(self.entry.name, self.comparison.dataset.space, "xs").stages() if self.stages else []
        for stage in stages:
            log = [] if self.folder is None else _lines(self.folder / "run" / "stages" / stage.name / "log.jsonl")
            for mode in FACTS[stage.model.paradigm].failure_modes:
                measured = [self._monitored(key, log) for key in self._keys(mode.monitor, log)]
                if mode.name not in known and any(measured):
                    found.append(_Mode(mode, measured, stage.name))
        return found

    def _measured(self, mode: FailureMode) -> list[Markup]:
        found = [self._monitored(key) for key in self._keys(mode.monitor)]
        scores = [self.entry.score(name) for name in _MEASURED_BY.get(mode.name, ())]
        found += [_told(score) for score in scores if score is not None]
        if mode.name == "discretisation error" and self.result.get("sweep"):
            found.append(self._steps())
        return found

    def _keys(self, monitor: str, log: Sequence[Mapping[str, Any]] | None = None) -> list[str]:
        """The keys of a log (by default its own) that end in a monitor's name."""
        keys = dict.fromkeys(key for line in (self.log if log is None else log) for key in line)
        return [key for key in keys if monitor and key.rpartition("/")[2] == monitor]

    def _monitored(self, key: str, log: Sequence[Mapping[str, Any]] | None = None) -> Markup:
        values = [line[key] for line in (self.log if log is None else log) if _finite(line.get(key))]
        if not values:
            return Markup("")
        name = key.rpartition("/")[2].replace("_", " ")
        ends = f"{number(values[0])} → <b>{number(values[-1])}</b>"
        return Markup(f"{name} {ends} {sparkline(_smooth(values), self.css)}")

    def _steps(self) -> Markup:
        head, cost = self.entry.headline, self.entry.score("evaluations_per_sample")
        assert head is not None
        assert cost is not None
        rows = [(o["evaluations"], o["score"]["value"]) for o in self.result["sweep"]] + [(cost.value, head.value)]
        words = ", ".join(f"{number(q)} at {number(e)}" for e, q in sorted(rows))
        return Markup(f"{label(head.name)} by network evaluations: {words}")


def _told(score: Score) -> Markup:
    floor = f", floor {number(score.floor)}" if math.isfinite(score.floor) else ""
    unit = f" {score.unit}" if score.unit else ""
    return Markup(f"{label(score.name)} <b>{number(score.value)}</b>{_interval(score)}{unit}{floor}")


def _formula(text: str) -> Markup:
    """A formula with its subscripts set as such."""
    letters = "A-Za-zα-ωΑ-Ω0-9"
    return Markup(re.sub(f"_((?:&lt;)?[{letters}]+(?:,[{letters}]+)*)", r"<sub>\1</sub>", str(escape(text))))


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _smooth(values: Sequence[float], parts: int = 40) -> list[float]:
    """Means of at most so many consecutive parts."""
    step = max(1, math.ceil(len(values) / parts))
    return [sum(values[i : i + step]) / len(values[i : i + step]) for i in range(0, len(values), step)]


def _log(folder: Path | None) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [] if folder is None else _lines(folder / "run" / "log.jsonl")


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; one that a crash cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def _samples(folder: Path) -> dict[str, Tensor]:
    kept = load_file(folder / "samples.safetensors")
    if "labels" in kept:  # rows by class
        order = kept["labels"].argsort(stable=True)
        return {**kept, "samples": kept["samples"][order] if "nearest" not in kept else kept["samples"]}
    return kept


# --- pictures ---------------------------------------------------------------------------------------------------------


def _picture(x: Tensor, comparison: Comparison, css: str) -> Markup:
    """Examples in the way their space is looked at."""
    dataset = comparison.dataset
    if isinstance(dataset.space, Images):
        return Markup(f'<img class="grid" alt="samples" src="{grid(x, dataset.space)}">')
    if isinstance(dataset.space, Vectors):
        plane = Plane(dataset.train.x, dataset.space.columns)
        behind = [] if css == "behind" else plane.points(dataset.test.x)
        return Markup(cloud(plane.points(x), behind, plane.box, css))
    assert isinstance(dataset.space, Text)
    excerpts = [dataset.space.show(row) for row in x[:2]]
    return Markup("").join(Markup("<pre>{}</pre>").format(text[:400]) for text in excerpts)


def _data_picture(comparison: Comparison) -> Markup:
    """Test examples in the same way."""
    x = examples(comparison.dataset, comparison.data["references"]).test
    return _picture(x[:1000], comparison, "behind")
