"""Forecasts that know some columns of the rows to come: their law by enumeration, reading, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import fourfold
from fourfold.core import GenerativeModel
from fourfold.data import DataError, load
from fourfold.paradigms import build
from fourfold.spaces import Categorical, Numeric, Sequences
from fourfold.spaces.sequences import ABSENT
from fourfold.tasks.forecasting import Prefixes, forecast, forecast_prefixes, prefixes

WINDOWS = Sequences(
    (Numeric("day", low=0, high=9), Categorical("promo", categories=("no", "yes")), Numeric("sales", low=0, high=3)),
    "day",
    (1, 2),
    3,
    observed=300,
    covariates=("promo",),
)


def rows(n: int = 300) -> Tensor:
    """Steps of one or two, a promotion now and then, and sales that it lifts by two."""
    g = torch.Generator().manual_seed(0)
    promo, noise = torch.rand(n, generator=g) < 0.3, torch.randint(2, (n,), generator=g)
    return torch.stack([1 + (torch.rand(n, generator=g) < 0.3).long(), promo.long(), 2 * promo + noise], 1)


def fitted(recipe: str) -> GenerativeModel:
    torch.manual_seed(0)
    model = build(recipe, WINDOWS, "xs")
    model.fit_statistics(rows())
    with torch.no_grad():
        for parameter in model.estimand.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def known(n: int) -> Prefixes:
    """One row, and covariates of two more."""
    x = torch.full((n, *WINDOWS.shape), ABSENT)
    x[:, 0] = torch.tensor([1, 0, 1])
    ahead = torch.tensor([[2, 1, 0], [1, 0, 0]]).expand(n, -1, -1)
    return Prefixes(x, torch.ones(n, dtype=torch.long), WINDOWS, horizon=2, ahead=ahead)


@pytest.mark.parametrize("recipe", ["autoregressive/trees", "autoregressive/likelihood"])
def test_forecasts_follow_the_conditionals_given_what_is_known(recipe: str) -> None:
    """``p(y_2, y_3 | x_1, c) = p(y_2 | x_1, c_2) p(y_3 | x_1, c_2, y_2, c_3)``, for all 16 pairs."""
    model, begun = fitted(recipe), known(20_000)
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    every = torch.cat([begun.x[:16, :1], begun.ahead[:16]], 1)
    every[:, 1:, 2] = pairs
    nats = model.estimand(model.codec.encode(every)[0]).detach().view(16, 3, -1)[..., -1]
    p = nats[:, 1:].double().sum(1).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)
    drawn = forecast_prefixes(model, begun, batch_size=20_000).x
    assert torch.equal(drawn[..., :2], torch.cat([begun.x[:, :1], begun.ahead], 1)[..., :2])
    counts = torch.bincount(4 * drawn[:, 1, 2] + drawn[:, 2, 2], minlength=16)
    z = (counts / len(drawn) - p) / (p * (1 - p) / len(drawn)).sqrt()
    assert float(z.square().mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / 16))


def test_masked_diffusion_leaves_what_is_known() -> None:
    begun = known(64)
    drawn = forecast_prefixes(fitted("diffusion"), begun).x
    assert torch.equal(drawn[..., :2], torch.cat([begun.x[:, :1], begun.ahead], 1)[..., :2])
    assert len(drawn[:, 1:, 2].unique()) > 1


# --- from files -------------------------------------------------------------------------------------------------------


def shop(n: int = 240, seed: int = 0) -> pd.DataFrame:
    """Sales that keep half of yesterday's, and that a promotion lifts by 6."""
    rng = np.random.default_rng(seed)
    promo, sales = rng.random(n) < 0.3, np.full(n, 20.0)
    for t in range(1, n):
        sales[t] = 10 + 0.5 * sales[t - 1] + 6 * promo[t] + rng.normal()
    days = pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d")
    return pd.DataFrame({"day": days, "sales": sales.round(1), "promo": np.where(promo, "yes", "no")})


def ahead(frame: pd.DataFrame, promo: list[str]) -> pd.DataFrame:
    """A table with days to come, whose sales nobody knows."""
    days = pd.date_range(pd.Timestamp(frame["day"].iloc[-1]), periods=len(promo) + 1)[1:].strftime("%Y-%m-%d")
    return pd.concat([frame, pd.DataFrame({"day": days, "sales": np.nan, "promo": promo})], ignore_index=True)


def test_a_promotion_of_tomorrow_lifts_the_forecast(tmp_path: Path) -> None:
    """By 6, and by 3 on the day after: the next day keeps half."""
    frame = shop()
    data = load(frame, order="day", given="promo")
    assert data.space.covariates == ("promo",)
    assert data.space.columns == ("day", "promo", "sales")
    assert data.space.given is None
    assert load(frame, **data.options).digest == data.digest
    run = fourfold.fit("autoregressive/trees", data, budget="2 steps", size="xs", progress=False)
    means = []
    for promo in (["no", "no"], ["yes", "no"]):
        ahead(frame, promo).to_csv(tmp_path / "days.csv", index=False)
        drawn = forecast(run.model, tmp_path / "days.csv", n=400)
        table = drawn.table().groupby("sample").tail(2)
        assert table["promo"].tolist() == promo * 400
        assert table["day"].tolist() == ["2024-08-28", "2024-08-29"] * 400
        means.append(table["sales"].to_numpy().reshape(400, 2).mean(0))
    np.testing.assert_allclose(means[1] - means[0], [6, 3], atol=0.8)
    free = forecast(run.model, frame, n=400, horizon=2)
    assert "promo drawn, too" in free.notes[-1]
    assert set(free.table().groupby("sample").tail(1)["promo"]) == {"yes", "no"}


def test_days_beyond_a_window_are_known_too() -> None:
    frame = shop(120)
    run = fourfold.fit(
        "autoregressive/trees", load(frame, order="day", given="promo", length=4), budget="1 steps", size="xs"
    )
    promo = ["yes", "no", "no", "yes", "yes", "no", "yes"]
    table = forecast(run.model, ahead(frame, promo), n=2).table().groupby("sample").tail(7)
    assert table["promo"].tolist() == promo * 2
    shorter = forecast(run.model, ahead(frame, promo), horizon=5).table()
    assert shorter["promo"].tail(5).tolist() == promo[:5]


def test_files_with_decimal_commas_are_read_like_others(tmp_path: Path) -> None:
    frame = shop(120).assign(heat=np.arange(120) / 4)
    space = load(frame, order="day", given="promo,heat").space
    later = ahead(frame, ["no", "yes"]).assign(heat=np.arange(122) / 4)
    later.to_csv(tmp_path / "days.csv", sep=";", decimal=",", index=False)
    one, other = prefixes(space, tmp_path / "days.csv"), prefixes(space, later)
    assert torch.equal(one.x, other.x)
    assert one.ahead is not None
    assert torch.equal(one.ahead, other.ahead)
    assert one.ahead[0, :, 2].tolist() == [120, 121]


def two_shops() -> pd.DataFrame:
    parts = [shop(80, seed).assign(shop=name) for seed, name in enumerate(("a", "b"))]
    return pd.concat(parts, ignore_index=True)


def test_each_series_has_its_own_rows_ahead() -> None:
    frame = two_shops()
    data = load(frame, order="day", series="shop", given="promo")
    lines = [
        ahead(part, promo) for part, promo in zip((frame[:80], frame[80:]), (["yes", "no"], ["no", "no"]), strict=True)
    ]
    begun = prefixes(data.space, pd.concat([part.ffill().assign(sales=part["sales"]) for part in lines]))
    column = data.space.columns.index("promo")
    assert begun.ahead is not None
    assert begun.ahead[:, :, column].tolist() == [[1, 0], [0, 0]]
    assert begun.ahead[:, :, data.space.at].tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign(promo=f["promo"].where(f.index < 121, "maybe")), "row 122, column promo: .* got 'maybe'"),
        (lambda f: f.assign(day=f["day"].where(f.index != 121, "2023-01-01")), "must follow all others in day"),
        (lambda f: f.assign(promo=f["promo"].where(f.index < 121)), "row 122, column promo"),
    ],
)
def test_rows_ahead_that_no_model_knows_are_refused(change, words: str) -> None:
    space = load(shop(120), order="day", given="promo").space
    with pytest.raises(DataError, match=words):
        prefixes(space, change(ahead(shop(120), ["no", "no", "yes"])))


def test_more_rows_than_are_known_are_refused() -> None:
    space = load(shop(120), order="day", given="promo").space
    with pytest.raises(DataError, match="9 rows to follow must have their covariates in the data, got 3"):
        prefixes(space, ahead(shop(120), ["no", "no", "yes"]), horizon=9)


def test_covariates_are_columns_of_rows_and_not_their_order() -> None:
    with pytest.raises(DataError, match=r"given must be other columns than order and series.*got 'day'"):
        load(shop(120), order="day", given="promo,day")
    with pytest.raises(ValueError, match="covariates must be the first columns of a series"):
        Sequences(WINDOWS.schema, "day", (1, 2), 3, covariates=("sales",))
