"""A database: baseball's players, batting and fielding, judged by ``mostlyai-qa``, for tables apart and given players.

    python benchmarks/databases.py FOLDER [--budget 270s] [--size auto] --out OUT
    OTHER/python benchmarks/databases.py FOLDER --peer --out PEER    # in an environment with mostlyai-engine
    OTHER/python benchmarks/databases.py FOLDER --judge OUT          # in an environment with mostlyai-qa

FOLDER holds players.csv.gz, batting.csv.gz and fielding.csv.gz (mostly-ai/public-demo-data on GitHub). Half of the
players, with all their rows, are trained on. The others are held out. As many players are drawn. The published
accuracies and minutes (TabularARGN .88 in 3.06, ClavaDDPM .79 in 66, SDV's PAR .30 in 187, RC-TGAN .70 in 692,
REaLTabFormer .77 in 1,499) are those of a chart, whose split and machine are not named.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

TABLES = ("players", "batting", "fielding")
Frames: TypeAlias = dict[str, pd.DataFrame]
"""The rows of each table."""


def halves(folder: Path) -> list[dict[str, pd.DataFrame]]:
    """The database of half of the players, and that of the others. Last names, which are free text, are left out."""
    frames = {table: pd.read_csv(folder / f"{table}.csv.gz") for table in TABLES}
    frames["players"] = frames["players"].drop(columns="nameLast")
    ids = frames["players"]["id"].to_numpy()
    first = set(np.random.default_rng(0).permutation(ids)[: len(ids) // 2])
    keys = {"players": "id", "batting": "players_id", "fielding": "players_id"}
    inside = {table: frame[keys[table]].isin(first) for table, frame in frames.items()}
    return [{table: frame[inside[table] == part] for table, frame in frames.items()} for part in (True, False)]


def draw(folder: Path, out: Path, budget: str, size: str) -> None:
    """Train on half of the players, draw as many, and write the three databases as CSV files."""
    from fourfold_databases.database import read_database
    from fourfold_databases.fitting import fit_database

    train, held_out = halves(folder)
    start = time.process_time()
    run = fit_database("autoregressive", train, out=out / "run", budget=budget, size=size, say=print)
    trained = time.process_time()
    samples = run.sample(1.0, seed=0)
    drawn = time.process_time()
    scores = run.log_prob(read_database(held_out, run.schema))
    _write(out, train, held_out, samples)
    nats = {table: [round(score.mean()[0], 3), str(score.kind), score.count_words] for table, score in scores.items()}
    record = {
        "seconds": [trained - start, drawn - trained],
        "rows": {t: len(f) for t, f in samples.items()},
        "nats": nats,
    }
    (out / "run.json").write_text(json.dumps(record, indent=1))
    print(json.dumps(record))


def peer(folder: Path, out: Path, minutes: float) -> None:
    """TabularARGN on the same half of the players: players alone, and each other table given its players.

    It stops by its own held-out loss, or after ``minutes`` a table. It need not protect rare values, as ours need not.
    """
    from mostlyai import engine

    train, held_out = halves(folder)
    samples: dict[str, pd.DataFrame] = {}
    seconds: dict[str, list[float]] = {}
    for table in TABLES:
        space, start = out / f"workspace-{table}", time.process_time()
        keys: dict[str, str] = {"tgt_primary_key": "id"}
        given: dict[str, pd.DataFrame] = {}
        if table != "players":
            keys = {"tgt_context_key": "players_id", "ctx_primary_key": "id"}
            given = {"ctx_data": train["players"]}
        engine.split(train[table], **given, **keys, model_type="TABULAR", workspace_dir=space)
        engine.analyze(value_protection=False, workspace_dir=space)
        engine.encode(workspace_dir=space)
        engine.train(max_training_time=minutes, enable_flexible_generation=False, device="cpu", workspace_dir=space)
        trained = time.process_time()
        wanted = {"ctx_data": samples["players"]} if given else {"sample_size": len(train[table])}
        engine.generate(**wanted, device="cpu", workspace_dir=space)
        samples[table] = pd.read_parquet(space / "SyntheticData")
        seconds[table] = [trained - start, time.process_time() - trained]
        print(table, len(samples[table]), seconds[table], flush=True)
    _write(out, train, held_out, samples)
    (out / "run.json").write_text(json.dumps({"seconds": seconds, "rows": {t: len(f) for t, f in samples.items()}}))


def _write(out: Path, train: Frames, held_out: Frames, samples: Frames) -> None:
    """The three databases as CSV files, as :func:`judge` reads them."""
    for name, frames in (("train", train), ("held-out", held_out), ("samples", samples)):
        for table, frame in frames.items():
            frame.to_csv(out / f"{name}-{table}.csv", index=False)


def judge(out: Path) -> None:
    """The accuracy of each table by ``mostlyai-qa``: players alone, the others given their players."""
    from mostlyai import qa

    def table(name: str, table: str) -> pd.DataFrame:
        return pd.read_csv(out / f"{name}-{table}.csv")

    names = {"syn": "samples", "trn": "train", "hol": "held-out"}
    results = {}
    for subject in TABLES:
        data = {f"{short}_tgt_data": table(name, subject) for short, name in names.items()}
        if subject == "players":
            data = {key: frame.drop(columns="id") for key, frame in data.items()}
        else:
            data |= {f"{short}_ctx_data": table(name, "players") for short, name in names.items()}
            data |= {"ctx_primary_key": "id", "tgt_context_key": "players_id"}
        _, metrics = qa.report(**data, report_path=out / f"{subject}.html")
        results[subject] = metrics.model_dump()
        print(subject, json.dumps(results[subject]["accuracy"]), json.dumps(results[subject]["distances"]))
    (out / "judged.json").write_text(json.dumps(results, indent=1))


def main() -> None:
    """Draw, or judge what was drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--budget", default="270s")
    parser.add_argument("--size", default="auto")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    if options.judge is not None:
        judge(options.judge)
        return
    options.out.mkdir(parents=True)
    if options.peer:
        peer(options.folder, options.out, options.minutes)
    else:
        draw(options.folder, options.out, options.budget, options.size)


if __name__ == "__main__":
    main()
