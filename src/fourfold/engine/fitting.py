"""``fit``: from the arguments of a caller to a request, which :mod:`fourfold.engine.execution` carries out.

The order is: settings (given, else recorded by the run that is resumed, else the defaults), processes, model, data.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from torch import Tensor

from fourfold.adapters import Adapter, adapter_of
from fourfold.core import GenerativeModel
from fourfold.data import Data, Dataset, load
from fourfold.data.private import read_public
from fourfold.engine.counted import beaten
from fourfold.engine.estimate import free_bytes, in_words, planned, whole_bytes
from fourfold.engine.execution import execute
from fourfold.engine.progress import shower_for
from fourfold.engine.request import Request
from fourfold.engine.shortfall import few_steps, slowed
from fourfold.engine.signals import Interrupted
from fourfold.engine.step import Step
from fourfold.machine.hardware import find_device
from fourfold.machine.usage import Usage
from fourfold.paradigms import cards, check_names, declared, first_recipe, resolve
from fourfold.parallel.processes import Processes, join, losing, restarted, under_torchrun
from fourfold.privacy import Protection, new_secret
from fourfold.privacy.accounting import require_accountant
from fourfold.runs.card import read_card
from fourfold.runs.checkpoint import check_vacant, recorded_secret, resumable
from fourfold.runs.lock import locked
from fourfold.runs.remembered import check_agrees, load_own, settings_of
from fourfold.runs.run import Run
from fourfold.runs.settings import FitKeywords, FitSettings
from fourfold.settings.data import DataKeywords
from fourfold.settings.declaration import spelled_out
from fourfold.vocabulary import AUTO

__all__ = ["Interrupted", "fit"]


@spelled_out(FitKeywords, dict.fromkeys(FitKeywords.__annotations__))
def fit(
    paradigm: str | GenerativeModel | None = None,
    data: Data | Dataset | None = None,
    *,
    labels: str | os.PathLike[str] | np.ndarray | Tensor | Sequence[Any] | None = None,
    given: Any = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    trust: Sequence[type] = (),
    observe: Callable[[Step], bool | None] | None = None,
    say: Callable[[str], None] | None = None,
    progress: bool = True,
    **keywords: Unpack[FitKeywords],
) -> Run:
    """Train a model of a paradigm on data within a budget, or continue a run.

    ``fit(out=folder, resume=True)`` continues a run under the settings that it recorded. Other values are allowed
    for ``budget``, ``precision``, ``compile``, ``device``, ``checkpoint_every``, ``choose``, ``parallel``,
    ``accumulate`` and ``recompute``, and for ``data`` if the same data has moved. All other settings may be left out.
    If given, they must be those of the run.

    Under ``torchrun`` several processes share the training. A batch is then divided into ``accumulate`` parts for each
    process, and a step is that of one process with as many parts: a run may go on with another number of processes. A
    process that ``torchrun`` starts again goes on from the last checkpoint in ``out``.

    Args:
        paradigm: a name for :func:`fourfold.build`, the path of a published model, which is tuned, or a model,
            which is trained in place.
        data: data for :func:`fourfold.load`, or a data set.
        labels: the class of each example, or where it stands, as :func:`fourfold.load` takes it: the model then learns
            the examples of each class, unless ``given`` names other conditions.
        given: the condition of each example, such as columns of a table, a file or an array, as :func:`fourfold.load`
            takes it: the model then learns the examples given these.
        out: the run folder. Without one nothing is written.
        resume: continue from the last checkpoint in ``out``.
        trust: classes of your own in the model of a resumed run, as for :meth:`Run.load`.
        observe: a function that is called with each step. If it returns ``True``, training is saved and stops, as after
            SIGINT.
        say: a function that is called with each message.
        progress: whether a notebook or a terminal shows a bar and the messages, where neither ``observe`` nor ``say``
            is given.
        keywords: the settings of :class:`~fourfold.runs.settings.FitSettings`, such as ``budget`` and ``size``.
            ``None`` leaves a setting out.

    Warns:
        UserWarning: if a clock ended the training after fewer than 20 steps, and no message can say so.

    Raises:
        DataError: for data that cannot be trained on, before any training.
        BrokenRun: if the folder cannot be resumed.
        ValueError: for a budget, name or precision that is not understood, a folder of a run that is not resumed, or a
            setting that contradicts the run that is.
        RunInUse: if another process trains in the folder.
        Diverged: at a loss that is not finite. The last good state is in the folder.
        Interrupted: after SIGINT or SIGTERM, or if ``observe`` asks for it. Everything is in the folder.
        LostProcess: if another process is gone. The last checkpoint is in the folder.
    """
    folder = None if out is None else Path(out)
    resume = resume or (folder is not None and restarted() and resumable(folder))
    if resume and folder is None:
        raise ValueError("out must be the folder of a run to resume, got None")
    if folder is not None and folder.exists() and not resume:
        with nullcontext() if under_torchrun() else locked(folder):  # a run in training says so
            check_vacant(folder)
    card = read_card(folder) if resume and folder is not None else None
    before = FitSettings() if card is None or folder is None else settings_of(card, folder)
    keywords["data_options"] = {**_conditions(data, labels, given), **(keywords.get("data_options") or {})}
    settings = before.changed(**keywords)
    units = data.units if isinstance(data, Dataset) else None
    protection = _protection(settings, folder if resume else None) if units is None else units.protection
    if protection is not None:
        settings = under_guarantee(settings)
    processes = _processes(settings)
    find_device(settings.device)
    adapter = adapter_of(paradigm) if isinstance(paradigm, str) else None
    if adapter is not None:
        paradigm, settings = _to_tune(adapter, Path(str(paradigm)), settings, resumes=card is not None)
    elif settings.opening:
        option = min(settings.opening)
        raise ValueError(f"paradigm must be the path of a published model to tune by {option}, got {paradigm!r}")
    if isinstance(paradigm, str):
        check_names(paradigm)
    if card is not None and folder is not None:
        check_agrees(settings, card, folder, paradigm if isinstance(paradigm, str) else None)
    label = paradigm if isinstance(paradigm, str) else str(folder or "training")
    if processes.rank:
        say = say or _nobody
    with losing(), shower_for(label, observe, say, progress) as (steps, lines):
        start, tell = Usage.now(), lines or _nobody
        dataset = _dataset(paradigm, data, settings, card, folder, tell, protection)
        request = Request(
            paradigm=paradigm if card is not None else _by_data(paradigm, dataset, protection, tell),
            dataset=dataset,
            settings=settings,
            folder=folder,
            resume=resume,
            trust=trust,
            observe=steps,
            say=tell,
            processes=processes,
            protection=protection,
        )
        run = execute(_shared(request))
        if busy := slowed(run.card, Usage.now().since(start).share, resume):
            tell(busy)
        few = None if run.model.estimand.fitted else few_steps(run.card)
        if few and lines is None:
            warnings.warn(few, stacklevel=3)
        elif few:
            tell(few)
        if lines is not None and not processes.rank and protection is None and (better := beaten(run)):
            tell(better)
    return run


def _conditions(data: Data | Dataset | None, labels: Any, given: Any) -> DataKeywords:
    """The settings of loading for examples with labels or other conditions.

    Raises:
        ValueError: for data that is loaded already.
    """
    if labels is None and given is None:
        return {}
    if isinstance(data, Dataset):
        name, way = ("given", "given=c") if labels is None else ("labels", "labels=y, given='labels'")
        raise ValueError(
            f"{name} must be left out for a Dataset, which has its own, got some; load it by fourfold.load(x, {way})"
        )
    classes: DataKeywords = {} if labels is None else {"labels": labels, "given": "labels"}
    return classes if given is None else {**classes, "given": given}


def _processes(settings: FitSettings) -> Processes:
    """The processes that were started, if the settings ask for them.

    Raises:
        ValueError: if the settings ask for several and there is one, or the reverse.
    """
    if settings.parallel == "none" and under_torchrun():
        raise ValueError("parallel must be auto, ddp or fsdp under torchrun, got none")
    processes = join()
    if settings.parallel in ("ddp", "fsdp") and processes.world == 1:
        raise ValueError(
            f"parallel must be auto or none in one process, got {settings.parallel}; start several with "
            "torchrun --nproc-per-node=N -m fourfold fit ..."
        )
    return processes.sharing(settings.parallel == "fsdp")


def _protection(settings: FitSettings, folder: Path | None) -> Protection | None:
    """The protection of the rows: with the secret of the run in a folder, or a new one.

    Raises:
        ModuleNotFoundError: without the accountant.
    """
    if settings.private is None:
        return None
    require_accountant()
    public = settings.public or {}
    public = public if isinstance(public, Mapping) else read_public(public)
    secret = None if folder is None else recorded_secret(folder)
    return Protection(settings.private, public, new_secret() if secret is None else secret)


def under_guarantee(settings: FitSettings) -> FitSettings:
    """The settings of a training under a guarantee: float32, the last weights, and a size that is not timed."""
    return replace(
        settings,
        precision="float32",
        compile=False,
        choose=False,
        size="xs" if settings.size == AUTO else settings.size,
    )


def _to_tune(adapter: Adapter, path: Path, settings: FitSettings, resumes: bool) -> tuple[GenerativeModel, FitSettings]:
    """A published model to be tuned, and settings by which data is read with its tokens and its window.

    Raises:
        ValueError: for a model that is not tuned.
    """
    if resumes and not settings.opening:
        raise ValueError(f"paradigm must be left out to resume, got {path}; the run has the model that it tunes")
    if not adapter.trains:
        raise ValueError(f"{path} must be a model that can be tuned, got {adapter.noun}; name a paradigm")
    length = settings.data_options.get("length")
    model = adapter.open(path, {**adapter.in_training, "length": length, **settings.opening})
    reading: DataKeywords = {"tokens": os.path.abspath(path), "length": model.space.window}
    return model, replace(settings, data_options={**settings.data_options, **reading})


def _dataset(
    paradigm: str | GenerativeModel | None,
    data: Data | Dataset | None,
    settings: FitSettings,
    card: Mapping[str, Any] | None,
    folder: Path | None,
    say: Callable[[str], None],
    protection: Protection | None,
) -> Dataset:
    """The data to train on. Messages name the changes that reading made.

    Raises:
        ValueError: if the paradigm or the data is missing.
    """
    if card is None and (paradigm is None or data is None):
        raise ValueError("paradigm and data must be given, got None; or give the folder of a run and resume=True")
    if isinstance(data, Dataset):
        return data
    if data is not None:
        reading: DataKeywords = {"seed": settings.seed, **settings.data_options, "private": protection}
        dataset = load(data, **reading)
    else:
        assert card is not None
        dataset = load_own(card, folder, protection=protection)
    if protection is not None:
        return replace(dataset, digest=protection.digest(dataset.digest), notes=(), skipped=())
    lines = (*dataset.notes, *(f"skipped: {file}" for file in dataset.skipped))
    if lines and isinstance(paradigm, str):
        resolve(paradigm, dataset.space)  # a refusal comes alone
    for line in lines:
        say(line)
    return dataset


def _by_data(
    paradigm: str | GenerativeModel | None, data: Dataset, protection: Protection | None, say: Callable[[str], None]
) -> str | GenerativeModel | None:
    """The paradigm, whose recipe the data may choose: a line says so. Under a guarantee of privacy they do not."""
    if not isinstance(paradigm, str) or paradigm not in cards():
        return paradigm
    resolved = resolve(paradigm, data.space)
    reason = declared(resolved).reason
    if not reason:
        return paradigm
    if protection is not None:
        return first_recipe(paradigm, data.space)
    say(f"{resolved}: {reason}")
    return paradigm


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
    size, free = whole_bytes(model), processes.smallest(free_bytes(find_device(settings.device)))
    if size <= free:
        return request
    request.say(f"fsdp: whole weights need {in_words(size)} in each process, and {in_words(free)} are free")
    return replace(request, processes=processes.sharing(True))


def _nobody(line: str) -> None:
    """Drop a message: the first process tells it."""
