"""``fit``: data, model, budget, precision, checkpoints and log around the loop."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
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

from fourfold.core import GenerativeModel, Staged, Training
from fourfold.data import Dataset, load
from fourfold.engine.budget import Budget, Flops, Seconds, parse_budget
from fourfold.engine.checkpoint import (
    has_state,
    load_model,
    load_state,
    read_json,
    resumable,
    save_model,
    save_state,
    write_json,
)
from fourfold.engine.distributed import join
from fourfold.engine.flops import count_flops
from fourfold.engine.lock import RunInUse, locked
from fourfold.engine.loop import Diverged, Loop, Step, begin, train
from fourfold.engine.monitors import Gap
from fourfold.engine.precision import Choice, choose, parse_precision
from fourfold.engine.run import Run
from fourfold.engine.stages import LAST, Plan, data_of, folder_of, make_ready, plan_of, record_of, take_over, watched
from fourfold.paradigms import build, resolve

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
    gap: Gap
    every: float
    observe: Callable[[Step], None] | None = None
    stage: str = ""
    log_every: float = 1.0
    _saved: float = field(default_factory=time.monotonic)
    _logged: float = 0.0
    _sums: dict[str, list[float]] = field(default_factory=dict)
    _last: Step | None = None

    def start(self, model: GenerativeModel, step: int) -> None:
        """Write what describes the run, and drop what an earlier attempt logged after the step it resumes from."""
        if self.folder is None:
            return
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
        for name, value in step.losses.items() if self.folder else ():
            self._sums.setdefault(f"{name}/loss", []).append(value)
        gap, now, self._last = self.gap(step.used), time.monotonic(), step
        if gap or step.index <= 3 or now - self._logged >= self.log_every:
            self._logged = now
            self._log(loop, step, gap)
        if now - self._saved >= self.every:
            self.save(loop)

    def _log(self, loop: Loop, step: Step, gap: Mapping[str, float]) -> None:
        """One line: mean losses since the last one, and the latest of everything else."""
        if self.folder is None:
            return
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums = {}
        spent = {"seconds": round(loop.progress.seconds, 4), "step_seconds": round(step.seconds, 6)}
        norms = {f"{name}/norm": value for name, value in step.norms.items()}
        name = {"stage": self.stage} if self.stage else {}
        line = {"step": step.index, "used": round(step.used, 6), **name, "rate": step.rate, **spent, **means, **norms}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(line | loop.watched() | dict(gap))) + "\n")

    def save(self, loop: Loop, done: bool = False) -> None:
        """Write averaged weights, state and card, and log the latest step if that is not done."""
        if self._last is not None and self._sums:
            self._log(loop, self._last, {})
        self.card |= _spent(self.card, loop) | {"done": done}
        if self.folder is not None:
            with loop.weights.shown(loop.weights.average):
                save_model(loop.model, self.folder)
            save_state(self.folder, loop.state(), loop.progress)
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
        compile: whether compiled steps take part in the choice (with ``precision``: are used); by default only where
            the budget is long enough to pay for compiling.
        run_dir: the run folder; without one nothing is written.
        resume: go on from the folder's last checkpoint, with the model, rates and precision recorded there.
        training: overrides what the preset says.
        data_options: further arguments of :func:`fourfold.load`.
        device: where to train.
        checkpoint_every: seconds between checkpoints.
        observe: is called with each step.
        say: is called with each line worth telling.

    Raises:
        DataError: for data that cannot be trained on, before any training.
        BrokenRun: if the folder cannot be resumed.
        ValueError: for a budget, name or precision that is not understood, or a folder of a run that is not resumed.
        RunInUse: if another process trains in the folder.
        Diverged: at a loss that is not finite; the last good state is in the folder.
        Interrupted: after SIGINT or SIGTERM; everything is in the folder.
    """
    dataset = data if isinstance(data, Dataset) else load(data, **{"seed": seed, **(data_options or {})})
    return _fit(
        _Request(
            paradigm,
            dataset,
            {"seed": dataset.seed, **(data_options or {})},
            parse_budget(budget),
            size,
            seed,
            precision,
            compile,
            None if run_dir is None else Path(run_dir),
            resume,
            training,
            device,
            checkpoint_every,
            observe,
            say or _silent,
        )
    )


@final
@dataclass(frozen=True)
class _Request:
    """What :func:`fit` was asked for, understood; of a stage, what it is given of that, and its name."""

    paradigm: str | GenerativeModel
    dataset: Dataset
    options: Mapping[str, Any]
    budget: Budget
    size: str
    seed: int
    precision: str | None
    compile: bool | None
    folder: Path | None
    resume: bool
    training: Training | None
    device: str
    checkpoint_every: float
    observe: Callable[[Step], None] | None
    say: Callable[[str], None]
    stage: str = ""

    @property
    def name(self) -> str:
        """The paradigm's name, or, of a model, its objective's."""
        return self.paradigm if isinstance(self.paradigm, str) else type(self.paradigm.objective).__name__


def _fit(asked: _Request) -> Run:
    """Train in the run folder, which no other process may work in meanwhile."""
    if asked.folder is None:
        return _trained(asked)
    with contextlib.ExitStack() as stack:
        refused = None
        if join().rank == 0:
            try:
                stack.enter_context(locked(asked.folder))
            except RunInUse as error:
                refused = error
        refused = join().same(refused)  # the others would wait for the first process
        if refused is not None:
            raise refused
        return _trained(asked)


def _trained(asked: _Request) -> Run:
    """Train the stages of a model, if it has any, and then the model itself."""
    earlier = _earlier(asked.folder, asked.resume)
    begun = earlier is not None and asked.folder is not None and has_state(asked.folder)
    model = load_model(asked.folder) if earlier and asked.folder else _built(asked)
    training = asked.training or _recorded(earlier) or model.training_defaults
    plan = plan_of(model.to(asked.device), asked.budget)
    if earlier and asked.folder:
        _same(asked, earlier)
    before = earlier["stages"][:-1] if earlier and begun and plan.stages else _stages(asked, model, plan, training)
    loop = begin(model, asked.dataset, training, asked.seed, processes=join(), fresh=not begun)
    choice = _chosen(loop, plan.own, asked, earlier if begun else None)
    asked.say(str(choice))
    loop = _prepared(loop, choice, plan.own)
    if begun and asked.folder:
        loop.load(*load_state(asked.folder))
        asked.say(f"resumed at step {loop.progress.steps}")
    card = _card(earlier["paradigm"] if earlier else asked.name, loop, asked, choice)
    if plan.stages:
        own = {"name": LAST, "share": 1 - plan.start, "budget": str(plan.own), "parameters": _parameters(loop.model)}
        card["stages"] = [*before, {**own, "precision": card["precision"], "training": card["training"]}]
    recorder = _Recorder(
        asked.folder if loop.processes.rank == 0 else None,
        card,
        Gap(loop, asked.dataset),
        asked.checkpoint_every,
        watched(asked.observe, "", plan.start, 1 - plan.start),
        asked.stage,
    )
    recorder.start(model, loop.progress.steps)
    _run(loop, asked.dataset, plan.own, recorder)
    return Run(model, asked.folder, recorder.card, asked.dataset)


def _stages(asked: _Request, model: GenerativeModel, plan: Plan, training: Training) -> list[dict[str, Any]]:
    """Train every stage that is not trained yet, each in a run folder of its own; return what the card says of them."""
    if not plan.stages:
        return []
    if asked.folder is not None and not asked.resume and join().rank == 0:
        save_model(model, asked.folder)  # whatever is resumed begins with these weights
        write_json(asked.folder / "card.json", _description(asked.name, model, asked, training))
    records = []
    for planned in plan.stages:
        stage, folder = planned.stage, folder_of(asked.folder, planned.stage)
        asked.say(f"stage {stage.name}: {stage.share:.0%} of the budget, {planned.budget}")
        card = take_over(stage, folder) if asked.resume else None
        if card is None:
            part = replace(
                asked,
                paradigm=stage.model,
                dataset=data_of(asked.dataset, stage.model),
                budget=planned.budget,
                folder=folder,
                resume=asked.resume and folder is not None and resumable(folder),
                training=None,
                observe=watched(asked.observe, stage.name, planned.start, stage.share),
                stage=f"{asked.stage}/{stage.name}".lstrip("/"),
            )
            run = _fit(part)
            stage.model.load_state_dict(run.model.state_dict())
            card = run.card
        records.append(record_of(stage, planned.budget, card))
    make_ready(model, asked.seed)
    return records


def _spent(card: Mapping[str, Any], loop: Loop) -> dict[str, Any]:
    """Steps and seconds of all stages together, and, where there are several, of the last in its own record."""
    steps, seconds = loop.progress.steps, loop.progress.seconds
    stages = [dict(stage) for stage in card.get("stages", [])]
    if not stages:
        return {"steps": steps, "seconds": round(seconds, 3)}
    stages[-1] |= {"steps": steps, "seconds": round(seconds, 3)}
    whole = {key: sum(stage[key] for stage in stages) for key in ("steps", "seconds")}
    return {"steps": whole["steps"], "seconds": round(whole["seconds"], 3), "stages": stages}


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with ``None`` in place of numbers that JSON does not know."""
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}


def _silent(line: str) -> None:
    """Say nothing."""


def _run(loop: Loop, dataset: Dataset, budget: Budget, recorder: _Recorder) -> None:
    """Step until the budget is spent, or a signal or a loss that is not finite stops it; then save."""
    with _signals() as stop:
        try:
            for step in train(loop.model, dataset, budget=budget, loop=loop):
                recorder.record(loop, step)
                if loop.processes.any(bool(stop.signal)):
                    break
        except Diverged as error:
            recorder.save(loop)
            where = f"; the state before it is in {recorder.folder}" if recorder.folder else ""
            raise Diverged(f"{error}{where}") from None
        recorder.save(loop, done=not stop.signal)
        loop.finish()
    if stop.signal:
        raise Interrupted(f"stopped at step {loop.progress.steps} by {signal.Signals(stop.signal).name}")


def _built(asked: _Request) -> GenerativeModel:
    """The untrained model, its weights drawn by the seed."""
    if isinstance(asked.paradigm, GenerativeModel):
        return asked.paradigm
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)
        return build(asked.paradigm, asked.dataset.space, asked.size)


def _earlier(folder: Path | None, resume: bool) -> dict[str, Any] | None:
    """The card of the run that is resumed, if one is.

    Raises:
        ValueError: for no folder, or a folder whose run would be overwritten.
    """
    if not resume:
        if folder is not None and (has_state(folder) or resumable(folder)):
            raise ValueError(f"{folder} holds a run already: resume it, remove it, or choose another folder")
        return None
    if folder is None:
        raise ValueError("resume needs the folder of a run: give run_dir")
    card: dict[str, Any] = read_json(folder / "card.json")
    return card


def _recorded(earlier: Mapping[str, Any] | None) -> Training | None:
    """The training settings of the run that is resumed."""
    if earlier is None:
        return None
    settings: dict[str, Any] = {**earlier["training"], "betas": tuple(earlier["training"]["betas"])}
    return Training(**settings)


def _same(asked: _Request, earlier: Mapping[str, Any]) -> None:
    """Refuse to resume what was trained on something else.

    Raises:
        ValueError: if the run was trained on other data or with another seed.
    """
    if earlier["data"]["digest"] != asked.dataset.digest:
        name = earlier["data"]["name"]
        raise ValueError(f"{asked.folder} was trained on other data ({name}): resume with the same")
    if earlier["seed"] != asked.seed:
        raise ValueError(f"{asked.folder} was trained with seed {earlier['seed']}: resume with the same")


LONG = 1800.0
"""Seconds of a budget from which compiling, which takes minutes on a CPU, can pay."""


def _chosen(loop: Loop, budget: Budget, asked: _Request, earlier: Mapping[str, Any] | None) -> Choice:
    """The precision asked for, or that of the run resumed, or the one that measures best."""
    if asked.precision is not None:
        return Choice(parse_precision(asked.precision, bool(asked.compile)), note="as asked")
    if earlier is not None:
        recorded = earlier["precision"]
        return Choice(parse_precision(recorded["name"], recorded["compiled"]), note="as before")
    seconds = budget.amount if isinstance(budget, Seconds) else 100.0
    if seconds < 2 or budget.share(loop.progress) > 0.01:
        return Choice(parse_precision("float32", bool(asked.compile)), note="the budget is too short to measure others")
    choice = choose(
        loop, min(0.05 * seconds, 6.0), compiled=seconds >= LONG if asked.compile is None else asked.compile
    )
    return replace(choice, precision=loop.processes.same(choice.precision))


def _prepared(loop: Loop, choice: Choice, budget: Budget) -> Loop:
    """The same loop in the precision chosen, with the operations of a step counted where the budget needs them."""
    fresh = loop.again(choice.precision)
    if isinstance(budget, Flops):
        fresh.progress = replace(fresh.progress, flops=count_flops(fresh))
    if choice.precision.compiled:
        fresh.warm_up()
    return fresh


def _parameters(model: GenerativeModel) -> int:
    """Numbers that sampling needs: those of the estimand, and of the estimands that a learned codec holds."""
    codec = model.codec
    held = [stage.model for stage in codec.stages()] if isinstance(codec, Staged) else []
    return sum(p.numel() for p in model.estimand.parameters()) + sum(_parameters(one) for one in held)


def _description(name: str, model: GenerativeModel, asked: _Request, training: Training) -> dict[str, Any]:
    """What ``card.json`` holds before the model itself is trained."""
    packages = ("fourfold", "torch", "numpy", "safetensors")
    hardware = {"machine": platform.machine(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()}
    return {
        "paradigm": name,
        "recipe": "" if isinstance(asked.paradigm, GenerativeModel) else resolve(name, asked.dataset.space),
        "size": asked.size,
        "parameters": _parameters(model),
        "data": {**asked.dataset.record(), "options": dict(asked.options)},
        "seed": asked.seed,
        "budget": str(asked.budget),
        "training": asdict(training),
        "hardware": {**hardware, "device": str(model.device), "processes": join().world},
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "command": shlex.join(sys.argv),
        "steps": 0,
        "seconds": 0.0,
        "done": False,
    }


def _card(name: str, loop: Loop, asked: _Request, choice: Choice) -> dict[str, Any]:
    """What ``card.json`` holds."""
    measured = [str(m) for m in choice.measured]
    precision = {"name": choice.precision.name, "compiled": choice.precision.compiled, "measured": measured}
    return {**_description(name, loop.model, asked, loop.training), "precision": precision}
