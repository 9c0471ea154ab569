"""The process of one run: it trains, draws samples, measures, and writes the result into its folder.

``python -m fourfold.tournament.worker FOLDER`` reads ``job.json``. The files that it writes make it resumable: ``run/``
(the run folder, with its checkpoint), ``trained.json`` once trained, ``samples.safetensors`` once drawn,
``result.json`` at last.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, final

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from torch import Tensor

from fourfold.core import GenerativeModel, LogProb
from fourfold.data import Dataset, Split
from fourfold.engine import Run, Step, fit, resumable
from fourfold.machine.hardware import machine
from fourfold.machine.usage import Usage, load_average
from fourfold.metrics import Measurement, References
from fourfold.metrics.records import membership
from fourfold.runs.files import write_json
from fourfold.tasks.completing import log_prob_given
from fourfold.tasks.conditional_quality import SHOWN, draw_given, measure_draws, measure_pairs
from fourfold.tasks.evaluation import (
    Drawn,
    draw,
    examples,
    headline,
    log_prob,
    mean_likelihood,
    peak_memory,
    quality,
    scored_examples,
)
from fourfold.tournament.galleries import by_likelihood, galleries
from fourfold.tournament.jobs import FORMAT, Job, read_job
from fourfold.tournament.samples import save_samples
from fourfold.tournament.snapshot import load_snapshot
from fourfold.vocabulary import Kind

__all__ = ["main"]

COLUMNS_OF = 256
"""Test rows whose likelihood is split into columns."""


@final
class _Clock:
    """The seconds of each phase of a run, including those that no budget of training counts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Add the time since the last lap to a phase."""
        now = time.perf_counter()
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + now - self.last, 2)
        self.last = now


def main(arguments: list[str] | None = None) -> int:
    """Do the job of a folder. Any error is written to ``failure.json``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    folder = Path(arguments[0])
    sys.excepthook = _Report(folder)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _work(folder, "--quiet" not in arguments)
    except KeyboardInterrupt as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return 130
    return 0


def _end_with_parent() -> None:
    """Wait for the end of standard input, then ask this process to save and end, as its parent would."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


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
    with Progress(*columns(), console=Console(stderr=True), disable=not show) as bar:
        record = _train(job, folder, dataset, bar)
        clock.lap("training")
        result = _measure(job, folder, dataset, Run.load(folder / "run", job.device).model, bar, clock)
    whole = {
        **record,
        **result,
        "sampled_on": place(),
        "phases": clock.seconds,
        "evaluation": dataclasses.asdict(job.evaluation),
    }
    write_json(folder / "result.json", whole)


def columns() -> list[ProgressColumn]:
    """The columns of the progress bar: 80 characters. The clock is never cut."""
    description = TextColumn("{task.description}", table_column=Column(width=33, no_wrap=True, overflow="ellipsis"))
    note = TextColumn("{task.fields[note]}", table_column=Column(width=25, no_wrap=True, overflow="ellipsis"))
    return [description, BarColumn(bar_width=10), note, TimeElapsedColumn(table_column=Column(width=7, no_wrap=True))]


def place() -> dict[str, Any]:
    """Where this process runs: the name of the machine, and its hardware."""
    return {"host": platform.node(), **machine()}


# --- training ---------------------------------------------------------------------------------------------------------


def _train(job: Job, folder: Path, dataset: Dataset, bar: Progress) -> dict[str, Any]:
    """Train, or continue training, unless that is done. Return the record of the training."""
    record = folder / "trained.json"
    if record.exists():
        training: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        if training.get("format") == FORMAT:
            return training
    task, steps = bar.add_task(f"{job.paradigm} · training", total=1.0, note=""), 0

    def observe(step: Step) -> None:
        nonlocal steps
        steps += 1
        losses = " ".join(f"{value:.3g}" for value in step.losses.values())
        note = f"step {step.index}, {1 / max(step.seconds, 1e-9):.2g}/s, loss {losses}"
        bar.update(task, completed=step.used, note=note)

    resume, load, before = resumable(folder / "run"), load_average(), Usage.now()
    run = fit(
        job.paradigm,
        dataset,
        budget=job.budget,
        size=job.size,
        seed=job.seed,
        precision=job.precision,
        compile=job.compile,
        out=folder / "run",
        resume=resume,
        device=job.device,
        observe=observe,
        say=lambda line: None,  # the report names the events that disturbed a training
    )
    usage = Usage.now().since(before).record() if steps else {}  # a run that was done already used nothing
    training = _record(job, run, dataset)
    training |= {
        "resumed": resume,
        "machine": place(),
        "usage": {**usage, "threads": torch.get_num_threads(), "load": load},
    }
    write_json(record, training)
    return training


def _record(job: Job, run: Run, dataset: Dataset) -> dict[str, Any]:
    """The record of a finished training. Epochs are those of the last stage."""
    card = run.card
    stages, batch_size = card.get("stages", []), card["training"]["batch_size"]
    steps = stages[-1]["steps"] if stages else card["steps"]
    return {
        "format": FORMAT,
        "paradigm": job.paradigm,
        "recipe": card["recipe"],
        "facts": card["facts"],
        "seed": job.seed,
        "parameters": card["parameters"],
        "size": card["size"],
        "steps": card["steps"],
        "epochs": steps * batch_size * (dataset.space.window or 1) / dataset.examples,
        "seconds": card["seconds"],
        "precision": card["precision"],
        "batch_size": batch_size,
        "choice": card["choice"],
        "stages": stages,
        "fitted": run.model.estimand.fitted,
        "training_memory": peak_memory(run.model),
    }


# --- measurement ------------------------------------------------------------------------------------------------------


def _measure(
    job: Job, folder: Path, dataset: Dataset, model: GenerativeModel, bar: Progress, clock: _Clock
) -> dict[str, Any]:
    """Draw, then score. The likelihood comes last, because it may take longest."""
    protocol, patience = job.evaluation, job.evaluation.patience
    references = examples(dataset, protocol.n)
    n = len(references.test)
    task = bar.add_task(f"{job.paradigm} · sampling", total=n, note=f"{n} samples")
    first = None if references.cond is None else references.cond[:1]
    model.sample(1, first, seed=job.seed + 1)  # warm up with one sample: a chain is long even so
    before = Usage.now()
    sampling = draw(
        model, n, job.seed, references.cond, patience, advance=lambda count: bar.update(task, completed=count)
    )
    usage, sampling_memory = Usage.now().since(before), peak_memory(model)
    draws = _draws(model, sampling, references, job)
    several = draw_given(model, dataset, references, job.seed, patience)
    clock.lap("sampling")
    task = bar.add_task(f"{job.paradigm} · measuring", total=3, note="quality")
    scores = quality(sampling.x, dataset, references, protocol.features)
    scores += measure_pairs(sampling.x, dataset, references)
    conditional = measure_draws(several, dataset, references)
    beside = [] if draws is None else quality(draws.x, dataset, references, protocol.features)
    clock.lap("quality")
    bar.update(task, advance=1, note="likelihood")
    start = time.perf_counter()
    test = log_prob(model, dataset, protocol.likelihood_examples, job.seed, patience)
    scored = mean_likelihood(test, dataset.space.unit)
    own = _own_likelihood(model, dataset, draws or sampling, references, test, time.perf_counter() - start, patience)
    columns = _of_columns(model, dataset)
    clock.lap("likelihood")
    bar.update(task, advance=1, note="sampling steps")
    swept = _sweep(model, dataset, references, job, sampling) if protocol.sweep else []
    pictures = galleries(dataset.space, sampling.x, references.all_train, own.extremes)
    tensors = {"samples": sampling.x, **pictures} | ({} if draws is None else {"draws": draws.x})
    if several is not None:
        tensors |= {"given": several.x[:SHOWN], "rows": several.rows[:SHOWN]}
    save_samples(folder, tensors | {f"steps.{sweep.steps}": sweep.x for sweep in swept})
    clock.lap("sweep")
    bar.update(task, advance=1, note="done")
    return {
        "scores": [score.record() for score in (scored, *scores, *own.scores, *sampling.scores())],
        "draws": [score.record() for score in beside],
        "conditional": [score.record() for score in conditional],
        "nats_of_columns": columns,
        "sampling_memory": sampling_memory,
        "sampling_usage": usage.record(),
        "sampler": repr(model.sampler),
        "objective": type(model.objective).__name__,
        "estimand": type(model.estimand).__name__,
        "sweep": [sweep.record for sweep in swept],
    }


def _draws(model: GenerativeModel, sampling: Drawn, references: References, job: Job) -> Drawn | None:
    """As many random draws, if the model shows medians or means and the time allows it."""
    model_of_draws = model.drawing()
    if model_of_draws is None or sampling.seconds > job.evaluation.patience / 2:
        return None
    return draw(model_of_draws, len(sampling.x), job.seed, references.cond)


@final
@dataclass(frozen=True)
class _OwnLikelihood:
    """The scores of own samples by their likelihood, and the likeliest and unlikeliest of them."""

    scores: Sequence[Measurement] = ()
    extremes: dict[str, Tensor] = dataclasses.field(default_factory=dict)


def _own_likelihood(
    model: GenerativeModel,
    dataset: Dataset,
    sampling: Drawn,
    references: References,
    test: LogProb,
    seconds: float,
    patience: float,
) -> _OwnLikelihood:
    """The likelihood of training examples and of own samples, minus that of test examples: overfitting and drift.

    Whoever knows the likelihood of an example may guess from it whether the model was trained on it: that attack is
    measured too. All of it only if the model has a likelihood and scoring is cheap.
    """
    if test.kind is Kind.NONE or 4 * seconds > patience or len(sampling.x) < 2:
        return _OwnLikelihood()
    training = dataclasses.replace(dataset, test=dataset.train)
    x = sampling.x if dataset.space.window is None else sampling.x.flatten(0, 1)
    labels = None if references.cond is None else references.cond[: len(x)]
    drawn_ones = dataclasses.replace(dataset, test=Split(x, labels))
    train, of_samples = (log_prob(model, part, len(test), 0, patience / 2) for part in (training, drawn_ones))
    train_mean, drawn_mean, test_mean = (mean_likelihood(p, dataset.space.unit) for p in (train, of_samples, test))
    attack = membership(train.nats[train.inside], test.nats[test.inside], "likelihood", "log p(x)")
    scored = scored_examples(drawn_ones, len(of_samples)).x[of_samples.inside]
    scores = (
        _difference("likelihood_gap", train_mean, test_mean, "training less test examples"),
        _difference("drift", drawn_mean, test_mean, "own samples less test examples"),
        dataclasses.replace(attack, name="membership_by_likelihood"),
    )
    return _OwnLikelihood(scores, by_likelihood(scored, of_samples.nats[of_samples.inside]))


def _of_columns(model: GenerativeModel, dataset: Dataset) -> list[float] | None:
    """The mean nats of each column given the earlier ones, where columns have names and the model can tell."""
    test = scored_examples(dataset, COLUMNS_OF)
    if not dataset.space.columns:
        return None
    try:
        scored = log_prob_given(model, test.x, torch.zeros_like(test.x, dtype=torch.bool), test.cond)
    except TypeError:
        return None
    return None if scored.terms is None else scored.terms[scored.inside].double().mean(0).tolist()


def _difference(name: str, a: Measurement, b: Measurement, words: str) -> Measurement:
    """``a - b`` of two independent means, with the interval of a difference."""
    value = a.value - b.value
    half = (((a.high - a.low) / 2) ** 2 + ((b.high - b.low) / 2) ** 2) ** 0.5
    return Measurement(
        name, value, value - half, value + half, n=a.n, protocol=f"mean likelihood of {words}", unit=a.unit
    )


@final
@dataclass(frozen=True)
class _Swept:
    """Samples at another number of steps, and their record in the result."""

    steps: int
    x: Tensor
    record: dict[str, Any]


def _sweep(model: GenerativeModel, dataset: Dataset, references: References, job: Job, sampling: Drawn) -> list[_Swept]:
    """The first measure of quality at fewer and more steps, if the sampler has ``steps``, while time allows."""
    steps = getattr(model.sampler, "steps", None)
    if not (isinstance(steps, int) and dataclasses.is_dataclass(model.sampler)):
        return []
    most = steps == 0  # which stands for a step for each token: there cannot be more
    steps = steps or max(round(sampling.evaluations), 1)
    patience, sweeps = job.evaluation.patience, []
    start = time.perf_counter()
    for count in sorted({max(steps // 4, 1), max(steps // 2, 1), *([] if most else [2 * steps])} - {steps}):
        if time.perf_counter() - start + sampling.seconds * count / steps > patience / 2:
            break
        variant = model.with_parts(sampler=dataclasses.replace(model.sampler, steps=count))
        again = draw(variant, len(sampling.x), job.seed, references.cond)
        head = headline(again.x, dataset, references, job.evaluation.features)
        cost = [score.value for score in again.scores()]
        record = {"steps": count, "evaluations": cost[0], "milliseconds": cost[1], "score": head.record()}
        sweeps.append(_Swept(count, again.x, record))
    return sweeps


if __name__ == "__main__":
    sys.exit(main())
