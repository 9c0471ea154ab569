"""Bad tables: each recipe and each baseline gives a model that draws and scores rows, or loading gives one line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.baselines import baselines_of, fit_baseline
from fourfold.data import DataError, load
from fourfold.vocabulary import Kind

RECIPES = (
    "autoregressive/any-order",
    "autoregressive/trees",
    "diffusion/trees",
    "flow",
    "latent-variable",
    "adversarial",
)
ROWS = 60
DRAWN = 7
RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=ROWS)
EACH = np.arange(ROWS)


def plain(rows: int = ROWS) -> pd.DataFrame:
    """A number, a count and a category."""
    counts, letters = RANDOM.integers(0, 5, rows), RANDOM.choice(["u", "v", "w"], rows)
    return pd.DataFrame({"a": RANDOM.normal(size=rows), "b": counts, "c": letters})


MODELLED: Mapping[str, pd.DataFrame] = {
    "fewer rows than columns": plain(20).assign(**{f"n{i}": RANDOM.normal(size=20) for i in range(24)}),
    "a class of three rows": plain().assign(y=["rare"] * 3 + ["often"] * (ROWS - 3)),
    "columns without a value": plain().assign(d=np.nan, e=None),
    "constant columns": plain().assign(d=1.0, e="same"),
    "one column that varies": pd.DataFrame({"d": NORMAL, "e": "same"}),
    "rows four times": pd.concat([plain(15)] * 4, ignore_index=True),
    "columns twice": plain().assign(d=NORMAL, e=NORMAL),
    "names twice": plain().set_axis(["a", "a", "c"], axis=1),
    "three values among gaps": plain().assign(d=np.where(EACH < 3, NORMAL, np.nan)),
    "numbers and words": plain().assign(d=[str(i % 3) if i % 2 else f"s{i % 4}" for i in EACH]),
    "values beyond 64 bits": plain().assign(d=NORMAL * 1e30),
    "values that hardly differ": plain().assign(d=1e9 + NORMAL * 1e-3),
    "dates with gaps": plain().assign(d=[pd.NaT if i % 5 == 0 else pd.Timestamp(2020, 1, 1 + i % 28) for i in EACH]),
}
REFUSED: Mapping[str, tuple[pd.DataFrame, str]] = {
    "no row": (plain(0), "at least 20 rows"),
    "one row": (plain(1), "must have a column that varies"),
    "two rows": (plain(2), "at least 20"),
    "one row many times": (pd.concat([plain(1)] * ROWS), "must have a column that varies"),
    "words that name rows alone": (pd.DataFrame({"id": [f"k{i:05d}" for i in EACH]}), "say by a schema"),
    "numbers that name rows alone": (pd.DataFrame({"id": EACH}), "say by a schema"),
    "infinite values": (plain().assign(d=np.where(EACH % 7 == 0, np.inf, NORMAL)), "finite number, got 'inf' in row 1"),
}


@pytest.mark.parametrize("name", MODELLED)
def test_every_recipe_and_baseline_models_a_bad_table(name) -> None:
    frame = MODELLED[name]
    data = load(frame)
    for recipe in RECIPES:
        run = fourfold.fit(recipe, data, budget="2 steps", size="xs", precision="float32", progress=False)
        drawn = run.table(DRAWN, seed=0)
        assert list(drawn.columns) == list(data.space.table(data.test.x).columns), recipe
        assert len(drawn) == DRAWN
        scored = run.log_prob(data.test.x)
        assert scored.kind is Kind.NONE or torch.isfinite(scored.nats[scored.inside]).all(), recipe
    for kind in baselines_of(data.space):
        fitted = fit_baseline(kind, data.space, data.train.x, data.train.cond)
        assert len(data.space.table(fitted.sample(DRAWN, None, 0))) == DRAWN, kind.name
        scored = fitted.log_prob(data.test.x, None, 0)
        assert torch.isfinite(scored.nats[scored.inside]).all(), kind.name


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_nothing_models_is_refused_in_one_line(name) -> None:
    frame, reason = REFUSED[name]
    with pytest.raises(DataError) as caught:
        load(frame)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
