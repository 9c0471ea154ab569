"""Says which baseline, a model in closed form, beats a trained model on held-out examples."""

from __future__ import annotations

import dataclasses
import math
import time

from torch import Tensor

from fourfold.baselines import baselines_of, fit_baseline
from fourfold.core import LogProb
from fourfold.engine.shortfall import FEWEST
from fourfold.paradigms import resolve
from fourfold.runs.run import Run
from fourfold.tasks.evaluation import log_prob, scored_examples
from fourfold.vocabulary import Kind

__all__ = ["beaten"]

EXAMPLES = 256
"""Held-out examples that are scored, at most."""
SHARE = 0.1
"""After this part of the training's time, and two seconds, no further baseline is fitted."""


def beaten(run: Run) -> str | None:
    """A line where a baseline gives held-out examples more nats than the model: which one, and what may be better.

    A baseline counts if it is ahead by more than a standard error of the difference. Models without a likelihood are
    not compared, nor are points whose density is an estimate along an ODE. Such a bound of images takes long, so fewer
    of them are scored.
    """
    data, model, kinds = run.data, run.model, (Kind.EXACT, Kind.LOWER_BOUND, Kind.ESTIMATED_BOUND)
    candidates = () if data is None else baselines_of(data.space)
    trained = model.estimand.fitted or run.card["steps"] >= FEWEST
    kind = None if model.likelihood.kind is None else model.codec.kind_of_raw(model.likelihood.kind, "")[0]
    if data is None or not candidates or not trained or kind not in kinds:
        return None
    seconds, line = 2 + SHARE * run.card["seconds"], None
    validation = dataclasses.replace(data, test=data.validation)
    own = log_prob(model, validation, EXAMPLES, seconds=seconds if kind is Kind.ESTIMATED_BOUND else None)
    if own.kind not in kinds:
        return None
    examples = scored_examples(validation, len(own))
    best, end = own, time.monotonic() + seconds
    for candidate in candidates:
        if time.monotonic() > end:
            break
        fitted = fit_baseline(candidate, data.space, data.train.x, data.train.cond)
        scored = dataclasses.replace(fitted.log_prob(examples.x, examples.cond), outside=own.outside)
        if _ahead(scored, own) and float((scored.nats - best.nats)[own.inside].mean()) > 0:
            best, line = scored, _line(candidate.name, candidate.recipe, run, scored, own)
    return line


def _ahead(a: LogProb, b: LogProb) -> bool:
    """True if the first has more nats in the mean, by more than a standard error."""
    difference: Tensor = (a.nats - b.nats)[b.inside].double()
    error = float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return float(difference.mean()) > error


def _line(name: str, recipe: str, run: Run, scored: LogProb, own: LogProb) -> str:
    """A sentence with both means, and the way to a better model."""
    unit, bound = run.model.space.unit, own.kind is not Kind.EXACT
    theirs, ours = scored.mean_in(unit)[0], own.mean_in(unit)[0]
    other = f"train {recipe}" if _other(recipe, run) else ""
    choice = run.card.get("choice", {})
    ways = [other] if other else []
    if choice.get("stopped"):
        ways = ways or ["more examples would help, a longer budget would not"]
    elif choice.get("kept_step", math.inf) >= run.card["steps"]:  # else the note on the choice says what to try
        ways.append("give a longer budget")
    limit = ("at least " if unit == "nats" else "at most ") if bound else ""
    figures = f"{name} with {theirs:.4g} {unit} against {limit}{ours:.4g}"
    return "; ".join(filter(None, [f"ahead of this model on held-out examples: {figures}", " or ".join(ways)]))


def _other(recipe: str, run: Run) -> bool:
    """True for a recipe that models the data and is not that of the run."""
    if not recipe or recipe == run.card["recipe"]:
        return False
    try:
        resolve(recipe, run.model.space)
    except TypeError:
        return False
    return True
