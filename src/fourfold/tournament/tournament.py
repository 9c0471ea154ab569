"""``compare``: every paradigm on the same data, split, budget and hardware, one after the other or on a cluster."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import math
import signal
import statistics
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, Unpack

from fourfold.adapters import adapter_of
from fourfold.core import Space, configuration, strangers
from fourfold.data import Data, Dataset, folds, load
from fourfold.engine import Interrupted
from fourfold.engine.progress import shower_for
from fourfold.machine.hardware import find_device, machine
from fourfold.metrics import Measurement
from fourfold.output.notebook import in_notebook
from fourfold.paradigms import cards, check_names, resolve
from fourfold.settings.data import DataKeywords, name_of
from fourfold.settings.declaration import spelled_out
from fourfold.tasks.evaluation import examples
from fourfold.tournament.baselines import Rated, pooled, rate
from fourfold.tournament.benchmark import Benchmark
from fourfold.tournament.comparison import Comparison
from fourfold.tournament.entries import Entry, combine, merged, pool
from fourfold.tournament.executors import Executor, executor_of
from fourfold.tournament.jobs import Job, Outcome, commands, outcome_of
from fourfold.tournament.outputs import check_outputs
from fourfold.tournament.outside import Outside, of_settings, rate_outside
from fourfold.tournament.places import elsewhere, usual_machine
from fourfold.tournament.results import described, versions
from fourfold.tournament.rivals import rival_of
from fourfold.tournament.samples import draws_at, scores_at, smallest, sweep_at
from fourfold.tournament.settings import CompareKeywords, Settings
from fourfold.tournament.snapshot import save_snapshot
from fourfold.vocabulary import Kind

__all__ = ["compare", "comparison_of", "print_jobs", "run_comparison"]

_ORDER = {kind: i for i, kind in enumerate(Kind)}


@spelled_out(CompareKeywords, {f.name: f.default for f in fields(Settings)})
def compare(
    data: Data | Dataset,
    *,
    given: Any = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
    **keywords: Unpack[CompareKeywords],
) -> Comparison:
    """Train every paradigm on the same data under the same budget, and measure all equally.

    Each run has its own process and folder: a crash is reported and does not affect the others, peak memory is that of
    one run, and finished runs are kept. Another call with the same arguments reuses the finished runs and continues
    with the rest. All models are judged by the same number of samples: the largest that every one of them has.

    Args:
        data: data for :func:`fourfold.load`, or a data set.
        given: the condition of each example, as :func:`fourfold.load` takes it: the models then learn the examples
            given these.
        progress: whether a notebook or a terminal shows messages, and a terminal progress bars.
        say: a function that is called with each message.
        keywords: the settings of :class:`~fourfold.tournament.settings.Settings`, such as ``budget`` and ``paradigms``.

    Raises:
        DataError: for data that cannot be trained on.
        ValueError: for an unknown paradigm, size, feature space or budget, a paradigm that is given twice, or a report
            that cannot be written. All before any training.
        RunInUse: if another comparison works on the same runs.
        Interrupted: after SIGINT, SIGTERM or SIGHUP. Finished runs are kept and reported, and the same call continues.
    """
    if given is not None:
        keywords["data_options"] = {**(keywords.get("data_options") or {}), "given": given}
    settings = Settings.of(**keywords)
    bars = progress and sys.stderr.isatty() and not in_notebook()
    with shower_for("comparison", None, say, progress) as (_, lines):
        return run_comparison(data, settings, progress=bars, say=lines)


def run_comparison(
    data: Data | Dataset, settings: Settings, *, progress: bool = True, say: Callable[[str], None] | None = None
) -> Comparison:
    """Hold the comparison of :func:`compare` under the given settings."""
    say = say or (lambda line: None)
    plan = _plan(data, settings, say)
    _foretell(plan.jobs, settings, say)
    outcomes = list[Outcome]()

    def so_far() -> Comparison:
        order = sorted(outcomes, key=lambda outcome: plan.jobs.index(outcome.job))
        comparison = comparison_of(settings, plan.parts, plan.names, order, plan.source, plan.outside)
        return replace(comparison, planned=len(plan.jobs), left_out=plan.left_out)

    try:
        with _interruptible(), contextlib.closing(plan.executor.outcomes(plan.jobs, settings, progress)) as stream:
            for i, outcome in enumerate(stream, 1):
                outcomes.append(outcome)
                say(f"[{i}/{len(plan.jobs)}] {_in_a_line(outcome)}")
            published = _published(settings, plan.parts[0], smallest(outcomes, plan.outside), say)
    except KeyboardInterrupt as stop:
        raise Interrupted(_stopped(so_far(), stop)) from None
    comparison = replace(so_far(), published=published)
    if settings.out is not None:
        comparison.save(settings.out)
    return comparison


def _foretell(jobs: Sequence[Job], settings: Settings, say: Callable[[str], None]) -> None:
    """Say how long the runs take that have not ended yet, if they are made here."""
    runs_dir = Path(settings.runs_dir)
    missing = [job for job in jobs if not settings.resume or outcome_of(job, job.folder(runs_dir)) is None]
    if missing and settings.executor is None:
        say(settings.time(len(missing)))


def print_jobs(data: Data | Dataset, settings: Settings, *, say: Callable[[str], None] | None = None) -> list[str]:
    """Write the jobs of a comparison into their folders. Return the command of each, for any scheduler.

    :func:`~fourfold.tournament.gathering.gather` makes the report of them. Of those of a cross-validation the same
    comparison makes it, which takes up runs that have ended.
    """
    return commands(_plan(data, settings, say or (lambda line: None)).jobs, settings)


@dataclass(frozen=True)
class _Plan:
    """The plan of a comparison: data, its source as an argument, paradigms, those left out, and a job for each run.

    The executor makes the runs. In a cross-validation there is a data set for each part that is held out.
    """

    executor: Executor
    parts: Sequence[Dataset]
    source: str
    names: Sequence[str]
    left_out: Mapping[str, str]
    jobs: Sequence[Job]
    outside: Sequence[Outside] = ()


def _plan(data: Data | Dataset, settings: Settings, say: Callable[[str], None]) -> _Plan:
    """Read the data and choose the paradigms."""
    executor = executor_of(settings.executor)
    device = executor.device(settings.device)
    if settings.out is not None:
        check_outputs(Path(settings.out))
    options: DataKeywords = {"seed": settings.seed, **(settings.data_options or {})}
    if isinstance(data, Dataset) and options.get("given") is not None:
        way = "load it by fourfold.load(x, given=c)"
        raise ValueError(f"given must be left out for a Dataset, which has its own, got some; {way}")
    parts = _parts(data, settings, options)
    dataset = parts[0]
    names, left_out = _choose_paradigms(settings, dataset.space)
    for line in (*dataset.notes, *(f"skipped: {file}" for file in dataset.skipped)):
        say(line)
    if left_out:
        say(f"left out, as they do not model {type(dataset.space).__name__}: {', '.join(left_out)}")
    source = name_of(data, "")
    outside = of_settings(settings, dataset, say)
    return _Plan(executor, parts, source, names, left_out, _jobs(settings, names, parts, device), outside)


def _parts(data: Data | Dataset, settings: Settings, options: DataKeywords) -> list[Dataset]:
    """The data set or, in a cross-validation, one for each part that is held out."""
    if settings.folds == 1:
        return [data if isinstance(data, Dataset) else load(data, **options)]
    if isinstance(data, Dataset):
        raise ValueError(f"folds must be 1 for a Dataset, which is cut already, got {settings.folds}; give its data")
    if settings.samples:
        raise ValueError(f"folds must be 1 beside samples, whose training rows are unknown, got {settings.folds}")
    return folds(data, settings.folds, **options)


def _published(settings: Settings, dataset: Dataset, n: int, say: Callable[[str], None]) -> tuple[Rated, ...]:
    """The published models that were named, each with its scores."""
    names = [name for name in settings.paradigms or () if adapter_of(name) is not None]
    if not n or not names:
        return ()
    ratings, device = [], find_device("auto" if settings.executor is not None else settings.device)
    benchmark = Benchmark(dataset, examples(dataset, settings.n), settings.protocol, n, settings.seed)
    for name in names:
        ratings.append(rival_of(name).rate(Path(name), benchmark, device))
        say(f"{ratings[-1].entry.name}, published: {ratings[-1].entry.scores[0]}")
    return tuple(ratings)


def _stopped(comparison: Comparison, stop: KeyboardInterrupt) -> str:
    """Write a report of the finished runs, and say how to continue."""
    settings, count = comparison.settings, sum(len(entry.outcomes) for entry in comparison.entries)
    by = f" by {stop}" if str(stop) else ""
    report = ""
    if settings.out is not None and count:
        comparison.save(settings.out)
        report = f"; finished runs are in {settings.out}"
    onwards = comparison.again(replace(settings, resume=True))
    return f"stopped{by} after {count} of {comparison.planned} runs{report}; go on with: {onwards}"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP interrupt like SIGINT. A SIGHUP that is ignored, as under ``nohup``, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    numbers = [n for n in (signal.SIGTERM, getattr(signal, "SIGHUP", None)) if n is not None]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- the candidates ---------------------------------------------------------------------------------------------------


def _choose_paradigms(settings: Settings, space: Space) -> tuple[list[str], dict[str, str]]:
    """The given paradigms, or all that model the space, and the reasons why the others do not.

    Raises:
        ValueError: if a given paradigm is unknown or given twice, the size or the feature space is unknown, or no
            paradigm is left.
        TypeError: if a given paradigm does not model the space, nothing measures samples of the space, or the processes
            of a comparison cannot import it.
    """
    space.check_features(settings.features)
    foreign = strangers(configuration(space))
    if foreign:
        raise TypeError(
            f"{foreign[0]} must be importable by the processes of a comparison; put it into a package that is "
            "registered under 'fourfold.paradigms' or 'fourfold.spaces'"
        )
    refusals: dict[str, str] = {}
    if settings.paradigms is not None:
        published = [name for name in settings.paradigms if adapter_of(name) is not None]
        for name in published:
            rival_of(name).check(Path(name), space)
        names = [name for name in settings.paradigms if name not in published]
        if not names:
            raise ValueError(
                f"paradigms must name a paradigm to train beside {published[0]}, which is published; add one, or "
                "evaluate it alone"
            )
        _check_twice(names, space)
    else:
        refusals = {name: reason for name in cards() if (reason := _refusal(name, space))}
        names = [name for name in cards() if name not in refusals]
    if not names:
        raise ValueError(f"data must have a space that a paradigm models, got {type(space).__name__}")
    check_names(names[0])
    return names, refusals


def _check_twice(names: Sequence[str], space: Space) -> None:
    """Refuse two names of one recipe: two runs of a recipe with the same seed are the same run."""
    names_of_recipes: dict[str, str] = {}
    for name in names:
        recipe = resolve(name, space)
        if recipe in names_of_recipes:
            first = names_of_recipes[recipe]
            raise ValueError(
                f"paradigms must be different recipes, got {first} and {name}, both {recipe}; --seeds 2 makes two runs"
            )
        names_of_recipes[recipe] = name


def _refusal(name: str, space: Space) -> str:
    """The reason why a paradigm does not model a space. Empty if it does."""
    try:
        resolve(name, space)
    except TypeError as error:
        return str(error)
    return ""


def _jobs(settings: Settings, names: Sequence[str], parts: Sequence[Dataset], device: str) -> list[Job]:
    """One job for each seed, data set and paradigm, on one snapshot of each data set."""
    snapshots = [Path(settings.runs_dir) / "data" / f"{_identity(part)}.safetensors" for part in parts]
    for part, snapshot in zip(parts, snapshots, strict=True):
        save_snapshot(part, snapshot)
    return [
        Job(
            paradigm=name,
            seed=number,
            budget=settings.budget,
            size=settings.size,
            data=str(snapshot.resolve()),
            digest=snapshot.stem,
            precision=settings.precision,
            compile=settings.compile,
            device=device,
            evaluation=settings.protocol,
        )
        for number in settings.numbers
        for snapshot in snapshots
        for name in names
    ]


def _identity(dataset: Dataset) -> str:
    """A name that changes with the data, the split and the space."""
    about = [dataset.digest, configuration(dataset.space), dataset.seed]
    about += [len(part) for part in (dataset.train, dataset.validation, dataset.test)]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _in_a_line(outcome: Outcome) -> str:
    """The outcome of a run, in one line."""
    took = f" ({outcome.seconds:.0f} s)" if outcome.seconds else ""
    name = f"{outcome.job.paradigm}, seed {outcome.job.seed}{took}"
    if outcome.result is None:
        return f"{name}: failed: {(outcome.failure or {}).get('message')}"
    return f"{name}: {outcome.result['steps']} steps, {Measurement.from_record(outcome.result['scores'][1])}"


# --- outcomes ---------------------------------------------------------------------------------------------------------


def comparison_of(
    settings: Settings,
    parts: Sequence[Dataset],
    names: Sequence[str],
    outcomes: Sequence[Outcome],
    source: str,
    outside: Sequence[Outside] = (),
) -> Comparison:
    """The comparison of some outcomes, all measured at the number of samples that every run has."""
    n, dataset = smallest(outcomes, outside), parts[0]
    benchmarks = {
        _identity(part): Benchmark(part, examples(part, settings.n), settings.protocol, n, settings.seed)
        for part in parts
    }
    benchmark = next(iter(benchmarks.values()))
    folder = Path(settings.runs_dir) / "baselines"
    usual = usual_machine(outcomes)
    entries = [
        replace(_entry(name, of_name, benchmarks), elsewhere=elsewhere(of_name, usual))
        for name in names
        for of_name in ([o for o in outcomes if o.job.paradigm == name],)
    ]
    return Comparison(
        entries=tuple(sorted(entries, key=_rank)),
        data=described(dataset, benchmark.references),
        settings=settings,
        hardware=machine(),
        versions=versions(),
        dataset=dataset,
        n=n * len(parts),
        source=source,
        truth=statistics.fmean(map(_truth, parts)),
        baselines=pooled([rate(b, folder, settings.resume) for b in benchmarks.values()]) if n else (),
        samples=tuple(rate_outside(of_system, benchmark) for of_system in outside) if n else (),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _entry(name: str, outcomes: Sequence[Outcome], benchmarks: Mapping[str, Benchmark]) -> Entry:
    """All runs of a paradigm, with their scores at the benchmarks' number of samples combined."""
    successes = [outcome for outcome in outcomes if outcome.result is not None]
    scores, draws = (_scores(successes, benchmarks, measure) for measure in (scores_at, draws_at))
    sweeps = sweep_at(successes[0], _benchmark(successes[0], benchmarks)) if successes else ()
    return Entry(name, tuple(outcomes), scores, sweeps, draws)


def _scores(
    outcomes: Sequence[Outcome],
    benchmarks: Mapping[str, Benchmark],
    measure: Callable[[Outcome, Benchmark], list[Measurement]],
) -> tuple[Measurement, ...]:
    """The scores of runs, pooled over the parts of a cross-validation and then combined over seeds.

    A seed of which a part is missing is left out, unless no seed is complete.
    """
    results: dict[int, list[list[Measurement]]] = {}
    for outcome in outcomes:
        results.setdefault(outcome.job.seed, []).append(measure(outcome, _benchmark(outcome, benchmarks)))
    most = max(map(len, results.values()), default=0)
    return merged([merged(of_seed, pool) for of_seed in results.values() if len(of_seed) == most], combine)


def _benchmark(outcome: Outcome, benchmarks: Mapping[str, Benchmark]) -> Benchmark:
    """The measurement of a run: on the part that it was not trained on, where there are several."""
    return benchmarks[outcome.job.digest] if len(benchmarks) > 1 else next(iter(benchmarks.values()))


def _rank(entry: Entry) -> tuple[int, float]:
    """The sorting key of an entry: its kind of likelihood, and its value within one kind."""
    score = entry.likelihood
    if score is None or score.kind is None:
        return len(_ORDER), 0.0
    value = -score.value if score.better == "higher" else score.value
    return _ORDER[score.kind], 0.0 if math.isnan(value) else value


def _truth(dataset: Dataset) -> float:
    """The mean log-density of test examples under the density that they were drawn from."""
    if dataset.density is None:
        return math.nan
    return dataset.density.log_prob(dataset.test.x).mean().item()
