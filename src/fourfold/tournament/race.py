"""``fit best``: a race of paradigms and sizes under one budget, by successive halving.

Every candidate trains for a small part of its own budget. The better ones go on from where they are, until one is left
(Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"). Validation
examples decide, so that test examples stay unseen.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, final

from fourfold.core import Space
from fourfold.data import Data, Dataset, load
from fourfold.engine import Interrupted, fit, resumable
from fourfold.engine.auto import SIZES
from fourfold.engine.estimate import planned
from fourfold.engine.progress import shower_for
from fourfold.engine.step import Step
from fourfold.paradigms import cards, resolve
from fourfold.runs.budget import parse_budget
from fourfold.runs.checkpoint import check_vacant
from fourfold.runs.files import write_json
from fourfold.runs.run import Run
from fourfold.runs.settings import FitKeywords
from fourfold.tournament.standings import AIMS, HEAD, Draft, Standing, deciding_score, drafted, in_order, judged
from fourfold.vocabulary import AUTO

__all__ = ["Race", "fit_best"]

ROUNDS = (1 / 8, 1 / 3, 1.0)
"""The used fractions of its own budget at which a candidate is judged. The first counts from its first step."""
SETUP = 0.03
"""The part of its own budget that a candidate takes before its first step: its size is chosen, and its data is read."""
SURVIVORS = 3
"""The candidates that go on after the first round. The better one is joined by itself in another size."""
TRAINING = 0.8
"""The part of a budget in seconds that trains. Judging takes the rest."""
PATIENCE = 30.0
"""Seconds to sample a candidate, and again to score it, where the budget has no clock."""


@final
@dataclass(frozen=True)
class Race:
    """A race that has ended.

    Attributes:
        run: the winner, trained to the end.
        aim: the score that decided.
        rounds: the standings at the end of each round, from the best to the worst.
    """

    run: Run
    aim: str
    rounds: Sequence[Sequence[Standing]]

    def __str__(self) -> str:
        lines = []
        for i, standings in enumerate(self.rounds, 1):
            lines += [f"round {i} of {len(self.rounds)}", HEAD, *(standing.line() for standing in standings), ""]
        score = deciding_score(self.rounds[-1], self.aim)
        return "\n".join([*lines, f"best by {score} of validation examples: {self.rounds[-1][0].name}"])


def fit_best(
    data: Data | Dataset,
    *,
    out: str | os.PathLike[str],
    aim: str = "distance",
    candidates: Sequence[str] | None = None,
    observe: Callable[[Step], bool | None] | None = None,
    say: Callable[[str], None] | None = None,
    progress: bool = True,
    **keywords: Unpack[FitKeywords],
) -> Race:
    """Train the best model of data within a budget: a race of paradigms and sizes by successive halving.

    All candidates have the same budget ``b``. They train to ``b/8``, the best three and the best in another size to
    ``b/3``, and the best of these to ``b``, so that the winner is the run that ``fit`` makes with the budget ``b``. All
    training and judging together takes about the budget of the race. A race that was interrupted goes on by the same
    call. Recipes whose stages train one after the other have nothing to judge early, and take part only if named.

    Args:
        data: data for :func:`fourfold.load`, or a data set.
        out: the run folder of the winner. The other runs stay in ``race/`` inside, and can be resumed.
        aim: the score that decides: ``distance`` (and likelihood among those that are level), ``likelihood`` (kinds are
            not ranked against each other: the strongest comes first), ``coverage``, or ``speed`` of sampling among
            those that are level in distance.
        candidates: paradigms or recipes. By default all that model the data.
        observe: a function that is called with each step, see :func:`fourfold.fit`.
        say: a function that is called with each message.
        progress: whether a notebook or terminal shows a bar and the messages.
        keywords: the settings of :func:`fourfold.fit`. ``budget`` is that of the whole race.

    Raises:
        ValueError: for an unknown aim or candidate, or a folder that holds a run.
        TypeError: for a candidate that does not model the data.
        DataError: for data that cannot be trained on.
        Interrupted: after SIGINT or SIGTERM. The same call goes on.
    """
    if aim not in AIMS:
        raise ValueError(f"aim must be one of {', '.join(AIMS)}, got {aim!r}")
    if keywords.get("private") is not None:
        raise ValueError("private must be left out with best, which looks at held-out rows: name a recipe")
    folder = Path(out)
    if folder.exists():
        check_vacant(folder)
    options: Any = {"seed": keywords.get("seed") or 0, **(keywords.get("data_options") or {})}
    dataset = data if isinstance(data, Dataset) else load(data, **options)
    names = _candidates(dataset.space, candidates)
    with shower_for("race", observe, say, progress) as (steps, lines):
        contest = _Contest(dataset, folder, aim, names, keywords, steps, lines or (lambda line: None))
        rounds = contest.hold()
    winner = contest.folder_of(rounds[-1][0].name)
    for path in list(winner.iterdir()):
        shutil.move(path, folder / path.name)
    winner.rmdir()
    run = Run.load(folder, keywords.get("device") or AUTO)
    return Race(replace(run, data=dataset), aim, rounds)


def _candidates(space: Space, names: Sequence[str] | None) -> list[str]:
    """The recipes that take part: those named, or the default recipe without stages of each paradigm of the space."""
    if names is not None:
        return list(dict.fromkeys(resolve(name, space) for name in names))
    recipes = []
    for name in cards():
        with contextlib.suppress(TypeError):
            recipe = resolve(name, space)
            recipes += [] if planned(recipe, space, "xs").stages() else [recipe]
    if not recipes:
        raise ValueError(f"data must have a space that a paradigm models, got {type(space).__name__}")
    return recipes


@final
@dataclass
class _Until:
    """An observer that pauses training at a used fraction of its budget.

    Attributes:
        fraction: the fraction of what is left at the first step.
        observe: another observer.
        start: the used fraction at the first step, or the number at which it counts as such.
        reached: whether the fraction was reached.
    """

    fraction: float
    observe: Callable[[Step], bool | None] | None
    start: float = math.nan
    reached: bool = False

    def __call__(self, step: Step) -> bool:
        if math.isnan(self.start):
            self.start = step.used
        self.reached = self.start + self.fraction * (1 - self.start) <= step.used < 1
        asked = self.observe is not None and self.observe(step) is True
        return self.reached or asked


@final
class _Contest:
    """A race in progress. Its state are the run folders of the candidates, and the standings in ``race.json``."""

    def __init__(
        self,
        dataset: Dataset,
        folder: Path,
        aim: str,
        names: Sequence[str],
        keywords: FitKeywords,
        observe: Callable[[Step], bool | None] | None,
        say: Callable[[str], None],
    ) -> None:
        self.dataset, self.folder, self.aim, self.names = dataset, folder, aim, names
        self.keywords, self.observe, self.say = keywords, observe, say
        self.judges = replace(dataset, test=dataset.validation)
        whole = parse_budget(keywords.get("budget") or "1m")
        clock = math.isfinite(whole.seconds)
        self.budget = whole.part((TRAINING if clock else 1.0) / _load(len(names)))
        judgements = len(names) + min(len(names), SURVIVORS) + 2
        self.patience = (1 - TRAINING) * whole.seconds / judgements / 2 if clock else PATIENCE

    def folder_of(self, name: str) -> Path:
        """The run folder of a candidate."""
        return self.folder / "race" / name.replace("/", "-").replace(" ", "-")

    def hold(self) -> list[list[Standing]]:
        """Hold every round that is not held yet. Return the standings of all.

        Raises:
            RuntimeError: if every candidate failed.
        """
        rounds = self._recorded()
        for i, fraction in enumerate(ROUNDS[len(rounds) :], len(rounds)):
            names = self._entrants(rounds)
            count, part = f"round {i + 1} of {len(ROUNDS)}", f"{fraction:.0%} of {self.budget.words}"
            self.say(f"{count}: {', '.join(names)}, each to {part}")
            standings = self._round(names, fraction)
            rounds.append(standings)
            write_json(self.folder / "race" / "race.json", self._record(rounds))
            if standings[0].failure:
                raise RuntimeError(f"every candidate failed, {standings[0].name}: {standings[0].failure}")
        return rounds

    def _recorded(self) -> list[list[Standing]]:
        """The standings of the rounds that an interrupted race has held under the same settings."""
        path = self.folder / "race" / "race.json"
        if not path.exists():
            return []
        record = json.loads(path.read_text(encoding="utf-8"))
        if {**record, "rounds": []} != self._record([]):
            raise ValueError(f"{self.folder} must hold a race of the same data, aim, candidates and budget; remove it")
        return [[Standing.from_record(standing) for standing in standings] for standings in record["rounds"]]

    def _record(self, rounds: Sequence[Sequence[Standing]]) -> dict[str, Any]:
        """The race as a JSON value."""
        settings = {"data": self.dataset.digest, "aim": self.aim, "budget": str(self.budget), "names": [*self.names]}
        return {**settings, "rounds": [[standing.record() for standing in standings] for standings in rounds]}

    def _entrants(self, rounds: Sequence[Sequence[Standing]]) -> list[str]:
        """The names of the candidates of the next round."""
        if not rounds:
            return list(self.names)
        able = [standing for standing in rounds[-1] if not standing.failure]
        if len(rounds) == len(ROUNDS) - 1:
            return [able[0].name]
        return [*(standing.name for standing in able[:SURVIVORS]), *self._resized(able[0])]

    def _resized(self, best: Standing) -> list[str]:
        """The best candidate in the next narrower size, or the next wider one, where the user left the size open."""
        sizes = list(SIZES)
        if (self.keywords.get("size") or AUTO) != AUTO or best.size not in sizes:
            return []
        at = sizes.index(best.size)
        size = sizes[at - 1] if at else sizes[1]
        counts = {_parameters(best.name, self.dataset.space, each) for each in (size, best.size)}
        return [f"{best.name} {size}"] if len(counts) > 1 else []

    def _round(self, names: Sequence[str], fraction: float) -> list[Standing]:
        """Train candidates up to a fraction of their budget, and judge them. From the best to the worst."""
        drafts, failures = list[Draft](), list[Standing]()
        for name in names:
            try:
                drafts.append(self._drafted(name, fraction))
            except Exception as error:  # a candidate that fails has lost, and the others go on
                failures.append(Standing(name, failure=f"{type(error).__name__}: {error}"))
                self.say(failures[-1].line())
            else:
                self.say(drafts[-1].standing.line())
        return in_order([*judged(drafts, self.judges), *failures], self.aim)

    def _drafted(self, name: str, fraction: float) -> Draft:
        """A candidate that is trained up to a fraction of its budget, with samples."""
        folder = self.folder_of(name)
        recipe, _, size = name.partition(" ")
        keywords: FitKeywords = {**self.keywords, "budget": self.budget}
        if size:
            keywords["size"] = size
        resumes = resumable(folder)
        until = _Until(fraction, self.observe, 0.0 if resumes else math.nan)
        try:
            fit(recipe, self.dataset, out=folder, resume=resumes, observe=until, say=_nobody, **keywords)
        except Interrupted:
            if not until.reached:
                raise
        run = Run.load(folder, self.keywords.get("device") or AUTO)
        card = run.card
        standing = Standing(name, card["size"], card["steps"], card["seconds"])
        return drafted(standing, run.model, self.judges, self.patience, card["seed"])


def _load(count: int) -> float:
    """The training of a race with some candidates, in budgets of one."""
    first, second, last = ROUNDS
    resized = second + SETUP
    return count * (first + SETUP) + min(count, SURVIVORS) * (second - first) + resized + (last - second)


def _nobody(line: str) -> None:
    """Drop a message of a training: the race has its own."""


def _parameters(recipe: str, space: Space, size: str) -> int:
    """The number of parameters of a recipe in a size."""
    return sum(p.numel() for p in planned(recipe, space, size).parameters())
