"""Cross-validation: every example is judged once, by models that were not trained on it, and small data decide more."""

import functools
import sys
from pathlib import Path

import made_up
import numpy as np
import pandas as pd
import pytest
import torch
from made_up import Fake, near

from fashion_files import write_fashion
from fourfold.baselines import baselines_of
from fourfold.core import LogProb
from fourfold.data import DataError, Dataset, folds, load
from fourfold.metrics import Measurement
from fourfold.metrics.score import UncertainValue
from fourfold.spaces.columns import UNSEEN
from fourfold.tasks.evaluation import examples, mean_likelihood
from fourfold.tournament import Settings, baselines, compare, gather
from fourfold.tournament.entries import pool
from fourfold.tournament.jobs import prepare
from fourfold.tournament.ranking import RISK, difference
from fourfold.tournament.tournament import _jobs, comparison_of
from fourfold.vocabulary import Kind

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import verdicts


def rows(dataset: Dataset) -> list[tuple[float, ...]]:
    return [tuple(row) for part in (dataset.train, dataset.validation, dataset.test) for row in part.x.tolist()]


def test_every_example_is_a_test_example_once_and_trains_the_other_models() -> None:
    x = np.random.default_rng(0).normal(size=(103, 2)).astype(np.float32)
    parts = folds(x, 5)
    assert sorted(tuple(row) for part in parts for row in part.test.x.tolist()) == sorted(map(tuple, x.tolist()))
    assert all(sorted(rows(part)) == sorted(map(tuple, x.tolist())) for part in parts)
    assert {len(part.test) for part in parts} == {20, 21}
    assert len({part.digest for part in parts}) == 5


def test_classes_have_their_share_in_each_part() -> None:
    labels = np.array([0] * 80 + [1] * 20)
    x = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    for part in folds(x, 5, labels=labels, given="labels"):
        assert part.test.cond is not None
        assert part.test.cond.bincount().tolist() == [16, 4]


def test_each_part_has_the_schema_of_its_own_training_rows() -> None:
    """A category that one row has is unknown to the model that is judged by this row."""
    table = pd.DataFrame({"a": np.arange(100) % 7 + 0.5, "b": ["x"] * 50 + ["y"] * 49 + ["rare"]})
    parts = folds(table, 4, keep_rare=True)
    (judged,) = (part for part in parts if (part.test.x[:, 1] == UNSEEN).any())
    assert "rare" not in str(judged.space.schema[1])
    assert any("rare" in str(part.space.schema[1]) for part in parts)


@pytest.mark.parametrize(
    ("data", "keywords", "noun"),
    [
        ("python-docs", {}, "a text or a series"),
        ("two-moons", {"fractions": [0.8, 0.1, 0.1]}, "fractions"),
        ("two-moons", {"limit": 30}, "folds must be 2 to"),
    ],
)
def test_data_that_cannot_be_cut_is_refused(data: str, keywords: dict, noun: str) -> None:
    with pytest.raises(DataError, match=noun):
        folds(data, 20_000, **keywords)


def test_an_official_test_set_is_not_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an official test set"):
        folds("fashion-mnist", 3, data_dir=write_fashion(tmp_path))


def test_a_dataset_that_is_cut_already_is_refused() -> None:
    with pytest.raises(ValueError, match="folds must be 1 for a Dataset"):
        compare(load("two-moons", limit=100), folds=5)


def test_parts_of_a_cross_validation_are_not_gathered(tmp_path: Path) -> None:
    asked = Settings(runs_dir=str(tmp_path), folds=3, paradigms=("flow",))
    for job in _jobs(asked, ["flow"], folds("two-moons", 3, limit=60), "cpu"):
        prepare(job, tmp_path)
    with pytest.raises(ValueError, match=r"without folds.*--runs-dir"):
        gather([tmp_path])


def of_rows(nats: torch.Tensor) -> Measurement:
    return mean_likelihood(LogProb(nats, Kind.EXACT), "nats")


def test_pooled_parts_are_the_mean_of_all_rows_with_its_error() -> None:
    nats = torch.randn(500, generator=torch.Generator().manual_seed(0)) - 3
    whole = pool([of_rows(part) for part in nats.split(100)])
    assert whole.n == 500
    assert whole.value == pytest.approx(nats.mean().item())
    assert whole.high - whole.value == pytest.approx(1.96 * nats.std().item() / 500**0.5, rel=0.1)
    uneven = pool([of_rows(part) for part in nats.split([150, 250, 100])])
    assert uneven.value == pytest.approx(nats.mean().item())
    assert uneven.high - uneven.value == pytest.approx(1.96 * nats.std().item() / 500**0.5, rel=0.1)


def test_one_uncertain_part_gives_the_pool_its_own_degrees_of_freedom() -> None:
    parts = [Measurement("d[f]", 0.0, n=50).within(UncertainValue(0.0, error, (), 9)) for error in (1.0, 1e-4, 1e-4)]
    assert pool(parts).freedom == pytest.approx(9, rel=1e-3)
    assert pool([parts[0]] * 3).freedom == pytest.approx(27)


def test_five_parts_decide_where_one_part_does_not() -> None:
    """0.135 nats a row between models: 500 rows against the 50 of one held-out tenth."""
    lead = functools.partial(verdicts.leads, radii=[0.3, 0.6], seeds=1, repeats=40)
    tenth, whole = ([*lead(scorer, n=n)] for scorer, n in ((verdicts.by_likelihood, 50), (verdicts.by_folds, 500)))
    assert sum(not ranking.near for ranking, _ in tenth) <= 16
    assert sum(not ranking.near for ranking, _ in whole) >= 30


def test_a_comparison_pools_the_parts_and_judges_each_run_by_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run's samples are near copies of its own training examples, but those of one model have more noise."""
    monkeypatch.setattr(baselines, "baselines_of", lambda space: baselines_of(space)[:1])  # all of them take long
    parts = folds("eight-gaussians", 3, limit=240)
    asked = Settings(budget="15s", runs_dir=str(tmp_path / "runs"), folds=3, n=200, paradigms=("flow", "diffusion"))
    jobs = _jobs(asked, ["flow", "diffusion"], parts, "cpu")
    assert len({job.folder(Path(asked.runs_dir)) for job in jobs}) == len(jobs) == 6
    noise, by_digest = {"flow": 0.1, "diffusion": 0.9}, dict(zip([job.digest for job in jobs[::2]], parts, strict=True))
    outcomes = []
    for job in jobs:
        part = by_digest[job.digest]
        n = len(examples(part, 200).test)
        fake = Fake(near(part, n, noise[job.paradigm]), likelihood=-1.0)
        outcomes.append(made_up.outcome(job, fake, part, Path(asked.runs_dir)))
    comparison = comparison_of(asked, parts, ["flow", "diffusion"], outcomes, "eight-gaussians")
    assert comparison.n == 240
    heads = {entry.name: entry.headline for entry in comparison.entries}
    assert heads["flow"] is not None
    assert heads["diffusion"] is not None
    assert {head.n for head in heads.values() if head is not None} == {240}
    assert difference(heads["flow"], heads["diffusion"]).p <= RISK
    (baseline,) = comparison.baselines
    assert baseline.entry.likelihood is not None
    assert baseline.entry.likelihood.n == 240
    said = {line.title: str(line) for line in comparison.verdict}
    assert said["For look"].startswith("For look: flow leads in these 3 runs: ")
    assert "3 parts, each judged by models that were trained on the others" in said["Confidence"]
    assert "--folds 3" in comparison.command
    assert comparison.record()["folds"] == 3
    density = [part.density.log_prob(part.test.x) for part in parts if part.density is not None]
    assert comparison.truth == pytest.approx(torch.cat(density).mean().item())
    page = comparison.save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "against 240 test examples" in page
