"""The process of one run: train, draw, measure, and leave the result in its folder.

``python -m fourfold.compare.worker FOLDER`` reads ``job.json``. What it leaves behind makes it resumable: ``run/`` (the run
folder, with its checkpoint), ``trained.json`` once trained, ``samples.safetensors`` once drawn, ``result.json`` at last.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, final

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import save_file
from torch import Tensor

from fourfold.compare.jobs import Job, read_job, write_json
from fourfold.compare.snapshot import load_snapshot
from fourfold.core import GenerativeModel
from fourfold.data import Dataset, Split
from fourfold.engine import Interrupted, Run, Step, fit, resumable
from fourfold.metrics import Drawn, Examples, Pixels, Score, draw, examples, headline, likelihood, peak_memory, quality
from fourfold.spaces import Images
from fourfold.vocabulary import Kind

__all__ = ["main"]

SHOWN = 64
"""Samples kept for the report."""
NEIGHBOURS = 8
"""Samples shown with their nearest training example."""


@final
class _Clock:
    """Seconds that each phase of a run took, so that what a budget of training leaves out is known too."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap towards a phase."""
        now = time.perf_counter()
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + now - self.last, 2)
        self.last = now


def main(arguments: list[str] | None = None) -> int:
    """Run the job of a folder; whatever goes wrong is written to ``failure.json``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    folder = Path(arguments[0])
    sys.excepthook = _Report(folder)
    try:
        _work(folder, "--quiet" not in arguments)
    except Interrupted as error:
        print(error, file=sys.stderr)
        return 130
    return 0


@final
@dataclass(frozen=True)
class _Report:
    """Writes an uncaught exception to ``failure.json``, and one line of it to the terminal."""

    folder: Path

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        lines = traceback.format_exception(kind, error, trace)
        failure = {"error": kind.__name__, "message": str(error) or kind.__name__, "trace": "".join(lines)}
        write_json(self.folder / "failure.json", failure)
        print(f"{kind.__name__}: {error}", file=sys.stderr)


def _work(folder: Path, show: bool) -> None:
    job, clock = read_job(folder), _Clock()
    dataset = load_snapshot(Path(job.data))
    columns = (TextColumn("{task.description:28}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        trained = _trained(job, folder, dataset, bar)
        clock.lap("training")
        result = _measure(job, folder, dataset, Run.load(folder / "run").model.to(job.device), bar, clock)
    write_json(folder / "result.json", {**trained, **result, "phases": clock.seconds, "evaluation": job.evaluation})


# --- training ---------------------------------------------------------------------------------------------------------


def _trained(job: Job, folder: Path, dataset: Dataset, bar: Progress) -> dict[str, Any]:
    """Train, or go on training, unless it is done; return what is known of it."""
    record = folder / "trained.json"
    if record.exists():
        known: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        return known
    task = bar.add_task(f"{job.paradigm} · training", total=1.0, note="")

    def observe(step: Step) -> None:
        losses = "  ".join(f"{name} {value:.4g}" for name, value in step.losses.items())
        bar.update(task, completed=step.used, note=f"step {step.index}  {losses}  {1 / max(step.seconds, 1e-9):.1f}/s")

    resume = resumable(folder / "run")
    run = fit(
        job.paradigm,
        dataset,
        budget=job.budget,
        size=job.size,
        seed=job.seed,
        precision=job.precision,
        compile=job.compile,
        run_dir=folder / "run",
        resume=resume,
        device=job.device,
        observe=observe,
    )
    card = run.card
    known = {
        "paradigm": job.paradigm,
        "recipe": card["recipe"],
        "facts": card["facts"],
        "seed": job.seed,
        "parameters": card["parameters"],
        "steps": card["steps"],
        "seconds": card["seconds"],
        "precision": card["precision"],
        "batch_size": card["training"]["batch_size"],
        "stages": card.get("stages", []),
        "training_memory": peak_memory(run.model),
        "resumed": resume,
    }
    write_json(record, known)
    return known


# --- measurement ------------------------------------------------------------------------------------------------------


def _measure(
    job: Job, folder: Path, dataset: Dataset, model: GenerativeModel, bar: Progress, clock: _Clock
) -> dict[str, Any]:
    """Draw, then score; the likelihood comes last, because it may be what takes longest."""
    settings = job.evaluation
    patience = settings["patience"]
    chosen = examples(dataset, settings["n"])
    n = len(chosen.test)
    task = bar.add_task(f"{job.paradigm} · sampling", total=n, note=f"{n} samples")
    first = None if chosen.cond is None else chosen.cond[:1]
    model.sample(1, first, seed=job.seed + 1)  # warm up with one sample: a chain is long even so
    drawn = draw(model, n, job.seed, chosen.cond, patience, advance=lambda done: bar.update(task, completed=done))
    sampling_memory = peak_memory(model)
    _keep(folder, drawn, chosen, dataset)
    clock.lap("sampling")
    task = bar.add_task(f"{job.paradigm} · measuring", total=3, note="quality")
    scores = quality(drawn.x, dataset, chosen, settings["features"])
    clock.lap("quality")
    bar.update(task, advance=1, note="likelihood")
    start = time.perf_counter()
    scored = likelihood(model, dataset, settings["likelihood_examples"], job.seed, patience)
    extra = _own_likelihood(model, dataset, drawn, chosen, scored, time.perf_counter() - start, patience)
    clock.lap("likelihood")
    bar.update(task, advance=1, note="sampling steps")
    sweep = _sweep(model, dataset, chosen, job, drawn) if settings["sweep"] else []
    clock.lap("sweep")
    bar.update(task, advance=1, note="done")
    return {
        "scores": [score.record() for score in (scored, *scores, *extra, *drawn.scores())],
        "sampling_memory": sampling_memory,
        "sampler": repr(model.sampler),
        "objective": type(model.objective).__name__,
        "estimand": type(model.estimand).__name__,
        "sweep": sweep,
    }


def _keep(folder: Path, drawn: Drawn, chosen: Examples, dataset: Dataset) -> None:
    """Keep what the report shows: the first samples, and for images their nearest training examples."""
    many = SHOWN if isinstance(dataset.space, Images) else 1000
    kept: dict[str, Tensor] = {"samples": drawn.x[:many].contiguous().clone()}
    if chosen.cond is not None and chosen.cond.ndim == 1:
        kept["labels"] = chosen.cond[: len(kept["samples"])].clone()
    if isinstance(dataset.space, Images):
        pixels = Pixels(dataset.space.levels)
        distances = torch.cdist(pixels(drawn.x[:NEIGHBOURS]), pixels(chosen.all_train))
        kept["nearest"] = chosen.all_train[distances.argmin(1)].contiguous().clone()
    save_file(kept, folder / "samples.safetensors")


def _own_likelihood(
    model: GenerativeModel,
    dataset: Dataset,
    drawn: Drawn,
    chosen: Examples,
    scored: Score,
    seconds: float,
    patience: float,
) -> list[Score]:
    """Likelihood of training examples and of own samples, less that of test examples: overfitting and drift.

    Only where there is a likelihood and it was cheap.
    """
    if scored.kind is Kind.NONE or 4 * seconds > patience or len(drawn.x) < 2:
        return []
    known = dataclasses.replace(dataset, test=dataset.train)
    x = drawn.x.flatten() if drawn.x.dtype == torch.long else drawn.x
    labels = None if chosen.cond is None else chosen.cond[: len(x)]
    drawn_ones = dataclasses.replace(dataset, test=Split(x, labels))
    train, own = (likelihood(model, part, scored.n, 0, patience) for part in (known, drawn_ones))
    return [
        _difference("likelihood_gap", train, scored, "training less test examples"),
        _difference("drift", own, scored, "own samples less test examples"),
    ]


def _difference(name: str, a: Score, b: Score, words: str) -> Score:
    """``a - b`` of two independent means, with the interval of a difference."""
    value = a.value - b.value
    half = (((a.high - a.low) / 2) ** 2 + ((b.high - b.low) / 2) ** 2) ** 0.5
    return Score(name, value, value - half, value + half, n=a.n, protocol=f"mean likelihood of {words}", unit=a.unit)


def _sweep(model: GenerativeModel, dataset: Dataset, chosen: Examples, job: Job, drawn: Drawn) -> list[dict[str, Any]]:
    """The headline of quality at fewer and more steps, for a sampler that has a number of ``steps``, while time allows."""
    steps = getattr(model.sampler, "steps", None)
    if not (isinstance(steps, int) and dataclasses.is_dataclass(model.sampler)):
        return []
    patience, found = job.evaluation["patience"], []
    start = time.perf_counter()
    for count in sorted({max(steps // 4, 1), max(steps // 2, 1), 2 * steps} - {steps}):
        if time.perf_counter() - start + drawn.seconds * count / steps > patience / 2 or len(drawn.x) < len(
            chosen.test
        ):
            break
        other = model.with_parts(sampler=dataclasses.replace(model.sampler, steps=count))
        again = draw(other, len(drawn.x), job.seed, chosen.cond)
        head = headline(again.x, dataset, chosen, job.evaluation["features"])
        cost = [score.value for score in again.scores()]
        found.append({"steps": count, "evaluations": cost[0], "milliseconds": cost[1], "score": head.record()})
    return found


if __name__ == "__main__":
    sys.exit(main())
