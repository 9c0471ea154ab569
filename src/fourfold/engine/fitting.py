"""``fit``: data, model, budget, precision, checkpoints and log around the loop.

A run begins fresh (:func:`_fresh`) or is resumed (:func:`_resumed`). Either way the stages that are still to train are
trained first (:func:`_train_stages`), each as a run of its own, and then the model (:func:`_train`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, final

import torch

from fourfold.adapters import is_language_model, is_published, open_published
from fourfold.core import GenerativeModel, Training
from fourfold.data import Data, DataError, Dataset, load
from fourfold.engine.auto import FALLBACK, Sizing, choose_size
from fourfold.engine.blueprint import check_loadable
from fourfold.engine.budget import Budget, parse_budget
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
from fourfold.engine.distributed import Processes, join, losing, restarted, under_torchrun
from fourfold.engine.estimate import free_bytes, in_words, planned, whole_bytes
from fourfold.engine.files import sweep, write_json
from fourfold.engine.flops import count_flops
from fourfold.engine.hardware import find_device
from fourfold.engine.heldout import HeldOut
from fourfold.engine.kernels import multiplies_bf16
from fourfold.engine.lock import RunInUse, locked
from fourfold.engine.loop import Diverged, Loop, Step, begin, train
from fourfold.engine.precision import FLOAT32, Choice, choose, parse_precision
from fourfold.engine.recorder import Recorder
from fourfold.engine.remembered import check_agrees, load_own, settings_of
from fourfold.engine.request import Request, describe, parameters
from fourfold.engine.run import Run
from fourfold.engine.settings import FitSettings
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
from fourfold.engine.wrappers import blocks, building_shards, is_sharded, twin, whole
from fourfold.paradigms import build_recipe, check_names
from fourfold.vocabulary import AUTO

__all__ = ["Interrupted", "fit"]


def fit(
    paradigm: str | GenerativeModel | None = None,
    data: Data | Dataset | None = None,
    *,
    budget: str | float | Budget | None = None,
    size: str | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    muon_rate: float | None = None,
    training: Training | None = None,
    data_options: Mapping[str, Any] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    trust: Sequence[type] = (),
    precision: str | None = None,
    compile: bool | None = None,
    device: str | None = None,
    checkpoint_every: float | None = None,
    choose: bool | None = None,
    lora: int | None = None,
    parallel: str | None = None,
    accumulate: int | None = None,
    recompute: bool | None = None,
    observe: Callable[[Step], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Train a model of a paradigm on data within a budget, or continue a run.

    ``fit(run_dir=folder, resume=True)`` continues a run under the settings that it recorded. Other values are allowed
    for ``budget``, ``precision``, ``compile``, ``device``, ``checkpoint_every``, ``choose``, ``parallel``,
    ``accumulate`` and ``recompute``, and for ``data`` if the same data has moved. All other settings may be left out;
    if given, they must be those of the run.

    Under ``torchrun`` several processes share the training. A batch is then divided into ``accumulate`` parts for each
    process, and a step is that of one process with as many parts: a run may go on with another number of processes. A
    process that ``torchrun`` starts again goes on from the last checkpoint in ``run_dir``.

    Args:
        paradigm: a name for :func:`fourfold.build`, the folder of a published language model, which is tuned, or a
            model, which is trained in place.
        data: data for :func:`fourfold.load`, or a data set.
        budget: ``30s``, ``10m``, ``1h30m``, ``2000 steps``, ``5 epochs``, ``1e15 flops``, or a number of seconds; by
            default ``1m``.
        size: size of the preset: ``xs``, ``s``, ``m``, ``l``, ``xl``, or narrower, as ``s/2``; by default ``auto``, the
            size and the batch that suit this machine, the data and a budget in seconds, and ``s`` for another budget.
        seed: seed of the weights, the order of the data and every draw; by default 0.
        batch_size: examples per step, instead of the preset's.
        learning_rate: peak rate of AdamW, instead of the preset's.
        muon_rate: peak rate of Muon, instead of the preset's; 0 trains everything with AdamW.
        training: all settings of training, instead of the preset's.
        data_options: further arguments of :func:`fourfold.load`.
        run_dir: the run folder; without one nothing is written.
        resume: continue from the last checkpoint in ``run_dir``.
        trust: classes of your own in the model of a resumed run, as for :meth:`Run.load`.
        precision: ``float32``, ``bf16`` or ``autocast``; by default the fastest that is stable.
        compile: whether compiled steps take part in that choice (with ``precision``: are used); by default only where
            the budget is long enough to pay for compiling.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``; ``auto``, the default, takes a GPU if there is one.
        checkpoint_every: seconds between checkpoints; by default 60.
        choose: whether the held-out loss chooses the weights to keep and ends a training that only overfits, as it does
            by default (see :class:`~fourfold.engine.heldout.HeldOut`). Otherwise the whole budget is spent and the last
            weights are kept.
        lora: rank of the matrices that are added to those of a published model and trained instead of them.
        parallel: how the processes that ``torchrun`` started share the training: ``ddp`` (each holds all weights) or
            ``fsdp`` (each holds a shard of every parameter); ``auto``, the default, takes ``ddp`` where that fits into
            memory. ``none`` trains in one process.
        accumulate: parts of a batch that each process takes one after the other; by default 1.
        recompute: whether blocks of a network keep only their inputs for the backward pass; by default large ones do.
        observe: a function that is called with each step.
        say: a function that is called with each message. Without ``observe`` and ``say`` a notebook shows a bar.

    Raises:
        DataError: for data that cannot be trained on, before any training.
        BrokenRun: if the folder cannot be resumed.
        ValueError: for a budget, name or precision that is not understood, a folder of a run that is not resumed, or a
            setting that contradicts the run that is.
        RunInUse: if another process trains in the folder.
        Diverged: at a loss that is not finite; the last good state is in the folder.
        Interrupted: after SIGINT or SIGTERM; everything is in the folder.
        LostProcess: if another process is gone; the last checkpoint is in the folder.
    """
    folder = None if run_dir is None else Path(run_dir)
    resume = resume or (folder is not None and restarted() and resumable(folder))
    card = _card_of(folder) if resume else None
    before = FitSettings() if card is None or folder is None else settings_of(card, folder)
    settings = FitSettings(
        budget=before.budget if budget is None else parse_budget(budget),
        size=before.size if size in (None, AUTO) else size,
        seed=_or(seed, before.seed),
        training=_or(training, before.training),
        batch_size=batch_size,
        learning_rate=learning_rate,
        muon_rate=muon_rate,
        data_options={**before.data_options, **(data_options or {})},
        precision=_or(precision, before.precision),
        compile=_or(compile, before.compile),
        device=_or(device, before.device),
        checkpoint_every=_or(checkpoint_every, before.checkpoint_every),
        choose=_or(choose, before.choose),
        parallel=_or(parallel, before.parallel),
        accumulate=_or(accumulate, before.accumulate),
        recompute=_or(recompute, before.recompute),
    )
    processes = _processes(settings)
    find_device(settings.device)
    if isinstance(paradigm, str) and is_published(paradigm):
        if lora is None and card is not None:
            raise ValueError("resume knows the model that it tunes: leave its folder out")
        if not is_language_model(paradigm):
            raise ValueError(f"{paradigm} is not a language model, and only those are tuned: name a paradigm")
        known: dict[str, Any] = {"tokens": os.path.abspath(paradigm)}
        paradigm = open_published(paradigm, settings.data_options.get("length"), lora)
        known["length"] = paradigm.space.window
        settings = replace(settings, data_options={**settings.data_options, **known})
    elif lora is not None:
        raise ValueError("lora tunes a published language model: give its folder in place of a paradigm")
    if isinstance(paradigm, str):
        check_names(paradigm)
    if card is not None and folder is not None:
        check_agrees(settings, card, folder, paradigm if isinstance(paradigm, str) else None)
    from fourfold.engine.progress import shown

    label = paradigm if isinstance(paradigm, str) else str(folder or "training")
    if processes.rank:
        say = say or _unheard
    with losing(), shown(label, observe, say) as (steps, lines):
        request = Request(
            paradigm=paradigm,
            dataset=_dataset(paradigm, data, settings, card, folder, lines),
            settings=settings,
            folder=folder,
            resume=resume,
            trust=trust,
            observe=steps,
            say=lines,
            processes=processes,
        )
        return _fit(_shared(request))


def _unheard(line: str) -> None:
    """What another process than the first would say, the first says."""


def _processes(settings: FitSettings) -> Processes:
    """The processes that were started, if the settings ask for them.

    Raises:
        ValueError: if the settings ask for several and there is one, or the reverse.
    """
    if settings.parallel == "none" and under_torchrun():
        raise ValueError("parallel none trains in one process, and torchrun started several: choose ddp or fsdp")
    processes = join()
    if settings.parallel in ("ddp", "fsdp") and processes.world == 1:
        raise ValueError(
            f"parallel {settings.parallel} needs several processes: start them with "
            "torchrun --nproc-per-node=N -m fourfold fit ..."
        )
    return processes.sharing(settings.parallel == "fsdp")


def _shared(request: Request) -> Request:
    """The request with shards where ``auto`` finds that whole weights do not fit."""
    settings, processes, name = request.settings, request.processes, request.paradigm
    if settings.parallel != AUTO or processes.world == 1 or settings.size == AUTO:
        return request
    if isinstance(name, str):
        model: GenerativeModel = planned(name, request.dataset.space, settings.size)
    elif name is not None:
        model = name
    else:
        return request
    needed, free = whole_bytes(model), processes.smallest(free_bytes(find_device(settings.device)))
    if needed <= free:
        return request
    request.say(f"fsdp: whole weights need {in_words(needed)} in each process, and {in_words(free)} are free")
    return replace(request, processes=processes.sharing(True))


_T = TypeVar("_T")


def _or(given: _T | None, before: _T) -> _T:
    """The given value, or the default where none was given."""
    return before if given is None else given


def _card_of(folder: Path | None) -> dict[str, Any]:
    """The card of the run to continue."""
    if folder is None:
        raise ValueError("resume needs the folder of a run: give run_dir")
    return read_card(folder)


def _dataset(
    paradigm: str | GenerativeModel | None,
    data: Data | Dataset | None,
    settings: FitSettings,
    card: Mapping[str, Any] | None,
    folder: Path | None,
    say: Callable[[str], None],
) -> Dataset:
    """The data to train on; messages say what reading changed or left out.

    Raises:
        ValueError: if nothing says what to train, or on what.
    """
    if card is None and (paradigm is None or data is None):
        raise ValueError("give a paradigm and data, or the folder of a run and resume=True")
    if isinstance(data, Dataset):
        return data
    if data is not None:
        dataset = load(data, **{"seed": settings.seed, **settings.data_options})
    else:
        assert card is not None
        dataset = load_own(card, folder)
    for line in (*dataset.notes, *(f"skipped: {file}" for file in dataset.skipped)):
        say(line)
    return dataset


@final
@dataclass(frozen=True, kw_only=True)
class _Start:
    """A run before the steps that this process trains.

    Attributes:
        name: name of its paradigm.
        recipe: the full name of its preset; empty for a model that was given.
        model: the model with the weights from which it continues.
        training: its settings of training.
        written: whether the run folder describes the run already.
        checkpoint: state and progress of the model's own training, if that has begun.
        stages: the records of its stages, if they are all trained.
        precision: the record of the precision that was chosen, if it was.
        parts: the parts of a batch that the run recorded.
    """

    name: str
    recipe: str
    model: GenerativeModel
    training: Training
    written: bool = False
    checkpoint: Checkpoint | None = None
    stages: Sequence[Mapping[str, Any]] = ()
    precision: Mapping[str, Any] | None = None
    parts: int = 0


def _fit(request: Request) -> Run:
    """Train in the run folder, in which no other process may work meanwhile."""
    with _alone_in(request.folder, request.processes):
        request = _sized(request)
        start = _resumed(request, request.folder) if request.resume and request.folder else _fresh(request)
        request.processes.largest(0)  # no process writes before all have read
        plan = plan_of(start.model, request.settings.budget)
        if plan.stages and start.checkpoint is None:
            start = replace(start, stages=_train_stages(request, start, plan))
        return _train(request, start, plan)


def _sized(request: Request) -> Request:
    """The request with a size: the one that was chosen when the run began, or the one that suits this machine now."""
    settings, paradigm = request.settings, request.paradigm
    if request.resume and request.folder is not None and not request.stage:
        return replace(request, sizing=_sizing_of(read_card(request.folder), request.folder))
    if settings.size != AUTO:
        return request
    if not isinstance(paradigm, str):
        return replace(request, settings=replace(settings, size=FALLBACK))
    chosen = request.processes.same(
        choose_size(paradigm, request.dataset, settings.budget, settings.device, settings.seed)
    )
    request.say(str(chosen))
    return replace(request, settings=replace(settings, size=chosen.size), sizing=chosen, spent=chosen.seconds)


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


@contextlib.contextmanager
def _alone_in(folder: Path | None, processes: Processes) -> Iterator[None]:
    """Lock a run folder in the first process. If it is locked already, every process stops, and none waits."""
    with contextlib.ExitStack() as stack:
        refused = None
        if folder is not None and processes.rank == 0:
            try:
                stack.enter_context(locked(folder))
            except RunInUse as error:
                refused = error
        if folder is not None and (refused := processes.same(refused)) is not None:
            raise refused
        if folder is not None and processes.rank == 0:
            sweep(folder)
        yield


# --- a run that begins ------------------------------------------------------------------------------------------------


def _fresh(request: Request) -> _Start:
    """A run that begins in an empty folder, or in none.

    Raises:
        ValueError: for a folder whose run would be overwritten.
        TypeError: for a part that cannot be written to model.json.
    """
    folder = request.folder
    if folder is not None and (has_state(folder) or resumable(folder)):
        raise ValueError(f"{folder} holds a run already: resume it, remove it, or choose another folder")
    if folder is not None and has_weights(folder):
        raise ValueError(f"{folder} holds the weights of a trained model: remove it, or choose another folder")
    start = _from_the_beginning(request, request.paradigm)
    for stranger in check_loadable(start.model) if folder is not None and not request.stage else ():
        own = stranger.rpartition(":")[2]
        request.say(f"{stranger} is a class of your own: load this run with Run.load(folder, trust=[{own}])")
    return start


def _from_the_beginning(request: Request, paradigm: str | GenerativeModel | None) -> _Start:
    """The untrained model of a preset, its weights drawn by the seed, or the model that was given."""
    settings = request.settings
    if isinstance(paradigm, GenerativeModel):
        name, recipe, model = type(paradigm.objective).__name__, "", paradigm
    else:
        assert paradigm is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            with _built_in_shards(request, lambda: planned(paradigm, request.dataset.space, settings.size)):
                recipe, model = build_recipe(paradigm, request.dataset.space, settings.size)
        if request.sizing is not None:
            request.sizing.applied_to(model)
        name = paradigm
    model = model.to(find_device(settings.device))
    return _Start(name=name, recipe=recipe, model=model, training=settings.applied_to(model.training_defaults))


@contextlib.contextmanager
def _built_in_shards(request: Request, plan: Callable[[], GenerativeModel]) -> Iterator[None]:
    """Inside, blocks are sharded as they are built, unless the model has stages, which are trained whole in between."""
    with contextlib.ExitStack() as stack:
        if request.processes.sharded and not plan().stages():
            stack.enter_context(building_shards(request.processes))
            stack.enter_context(find_device(request.settings.device))
        yield


# --- a run that is resumed --------------------------------------------------------------------------------------------


def _resumed(request: Request, folder: Path) -> _Start:
    """A run that continues from its last checkpoint.

    Raises:
        BrokenRun: if the folder holds no run that can be continued.
        ValueError: for other data.
    """
    card = read_card(folder)
    if card["data"]["digest"] != request.dataset.digest:
        was, now = card["data"]["name"], request.dataset.name
        raise ValueError(f"{folder} was trained on other data ({was}), not on {now}: resume with it")
    source = last_checkpoint(folder)
    if source is None and (folder / "stages").exists() and "precision" not in card:
        source = folder / "weights.safetensors"  # before 0.2, a model that is trained in stages began with these
    if source is None:
        return _begun_again(request, card, folder)
    model = _recorded(request, folder, source)
    checkpoint = load_checkpoint(model, folder) if has_state(folder) else None
    if checkpoint is None:
        load_weights(model, source)
    return _Start(
        name=card["paradigm"],
        recipe=card.get("recipe", ""),
        model=model.to(find_device(request.settings.device)),
        training=training_of(card, folder),
        written=True,
        checkpoint=checkpoint,
        stages=card["stages"][:-1] if checkpoint is not None and "stages" in card else (),
        precision=card.get("precision"),
        parts=card.get("parts", 0),
    )


def _begun_again(request: Request, card: Mapping[str, Any], folder: Path) -> _Start:
    """A run that was stopped before it wrote its first checkpoint.

    Raises:
        BrokenRun: if its checkpoint was removed, or if it trained a model of the caller's own, which is needed again.
    """
    if has_weights(folder):
        raise BrokenRun(
            f"{folder} holds weights without the state of their training (resume/ is missing), so it cannot go on: "
            "sample from it, or train again in another folder"
        )
    paradigm = request.paradigm or card.get("recipe")
    if not paradigm:
        raise BrokenRun(f"{folder} was stopped before its first checkpoint: give its model to begin it again")
    request.say("the run was stopped before its first checkpoint; it begins again")
    return replace(_from_the_beginning(request, paradigm), name=card["paradigm"], training=training_of(card, folder))


def _recorded(request: Request, folder: Path, source: Path) -> GenerativeModel:
    """The model of a resumed run, before its weights are loaded: the given one, which must be the same, or a new one.

    Raises:
        ValueError: if another model is given.
    """
    if not isinstance(request.paradigm, GenerativeModel):
        with contextlib.ExitStack() as stack:
            if request.processes.sharded and not read_card(folder).get("stages"):
                stack.enter_context(building_shards(request.processes))
            return untrained_model(folder, source, request.trust)
    given, recorded = json.loads(json.dumps(request.paradigm.configuration())), read_json(folder / "model.json")
    parts = recorded if isinstance(recorded, dict) else {}
    for name in given.keys() - {"training"}:
        if differs := _difference(parts.get(name), given[name], name):
            raise ValueError(f"{folder} holds another model: {differs}; resume with the same")
    return request.paradigm


def _difference(recorded: Any, given: Any, name: str) -> str:
    """The place where two JSON values differ, in words; values that an older version did not record do not count."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        inner = (_difference(recorded[key], given[key], f"{name}.{key}") for key in given if key in recorded)
        return next(filter(None, inner), "")
    return "" if recorded == given else f"its {name.replace('.args', '')} is {recorded!r:.60}, not {given!r:.60}"


# --- stages -----------------------------------------------------------------------------------------------------------


def _train_stages(request: Request, start: _Start, plan: StagePlan) -> list[dict[str, Any]]:
    """Train every stage that is not trained yet, each in a run folder of its own; return their records."""
    if request.folder is not None and not start.written and request.processes.rank == 0:
        about = describe(request, start.name, start.recipe, start.model, start.training)
        write_json(request.folder / "model.json", start.model.configuration())
        write_json(request.folder / "card.json", about)
        save_start(start.model, request.folder)
    records: list[dict[str, Any]] = []
    for each in plan.stages:
        stage, folder = each.stage, folder_of(request.folder, each.stage)
        request.say(f"stage {stage.name}: {stage.share:.0%} of the budget, {each.budget}")
        card = take_over(stage, folder) if request.resume else None
        if card is None:
            part = Request(
                paradigm=stage.model,
                dataset=data_of(request.dataset, stage.model),
                settings=request.settings.of_stage(each.budget),
                folder=folder,
                resume=request.resume and folder is not None and resumable(folder),
                trust=request.trust,
                observe=watched(request.observe, stage.name, each.start, stage.share),
                say=request.say,
                stage=f"{request.stage}/{stage.name}".lstrip("/"),
                processes=request.processes,
                spent=0.0 if records else request.spent,
            )
            run = _fit(part)
            stage.model.load_state_dict(run.model.state_dict())
            card = run.card
        records.append(record_of(stage, each.budget, card))
    make_ready(start.model, request.settings.seed)
    return records


# --- the model itself -------------------------------------------------------------------------------------------------


def _train(request: Request, start: _Start, plan: StagePlan) -> Run:
    """Train the model itself, after its stages."""
    settings, folder, checkpoint, budget = request.settings, request.folder, start.checkpoint, plan.own
    processes = request.processes
    begun = time.monotonic()
    model = twin(start.model) if processes.sharded and not is_sharded(start.model) else start.model
    untried = _untried(model, settings, start.precision) if processes.sharded else None
    loop = begin(
        model,
        request.dataset,
        start.training,
        settings.seed,
        FLOAT32 if untried is None else untried.precision,
        processes,
        fresh=checkpoint is None,
        patience=0.1 * budget.seconds,
        parts=_parts(request, start),
        recomputes=bool(blocks(model)) if settings.recompute is None else settings.recompute,
    )
    choice = untried or _chosen(loop, budget, settings, start.precision)
    request.say(str(choice))
    loop = _prepared(loop, choice, budget)
    kept = HeldOut(loop, request.dataset, settings.choose)
    spent = 0.0 if plan.stages else request.spent
    loop.spend(spent + time.monotonic() - begun - loop.progress.seconds)
    if checkpoint is not None:
        _load(loop, kept, checkpoint, folder)
        request.say(f"resumed at step {loop.progress.steps}")
    card = describe(request, start.name, start.recipe, start.model, start.training)
    card |= {"precision": choice.record(), "parts": loop.parts, "parallel": _way(processes)}
    if plan.stages:
        own = {"name": LAST, "share": 1 - plan.start, "budget": str(budget), "parameters": parameters(start.model)}
        card["stages"] = [*start.stages, {**own, "precision": card["precision"], "training": card["training"]}]
    recorder = Recorder(
        folder=folder if processes.rank == 0 else None,
        shards=folder if processes.sharded else None,
        card=card,
        choice=kept,
        every=settings.checkpoint_every,
        observe=watched(request.observe, "", plan.start, 1 - plan.start),
        stage=request.stage,
    )
    damaged = recorder.start(loop, resumed=checkpoint is not None)
    if damaged:
        request.say(f"{folder}/log.jsonl: damaged lines are left out ({damaged})")
    _run(loop, request.dataset, budget, recorder)
    if kept.over or kept.keeps_best:
        request.say(kept.note())
    if budget.overshot(loop.progress):
        used, last = loop.progress.seconds, loop.progress.last
        request.say(f"training took {used:.3g} s of a budget of {budget}: its last step alone took {last:.3g} s")
    model = _brought_together(loop.model, start.model, request) if processes.sharded else start.model
    return Run(model=model, folder=folder, card=recorder.card, data=request.dataset)


def _way(processes: Processes) -> str:
    """The word for how processes share a training."""
    return "none" if processes.world == 1 else "fsdp" if processes.sharded else "ddp"


def _parts(request: Request, start: _Start) -> int:
    """The parts of a batch: those of the run, so that a step stays the same, unless they do not suit the processes."""
    world, wanted = request.processes.world, request.settings.accumulate * request.processes.world
    if start.parts and start.parts % world:
        request.say(f"{start.parts} parts of a batch do not suit {world} processes: now {wanted}, and other draws")
    return start.parts if start.parts and not start.parts % world else wanted


def _brought_together(sharded: GenerativeModel, model: GenerativeModel, request: Request) -> GenerativeModel:
    """The trained model with whole weights, in every process: the one that was given, if it is whole, or a new one."""
    if is_sharded(model):
        model = GenerativeModel.from_configuration(model.configuration(), request.trust).to(model.device)
    target = model.state_dict()
    for name, value in sharded.state_dict(keep_vars=True).items():
        target[name].copy_(whole(value))
    return model.eval()


def _load(loop: Loop, kept: HeldOut, checkpoint: Checkpoint, folder: Path | None) -> None:
    """Load the checkpoint of a loop and of the choice of its weights.

    Raises:
        BrokenRun: if the checkpoint is that of another model, or was changed.
    """
    try:
        loop.load(checkpoint.state, checkpoint.progress)
        kept.load(checkpoint.state)
    except (LookupError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise BrokenRun(f"the checkpoint of {folder} does not fit its model ({reason}): they are of two runs") from None


def _untried(model: GenerativeModel, settings: FitSettings, recorded: Mapping[str, Any] | None) -> Choice:
    """The precision of sharded weights, of which no copies are made to try others."""
    compiled = bool(settings.compile)
    if settings.precision is not None or recorded is not None:
        name = settings.precision or (recorded or {})["name"]
        return Choice(parse_precision(name, compiled), ["as asked" if settings.precision else "as before"])
    if multiplies_bf16(model.device) and model.device.type != "cpu":
        return Choice(parse_precision("bf16", compiled), ["the faster one here; its gradients were not tried"])
    return Choice(parse_precision("float32", compiled), ["sharded weights are not tried in others"])


LONG = 1800.0
"""Seconds of a budget from which compiling, which takes minutes on a CPU, can pay."""


def _chosen(loop: Loop, budget: Budget, settings: FitSettings, recorded: Mapping[str, Any] | None) -> Choice:
    """The precision that was given, or that of the run resumed, or the fastest that is stable."""
    if settings.precision is not None:
        return Choice(parse_precision(settings.precision, bool(settings.compile)), ["as asked"])
    if recorded is not None:
        before = recorded.get("measured", ()), recorded.get("seconds", 0.0)
        return Choice(parse_precision(recorded["name"], recorded["compiled"]), *before)
    seconds = budget.seconds if math.isfinite(budget.seconds) else 100.0
    if seconds < 2 or budget.share(loop.progress) > 0.01:
        return Choice(parse_precision("float32", bool(settings.compile)), ["the budget is too short to try others"])
    compiled = seconds >= LONG if settings.compile is None else settings.compile
    choice = choose(loop, compiled)
    return replace(choice, precision=loop.processes.same(choice.precision))


def _prepared(loop: Loop, choice: Choice, budget: Budget) -> Loop:
    """The same loop in the precision chosen, with the operations of a step counted where the budget needs them."""
    fresh = loop if loop.processes.sharded else loop.again(choice.precision)
    if math.isfinite(budget.operations):
        if loop.processes.sharded:
            raise ValueError("operations of sharded training are not counted: give a budget in steps or in seconds")
        fresh.progress = replace(fresh.progress, flops=count_flops(fresh))
    if choice.precision.compiled:
        fresh.warm_up()
    return fresh


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
        except DataError:
            if not loop.processes.sharded:  # shards are written by all processes together
                recorder.save(loop)
            raise
        if not stopped or recorder.choice.over or budget.spent(loop.progress):
            recorder.finish(loop)
        else:
            recorder.save(loop)
            loop.finish()
        stopped = stopped or loop.processes.largest(stop.signal)  # asked while the last checkpoint was written
    if stopped:
        raise Interrupted(f"stopped at step {loop.progress.steps} by {signal.Signals(stopped).name}")
