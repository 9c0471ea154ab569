"""Log-probabilities in words and as a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fourfold.core import LogProb

__all__ = ["score_record", "score_table", "summary", "write_scores"]


def summary(result: LogProb, unit: str) -> str:
    """The mean over examples in a unit, its standard error, and the kind of likelihood, in one line."""
    mean, error = _mean(result, unit)
    interval = "" if math.isnan(error) else f" ± {error:.4f}"
    counts = {"bits/byte": result.byte_counts, "nats/row": result.row_counts}
    names = [name for name, values in counts.items() if values is not None and name != unit]
    also = "".join(f" ({_mean(result, name)[0]:.4f} {name})" for name in names)
    number = "" if math.isnan(mean) else f"{mean:.4f}{interval} {unit}{also}, "
    return f"{number}{result.kind.words}, {result.count_words} example{'s' * (len(result) != 1)}"


def score_record(result: LogProb, unit: str) -> dict[str, Any]:
    """The summary as a JSON value, with ``None`` for unknown numbers."""
    mean, error = (None if math.isnan(value) else value for value in _mean(result, unit))
    about = {"examples": len(result), "scored": int(result.inside.sum()), "draws": result.draws}
    return {
        "mean": mean,
        "std_error": error,
        "unit": unit,
        "kind": result.kind.value,
        **about,
        "evaluations": result.evaluations,
        "note": result.note_in(unit),
    }


def _mean(result: LogProb, unit: str) -> tuple[float, float]:
    """The mean over examples in a unit and its standard error. NaN where unknown."""
    std_error = result.std_error
    mean, error = result.mean_in(unit)
    if len(result) == 1 and std_error is not None:  # else the spread between examples includes the error of each
        error = replace(result, nats=std_error).in_unit(unit).abs().max().item()
    return mean, error


def score_table(result: LogProb, unit: str, unusual: Mapping[int, str] | None = None) -> str:
    """CSV with a row per example: its number from 1, nats, standard error (empty if nothing is random), unit, kind.

    Sequences have a column of their rows. ``unusual`` names the columns that make a row unusual, with the nats that
    each lies below its median.
    """
    units = {} if unit == "nats" else {unit: result.in_unit(unit).tolist()}
    units |= {} if result.row_counts is None else {"rows": result.row_counts.tolist()}
    errors = [math.nan] * len(result) if result.std_error is None else result.std_error.tolist()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["row", "nats", "std_error", *units, "kind", *(["unusual"] if unusual is not None else [])])
    for i, nats in enumerate(result.nats.tolist()):
        more = [] if unusual is None else [unusual.get(i, "")]
        numbers = (nats, errors[i], *(values[i] for values in units.values()))
        writer.writerow(
            [i + 1, *("" if math.isnan(value) else f"{value:.6f}" for value in numbers), result.kind, *more]
        )
    return file.getvalue()


def write_scores(path: Path, result: LogProb, unit: str, unusual: Mapping[int, str] | None = None) -> Path:
    """Write :func:`score_table` to a ``.csv``.

    Raises:
        ValueError: for another ending, or a file that cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise ValueError(f"file of scores must end in .csv, got {path}: choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(score_table(result, unit, unusual), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror or error}): choose another name") from None
    return path
