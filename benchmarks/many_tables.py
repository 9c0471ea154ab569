"""Held-out nats of recipes and of the best baseline on tables of R's packages, drawn by a seed.

    python benchmarks/many_tables.py ARCHIVE [--tables 20] [--seed 0] [--steps 100] [RECIPE ...]

ARCHIVE is ``resources.tar.gz`` of the package pydataset. Tables have 50 to 5,000 rows and 3 to 40 columns that vary. A
baseline is fitted to the training rows. A recipe trains on the same and chooses its weights by the validation rows.
Nats are means over the test rows within the limits of the schema. The share of tables on which a recipe has at least
the nats of the best baseline is the last line.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

import fourfold
from fourfold.baselines import baselines_of, fit_baseline
from fourfold.core import LogProb
from fourfold.data import DataError, Dataset, load
from fourfold.spaces import Table

ROWS, COLUMNS = (50, 5000), (3, 40)
"""Rows and columns of a table, least and most."""


def tables(archive: str, seed: int) -> Iterator[tuple[str, Dataset]]:
    """Tables that fit, in an order of the seed."""
    with tarfile.open(archive) as files:
        members = [m for m in files.getmembers() if m.name.endswith(".csv") and "/._" not in m.name]
        members.sort(key=lambda member: member.name)
        for i in np.random.default_rng(seed).permutation(len(members)):
            content = files.extractfile(members[i])
            assert content is not None
            frame = pd.read_csv(io.BytesIO(content.read()), low_memory=False, encoding_errors="replace")
            frame = frame.loc[:, ~frame.columns.str.startswith("Unnamed")]
            if not (ROWS[0] <= len(frame) <= ROWS[1] and COLUMNS[0] <= frame.shape[1] <= COLUMNS[1]):
                continue
            try:
                data = load(frame, space="table")
            except DataError as error:
                print(f"{members[i].name}: {error}", flush=True)
                continue
            if isinstance(data.space, Table) and data.space.dims >= COLUMNS[0]:
                yield members[i].name.rpartition("/")[2].removesuffix(".csv"), data


def mean(score: LogProb, data: Dataset) -> float:
    """Mean nats of the test rows that the schema has."""
    outside = data.space.outside(data.test.x)
    return float(score.nats[~outside if outside is not None else slice(None)].mean())


def main() -> None:
    """Print a row for each table, and the share of each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("recipes", nargs="*", default=["autoregressive/trees", "diffusion/trees"])
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    ahead: dict[str, list[bool]] = {name: [] for name in options.recipes}
    for _, (name, data) in zip(range(options.tables), tables(options.archive, options.seed), strict=False):
        fitted = {kind.name: fit_baseline(kind, data.space, data.train.x) for kind in baselines_of(data.space)}
        nats = {kind: mean(model.log_prob(data.test.x), data) for kind, model in fitted.items()}
        best = max(nats, key=nats.__getitem__)
        line = f"{name} {len(data.train)} x {data.space.dims}: {best} {nats[best]:.2f}"
        for recipe in options.recipes:
            run = fourfold.fit(recipe, data, budget=f"{options.steps} steps", progress=False)
            own = mean(run.model.log_prob(data.test.x), data)
            ahead[recipe].append(own >= nats[best])
            line += f", {recipe} {own:.2f}"
        print(line, flush=True)
    print(", ".join(f"{name}: ahead on {sum(rows)} of {len(rows)}" for name, rows in ahead.items()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
