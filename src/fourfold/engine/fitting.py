"""``fit``: data, model, budget, precision, checkpoints and log around the loop.

A run begins fresh or is resumed; either way its stages, if it has any, are trained before the model itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from fourfold.core import GenerativeModel, Training
from fourfold.data import Data, Dataset, load
from fourfold.engine.blueprint import check_loadable
from fourfold.engine.budget import Budget, Flops, Seconds, parse_budget
from fourfold.engine.card import read_card, training_of
from fourfold.engine.checkpoint import (
    BrokenRun,
    Checkpoint,
    has_state,
    has_weights,
    last_checkpoint,
    load_checkpoint,
    load_weights,
    read_json,
    resumable,
    save_start,
    untrained_model,
)
from fourfold.engine.distributed import join
from fourfold.engine.files import sweep, write_json
from fourfold.engine.flops import count_flops
from fourfold.engine.hardware import find_device
from fourfold.engine.heldout import HeldOut
from fourfold.engine.lock import RunInUse, locked
from fourfold.engine.loop import Diverged, Loop, Step, begin, train
from fourfold.engine.precision import Choice, choose, parse_precision
from fourfold.engine.recorder import Recorder
from fourfold.engine.request import Request, card_of, describe, parameters
from fourfold.engine.run import Run
from fourfold.engine.signals import Interrupted, signals
from fourfold.engine.stages import (
    LAST,
    StagePlan,
    data_of,
    folder_of,
    make_ready,
    plan_of,
    record_of,
    take_over,
    watched,
)
from fourfold.paradigms import build

__all__ = ["Interrupted", "fit"]


def fit(
    paradigm: str | GenerativeModel,
    data: Data | Dataset,
    *,
    budget: str | float | Budget = "1m",
    size: str = "s",
    seed: int = 0,
    precision: str | None = None,
    compile: bool | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    training: Training | None = None,
    data_options: Mapping[str, Any] | None = None,
    device: str = "auto",
    checkpoint_every: float = 60.0,
    choose: bool | None = None,
    observe: Callable[[Step], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Train a model of a paradigm on data within a budget.

    Args:
        paradigm: a name that :func:`fourfold.build` takes, or a model, which is trained in place.
        data: what :func:`fourfold.load` takes, or a data set.
        budget: ``30s``, ``10m``, ``1h30m``, ``2000 steps``, ``5 epochs``, ``1e15 flops``, or a number of seconds.
        size: of the preset.
        seed: of weights, order of the data and every draw.
        precision: ``float32``, ``bf16`` or ``autocast``; by default the fastest that is stable, measured at the start.
        compile: whether compiled steps take part in the choice (with ``precision``: are used); by default only where
            the budget is long enough to pay for compiling.
        run_dir: the run folder; without one nothing is written.
        resume: go on from the folder's last checkpoint, with the model, rates and precision recorded there.
        training: overrides what the preset says.
        data_options: further arguments of :func:`fourfold.load`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``; ``auto`` takes a GPU if there is one.
        checkpoint_every: seconds between checkpoints.
        choose: whether the held-out loss chooses the weights to keep and ends a training that only overfits, see
            :class:`~fourfold.engine.heldout.HeldOut`; otherwise the budget is spent and the last weights are kept. By
            default it does, or, of a run that is resumed, as before.
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
    place, options = str(find_device(device)), dict(data_options or {})
    if seed < 0 or checkpoint_every < 0:
        raise ValueError(f"seed {seed}, a checkpoint every {checkpoint_every} s: give numbers that are not negative")
    dataset = data if isinstance(data, Dataset) else load(data, **{"seed": seed, **options})
    return _fit(
        Request(
            paradigm=paradigm,
            dataset=dataset,
            options={"seed": dataset.seed} | {key: v for key, v in options.items() if not hasattr(v, "__array__")},
            budget=parse_budget(budget),
            size=size,
            seed=seed,
            precision=precision,
            compile=compile,
            folder=None if run_dir is None else Path(run_dir),
            resume=resume,
            training=training,
            device=place,
            checkpoint_every=checkpoint_every,
            choose=choose,
            observe=observe,
            say=say or _silent,
        )
    )


def _silent(line: str) -> None:
    """Say nothing."""


@final
@dataclass(frozen=True)
class _Begun:
    """A run before the steps that this process trains.

    Attributes:
        model: with the weights that it begins or goes on with.
        training: how it is trained.
        card: what an earlier process wrote, if the run is resumed.
        checkpoint: state and progress of the model's own training, if that has begun.
    """

    model: GenerativeModel
    training: Training
    card: dict[str, Any] | None = None
    checkpoint: Checkpoint | None = None


def _fit(asked: Request) -> Run:
    """Train in the run folder, which no other process may work in meanwhile."""
    with contextlib.ExitStack() as stack:
        if asked.folder is not None:
            _lock(stack, asked.folder)
        if asked.folder is not None and join().rank == 0:
            sweep(asked.folder)
        begun = _resumed(asked) if asked.resume else _fresh(asked)
        join().largest(0)  # no process writes before all have read
        return _train(asked, begun)


def _lock(stack: contextlib.ExitStack, folder: Path) -> None:
    """Let the first process lock the folder; where it may not, every process stops, and none waits for it."""
    refused = None
    if join().rank == 0:
        try:
            stack.enter_context(locked(folder))
        except RunInUse as error:
            refused = error
    refused = join().same(refused)
    if refused is not None:
        raise refused


def _fresh(asked: Request) -> _Begun:
    """A run that begins.

    Raises:
        ValueError: for a folder whose run would be overwritten.
    """
    folder = asked.folder
    if folder is not None and (has_state(folder) or resumable(folder)):
        raise ValueError(f"{folder} holds a run already: resume it, remove it, or choose another folder")
    if folder is not None and has_weights(folder):
        raise ValueError(f"{folder} holds the weights of a trained model: remove it, or choose another folder")
    model = _built(asked)
    if folder is not None and not asked.stage:
        _tell_strangers(model, asked.say)
    return _Begun(model.to(asked.device), asked.training or model.training_defaults)


def _tell_strangers(model: GenerativeModel, say: Callable[[str], None]) -> None:
    """Say before training what loading the run will need.

    Raises:
        TypeError: for a part that cannot be written to model.json.
        ValueError: for settings with which a model is not loaded.
    """
    for name in check_loadable(model):
        own = name.rpartition(":")[2]
        say(f"{name} is a class of your own: load this run with Run.load(folder, trust=[{own}])")


def _resumed(asked: Request) -> _Begun:
    """A run that goes on from its last checkpoint.

    Raises:
        BrokenRun: if the folder holds no run that can go on.
        ValueError: for no folder, other data or another seed.
    """
    folder = asked.folder
    if folder is None:
        raise ValueError("resume needs the folder of a run: give run_dir")
    card = read_card(folder)
    _same(asked, card)
    training = training_of(card, folder)
    if asked.training is not None and asked.training != training:
        raise ValueError(f"{folder} was trained with {training}, not with {asked.training}: leave training out")
    source = last_checkpoint(folder)
    if source is None and (folder / "stages").exists() and "precision" not in card:
        source = folder / "weights.safetensors"  # before 0.2, a model that is trained in stages began with these
    if source is not None:
        model = _recorded(asked, folder, source)
        checkpoint = load_checkpoint(model, folder) if has_state(folder) else None
        if checkpoint is None:
            load_weights(model, source)
        return _Begun(model.to(asked.device), training, card, checkpoint)
    if has_weights(folder):
        raise BrokenRun(
            f"{folder} holds weights without the state of their training (resume/ is missing), so it cannot go on: "
            "sample from it, or train again in another folder"
        )
    asked.say("the run was stopped before its first checkpoint; it begins again")
    return _Begun(_built(asked).to(asked.device), training)


def _recorded(asked: Request, folder: Path, source: Path) -> GenerativeModel:
    """The model that is resumed, with weights to come: the one that is given, which must be the run's, or a new one.

    Raises:
        ValueError: if another model is given.
    """
    if not isinstance(asked.paradigm, GenerativeModel):
        return untrained_model(folder, source)
    given, recorded = json.loads(json.dumps(asked.paradigm.configuration())), read_json(folder / "model.json")
    parts = recorded if isinstance(recorded, dict) else {}
    for name in given.keys() - {"training"}:
        if differs := _difference(parts.get(name), given[name], name):
            raise ValueError(f"{folder} holds another model: {differs}; resume with the same")
    return asked.paradigm


def _difference(recorded: Any, given: Any, name: str) -> str:
    """Where two JSON values differ, in words; what an older version did not record does not count."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        inner = (_difference(recorded[key], given[key], f"{name}.{key}") for key in given if key in recorded)
        return next(filter(None, inner), "")
    return "" if recorded == given else f"its {name.replace('.args', '')} is {recorded!r:.60}, not {given!r:.60}"


def _train(asked: Request, begun: _Begun) -> Run:
    """Train the stages of a model that are not trained yet, and then the model itself."""
    model, training, checkpoint = begun.model, begun.training, begun.checkpoint
    before = (begun.card or {}).get("asked", {})
    asked = replace(asked, choose=_chooses(asked, begun.card), precision=asked.precision or before.get("precision"))
    plan = plan_of(model, asked.budget)
    stages = begun.card["stages"][:-1] if begun.card and checkpoint and plan.stages else _stages(asked, begun, plan)
    loop = begin(model, asked.dataset, training, asked.seed, processes=join(), fresh=checkpoint is None)
    choice = _chosen(loop, plan.own, asked, (begun.card or {}).get("precision"))
    asked.say(str(choice))
    loop = _prepared(loop, choice, plan.own)
    kept = HeldOut(loop, asked.dataset, bool(asked.choose))
    if checkpoint is not None:
        _load(loop, kept, checkpoint, asked.folder)
        asked.say(f"resumed at step {loop.progress.steps}")
    card = card_of(begun.card["paradigm"] if begun.card else asked.name, loop, asked, choice)
    if plan.stages:
        own = {"name": LAST, "share": 1 - plan.start, "budget": str(plan.own), "parameters": parameters(loop.model)}
        card["stages"] = [*stages, {**own, "precision": card["precision"], "training": card["training"]}]
    recorder = Recorder(
        asked.folder if loop.processes.rank == 0 else None,
        card,
        kept,
        asked.checkpoint_every,
        watched(asked.observe, "", plan.start, 1 - plan.start),
        asked.stage,
    )
    damaged = recorder.start(loop, resumed=checkpoint is not None)
    if damaged:
        asked.say(f"{asked.folder}/log.jsonl: damaged lines are left out ({damaged})")
    _run(loop, asked.dataset, plan.own, recorder)
    if kept.over or kept.keeps_best:
        asked.say(kept.note())
    if plan.own.overshot(loop.progress):
        used, last = loop.progress.seconds, loop.progress.last
        asked.say(f"training took {used:.3g} s of a budget of {plan.own}: its last step alone took {last:.3g} s")
    return Run(model, asked.folder, recorder.card, asked.dataset)


def _load(loop: Loop, kept: HeldOut, checkpoint: Checkpoint, folder: Path | None) -> None:
    """Give a loop and the choice of its weights their checkpoint.

    Raises:
        BrokenRun: if that is of another model, or was changed.
    """
    try:
        loop.load(checkpoint.state, checkpoint.progress)
        kept.load(checkpoint.state)
    except (LookupError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise BrokenRun(f"the checkpoint of {folder} does not fit its model ({reason}): they are of two runs") from None


def _stages(asked: Request, begun: _Begun, plan: StagePlan) -> list[dict[str, Any]]:
    """Train every stage that is not trained yet, each in a run folder of its own; return what the card says of them."""
    if not plan.stages:
        return []
    if asked.folder is not None and begun.card is None and join().rank == 0:
        write_json(asked.folder / "model.json", begun.model.configuration())
        write_json(asked.folder / "card.json", describe(asked.name, begun.model, asked, begun.training))
        save_start(begun.model, asked.folder)
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
    make_ready(begun.model, asked.seed)
    return records


def _run(loop: Loop, dataset: Dataset, budget: Budget, recorder: Recorder) -> None:
    """Step until the budget is spent, or a signal or a loss that is not finite stops it; then save."""
    stopped = 0
    with signals() as stop:
        try:
            for step in () if recorder.choice.over else train(loop.model, dataset, budget=budget, loop=loop):
                recorder.record(loop, step)
                stopped = loop.processes.largest(stop.signal)  # every process stops, whichever was asked to
                if stopped or recorder.choice.over:
                    break
        except Diverged as error:
            recorder.save(loop)
            where = f"; the state before it is in {recorder.folder}" if recorder.folder else ""
            raise Diverged(f"{error}{where}") from None
        if not stopped or recorder.choice.over or budget.spent(loop.progress):
            recorder.finish(loop)
        else:
            recorder.save(loop)
            loop.finish()
        stopped = stopped or loop.processes.largest(stop.signal)  # asked while the last checkpoint was written
    if stopped:
        raise Interrupted(f"stopped at step {loop.progress.steps} by {signal.Signals(stopped).name}")


def _built(asked: Request) -> GenerativeModel:
    """The untrained model, its weights drawn by the seed."""
    if isinstance(asked.paradigm, GenerativeModel):
        return asked.paradigm
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)
        return build(asked.paradigm, asked.dataset.space, asked.size)


def _same(asked: Request, earlier: Mapping[str, Any]) -> None:
    """Refuse to resume what was trained on something else.

    Raises:
        ValueError: if the run was trained on other data or with another seed.
    """
    if earlier["data"]["digest"] != asked.dataset.digest:
        name = earlier["data"]["name"]
        raise ValueError(
            f"{asked.folder} was trained on other data ({name}), not on {asked.dataset.name}: resume with it"
        )
    if earlier["seed"] != asked.seed:
        raise ValueError(f"{asked.folder} was trained with seed {earlier['seed']}, not {asked.seed}: resume with that")


LONG = 1800.0
"""Seconds of a budget from which compiling, which takes minutes on a CPU, can pay."""


def _chosen(loop: Loop, budget: Budget, asked: Request, recorded: Mapping[str, Any] | None) -> Choice:
    """The precision asked for, or that of the run resumed, or the one that measures best."""
    if asked.precision is not None:
        return Choice(parse_precision(asked.precision, bool(asked.compile)), note="as asked")
    if recorded is not None:
        seconds = recorded.get("seconds", 0.0)
        return Choice(parse_precision(recorded["name"], recorded["compiled"]), note="as before", seconds=seconds)
    seconds = budget.amount if isinstance(budget, Seconds) else 100.0
    if seconds < 2 or budget.share(loop.progress) > 0.01:
        return Choice(parse_precision("float32", bool(asked.compile)), note="the budget is too short to measure others")
    choice = choose(
        loop, min(0.05 * seconds, 6.0), compiled=seconds >= LONG if asked.compile is None else asked.compile
    )
    return replace(choice, precision=loop.processes.same(choice.precision))


def _chooses(asked: Request, earlier: Mapping[str, Any] | None) -> bool:
    """Whether the held-out loss chooses: as asked, or as in the run that is resumed, or so by default."""
    if asked.choose is not None:
        return asked.choose
    return bool((earlier or {}).get("choice", {}).get("on", True))


def _prepared(loop: Loop, choice: Choice, budget: Budget) -> Loop:
    """The same loop in the precision chosen, with the operations of a step counted where the budget needs them."""
    fresh = loop.again(choice.precision)
    if isinstance(budget, Flops):
        fresh.progress = replace(fresh.progress, flops=count_flops(fresh))
    if choice.precision.compiled:
        fresh.warm_up()
    return fresh
