"""Held-out nats of recipes and of the best baseline on tables of R's packages, drawn by a seed.

    python benchmarks/many_tables.py ARCHIVE [RECIPE ...] [--tables 20] [--seed 0] [--steps 100] [--folds 5]
        [--keep-rare]

ARCHIVE is ``resources.tar.gz`` of the package pydataset. Tables have 50 to 5,000 rows and 3 to 40 columns that vary. A
baseline is fitted to the training rows. A recipe trains on the same and chooses its weights by the validation rows.
Nats are means over the test rows within the limits of the schema, and behind them stands the difference to the best
baseline, in pairs of rows, with its 95 % interval. One split has six test rows of a table of 60, which decide little:
``--folds`` judges every row once. Models and baselines keep the values of fewer than five rows out. With
``--keep-rare`` both learn from all values. The last lines are the shares of tables on which a recipe has at least the
nats of the best baseline, and on which it is not significantly below them.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch

import fourfold
from fourfold.baselines import baselines_of, fit_baseline
from fourfold.core import LogProb
from fourfold.data import DataError, Dataset, folds, load
from fourfold.spaces import Table

ROWS, COLUMNS = (50, 5000), (3, 40)
"""Rows and columns of a table, least and most."""


def tables(
    archive: str, seed: int, prepare: Callable[[pd.DataFrame], list[Dataset]]
) -> Iterator[tuple[str, list[Dataset]]]:
    """Tables that fit and their data sets, one a fold, in an order of the seed."""
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
                parts = prepare(frame)
            except DataError as error:
                print(f"{members[i].name}: {error}", flush=True)
                continue
            space = parts[0].space
            if isinstance(space, Table) and space.dims >= COLUMNS[0]:
                yield members[i].name.rpartition("/")[2].removesuffix(".csv"), parts


def nats(score: LogProb, data: Dataset) -> torch.Tensor:
    """Nats of the test rows that the schema has."""
    outside = data.space.outside(data.test.x)
    return score.nats[~outside if outside is not None else slice(None)].double()


def main() -> None:
    """Print a row for each table, and the shares of each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("recipes", nargs="*", default=["autoregressive/trees", "diffusion/trees"])
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--keep-rare", action="store_true")
    options = parser.parse_args()

    def prepare(frame: pd.DataFrame) -> list[Dataset]:
        if options.folds == 1:
            return [load(frame, space="table", keep_rare=options.keep_rare)]
        return folds(frame, options.folds, space="table", keep_rare=options.keep_rare)

    differences: dict[str, list[tuple[float, float]]] = {name: [] for name in options.recipes}
    drawn = tables(options.archive, options.seed, prepare)
    for _, (name, parts) in zip(range(options.tables), drawn, strict=False):
        scores: dict[str, list[torch.Tensor]] = {}
        for data in parts:
            for kind in baselines_of(data.space):
                model = fit_baseline(kind, data.space, data.train.x)
                scores.setdefault(kind.name, []).append(nats(model.log_prob(data.test.x), data))
            for recipe in options.recipes:
                run = fourfold.fit(recipe, data, budget=f"{options.steps} steps", progress=False)
                scores.setdefault(recipe, []).append(nats(run.model.log_prob(data.test.x), data))
        rows = {kind: torch.cat(values) for kind, values in scores.items()}
        best = max(rows.keys() - differences.keys(), key=lambda kind: float(rows[kind].mean()))
        line = f"{name} {len(parts[0].train)} x {parts[0].space.dims}: {best} {rows[best].mean():.2f}"
        for recipe, pairs in differences.items():
            gap = rows[recipe] - rows[best]
            pairs.append((float(gap.mean()), 1.96 * float(gap.std()) / len(gap) ** 0.5))
            line += f", {recipe} {rows[recipe].mean():.2f} ({pairs[-1][0]:+.2f} +- {pairs[-1][1]:.2f})"
        print(line, flush=True)
    for recipe, pairs in differences.items():
        ahead, even = (sum(gap + slack * half >= 0 for gap, half in pairs) for slack in (0, 1))
        print(f"{recipe}: at least the best baseline on {ahead} of {len(pairs)}, not significantly below on {even}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
