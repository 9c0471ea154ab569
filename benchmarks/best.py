"""``fit best`` beside the paradigm that people take for a kind of data, under the same seconds, on ten data sets.

    python benchmarks/best.py [--budget 60s] [--only digits,iris] [--diamonds diamonds.csv]
        [--file FILE[,order=COLUMN][,limit=ROWS]] [--counted] [--out benchmarks/results/best.json]

The race decides by validation examples. Both models are then measured by test examples: the headline distance of the
space with equally many samples, and likelihood. As in the race, the distance decides, and likelihood where distances do
not differ significantly at 95 %, if both have the same kind. ``verdict`` says which model is better by that, or that
they are level. With ``--counted`` only the pick is trained, and test nats stand beside those of the best model in
closed form of its space, with the line that ``fit`` says of it. ``same recipe`` is a race that had one candidate, that
of the pick. Seconds are those of the clock, race and judging included. The pick is diffusion for images, a flow for
vectors, and autoregressive for tables and text. Run it by ``processor_time.py`` where the machine is shared.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from provenance import commit
from sklearn import datasets

import fourfold
from fourfold.baselines import baselines_of, fit_baseline
from fourfold.core import GenerativeModel, LogProb
from fourfold.data import Dataset, load
from fourfold.machine.hardware import machine
from fourfold.metrics import Measurement
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import draw, examples, headline, likelihood
from fourfold.tournament.ranking import difference

SAMPLES = 1000
VERDICTS = ("best", "level", "same recipe", "pick")


def frame(read: Callable[..., Any]) -> Callable[[], Dataset]:
    """The loader of one of scikit-learn's tables."""
    return lambda: load(read(as_frame=True).frame)


SETS: Mapping[str, tuple[str, Callable[[], Dataset]]] = {
    "digits": ("diffusion", lambda: load("digits")),
    "fashion-mnist": ("diffusion", lambda: load("fashion-mnist")),
    "two-moons": ("flow", lambda: load("two-moons")),
    "checkerboard": ("flow", lambda: load("checkerboard")),
    "eight-gaussians": ("flow", lambda: load("eight-gaussians")),
    "breast-cancer": ("flow", lambda: load("breast-cancer")),
    "iris": ("autoregressive", frame(datasets.load_iris)),
    "wine": ("autoregressive", frame(datasets.load_wine)),
    "diabetes": ("autoregressive", frame(datasets.load_diabetes)),
    "iris-numbers": ("flow", lambda: load(datasets.load_iris().data.astype("float32"))),
    "wine-numbers": ("flow", lambda: load("wine")),
    "penguins": ("autoregressive", lambda: load("penguins")),
    "python-docs": ("autoregressive", lambda: load("python-docs")),
}


def scores(model: GenerativeModel, dataset: Dataset) -> tuple[Measurement, Measurement]:
    """The distance and the likelihood of test examples."""
    references = examples(dataset, SAMPLES)
    samples = draw(model, len(references.test), 1, references.cond)
    return headline(samples.x, dataset, references), likelihood(model, dataset, SAMPLES, 1, 60.0)


def row(name: str, pick: str, dataset: Dataset, budget: str) -> dict[str, Any]:
    """The race and the pick on one data set."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        race = fourfold.fit_best(dataset, out=Path(folder) / "best", budget=budget, say=print)
        middle = time.perf_counter()
        own = fourfold.fit(pick, dataset, budget=budget, say=lambda line: None)
        end = time.perf_counter()
    (best, best_nats), (plain, plain_nats) = scores(race.run.model, dataset), scores(own.model, dataset)
    same = best_nats.kind is plain_nats.kind
    verdict = _verdict(best, plain)
    if verdict == "level" and same:
        verdict = _verdict(best_nats, plain_nats)
    return {
        "budget": budget,
        "data": name,
        "best": race.run.card["recipe"],
        "size": race.run.card["size"],
        "pick": own.card["recipe"],
        "measure": best.name,
        "distance of best": round(best.value, 4),
        "distance of pick": round(plain.value, 4),
        "verdict": "same recipe" if not race.looks and race.run.card["recipe"] == own.card["recipe"] else verdict,
        "likelihood of best": f"{best_nats.value:.4g} {best_nats.kind}",
        "likelihood of pick": f"{plain_nats.value:.4g} {plain_nats.kind}" + ("" if same else ", not comparable"),
        "seconds of best": round(middle - start, 1),
        "seconds of pick": round(end - middle, 1),
    }


def counted(name: str, pick: str, dataset: Dataset, budget: str) -> dict[str, Any]:
    """The pick beside the best baseline on one data set, in nats or the unit of the space, and what ``fit`` says."""
    said: list[str] = []
    run, test = fourfold.fit(pick, dataset, budget=budget, say=said.append), examples(dataset, SAMPLES)
    unit, own = run.model.space.unit, run.model.log_prob(test.test, test.cond)
    scored = {}
    for kind in baselines_of(dataset.space):
        fitted = fit_baseline(kind, dataset.space, dataset.train.x, dataset.train.cond)
        scored[kind.name] = dataclasses.replace(fitted.log_prob(test.test, test.cond), outside=own.outside)
    best = max(scored, key=lambda name: float(scored[name].nats[own.inside].mean()), default="")
    return {
        "budget": budget,
        "data": name,
        "examples": len(dataset.train.x),
        "pick": run.card["recipe"],
        "unit": unit,
        "likelihood of pick": f"{own.mean_in(unit)[0]:.5g} {own.kind}",
        "best baseline": best,
        "likelihood of baseline": f"{scored[best].mean_in(unit)[0]:.5g}" if best else "",
        "verdict": _counted_verdict(own, scored[best]) if best else "none",
        "said": next((line for line in said if "ahead of this model" in line), ""),
    }


def _counted_verdict(own: LogProb, best: LogProb) -> str:
    """The side with more nats, if it is ahead by more than two standard errors."""
    gap = (own.nats - best.nats)[own.inside].double()
    error = float(gap.std()) / len(gap) ** 0.5
    return "level" if abs(float(gap.mean())) <= 2 * error else "pick" if float(gap.mean()) > 0 else "baseline"


def _file(argument: str) -> tuple[str, tuple[str, Callable[[], Dataset]]]:
    """A set of a file, with options of reading it."""
    path, *options = argument.split(",")
    named: dict[str, Any] = dict(option.split("=", 1) for option in options)
    named |= {key: float(value) if "." in value else int(value) for key, value in named.items() if value[:1].isdigit()}
    return Path(path).stem, ("autoregressive", lambda: load(path, **named))


def _verdict(best: Measurement, pick: Measurement) -> str:
    """The better of two scores, if their difference is significant."""
    gap = difference(best.ranked(), pick.ranked())
    if not abs(gap.value) > gap.half:  # too few examples give no distance: NaN
        return "level"
    return "best" if (gap.value < 0) == (best.ranked().better == "lower") else "pick"


def counts(rows: Sequence[Mapping[str, Any]]) -> str:
    """The number of sets with each verdict."""
    number = Counter(row["verdict"] for row in rows)
    verdicts = dict.fromkeys([*VERDICTS, *number])
    return f"of {len(rows)} sets: " + ", ".join(f"{verdict} {number[verdict]}" for verdict in verdicts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--only", default=",".join(SETS))
    parser.add_argument("--diamonds", help="diamonds.csv of ggplot2, as plotnine has it")
    parser.add_argument("--file", action="append", default=[], help="FILE[,OPTION=VALUE]..., options of loading")
    parser.add_argument("--counted", action="store_true", help="the pick beside models in closed form")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sets = {name: SETS[name] for name in options.only.split(",") if name} | dict(map(_file, options.file))
    if options.diamonds:
        sets["diamonds"] = ("autoregressive", lambda: load(options.diamonds))
    rows = []
    for name, (pick, read) in sets.items():
        rows.append((counted if options.counted else row)(name, pick, read(), options.budget))
        print(rows[-1], flush=True)
        if options.out:
            write_json(
                options.out,
                {
                    "title": f"`fit best` and the usual pick, {options.budget} each",
                    "command": f"python benchmarks/best.py --budget {options.budget}",
                    "machine": f"{machine()['cpu']}, {os.cpu_count()} cores, beside other work",
                    "date": str(datetime.date.today()),
                    "commit": commit(),
                    "seeds": 1,
                    "rows": rows,
                },
            )
    print(counts(rows))


if __name__ == "__main__":
    main()
