"""``fit``: data, model, budget, precision, checkpoints and log around the loop."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, final

import torch

from fourfold.core import GenerativeModel, Training
from fourfold.data import Dataset, load
from fourfold.engine.budget import Budget, Flops, Seconds, parse_budget
from fourfold.engine.checkpoint import load_state, read_json, save_model, save_state, untrained_model, write_json
from fourfold.engine.distributed import Processes, join
from fourfold.engine.loop import Diverged, Loop, Step, begin, train
from fourfold.engine.precision import PRECISIONS, Choice, Precision, choose, parse_precision
from fourfold.engine.run import Run

__all__ = ["Interrupted", "fit"]


class Interrupted(KeyboardInterrupt):
    """Training was stopped from outside; everything is saved."""


@final
@dataclass
class _Stop:
    """Whether a signal has asked to stop."""

    signal: int = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number


@contextlib.contextmanager
def _signals() -> Iterator[_Stop]:
    """Turn SIGINT and SIGTERM into a request, so that no step is cut in half; a second one interrupts at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@final
@dataclass
class _Recorder:
    """Writes log, checkpoints and card of a run into its folder, if it has one."""

    folder: Path | None
    card: dict[str, Any]
    every: float
    log_every: float = 1.0
    observe: Callable[[Step], None] | None = None
    _saved: float = field(default_factory=time.monotonic)
    _logged: float = 0.0

    def start(self, model: GenerativeModel, step: int) -> None:
        """Write what describes the run, and drop what an earlier attempt logged after the step it resumes from."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "model.json", model.configuration())
        write_json(self.folder / "card.json", self.card)
        log = self.folder / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() and step else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def record(self, loop: Loop, step: Step) -> None:
        """Observe a step; log and save where it is time to."""
        if self.observe is not None:
            self.observe(step)
        now = time.monotonic()
        if self.folder is None:
            return
        if step.watched or now - self._logged >= self.log_every or step.index <= 3:
            self._logged = now
            self._log(loop, step)
        if now - self._saved >= self.every:
            self.save(loop)

    def _log(self, loop: Loop, step: Step) -> None:
        assert self.folder is not None
        line: dict[str, Any] = {
            "step": step.index,
            "used": round(step.used, 6),
            "seconds": round(loop.progress.seconds, 4),
        }
        line |= {f"{name}/loss": value for name, value in step.losses.items()}
        line |= {f"{name}/norm": value for name, value in step.norms.items()}
        line |= {"rate": step.rate, "step_seconds": step.seconds, **(step.watched or loop.watched())}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, loop: Loop, done: bool = False) -> None:
        """Write averaged weights, state and card."""
        if self.folder is None or loop.processes.rank:
            return
        save_state(self.folder, loop.state(), loop.progress)
        with loop.weights.averaged():
            save_model(loop.model, self.folder)
        self.card |= {"steps": loop.progress.steps, "seconds": round(loop.progress.seconds, 3), "done": done}
        write_json(self.folder / "card.json", self.card)
        self._saved = time.monotonic()


def fit(
    paradigm: str | GenerativeModel,
    data: str | os.PathLike[str] | Dataset,
    *,
    budget: str | Budget = "1m",
    size: str = "s",
    seed: int = 0,
    precision: str | None = None,
    compile: bool | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    training: Training | None = None,
    data_options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    checkpoint_every: float = 60.0,
    observe: Callable[[Step], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Train a model of a paradigm on data within a budget.

    Args:
        paradigm: a name that :func:`fourfold.build` takes, or a model, which is trained in place.
        data: what :func:`fourfold.load` takes, or a data set.
        budget: ``30s``, ``10m``, ``1h``, ``2000 steps``, ``5 epochs`` or ``1e15 flops``.
        size: of the preset.
        seed: of weights, order of the data and every draw.
        precision: ``float32``, ``bf16`` or ``autocast``; by default the fastest that is stable, measured at the start.
        compile: whether to use ``torch.compile``; by default only where it was measured to pay.
        run_dir: the run folder; without one nothing is written.
        resume: go on from the folder's last checkpoint.
        training: overrides what the preset says.
        data_options: further arguments of :func:`fourfold.load`.
        device: where to train.
        checkpoint_every: seconds between checkpoints.
        observe: is called with each step.
        say: is called with each line worth telling.

    Raises:
        DataError: for data that cannot be trained on, before any training.
        BrokenRun: if the folder cannot be resumed.
        Diverged: at a loss that is not finite; the last good state is in the folder.
        Interrupted: after SIGINT or SIGTERM; everything is in the folder.
    """
    budget, say = parse_budget(budget), say or (lambda line: None)
    folder = None if run_dir is None else Path(run_dir)
    options = {"seed": seed, **(data_options or {})}
    dataset = data if isinstance(data, Dataset) else load(data, **options)
    earlier = _earlier(folder, dataset) if resume else None
    model = untrained_model(folder) if earlier and folder else _built(paradigm, dataset, size, seed)
    training = training or model.training_defaults
    processes = join()
    loop = begin(model.to(device), dataset, training, seed, PRECISIONS["float32"], processes)
    choice = _chosen(loop, budget, precision, compile, earlier)
    say(str(choice))
    loop = _restarted(loop, choice.precision)
    if earlier and folder:
        loop.load(*load_state(folder))
        say(f"resumed at step {loop.progress.steps}")
    _count_flops(loop, budget)
    name = paradigm if isinstance(paradigm, str) else type(paradigm.objective).__name__
    card = _card(name, model, dataset, options, budget, size, seed, choice, training)
    recorder = _Recorder(folder, card, checkpoint_every, observe=observe)
    recorder.start(model, loop.progress.steps)
    _run(loop, dataset, budget, recorder)
    return Run(model, folder, recorder.card, dataset)


def _run(loop: Loop, dataset: Dataset, budget: Budget, recorder: _Recorder) -> None:
    """Step until the budget is spent, or a signal or a loss that is not finite stops it; then save."""
    with _signals() as stop:
        try:
            for step in train(loop.model, dataset, budget=budget, loop=loop):
                recorder.record(loop, step)
                if stop.signal:
                    break
        except Diverged as error:
            recorder.save(loop)
            where = f"; the last good state is in {recorder.folder}" if recorder.folder else ""
            raise Diverged(f"{error}{where}") from None
        recorder.save(loop, done=not stop.signal)
        loop.finish()
    if stop.signal:
        raise Interrupted(f"stopped at step {loop.progress.steps} ({signal.Signals(stop.signal).name})")


def _built(paradigm: str | GenerativeModel, dataset: Dataset, size: str, seed: int) -> GenerativeModel:
    if isinstance(paradigm, GenerativeModel):
        return paradigm
    from fourfold.paradigms import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(paradigm, dataset.space, size)


def _earlier(folder: Path | None, dataset: Dataset) -> dict[str, Any]:
    """The card of the run that is resumed.

    Raises:
        ValueError: without a folder, or for other data.
    """
    if folder is None:
        raise ValueError("resume needs the folder of a run: give run_dir")
    card: dict[str, Any] = read_json(folder / "card.json")
    if card["data"]["digest"] != dataset.digest:
        raise ValueError(f"{folder} was trained on other data ({card['data']['name']}): resume with the same")
    return card


def _chosen(
    loop: Loop, budget: Budget, precision: str | None, compile: bool | None, earlier: Mapping[str, Any] | None
) -> Choice:
    """The precision asked for, or that of the run resumed, or the one that measures best."""
    if precision is not None:
        return Choice(parse_precision(precision, bool(compile)), note="as asked")
    if earlier is not None:
        recorded = earlier["precision"]
        return Choice(parse_precision(recorded["name"], recorded["compiled"]), note="as before")
    if isinstance(budget, Seconds):
        seconds = min(0.05 * budget.amount, 6.0)
        return choose(loop, seconds, compiled=bool(compile))
    return choose(loop, 4.0, compiled=bool(compile))


def _restarted(loop: Loop, precision: Precision) -> Loop:
    """The same loop in another precision."""
    fresh = Loop(loop.model, loop.batches, loop.training, loop.seed, precision, loop.processes, loop.progress.per_epoch)
    fresh.progress = loop.progress
    return fresh


def _count_flops(loop: Loop, budget: Budget) -> None:
    """Count the operations of one step on a copy, where the budget is one of operations."""
    if isinstance(budget, Flops):
        loop.progress = replace(loop.progress, flops=count_flops(loop))


def count_flops(loop: Loop) -> float:
    """Operations of one step: matrix products and convolutions, forward and backward, a multiply-add being two."""
    from torch.utils.flop_counter import FlopCounterMode

    trial = loop.copy(PRECISIONS["float32"])
    with FlopCounterMode(display=False) as counter:
        trial.step(0.0)
    return float(counter.get_total_flops())


def _card(
    name: str,
    model: GenerativeModel,
    dataset: Dataset,
    options: Mapping[str, Any],
    budget: Budget,
    size: str,
    seed: int,
    choice: Choice,
    training: Training,
) -> dict[str, Any]:
    """What ``card.json`` holds."""
    packages = ("fourfold", "torch", "numpy", "safetensors")
    return {
        "paradigm": name,
        "size": size,
        "parameters": sum(p.numel() for p in model.estimand.parameters()),
        "data": {**dataset.record(), "options": dict(options)},
        "seed": seed,
        "budget": str(budget),
        "training": asdict(training),
        "precision": {
            "name": choice.precision.name,
            "compiled": choice.precision.compiled,
            "measured": [str(m) for m in choice.measured],
        },
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "command": " ".join(sys.argv),
        "steps": 0,
        "seconds": 0.0,
        "done": False,
    }
