"""One peer of ``mixed_tables.py`` in its own environment: it reads train.csv, trains, and writes made.csv, about.json.

    python mixed_tables_peers.py NAME FOLDER SECONDS ROWS

Each peer is used as its documentation shows, with its own defaults. Where it takes epochs and no seconds, one epoch is
timed first, and as many are run as fit. Nothing of fourfold is imported.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd


def processor() -> float:
    """Seconds of processor time so far, of this process and of those it waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def argn(train: pd.DataFrame, seconds: float, folder: Path) -> tuple[Callable[[int], pd.DataFrame], str]:
    """TabularARGN; its time is given in minutes."""
    from mostlyai.engine import TabularARGN

    model = TabularARGN(
        max_training_time=seconds / 60, workspace_dir=folder / "argn", value_protection=False, device="cpu"
    )
    model.fit(train)
    return lambda n: model.sample(n_samples=n), "value protection off"


def sdv(kind: str, train: pd.DataFrame, seconds: float) -> tuple[Callable[[int], pd.DataFrame], str]:
    """CTGAN, TVAE, or the copula of SDV."""
    from sdv.metadata import Metadata
    from sdv.single_table import CTGANSynthesizer, GaussianCopulaSynthesizer, TVAESynthesizer

    kinds = {n: "numerical" if pd.api.types.is_numeric_dtype(train[n]) else "categorical" for n in train}
    columns = {name: {"sdtype": sdtype} for name, sdtype in kinds.items()}
    metadata = Metadata.load_from_dict({"tables": {"table": {"columns": columns}}})
    if kind == "copula":
        copula = GaussianCopulaSynthesizer(metadata)
        copula.fit({"table": train})
        return lambda n: _frame(copula.sample(n)), ""
    kind_of = CTGANSynthesizer if kind == "CTGAN" else TVAESynthesizer
    start = time.perf_counter()
    first = kind_of(metadata, epochs=1, enable_gpu=False)
    first.fit({"table": train})
    whole = time.perf_counter() - start
    start = time.perf_counter()
    model = kind_of(metadata, epochs=2, enable_gpu=False)
    model.fit({"table": train})
    epoch = max(time.perf_counter() - start - whole, 1e-3)
    ready = max(whole - epoch, 0.0)  # of its own preparation, which no epoch repeats
    epochs = max(round((seconds - ready) / epoch), 1)
    model = kind_of(metadata, epochs=epochs, enable_gpu=False)
    model.fit({"table": train})
    return lambda n: _frame(model.sample(n)), f"{epochs} epochs of {epoch:.1f} s, {ready:.1f} s of preparation"


def _frame(drawn: dict[str, pd.DataFrame] | pd.DataFrame) -> pd.DataFrame:
    """The one table of what was drawn."""
    return drawn if isinstance(drawn, pd.DataFrame) else next(iter(drawn.values()))


FOREST = {"num_trees": 10, "min_node_size": 20, "max_iters": 2}
"""Between the rounds, arfpy draws the rows of each leaf by itself, 10 ms a leaf: its defaults (30 trees, 5 rows a leaf,
10 rounds) grow a million leaves of 160,000 rows."""
FOREST_ROWS = 10_000


def forest(train: pd.DataFrame) -> tuple[Callable[[int], pd.DataFrame], str]:
    """Adversarial random forest; it cannot be given seconds. Gaps become a category, or the median of a number."""
    from arfpy import arf

    filled = train.sample(min(len(train), FOREST_ROWS), random_state=0).reset_index(drop=True)
    for name in filled:
        number = pd.api.types.is_numeric_dtype(filled[name])
        filled[name] = (
            filled[name].fillna(filled[name].median() if number else "gap").astype(float if number else "category")
        )
    model = arf.arf(x=filled, verbose=False, **FOREST)
    model.forde()
    rounds = ", ".join(f"{accuracy:.2f}" for accuracy in model.acc)
    note = f"{len(filled):,} rows, 10 trees, leaves of 20 rows; accuracy of its rounds {rounds}; gaps filled for it"

    def draw(n: int) -> pd.DataFrame:
        rows = model.forge(n=n)
        return rows.astype({name: object for name in rows if rows[name].dtype == "category"}).replace("gap", None)

    return draw, note


def main() -> None:
    """Train, draw and write."""
    name, folder, seconds, n = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    train = pd.read_csv(folder / "train.csv")
    start, used = time.perf_counter(), processor()
    if name == "TabularARGN":
        draw, note = argn(train, seconds, folder)
    elif name == "adversarial random forest":
        draw, note = forest(train)
    else:
        draw, note = sdv("copula" if "copula" in name else name, train, seconds)
    trained, spent = time.perf_counter() - start, processor() - used
    start = time.perf_counter()
    rows = draw(n)
    about = {"seconds": trained, "processor": spent, "drawing": time.perf_counter() - start, "note": note}
    rows.to_csv(folder / "made.csv", index=False)
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main()
