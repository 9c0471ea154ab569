"""Comparisons made up from samples, without any training, and the fixtures that make them."""

import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fourfold.data import Dataset, load
from fourfold.metrics import Drawn, Measurement, examples, headline, quality
from fourfold.paradigms import build, resolve
from fourfold.runs.card import card_of_model
from fourfold.tournament import Comparison, Settings
from fourfold.tournament.jobs import FORMAT, Outcome
from fourfold.tournament.samples import save_samples
from fourfold.tournament.tournament import _jobs, comparison_of
from fourfold.tournament.worker import place
from fourfold.vocabulary import Kind

RATINGS = tempfile.TemporaryDirectory()
"""The ratings of baselines that all comparisons of this process share: they take longer than the rest."""


@dataclass
class Fake:
    """A finished run that is made up."""

    x: Tensor
    kind: Kind = Kind.EXACT
    likelihood: float = -1.0
    milliseconds: float = 1.0
    result: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""
    sweep: Mapping[int, Tensor] = field(default_factory=dict)
    failure: dict[str, Any] | None = None


def outcome(job: Any, fake: Fake, dataset: Dataset, runs: Path) -> Outcome:
    """A finished run in its folder."""
    folder = job.folder(runs)
    (folder / "run").mkdir(parents=True)
    if fake.failure is not None:
        return Outcome(job, folder, failure=fake.failure)
    (folder / "run" / "log.jsonl").write_text(fake.log, encoding="utf-8")
    references = examples(dataset, job.evaluation.n)
    nats = (fake.likelihood, fake.likelihood - 0.1, fake.likelihood + 0.1)
    likelihood = Measurement(
        "likelihood", *nats, n=64, protocol="made up", unit="nats", better="higher", kind=fake.kind
    )
    drawn = Drawn(fake.x, 1e-3 * fake.milliseconds * len(fake.x), 4.0, 64, (fake.milliseconds, 1.1 * fake.milliseconds))
    swept = [
        {"steps": n, "evaluations": n, "milliseconds": n / 10, "score": headline(x, dataset, references).record()}
        for n, x in fake.sweep.items()
    ]
    save_samples(folder, {"samples": fake.x} | {f"steps.{n}": x for n, x in fake.sweep.items()})
    result = {
        "format": FORMAT,
        "paradigm": job.paradigm,
        "seed": job.seed,
        **card_of_model(
            build(job.paradigm, dataset.space, "xs"), job.paradigm, resolve(job.paradigm, dataset.space), None
        ),
        "parameters": 1000,
        "steps": 500,
        "epochs": 2.5,
        "seconds": 14.0,
        "precision": {"name": "float32", "compiled": False},
        "batch_size": 64,
        "stages": [],
        "choice": {"note": "the last weights", "kept_step": None},
        "machine": place(),
        "sampled_on": place(),
        "draws": [],
        "conditional": [],
        "nats_of_columns": None,
        "training_memory": 300.0,
        "sampling_memory": 300.0,
        "resumed": False,
        "usage": {"share": 0.99, "load": 0.1},
        "sampling_usage": {"share": 0.99},
        "scores": [s.record() for s in (likelihood, *quality(fake.x, dataset, references), *drawn.scores())],
        "sampler": "Sampler()",
        "objective": "Objective",
        "estimand": "Estimand",
        "sweep": swept,
        "phases": {"training": 15.0},
        "evaluation": asdict(job.evaluation),
    }
    return Outcome(job, folder, {**result, **fake.result})


@pytest.fixture(scope="module")
def moons() -> Dataset:
    return load("two-moons", limit=2000)


@pytest.fixture
def fake_comparison(tmp_path: Path, moons: Dataset) -> Callable[..., Comparison]:
    """Makes up a comparison: fakes by paradigm, or lists of them, one for each seed."""

    return functools.partial(make_up, moons, tmp_path)


def make_up(dataset: Dataset, folder: Path, fakes: Mapping[str, Fake | list[Fake]], **settings: Any) -> Comparison:
    """A comparison on a data set out of fakes by paradigm, or lists of them, one for each seed."""
    lists = {name: fake if isinstance(fake, list) else [fake] for name, fake in fakes.items()}
    seeds = len(next(iter(lists.values())))
    asked = Settings(**{"budget": "15s", "runs_dir": str(folder / "runs"), "seeds": seeds, "n": 200, **settings})
    jobs = _jobs(asked, list(fakes), [dataset], "cpu")
    Path(asked.runs_dir).mkdir(exist_ok=True)
    if not (Path(asked.runs_dir) / "baselines").exists():
        (Path(asked.runs_dir) / "baselines").symlink_to(RATINGS.name)
    outcomes = [outcome(j, lists[j.paradigm][j.seed], dataset, Path(asked.runs_dir)) for j in jobs]
    return replace(comparison_of(asked, [dataset], list(fakes), outcomes, dataset.name), planned=len(jobs))


def near(dataset: Dataset, n: int, noise: float, seed: int = 0) -> Tensor:
    """Training examples with noise, in the place of samples."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(dataset.train.x), generator=generator)[:n]
    return dataset.train.x[rows] + noise * torch.randn(n, *dataset.train.x.shape[1:], generator=generator)


def log(rows: list[dict[str, Any]]) -> str:
    """Lines of a log."""
    return "".join(json.dumps(row) + "\n" for row in rows)
