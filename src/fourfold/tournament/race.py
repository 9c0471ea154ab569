"""``fit best``: a race of paradigms under one budget, by successive halving.

Every candidate trains for a small part of its own budget. The better ones go on from where they are, until one is left
(Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"). Validation
examples decide, so that test examples stay unseen.
"""

from __future__ import annotations

import contextlib
import json
import math
import operator
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Unpack, final

from fourfold.core import Space
from fourfold.data import Data, Dataset, load
from fourfold.engine import Interrupted, fit, resumable
from fourfold.engine.auto import choose_size
from fourfold.engine.estimate import planned
from fourfold.engine.progress import shower_for
from fourfold.engine.step import Step
from fourfold.paradigms import cards, declared, resolve
from fourfold.runs.budget import parse_budget
from fourfold.runs.checkpoint import check_vacant
from fourfold.runs.files import write_json
from fourfold.runs.run import Run
from fourfold.runs.settings import FitKeywords
from fourfold.tournament.standings import AIMS, HEAD, Draft, Standing, deciding_score, drafted, in_order, judged
from fourfold.vocabulary import AUTO

__all__ = ["Race", "fit_best"]

LOOKS = (1 / 24, 1 / 4)
"""The used fractions of its own budget at which a candidate is judged. The first counts from its first step."""
SETUP = 0.03
"""The part of its own budget that a candidate takes before its first step: its size is chosen, and its data is read."""
SURVIVORS = 2
"""The candidates that go on after the first look."""
JUDGING = 0.02
"""The part of a budget in seconds in which a candidate is judged once. Training takes the rest."""
LONG = 600.0
"""Seconds from which every paradigm takes part. Budgets without a clock are as long."""


PATIENCE = 30.0
"""Seconds to sample a candidate, and again to score it, where the budget has no clock."""


@final
@dataclass(frozen=True)
class Race:
    """A race that has ended.

    Attributes:
        run: the winner, trained to the end.
        aim: the score that decided.
        looks: the standings at each look, from the best to the worst. None where there was one candidate.
    """

    run: Run
    aim: str
    looks: Sequence[Sequence[Standing]]

    def __str__(self) -> str:
        if not self.looks:
            return f"the only candidate: {self.run.card['recipe']}; --candidates names others, and ten minutes race all"
        lines = []
        for i, standings in enumerate(self.looks, 1):
            lines += [f"look {i} of {len(self.looks)}", HEAD, *(standing.line() for standing in standings), ""]
        score = deciding_score(self.looks[-1], self.aim)
        return "\n".join([*lines, f"best by {score} of validation examples: {self.looks[-1][0].name}"])


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
    """Train the best model of data within a budget: a race of paradigms by successive halving.

    All candidates have the same budget ``b``. They train to ``b/24``, the best two to ``b/4``, and the better of these
    to ``b``, so that the winner is the run that ``fit`` makes with the budget ``b``. All training and judging together
    takes about the budget of the race. A race that was interrupted goes on by the same call.

    A race of less than ten minutes that distance decides has few candidates: those whose recipes say that they lead
    in such data (:attr:`Recipe.leads <fourfold.vocabulary.Recipe>`). Where there is one, all of the budget is its own.
    Other races have every paradigm of the space. Each has the size that ``auto`` chooses. Recipes whose stages train
    one after the other have nothing to judge early, and take part only if named.

    Args:
        data: data for :func:`fourfold.load`, or a data set.
        out: the run folder of the winner. The other runs stay in ``race/`` inside, and can be resumed.
        aim: the score that decides: ``distance`` (and likelihood among those that are level), ``likelihood`` (kinds are
            not ranked against each other: the strongest comes first), ``coverage``, or ``speed`` of sampling among
            those that are level in distance.
        candidates: paradigms or recipes. By default those that model the data and suit the budget.
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
    names = candidates_of(dataset, candidates or _begun(folder), aim, keywords)
    with shower_for("race", observe, say, progress) as (steps, lines):
        contest = _Contest(dataset, folder, aim, names, keywords, steps, lines or (lambda line: None))
        looks, winner = contest.hold()
    for path in list(winner.iterdir()):
        shutil.move(path, folder / path.name)
    winner.rmdir()
    run = Run.load(folder, keywords.get("device") or AUTO)
    return Race(replace(run, data=dataset), aim, looks)


def _begun(folder: Path) -> list[str] | None:
    """The candidates of a race that was interrupted: the machine may choose others today."""
    path = folder / "race" / "race.json"
    return json.loads(path.read_text(encoding="utf-8"))["names"] if path.exists() else None


def candidates_of(dataset: Dataset, names: Sequence[str] | None, aim: str, keywords: FitKeywords) -> list[str]:
    """The recipes that take part: those named, or the default recipes without stages of paradigms of the space.

    A short race that distance decides has those that lead in such data, if there are any: of those that would take
    enough steps, the ones that ask for the most.
    """
    space = dataset.space
    if names is not None:
        return list(dict.fromkeys(resolve(name, space) for name in names))
    recipes = []
    for name in cards():
        with contextlib.suppress(TypeError):
            recipe = resolve(name, space)
            recipes += [] if planned(recipe, space, "xs").stages() else [recipe]
    if not recipes:
        raise ValueError(f"data must have a space that a paradigm models, got {type(space).__name__}")
    budget = parse_budget(keywords.get("budget") or "1m")
    needs = {} if aim != "distance" or budget.seconds >= LONG else _leaders(recipes, space)
    for need in sorted({*needs.values()}, reverse=True):
        group = [recipe for recipe in recipes if needs.get(recipe) == need]
        device = keywords.get("device") or AUTO
        if not need or choose_size(group[0], dataset, budget, device).steps > need:
            return group
    return recipes


def _leaders(recipes: Sequence[str], space: Space) -> dict[str, int]:
    """The recipes that lead in short trainings of such data, and from how many steps."""
    leads = {recipe: declared(recipe).leads.get(type(space).__name__) for recipe in recipes}
    return {recipe: steps for recipe, steps in leads.items() if steps is not None}


def survivors(standings: Sequence[Standing], space: Space) -> list[str]:
    """The candidates that go on after a look: the best ones, and one that leads after many steps, as it starts slowly.

    Diffusion is behind latent-variable models of Fashion-MNIST after 244 steps and ahead of them after 536.
    """
    able = [standing.name for standing in standings if not standing.failure]
    late = [name for name in able[SURVIVORS:] if _leaders([name], space).get(name)][:1]
    return [*able[: SURVIVORS - len(late)], *late]


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
        stops = self.observe is not None and self.observe(step) is True
        return self.reached or stops


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
        self.looks = LOOKS[max(len(LOOKS) + 1 - len(names), 0) :]  # a look that drops no candidate is left out
        counts = [len(names), SURVIVORS][len(LOOKS) - len(self.looks) :]
        training = 1 - JUDGING * sum(counts) if clock else 1.0
        self.budget = whole.part(training / self._load([*counts, 1]))
        self.patience = JUDGING * whole.seconds / 2 if clock else PATIENCE

    def _load(self, counts: Sequence[int]) -> float:
        """The training of the race, in budgets of one candidate: up to each look, the rest, and before first steps."""
        lengths = [end - start for start, end in pairwise([0.0, *self.looks, 1.0])]
        return (len(self.names) - 1) * SETUP + sum(map(operator.mul, counts, lengths))

    def folder_of(self, name: str) -> Path:
        """The run folder of a candidate."""
        return self.folder / "race" / name.replace("/", "-")

    def hold(self) -> tuple[list[list[Standing]], Path]:
        """Take every look that is not taken yet, and train the winner. Return the standings and its run folder.

        Raises:
            RuntimeError: if every candidate failed.
        """
        looks = self._recorded()
        write_json(self.folder / "race" / "race.json", self._record(looks))
        for i, fraction in enumerate(self.looks[len(looks) :], len(looks)):
            names = self._entrants(looks)
            count, part = f"look {i + 1} of {len(self.looks)}", f"{fraction:.0%} of {self.budget.words}"
            self.say(f"{count}: {', '.join(names)}, each to {part}")
            standings = self._standings(names, fraction)
            looks.append(standings)
            write_json(self.folder / "race" / "race.json", self._record(looks))
            if standings[0].failure:
                raise RuntimeError(f"every candidate failed, {standings[0].name}: {standings[0].failure}")
        winner = looks[-1][0].name if looks else self.names[0]
        self.say(f"{winner}, to {self.budget.words}")
        self._train(winner, self.observe, self.say)
        return looks, self.folder_of(winner)

    def _recorded(self) -> list[list[Standing]]:
        """The standings of the looks that an interrupted race has held under the same settings."""
        path = self.folder / "race" / "race.json"
        if not path.exists():
            return []
        record = json.loads(path.read_text(encoding="utf-8"))
        if {**record, "looks": []} != self._record([]):
            raise ValueError(f"{self.folder} must hold a race of the same data, aim, candidates and budget; remove it")
        return [[Standing.from_record(standing) for standing in standings] for standings in record["looks"]]

    def _record(self, looks: Sequence[Sequence[Standing]]) -> dict[str, Any]:
        """The race as a JSON value."""
        settings = {"data": self.dataset.digest, "aim": self.aim, "budget": str(self.budget), "names": [*self.names]}
        return {**settings, "looks": [[standing.record() for standing in standings] for standings in looks]}

    def _entrants(self, looks: Sequence[Sequence[Standing]]) -> list[str]:
        """The names of the candidates that train for the next look."""
        if not looks:
            return list(self.names)
        return survivors(looks[-1], self.dataset.space)

    def _standings(self, names: Sequence[str], fraction: float) -> list[Standing]:
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
        return in_order([*judged(drafts, self.judges, self.aim), *failures], self.aim)

    def _drafted(self, name: str, fraction: float) -> Draft:
        """A candidate that is trained up to a fraction of its budget, with samples."""
        until = _Until(fraction, self.observe, 0.0 if resumable(self.folder_of(name)) else math.nan)
        try:
            with warnings.catch_warnings(action="ignore"):  # a training that pauses has few steps
                self._train(name, until)
        except Interrupted:
            if not until.reached:
                raise
        run = Run.load(self.folder_of(name), self.keywords.get("device") or AUTO)
        card = run.card
        standing = Standing(name, card["size"], card["steps"], card["seconds"])
        return drafted(standing, run.model, self.judges, self.patience, card["seed"])

    def _train(
        self,
        name: str,
        observe: Callable[[Step], bool | None] | None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Train a candidate, from where it is."""
        folder, keywords = self.folder_of(name), {**self.keywords, "budget": self.budget}
        settings: Any = {**keywords, "resume": resumable(folder), "progress": False}
        fit(name, self.dataset, out=folder, observe=observe, say=say, **settings)
