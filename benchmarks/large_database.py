"""A large database: ten tables, made here, of which time to the first step, memory and speed of drawing are measured.

    python benchmarks/large_database.py make FOLDER --rows 1000000
    python benchmarks/large_database.py fit FOLDER --out RUN [--budget "1 steps"]
    python benchmarks/large_database.py sample RUN [--scale 0.01]

A chain of customers, contracts, orders, items and returns, with visits, clicks and messages of customers, products and
shops that orders name. Every table has a column that depends on its owner. Files are Parquet, written in parts, so
memory does not grow with the number of rows. Each command prints seconds and the peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SHARES = {
    "shops": (None, 0.0002),
    "products": (None, 0.002),
    "customers": (None, 0.06),
    "contracts": ("customers", 0.06),
    "messages": ("customers", 0.12),
    "visits": ("customers", 0.16),
    "clicks": ("visits", 0.2),
    "orders": ("customers", 0.14),
    "items": ("orders", 0.2),
    "returns": ("items", 0.0578),
}
"""The owner of each table, and its share of all rows."""
PART = 1_000_000
"""Rows that are made at once."""
FACTOR = 2_654_435_761
"""A row's hidden level is a hash of its key, by which children agree with their owner."""


def level(keys: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """A number from 0 to 1 for each key, always the same."""
    return (keys * FACTOR % 2**32) / 2**32


def part(table: str, first: int, n: int, sizes: dict[str, int]) -> pd.DataFrame:
    """Some rows of a table, in the order of their owners."""
    rng, owner = np.random.default_rng((first, [*SHARES].index(table))), SHARES[table][0]
    keys = np.arange(first, first + n)
    frame = pd.DataFrame({f"{table[:-1]}_id": keys})
    mean = level(keys)
    if owner is not None:
        parents = np.minimum(keys * sizes[owner] // sizes[table], sizes[owner] - 1)
        frame[f"{owner[:-1]}_id"] = parents
        mean = 0.7 * level(parents) + 0.3 * mean
    if table == "orders":
        frame["shop_id"] = rng.integers(0, sizes["shops"], n)
    if table == "items":
        frame["product_id"] = rng.integers(0, sizes["products"], n)
    days = 7000 + np.floor(8000 * mean + rng.integers(0, 400, n)).astype("int64")
    frame["day"] = days.astype("datetime64[D]").astype("datetime64[ms]")
    frame["amount"] = np.exp(3 + 2 * mean + 0.5 * rng.normal(size=n)).round(2)
    frame["kind"] = np.array(["a", "b", "c", "d"])[np.minimum((4 * mean + rng.random(n)).astype(int), 3)]
    frame["count"] = rng.poisson(1 + 5 * mean)
    return frame


def make(folder: Path, rows: int) -> None:
    """Write the ten tables."""
    folder.mkdir(parents=True)
    sizes = {table: max(round(share * rows), 20) for table, (_, share) in SHARES.items()}
    for table, size in sizes.items():
        writer: pq.ParquetWriter | None = None
        for first in range(0, size, PART):
            batch = pa.Table.from_pandas(part(table, first, min(PART, size - first), sizes), preserve_index=False)
            writer = writer or pq.ParquetWriter(folder / f"{table}.parquet", batch.schema)
            writer.write_table(batch)
        assert writer is not None, "every table has rows"
        writer.close()
    report(rows=sum(sizes.values()))


def fit(folder: Path, out: Path, budget: str) -> None:
    """Train, and say when each table's training began."""
    from fourfold_databases.fitting import fit_database

    def say(line: str) -> None:
        report(message=line)

    fit_database("autoregressive", folder, out=out, budget=budget, size="s", precision="float32", say=say)
    report(done=True)


def sample(run: Path, scale: float) -> None:
    """Draw a database, and count its rows a second."""
    from fourfold_databases.run import DatabaseRun

    model = DatabaseRun.load(run)
    start, used = time.perf_counter(), time.process_time()
    rows = sum(map(len, model.sample(scale).values()))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    report(rows=rows, rows_a_second=round(rows / seconds), rows_a_processor_second=round(rows / used))


BEGIN = time.perf_counter()


def report(**values: object) -> None:
    """Print a line of numbers, with the seconds since the start and the most memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    about = {"seconds": round(time.perf_counter() - BEGIN, 1), "processor": round(time.process_time(), 1)}
    print(json.dumps({**values, **about, "peak_gib": round(peak, 2)}), flush=True)


def main() -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("make", "fit", "sample"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--budget", default="1 steps")
    parser.add_argument("--scale", type=float, default=0.01)
    options = parser.parse_args()
    if options.command == "make":
        make(options.folder, options.rows)
    elif options.command == "fit":
        fit(options.folder, options.out, options.budget)
    else:
        sample(options.folder, options.scale)


if __name__ == "__main__":
    main()
