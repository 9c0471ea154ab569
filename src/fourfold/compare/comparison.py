"""The tournament: every paradigm, the same data, split, budget and hardware; and what came of it."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch

from fourfold.compare.jobs import Job, Outcome, run, write_json
from fourfold.compare.report import write_report
from fourfold.compare.snapshot import save_snapshot
from fourfold.core import Space, configuration
from fourfold.data import Dataset, load
from fourfold.engine import parse_budget
from fourfold.engine.budget import Seconds
from fourfold.metrics import Score, examples
from fourfold.metrics.score import t_quantile
from fourfold.paradigms import build, cards
from fourfold.vocabulary import Kind

__all__ = ["Comparison", "Entry", "combine", "compare"]

_ORDER = {kind: i for i, kind in enumerate(Kind)}


@final
@dataclass(frozen=True)
class Entry:
    """One paradigm in a comparison.

    Attributes:
        name: as :func:`fourfold.build` takes it.
        outcomes: of each seed, finished or failed.
        scores: of all finished seeds together, by :func:`combine`.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    scores: tuple[Score, ...]

    @property
    def results(self) -> list[dict[str, Any]]:
        """What the finished runs left."""
        return [o.result for o in self.outcomes if o.result is not None]

    @property
    def failures(self) -> list[dict[str, Any]]:
        """What the failed runs left."""
        return [{"seed": o.job.seed, **o.failure} for o in self.outcomes if o.failure is not None]

    @property
    def finished(self) -> bool:
        """Whether at least one seed has a result."""
        return bool(self.results)

    def score(self, name: str) -> Score | None:
        """The score of a name, given without its brackets."""
        return next((s for s in self.scores if s.name.partition("[")[0] == name), None)

    @property
    def likelihood(self) -> Score | None:
        """The likelihood, also where its kind is ``none``."""
        return self.score("likelihood")

    @property
    def headline(self) -> Score | None:
        """The first measure of quality."""
        return self.scores[1] if self.scores else None

    def record(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            "name": self.name,
            "scores": [score.record() for score in self.scores],
            "runs": [{**r, "folder": str(o.folder)} for o in self.outcomes if (r := o.result) is not None],
            "failures": self.failures,
        }


_MARKS = {Kind.EXACT: "=", Kind.LOWER_BOUND: "≤", Kind.ESTIMATE: "≈", Kind.UNNORMALISED: "~"}


def _row(entry: Entry) -> tuple[str, ...]:
    """One entry as the cells of a terminal's table."""
    if not entry.finished:
        return entry.name, "failed: see the report", "", "", "", ""
    p = entry.likelihood
    likelihood = "none" if p is None or p.kind in (None, Kind.NONE) else f"{_mark(p)} {p.value:.3g}"
    quality, covered = (_within(score) for score in (entry.headline, entry.score("coverage")))
    cost = [entry.score(name) for name in ("evaluations_per_sample", "milliseconds_per_sample")]
    evaluations, milliseconds = ("" if score is None else _short(score.value) for score in cost)
    return entry.name, likelihood, quality, covered, evaluations, milliseconds


def _short(value: float) -> str:
    """Three digits, and no exponent for a large number."""
    return f"{value:.0f}" if 1000 <= value < 1e6 else f"{value:.3g}"


def _within(score: Score | None) -> str:
    """A score and half its interval, ``1.05 ± 0.09``: to the place where that half has its first digit above 1."""
    if score is None:
        return ""
    half = (score.high - score.low) / 2
    if not half > 0 or not math.isfinite(score.value):
        return _short(score.value)
    places = min(max(0, -math.floor(math.log10(half / 2))), 4)
    return f"{score.value:.{places}f} ± {half:.{places}f}"


def _mark(p: Score) -> str:
    """``=``, ``≤``, ``≈``: a bound on the likelihood is one from the other side where lower is better."""
    assert p.kind is not None
    mark = _MARKS[p.kind]
    return "≥" if mark == "≤" and p.better == "higher" else mark


def combine(scores: Sequence[Score]) -> Score:
    """One score of several seeds: their mean, and its 95 % interval by Student's t; of one seed, the score itself.

    Raises:
        ValueError: if the scores are of different names or kinds.
    """
    first = scores[0]
    if len({(score.name, score.kind) for score in scores}) != 1:
        raise ValueError(f"{first.name}: scores of several names or kinds are not averaged")
    if len(scores) == 1:
        return first
    values = torch.tensor([score.value for score in scores], dtype=torch.float64)
    half = t_quantile(len(scores)) * values.std().item() / math.sqrt(len(scores))
    floors = sum(score.floor for score in scores) / len(scores)
    mean = values.mean().item()
    protocol = f"mean of {len(scores)} seeds, interval over seeds (Student's t); each: {first.protocol}"
    return Score(
        first.name, mean, mean - half, mean + half, floors, first.n, protocol, first.unit, first.better, first.kind
    )


@final
@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        entries: by kind of likelihood, then by likelihood.
        data: record of the data set, its space and unit.
        budget, size, seeds: the same for all.
        command: that reproduces it.
        hardware, versions: what it ran on.
        truth: the mean log-density of the test examples under the density they were drawn from, where it is known.
        dataset: the data, for pictures.
        date: when.
        left_out: paradigms that do not model this kind of data, each with the reason.
    """

    entries: tuple[Entry, ...]
    data: Mapping[str, Any]
    budget: str
    size: str
    seeds: tuple[int, ...]
    command: str
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]
    dataset: Dataset = field(repr=False)
    truth: float = math.nan
    date: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What ``results.json`` holds."""
        fields = ("data", "budget", "size", "seeds", "command", "hardware", "versions", "date", "left_out")
        truth = None if math.isnan(self.truth) else self.truth
        about = {name: getattr(self, name) for name in fields}
        return {"format": 1, **about, "truth": truth, "paradigms": [entry.record() for entry in self.entries]}

    def __str__(self) -> str:
        """A table of 80 columns: likelihoods with their mark, never ranked across kinds."""
        head = next((e.headline for e in self.entries if e.headline), None)
        quality = head.name.partition("[")[0].replace("_distance", "") if head else "quality"
        rows: list[tuple[str, ...]] = [
            ("paradigm", "likelihood", quality, "coverage", "evals", "ms"),
            *map(_row, self.entries),
        ]
        floors = [
            f"{s.floor:.3g}" if s else "" for s in (head, next((e.score("coverage") for e in self.entries), None))
        ]
        rows.append(("floor", "", *floors, "", ""))
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        side, end = ("≥", "least") if self.data["unit"] == "nats" else ("≤", "most")
        marks = f"= exact, {side} a bound (the truth is at {end} this), ≈ an estimate, ~ unnormalised"
        marks += f"\nin {self.data['unit']}; kinds are not ranked against each other; ± is half a 95 % interval"
        left = [textwrap.fill(f"left out: {name}: {why}", 80) for name, why in self.left_out.items()]
        return "\n".join([*lines, marks, *left])

    def save(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Write the report, and ``results.json`` beside it; return the report's path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path.with_name("results.json"), self.record())
        write_report(self, path)
        return path


def compare(
    data: str | os.PathLike[str] | Dataset,
    *,
    budget: str = "1m",
    paradigms: Sequence[str] | None = None,
    seeds: int = 1,
    seed: int = 0,
    size: str = "s",
    out: str | os.PathLike[str] | None = None,
    runs_dir: str | os.PathLike[str] = "runs",
    resume: bool = True,
    n: int = 2000,
    features: str | None = None,
    likelihood_examples: int = 1024,
    patience: float | None = None,
    sweep: bool = True,
    precision: str | None = None,
    compile: bool | None = None,
    device: str = "cpu",
    data_options: Mapping[str, Any] | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> Comparison:
    """Train every paradigm on the same data under the same budget, one after the other, and measure all alike.

    Each run has a process and a folder of its own: a crash is reported and spares the others, peak memory is that of one
    run, and what is finished is kept. Called again with the same arguments, it takes what is finished and goes on with the
    rest.

    Args:
        data: what :func:`fourfold.load` takes, or a data set.
        budget: of each training: ``30s``, ``10m``, ``2000 steps``, ``5 epochs``, ``1e15 flops``.
        paradigms: names or recipes; by default every paradigm that models this kind of data.
        seeds: runs of each paradigm; with several, intervals are over seeds.
        seed: the first one; it also splits the data, which is the same for all runs.
        size: of the presets.
        out: writes the report there, and ``results.json`` beside it.
        runs_dir: where runs are kept.
        resume: use what earlier calls left there.
        n: samples and references, at most.
        features: of images, see :func:`fourfold.metrics.evaluate`.
        likelihood_examples: test examples that are scored, at most.
        patience: seconds that sampling and scoring may each take in one run, beyond which fewer examples must do; by
            default half the seconds of the budget, but at least 5, and 120 for a budget that is not in seconds.
        sweep: measure quality at other numbers of sampling steps too.
        precision: as :func:`fourfold.fit` takes it.
        compile: as :func:`fourfold.fit` takes it.
        device: as :func:`fourfold.fit` takes it.
        data_options: further arguments of :func:`fourfold.load`.
        progress: show progress bars.
        say: is called with each line worth telling.

    Raises:
        DataError: for data that cannot be trained on.
        ValueError: for an unknown paradigm or budget, before anything is trained.
        KeyboardInterrupt: when interrupted; call again to go on.
    """
    allowed = parse_budget(budget)
    if patience is None:
        patience = max(5.0, allowed.amount / 2) if isinstance(allowed, Seconds) else 120.0
    dataset = data if isinstance(data, Dataset) else load(data, **{"seed": seed, **(data_options or {})})
    say = say or (lambda line: None)
    names, left_out = _chosen(paradigms, dataset.space)
    for name, reason in left_out.items():
        say(f"left out: {name}: {reason}")
    evaluation = {
        "n": n,
        "features": features,
        "likelihood_examples": likelihood_examples,
        "patience": patience,
        "sweep": sweep,
    }
    folder = Path(runs_dir)
    snapshot = folder / "data" / f"{_identity(dataset)}.safetensors"
    save_snapshot(dataset, snapshot)
    jobs = [
        Job(name, number, budget, size, str(snapshot.resolve()), snapshot.stem, precision, compile, device, evaluation)
        for number in range(seed, seed + seeds)
        for name in names
    ]
    outcomes = list(_outcomes(jobs, folder, resume, progress, say))
    settings = {
        "budget": budget,
        "size": size,
        "seeds": seeds,
        "seed": seed,
        "paradigms": paradigms,
        "out": out,
        "n": n,
        "features": features,
        "precision": precision,
        "compile": compile,
        "device": device,
        "data_options": data_options,
    }
    comparison = _comparison(dataset, names, outcomes, budget, size, range(seed, seed + seeds), settings, n, left_out)
    if out is not None:
        comparison.save(out)
    return comparison


def _chosen(paradigms: Sequence[str] | None, space: Space) -> tuple[list[str], dict[str, str]]:
    """The paradigms asked for, or all that model the space; and why the others do not.

    Raises:
        ValueError: if one that was asked for is unknown, or none is left.
        TypeError: if one that was asked for does not model the space.
    """
    if paradigms:
        for name in paradigms:
            build(name, space, "xs")
        return list(paradigms), {}
    refused = {name: reason for name in cards() if (reason := _refusal(name, space))}
    found = [name for name in cards() if name not in refused]
    if not found:
        raise ValueError(f"no paradigm models {type(space).__name__}")
    return found, refused


def _refusal(name: str, space: Space) -> str:
    """Why a paradigm does not model a space; empty if it does."""
    try:
        build(name, space, "xs")
    except TypeError as error:
        return str(error)
    return ""


def _identity(dataset: Dataset) -> str:
    """A name that changes with the data, the split and the space."""
    about = [dataset.digest, configuration(dataset.space), dataset.seed]
    about += [len(part) for part in (dataset.train, dataset.validation, dataset.test)]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _outcomes(
    jobs: Sequence[Job], folder: Path, resume: bool, progress: bool, say: Callable[[str], None]
) -> Iterator[Outcome]:
    """Run the jobs one after the other, and tell how each ended."""
    for i, job in enumerate(jobs, 1):
        outcome = run(job, folder, resume, progress)
        took = f" ({outcome.seconds:.0f} s)" if outcome.seconds else ""
        label = f"[{i}/{len(jobs)}] {job.paradigm}, seed {job.seed}{took}"
        if outcome.failure is not None:
            say(f"{label}: failed: {outcome.failure['message']}")
        elif outcome.result is not None:
            head = Score.from_record(outcome.result["scores"][1])
            say(f"{label}: {outcome.result['steps']} steps, {head}")
        yield outcome


def _comparison(
    dataset: Dataset,
    names: Sequence[str],
    outcomes: Sequence[Outcome],
    budget: str,
    size: str,
    seeds: range,
    settings: Mapping[str, Any],
    n: int,
    left_out: Mapping[str, str],
) -> Comparison:
    entries = [_entry(name, [o for o in outcomes if o.job.paradigm == name]) for name in names]
    used = len(examples(dataset, n).test)
    return Comparison(
        tuple(sorted(entries, key=_rank)),
        {**dataset.record(), "space": repr(dataset.space), "unit": dataset.space.unit, "references": used},
        budget,
        size,
        tuple(seeds),
        _command(dataset, settings),
        hardware(),
        {name: importlib.metadata.version(name) for name in ("fourfold", "torch", "numpy")}
        | {"python": platform.python_version()},
        dataset,
        _truth(dataset),
        datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        left_out,
    )


def _entry(name: str, outcomes: Sequence[Outcome]) -> Entry:
    results = [[Score.from_record(s) for s in o.result["scores"]] for o in outcomes if o.result is not None]
    names = [score.name for score in results[0]] if results else []
    groups = [[s for scores in results for s in scores if s.name == score_name] for score_name in names]
    return Entry(name, tuple(outcomes), tuple(combine(group) for group in groups))


def _rank(entry: Entry) -> tuple[int, float]:
    """By kind of likelihood; only within one kind by its value."""
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


def _command(dataset: Dataset, settings: Mapping[str, Any]) -> str:
    """The command line that does this again."""
    words = ["fourfold", "compare", dataset.name, "--budget", settings["budget"]]
    for name, default in _DEFAULTS.items():
        words += (
            [] if settings[name] == default else [f"--{name}" if len(name) > 1 else f"-{name}", str(settings[name])]
        )
    if settings["paradigms"]:
        words += ["--paradigms", ",".join(settings["paradigms"])]
    if settings["compile"] is not None:
        words.append("--compile" if settings["compile"] else "--no-compile")
    words += _data_words(settings["data_options"] or {})
    return shlex.join(words + ([] if settings["out"] is None else ["--out", str(settings["out"])]))


_DEFAULTS = {"size": "s", "seeds": 1, "seed": 0, "n": 2000, "features": None, "precision": None, "device": "cpu"}


def _data_words(options: Mapping[str, Any]) -> list[str]:
    """Options of :func:`fourfold.load` as words of the command line; flags that are off are left out."""
    words: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [] if value in (None, False) else [flag, str(value)]
    return words


def hardware() -> dict[str, Any]:
    """What this machine is: processor, cores, memory, accelerator."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    found: dict[str, Any] = {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    if torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name(0)
    return found
