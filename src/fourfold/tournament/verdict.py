"""The verdict of a comparison in a few lines: the best model for each need, its evidence and its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, final

from fourfold.machine.usage import LEAST_SHARE
from fourfold.metrics import Measurement
from fourfold.metrics.records import repeats
from fourfold.pictures.charts import number
from fourfold.tournament.baselines import losses
from fourfold.tournament.entries import Entry, of_tokens
from fourfold.tournament.health import advice, causes
from fourfold.tournament.ranking import apart_from_floor, at_floor, difference, lead
from fourfold.tournament.results import Results
from fourfold.tournament.words import interval, label, listed, plural
from fourfold.vocabulary import ONE_TOKENISATION, Kind

__all__ = ["Line", "verdict"]


Runs: TypeAlias = tuple[int, int]
"""Numbers of seeds and of parts of a cross-validation."""


@final
@dataclass(frozen=True)
class Line:
    """A line of the verdict: its title, and its text, in which an entry stands for its name."""

    title: str
    parts: tuple[str | Entry, ...]
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.title}: {''.join(part.name if isinstance(part, Entry) else part for part in self.parts)}"


def verdict(comparison: Results) -> list[Line]:
    """The lines: privacy of rows, warnings, then the rest.

    If a model was trained too little, or disturbed, no winner is named.
    """
    entries = [entry for entry in comparison.entries if entry.has_scores]
    others = [rated.entry for rated in comparison.samples]
    defeats = _defeats(comparison, [*entries, *others])
    incomplete = [*_stopped(comparison), *_failures(comparison.entries)]
    warnings = [*_marked(comparison, entries), *incomplete, *defeats, *_copies([*entries, *others])]
    privacy = _privacy([*entries, *others])
    beside = [line for entry in others if (line := _outside(comparison, entry)) is not None]
    if not entries or any(entry.marks for entry in entries):
        return [*privacy, *warnings, *beside, *_next(comparison, entries)]
    runs = (comparison.settings.seeds, comparison.settings.folds)
    lines = [
        _best("For look", entries, lambda e: e.headline, runs),
        _best("For coverage", entries, lambda e: e.score("coverage"), runs),
        _best("For conditions", entries, lambda e: e.score("energy_score") or e.score("pairs_mmd²"), runs),
        _likelihoods(entries, runs),
        None if defeats else _baselines(comparison),
        _published(comparison),
        *beside,
        _speeds(entries),
        _confidence(comparison),
    ]
    return [*privacy, *warnings, *(line for line in lines if line is not None), *_next(comparison, entries)]


def _defeats(comparison: Results, entries: Sequence[Entry]) -> list[Line]:
    """The models that lose to a model that needs no training: a line for those that lose alike."""
    sentences = losses(entries, comparison.baselines)
    alike = dict[str, list[Entry]]()
    for entry in entries:
        if sentences[entry.name]:
            alike.setdefault("; ".join(sentences[entry.name]), []).append(entry)
    lines = []
    for words, losers in alike.items():
        names = [part for entry in losers for part in (", ", entry)]
        verb = words if len(losers) == 1 else words.replace("loses to ", "lose to ")
        lines.append(Line("Loses", (*names[1:], f" {verb}"), True))
    return lines


def _copies(entries: Sequence[Entry]) -> list[Line]:
    """The models whose samples lie significantly closer to training examples than new examples do."""
    lines = []
    for entry in entries:
        scores = [score for score in entry.scores if repeats(score, len(entries))]
        words = [f"{label(s.name)} {number(s.value)}{interval(s)}, new examples {number(s.floor)}" for s in scores]
        if words:
            lines.append(Line("Copies", (entry, f" repeats training examples: {'; '.join(words)}"), True))
    return lines


PRIVATE = ("closer_to_training", "copies", "membership_by_likelihood", "membership")
"""The scores that tell how much samples or likelihoods give away of single rows."""


def _privacy(entries: Sequence[Entry]) -> list[Line]:
    """How much entries give away of training rows, beside rows that no training has seen: a line for each score."""
    rowwise = [entry for entry in entries if entry.score("closer_to_training") is not None]
    lines = []
    for name in PRIVATE:
        scores = [(entry, score) for entry in rowwise if (score := entry.score(name)) and math.isfinite(score.value)]
        by_floor = dict[str, list[str | Entry]]()
        for entry, score in scores:
            parts = by_floor.setdefault(f"new rows {number(score.floor)}{_floor(score)}", [])
            parts += [", " if parts else "", entry, f" {number(score.value)}{interval(score)}"]
        words = [part for floor, parts in by_floor.items() for part in ("; ", *parts, f", {floor}")]
        if words:
            lines.append(Line("Privacy", (f"{label(scores[0][1].name)}: ", *words[1:])))
    return lines


def _baselines(comparison: Results) -> Line | None:
    names = listed([rated.entry.name for rated in comparison.baselines])
    return Line("Baselines", (f"no model loses to {names}, which need no training",)) if names else None


def _published(comparison: Results) -> Line | None:
    """Published models, which are beside the ranking."""
    names = listed([rated.entry.name for rated in comparison.published])
    words = "trained elsewhere, not under this budget, and perhaps on this text: shown beside, and not ranked"
    return Line("Published", (f"{names}, {words}",)) if names else None


def _outside(comparison: Results, entry: Entry) -> Line | None:
    """Samples of another system beside real examples: by the first score that has a value, then the worse ones."""
    scores = [score for score in entry.scores[1:] if math.isfinite(score.value) and math.isfinite(score.floor)]
    if not scores:
        return None
    first, real = scores[0], f"real {comparison.dataset.space.item_name}"
    if at_floor(first):
        words = f": not significantly different from {real} with {plural(first.n, 'sample')}"
    else:
        words = f": {'worse than' if apart_from_floor(first) else 'not known to be worse than'} {real}"
    figure = (
        f"; {label(first.name)} {number(first.value)}{interval(first)}, {real} {number(first.floor)}{_floor(first)}"
    )
    worse = [label(score.name) for score in scores[1:] if score.better and apart_from_floor(score)]
    also = f"; {'also' if apart_from_floor(first) else 'but'} worse: {', '.join(worse)}" if worse else ""
    return Line("Samples", (entry, words, figure, also))


def _stopped(comparison: Results) -> list[Line]:
    count = sum(len(entry.outcomes) for entry in comparison.entries)
    if count == comparison.planned:
        return []
    return [Line("Not entries", (f"stopped after {count} of {comparison.planned} runs",), True)]


def _failures(entries: Sequence[Entry]) -> list[Line]:
    return [
        Line("Failed", (entry, f", seed {failure['seed']}: {failure['message']}"), True)
        for entry in entries
        for failure in entry.failures
    ]


def _marked(comparison: Results, entries: Sequence[Entry]) -> list[Line]:
    """The models whose scores say nothing about them, with the reasons."""
    unlike = [
        Line("Other hardware", (entry, f": {listed(list(entry.elsewhere))}"), True)
        for entry in entries
        if entry.elsewhere
    ]
    marked = [entry for entry in entries if len(entry.marks) > len(entry.elsewhere)]
    if not marked:
        return unlike
    health = [h for entry in marked for h in entry.health if h.marks]
    _, way = advice(health, comparison.settings.budget)
    had = " or ".join(causes(health, comparison.settings.budget))
    words = f"{len(marked)} of {plural(len(entries), 'model')} had {had}. This comparison says nothing about "
    words += f"{'them' if len(marked) > 1 else 'it'}, and names no winner"
    lines = [Line("Not comparable", (f"{words}: {way}.",), True)]
    reasons = [(entry, entry.marks[: len(entry.marks) - len(entry.elsewhere)]) for entry in marked]
    parts = [part for entry, marks in reasons for part in ("; ", entry, f": {listed(marks)}")]
    return [*lines, Line("Too little", tuple(parts[1:]), True), *unlike]


def _best(title: str, entries: Sequence[Entry], pick: Callable[[Entry], Measurement | None], runs: Runs) -> Line | None:
    """The leader by a score, and the models that do not differ significantly from it."""
    scores = {entry.name: score for entry in entries if (score := pick(entry)) is not None}
    if not scores:
        return None
    leading, by_name = lead(scores), {entry.name: entry for entry in entries}
    if not leading.leaders:
        return Line(title, (f"nobody is named: {leading.reason}",))
    leaders, near = ([by_name[name] for name in names] for names in (leading.leaders, leading.near))
    best = scores[leaders[0].name]
    data = f"; training examples score {number(best.floor)}{_floor(best)}" if math.isfinite(best.floor) else ""
    figure = f"{label(best.name)} {number(best.value)}{interval(best)}{data}"
    equal = f"not significantly different from training data {_with(best)}; " if leading.floor else ""
    shared: list[str | Entry] = [f"; not significantly different {_with(best)}: "] if near else []
    for i, entry in enumerate(near):
        shared += [", " if i else "", entry, _behind(best, scores[entry.name])]
    first = "" if len(leaders) > 1 else _place(*runs, bool(near))
    return Line(
        title, (*_with_commas(leaders), f"{first}: {equal}{'best ' if len(leaders) > 1 else ''}{figure}", *shared)
    )


def _place(seeds: int, folds: int, shared: bool) -> str:
    """The place of a single leader. One run says nothing of another training, so it never shows the best paradigm."""
    if seeds == 1:
        return f" leads in {'this run' if folds == 1 else f'these {folds} runs'}"
    return f" {'leads' if shared else 'is best'} over {plural(seeds, 'seed')}"


def _with(score: Measurement) -> str:
    """The examples that a score rests on: samples, or test examples of a likelihood."""
    return f"with {plural(score.n, 'sample' if score.kind is None else 'test example')}"


def _behind(best: Measurement, score: Measurement) -> str:
    """The difference of a likelihood from the best, with half its interval. Empty for other scores."""
    if score.kind is None:
        return ""
    distance = difference(score, best)
    return f" ({'+' if distance.value >= 0 else ''}{number(distance.value)} ± {number(distance.half)})"


def _floor(score: Measurement) -> str:
    return f" ({number(score.floor_low)} to {number(score.floor_high)})" if math.isfinite(score.floor_low) else ""


def _with_commas(entries: Sequence[Entry]) -> list[str | Entry]:
    parts: list[str | Entry] = []
    for i, entry in enumerate(entries):
        parts += [", "] if i else []
        parts.append(entry)
    return parts


def _likelihoods(entries: Sequence[Entry], runs: Runs) -> Line | None:
    """The best exact likelihood of the same tokens. Bounds and estimates, of unknown gaps, are not ranked."""
    scores = {entry.name: p for entry in entries if (p := entry.likelihood) is not None and math.isfinite(p.value)}
    if not scores:
        return None
    exact = {name: p for name, p in scores.items() if of_tokens(p)}
    rest = len(scores) - len(exact)
    kinds = "is a bound or an estimate, which is" if rest == 1 else "are bounds or estimates, which are"
    unranked = f"{plural(rest, 'likelihood')} {kinds} not ranked" if rest else ""
    line = _best("For a likelihood", [e for e in entries if e.name in exact], lambda e: e.likelihood, runs)
    if line is None or len(exact) < 2:
        only = [entry for entry in entries if entry.name in exact]
        values = [
            f", {_words(exact[e.name])}, {number(exact[e.name].value)} {exact[e.name].unit}{interval(exact[e.name])}"
            for e in only
        ]
        parts: tuple[str | Entry, ...] = (*only, *values, *(["; "] if only and unranked else []), unranked)
        return Line("For a likelihood", parts)
    return replace(line, parts=(*line.parts, f"; {unranked}" if unranked else ""))


def _words(likelihood: Measurement) -> str:
    return "exact" if likelihood.kind is Kind.EXACT else ONE_TOKENISATION


def _speeds(entries: Sequence[Entry]) -> Line | None:
    """The fastest model to sample. A time measured in one batch is trusted within a factor of two."""
    scores = {entry.name: score for entry in entries if (score := entry.score("milliseconds_per_sample")) is not None}
    if len(scores) < 2:
        return None
    busy = [entry for entry in entries for r in entry.results if r["sampling_usage"]["share"] < LEAST_SHARE]
    if busy:
        return Line("For speed", ("nobody is named: the machine was busy while ", busy[0], " sampled"))
    timed = {name: _timed(score) for name, score in scores.items()}
    by_name = {entry.name: entry for entry in entries}
    order = sorted(timed, key=lambda name: timed[name].value)
    first, near = by_name[order[0]], [by_name[name] for name in order[1:] if timed[name].low <= timed[order[0]].high]
    slowest = by_name[order[-1]]
    fast, slow = (entry.score("evaluations_per_sample") for entry in (first, slowest))
    assert fast is not None
    assert slow is not None
    times = timed[slowest.name].value / max(timed[first.name].value, 1e-9)
    words = f": {number(timed[first.name].value)} ms and {_evaluations(fast)}"
    shared = ("; about as fast: ", *_with_commas(near)) if near else ()
    end = (f" takes {number(times)} times as long ({_evaluations(slow)})",)
    return Line("For speed", (first, words, *shared, "; ", slowest, *end))


def _timed(score: Measurement) -> Measurement:
    has_interval = math.isfinite(score.low) and score.high > score.low
    low, high = (score.low, score.high) if has_interval else (score.value / 2, 2 * score.value)
    return replace(score, low=low, high=high)


def _evaluations(score: Measurement) -> str:
    return f"{number(score.value)} network evaluation{'' if score.value == 1 else 's'}"


def _confidence(comparison: Results) -> Line:
    """The confidence in the lines above."""
    seeds, folds, n = comparison.settings.seeds, comparison.settings.folds, comparison.n
    if seeds == 1:
        over = "one seed: intervals are over samples and test examples; another training may change the order"
    elif seeds == 2:
        over = "two seeds, whose spread is hardly known: intervals are wide"
    else:
        over = f"{seeds} seeds: intervals are over trainings, samples and test examples"
    level = "low" if seeds < 3 else "medium" if n < 500 else "good"
    parts = f"; {folds} parts, each judged by models that were trained on the others" if folds > 1 else ""
    return Line("Confidence", (f"{level}; {over}{parts}; all were judged by {n} samples",))


FEW = 100
"""Below so many test examples, hardly any two models differ significantly."""


def _has_few_tests(comparison: Results) -> bool:
    """Whether the test split is small, and a tenth of data that can be cut into other parts."""
    settings, data = comparison.settings, comparison.data
    if settings.folds > 1 or settings.samples or not comparison.source or comparison.dataset.space.window is not None:
        return False
    count = data["train"] + data["validation"] + data["test"]
    return bool(data["test"] < FEW and abs(data["test"] - count / 10) <= 1)


def _next(comparison: Results, entries: Sequence[Entry]) -> list[Line]:
    """The command that improves the comparison most."""
    settings, count = comparison.settings, sum(len(entry.outcomes) for entry in comparison.entries)
    marked = [entry for entry in entries if len(entry.marks) > len(entry.elsewhere)]
    if marked:
        longer, _ = advice([h for entry in marked for h in entry.health], settings.budget)
        settings = replace(settings, budget=longer) if longer else replace(settings, resume=False)
    elif count < comparison.planned:
        settings = replace(settings, resume=True)
    elif not entries:
        return []
    elif comparison.n < min(100, comparison.data["references"]):
        settings = replace(settings, patience=math.ceil(2 * settings.seconds), resume=True)
    elif _has_few_tests(comparison):
        settings = replace(settings, folds=5)
    elif settings.seeds < 3:
        settings = replace(settings, seeds=3, resume=True)
    else:
        return []
    same = settings.resume and settings.budget == comparison.settings.budget
    runs = len(comparison.entries) * settings.seeds * settings.folds - (count if same else 0)
    takes = [Line("It takes", (settings.time(runs),))] if runs > 0 and settings.executor is None else []
    return [Line("Next", (comparison.again(settings),)), *takes]
