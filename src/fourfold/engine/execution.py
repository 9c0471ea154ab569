"""Carries out the training that was requested, in the order in which it happens.

:func:`execute` locks the run folder, chooses the size (by timing a few steps), builds or loads the model, and trains
its stages, each by :func:`execute` in a folder of its own. :func:`_train` then trains the model itself: it makes the
loop, chooses the precision, loads the checkpoint, and takes steps (:func:`_run`), while held-out examples decide which
weights to keep (:class:`~fourfold.engine.heldout.HeldOut`) and a :class:`~fourfold.engine.recorder.Recorder` writes
log, checkpoints and the trained model.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fourfold.core import GenerativeModel
from fourfold.data import DataError, Dataset
from fourfold.engine.auto import FALLBACK, Sizing, choose_size
from fourfold.engine.choice import decided, settle
from fourfold.engine.flops import count_flops
from fourfold.engine.gradients import GradientRule, MeanRule
from fourfold.engine.heldout import HeldOut
from fourfold.engine.loop import SLOWER, Loop
from fourfold.engine.private import NoisyRule, check_private
from fourfold.engine.recorder import Recorder
from fourfold.engine.request import Request, describe
from fourfold.engine.signals import Interrupted, signals
from fourfold.engine.stages import (
    LAST,
    StagePlan,
    data_of,
    folder_of,
    in_time,
    make_ready,
    plan_of,
    record_of,
    take_over,
    watched,
)
from fourfold.engine.start import Start, fresh, resumed
from fourfold.engine.step import Diverged
from fourfold.engine.training import begin, train
from fourfold.parallel.blocks import blocks
from fourfold.parallel.models import brought_together, to_train
from fourfold.parallel.processes import Processes
from fourfold.runs.budget import Budget
from fourfold.runs.card import parameters, read_card
from fourfold.runs.checkpoint import TWO_RUNS, BrokenRun, Checkpoint, resumable, save_start
from fourfold.runs.files import sweep, write_json
from fourfold.runs.lock import RunInUse, locked
from fourfold.runs.precision import FLOAT32
from fourfold.runs.run import Run
from fourfold.vocabulary import AUTO

__all__ = ["execute"]


def execute(request: Request) -> Run:
    """Train the stages of a model and then the model, in a run folder that no other process may use meanwhile."""
    with _alone_in(request.folder, request.processes):
        request = _sized(request)
        start = resumed(request, request.folder) if request.resume and request.folder else fresh(request)
        request.processes.wait()  # no process writes before all have read
        plan = plan_of(start.model, request.settings.budget)
        if plan.stages and start.checkpoint is None:
            start = replace(start, stages=_train_stages(request, start, plan))
        return _train(request, start, plan)


@contextlib.contextmanager
def _alone_in(folder: Path | None, processes: Processes) -> Iterator[None]:
    """Lock a run folder in the first process. If it is locked already, every process stops, and none waits."""
    with contextlib.ExitStack() as stack:
        in_use = None
        if folder is not None and processes.rank == 0:
            try:
                stack.enter_context(locked(folder))
            except RunInUse as error:
                in_use = error
        if folder is not None and (in_use := processes.same(in_use)) is not None:
            raise in_use
        if folder is not None and processes.rank == 0:
            sweep(folder)
        yield


def _sized(request: Request) -> Request:
    """The request with a size: the one that was chosen when the run began, or the one that suits this machine now."""
    settings, paradigm = request.settings, request.paradigm
    if request.resume and request.folder is not None and not request.stage:
        return replace(request, sizing=_sizing_of(read_card(request.folder), request.folder))
    if settings.size != AUTO:
        return request
    if not isinstance(paradigm, str):
        return replace(request, settings=replace(settings, size=FALLBACK))
    sizing = request.processes.same(
        choose_size(paradigm, request.dataset, settings.budget, settings.device, settings.seed)
    )
    request.say(str(sizing))
    return replace(request, settings=replace(settings, size=sizing.size), sizing=sizing, seconds=sizing.seconds)


def _sizing_of(card: Mapping[str, Any], folder: Path) -> Sizing | None:
    """The size that was chosen when a run began, if it was chosen.

    Raises:
        BrokenRun: if it cannot be.
    """
    if "sizing" not in card:
        return None
    try:
        return Sizing(**card["sizing"])
    except (TypeError, ValueError) as error:
        raise BrokenRun(f"{folder / 'card.json'}: its sizing is damaged ({error})") from None


def _train_stages(request: Request, start: Start, plan: StagePlan) -> list[dict[str, Any]]:
    """Train every stage that is not trained yet, each in a run folder of its own. Return their records."""
    if request.folder is not None and not start.has_card and request.processes.rank == 0:
        about = describe(request, start.name, start.recipe, start.model, start.training)
        write_json(request.folder / "model.json", start.model.configuration())
        write_json(request.folder / "card.json", about)
        save_start(start.model, request.folder)
    records: list[dict[str, Any]] = []
    for each in plan.stages:
        stage, folder = each.stage, folder_of(request.folder, each.stage)
        seconds = _seconds_of(request, records)
        budget = in_time(each.budget, stage.share, each.start, request.settings.budget, seconds)
        request.say(f"stage {stage.name}: {stage.share:.0%} of the budget, {budget.words}")
        card = take_over(stage, folder) if request.resume else None
        if card is None:
            part = Request(
                paradigm=stage.model,
                dataset=data_of(request.dataset, stage.model),
                settings=request.settings.of_stage(budget),
                folder=folder,
                resume=request.resume and folder is not None and resumable(folder),
                trust=request.trust,
                observe=watched(request.observe, stage.name, each.start, stage.share),
                say=request.say,
                stage=f"{request.stage}/{stage.name}".lstrip("/"),
                processes=request.processes,
            )
            run = execute(part)
            stage.model.load_state_dict(run.model.state_dict())
            card = run.card
        records.append(record_of(stage, budget, card))
    make_ready(start.model, request.settings.seed)
    return records


def _seconds_of(request: Request, records: Sequence[Mapping[str, Any]]) -> float:
    """The seconds of the whole budget that timing and the recorded stages took."""
    timing = 0.0 if request.sizing is None else request.sizing.seconds
    return timing + sum(record["seconds"] for record in records)


def _train(request: Request, start: Start, plan: StagePlan) -> Run:
    """Train the model itself, after its stages."""
    settings, folder, checkpoint, budget = request.settings, request.folder, start.checkpoint, plan.model_budget
    if plan.stages:
        budget = in_time(budget, 1 - plan.start, plan.start, settings.budget, _seconds_of(request, start.stages))
    processes = request.processes
    clock = time.monotonic()
    model = to_train(start.model, processes)
    rule = _rule(request, start)
    choice = decided(model, settings, start.precision, processes)
    loop = begin(
        model,
        request.dataset,
        start.training,
        settings.seed,
        FLOAT32 if choice is None else choice.precision,
        processes,
        fresh=checkpoint is None,
        patience=0.1 * budget.seconds,
        parts=_parts(request, start),
        recomputes=bool(blocks(model)) if settings.recompute is None else settings.recompute,
        rule=rule,
    )
    if choice is None:
        choice = settle(loop, budget, settings)
        loop = loop.again(choice.precision)
    if math.isfinite(budget.operations):
        loop.progress = replace(loop.progress, flops=count_flops(loop))
    if choice.precision.compiled:
        try:
            loop.warm_up()
        except RuntimeError as failure:
            choice, progress = choice.uncompiled(failure), loop.progress
            loop = loop.again(choice.precision)
            loop.progress = progress
    request.say(str(choice))
    held_out = HeldOut(loop, request.dataset, settings.choose)
    seconds = 0.0 if plan.stages else request.seconds
    loop.spend(seconds + time.monotonic() - clock - loop.progress.seconds)
    before = loop.progress.seconds
    if checkpoint is not None:
        _load(loop, held_out, checkpoint, folder)
        request.say(f"resumed at step {loop.progress.steps}")
    budget = rule.planned(loop, budget)
    card = describe(request, start.name, start.recipe, start.model, start.training)
    card |= {"precision": choice.record(), "parts": loop.parts}
    if plan.stages:
        last = {"name": LAST, "share": 1 - plan.start, "budget": str(budget), "parameters": parameters(start.model)}
        card["stages"] = [*start.stages, {**last, "precision": card["precision"], "training": card["training"]}]
    recorder = Recorder(
        folder=folder,
        processes=processes,
        card=card,
        choice=held_out,
        every=settings.checkpoint_every,
        observe=watched(request.observe, "", plan.start, 1 - plan.start),
        stage=request.stage,
    )
    damaged = recorder.start(loop, resumed=checkpoint is not None)
    if damaged:
        request.say(f"{folder}/log.jsonl: damaged lines are left out ({damaged})")
    _run(loop, request.dataset, budget, recorder, request.say)
    if held_out.over or held_out.keeps_best:
        request.say(held_out.note())
    if budget.overshot(loop.progress):
        request.say(_overshot(loop, budget, before))
    configuration = start.model.configuration
    model = brought_together(
        loop.model,
        start.model,
        lambda: GenerativeModel.from_configuration(configuration(), request.trust).to(start.model.device),
    )
    return Run(model=model, folder=folder, card=recorder.card, data=request.dataset)


def _rule(request: Request, start: Start) -> GradientRule:
    """How batches are drawn and gradients made, with or without a guarantee of privacy.

    Raises:
        ValueError: for a model, data or a training that cannot promise one.
    """
    protection, data = request.protection, request.dataset
    if protection is None:
        return MeanRule()
    check_private(start.model, start.recipe or start.name)
    if request.processes.world > 1:
        raise ValueError(f"private must be left out in {request.processes.world} processes: train in one")
    if data.statistics is None:
        raise ValueError(f"private must be left out for {data.name}: it is for a table, which fit itself reads")
    if data.units is None:
        return NoisyRule(protection, len(data.train) + len(data.validation) + len(data.test))
    if request.settings.accumulate > 1:
        raise ValueError(
            f"accumulate must be left out for units of several examples, got {request.settings.accumulate}"
        )
    return NoisyRule(protection, data.units.count, units=data.units)


def _overshot(loop: Loop, budget: Budget, before: float) -> str:
    """A line on a budget that did not suffice, with the part that took longest.

    Args:
        loop: after training.
        budget: of the training.
        before: seconds before the first step.
    """
    progress = loop.progress
    rest = progress.seconds - before - progress.last
    causes = {
        f"its last step alone took {progress.last:.3g} s": progress.last,
        f"what comes before the first step took {before:.3g} s": before,
        f"its other steps, looks at held-out examples and checkpoints took {rest:.3g} s": rest,
    }
    return (
        f"training took {progress.seconds:.3g} s of a budget of {budget.words}: {max(causes, key=causes.__getitem__)}"
    )


def _parts(request: Request, start: Start) -> int:
    """The parts of a batch: those of the run, so that a step stays the same, unless they do not suit the processes."""
    world, count = request.processes.world, request.settings.accumulate * request.processes.world
    if start.parts and start.parts % world:
        request.say(f"{start.parts} parts of a batch do not suit {world} processes: now {count}, and other draws")
    return start.parts if start.parts and not start.parts % world else count


def _load(loop: Loop, held_out: HeldOut, checkpoint: Checkpoint, folder: Path | None) -> None:
    """Load the checkpoint of a loop and of the choice of its weights.

    Raises:
        BrokenRun: if the checkpoint is that of another model, or was changed.
    """
    try:
        loop.load(checkpoint.state, checkpoint.progress)
        held_out.load(checkpoint.state)
    except (LookupError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise BrokenRun(f"the checkpoint of {folder} does not fit its model ({reason}): {TWO_RUNS}") from None


def _over(choice: HeldOut, budget: Budget, say: Callable[[str], None]) -> bool:
    """True if held-out examples end the training and none begins in its place, which a line would say."""
    if not choice.over:
        return False
    step = choice.loop.progress.steps
    again = choice.restarts(budget)
    if again:
        say(f"step {step}: the held-out loss falls no more; training begins again, at 1/{SLOWER} of the rate")
    return not again


def _run(loop: Loop, dataset: Dataset, budget: Budget, recorder: Recorder, say: Callable[[str], None]) -> None:
    """Step until the budget is spent, or a signal or a loss that is not finite stops it, then save."""
    stopped = 0
    over = _over(recorder.choice, budget, say)
    with signals() as stop:
        try:
            for step in () if over else train(loop.model, dataset, budget=budget, loop=loop):
                pauses = recorder.record(loop, step)
                stopped = loop.processes.largest(stop.signal or PAUSE * pauses)  # every process, whichever was asked to
                over = _over(recorder.choice, budget, say)
                if stopped or over:
                    break
        except Diverged as error:
            recorder.save(loop)
            place = f"; the state before it is in {recorder.folder}" if recorder.folder else ""
            raise Diverged(f"{error}{place}") from None
        except DataError:
            recorder.save(loop, together=False)
            raise
        if not stopped or over or budget.is_over(loop.progress):
            recorder.finish(loop)
        else:
            recorder.save(loop)
            loop.finish()
        stopped = stopped or loop.processes.largest(stop.signal)  # asked while the last checkpoint was written
    if stopped:
        cause = "its observer" if stopped == PAUSE else signal.Signals(stopped).name
        raise Interrupted(f"stopped at step {loop.progress.steps} by {cause}")


PAUSE = signal.NSIG
"""The number of a stop that the observer of a training asks for. Greater than that of any signal."""
