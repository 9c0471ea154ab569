"""What ``fit`` says where counts, or another model in closed form, beat the model that was trained."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fourfold
from fourfold.baselines import ClassGaussians
from fourfold.data import Split
from fourfold.engine import counted
from fourfold.engine.counted import beaten
from fourfold.tasks.evaluation import scored_examples


def correlated(n: int = 200) -> pd.DataFrame:
    """Rows of one Gaussian, which no network of 20 steps beats."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4))
    return pd.DataFrame(x.round(2), columns=list("abcd"))


def test_a_line_names_the_baseline_both_means_and_a_better_recipe() -> None:
    lines: list[str] = []
    run = fourfold.fit("autoregressive", correlated(), budget="20 steps", size="xs", say=lines.append)
    line = next(line for line in lines if "ahead of this model" in line)
    theirs, ours = map(float, re.findall(r"-\d+\.?\d*", line))
    assert run.data is not None
    held_out = scored_examples(dataclasses.replace(run.data, test=run.data.validation), 256)
    assert ours == pytest.approx(float(run.model.log_prob(held_out.x).nats.mean()), rel=2e-3)
    baseline = ClassGaussians.fit(run.model.space, run.data.train.x).log_prob(held_out.x)
    assert theirs >= float(baseline.nats.mean()) - 0.01 > ours
    kept = run.card["choice"]["kept_step"] < run.card["steps"]
    assert line.endswith("; give a longer budget") is not kept  # the note on the choice says what to try


def test_nothing_is_said_of_a_model_that_is_ahead_or_hardly_trained() -> None:
    """No other model gives the samples of a model more nats in the mean."""
    run = fourfold.fit("autoregressive/any-order", correlated(60), budget="20 steps", size="xs", progress=False)
    assert beaten(run) is not None
    assert beaten(dataclasses.replace(run, card={**run.card, "steps": 19})) is None
    assert run.data is not None
    own = dataclasses.replace(run.data, validation=Split(run.model.sample(256)))
    assert beaten(dataclasses.replace(run, data=own)) is None


def test_text_is_sent_to_the_model_beside_counts(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_text("the cat sat on the mat. a dog ran to the red barn. " * 1000)
    lines: list[str] = []
    fourfold.fit("autoregressive/likelihood", path, budget="20 steps", size="xs", say=lines.append)
    assert any("Kneser-Ney" in line and "train autoregressive/ngrams" in line for line in lines)


def test_a_text_means_the_network_beside_counts_and_is_not_beaten_by_them(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_text("the cat sat on the mat. a dog ran to the red barn. " * 300)
    lines: list[str] = []
    run = fourfold.fit(
        "autoregressive", path, budget="20 steps", size="xs", data_options={"length": 16}, say=lines.append
    )
    assert run.card["recipe"] == "autoregressive/ngrams"
    assert any("ngrams" in line and "autoregressive/likelihood" in line for line in lines)
    assert not any("Kneser-Ney" in line for line in lines)


def test_a_bound_that_is_estimated_along_an_ode_is_held_against_counted_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "SHARE", 1000.0)  # a busy machine has time, too
    lines: list[str] = []
    digits = fourfold.load("digits", limit=300)
    fourfold.fit("diffusion", digits, budget="20 steps", size="xs", precision="float32", say=lines.append)
    line = next(line for line in lines if "ahead of this model" in line)
    theirs, ours = re.findall(r"(\S+) bits/dim against at most (\S+);", line)[0]
    assert "counted pixels" in line
    assert 1.5 < float(theirs) < 3.5 < float(ours)
