"""Log-probabilities in words and as a table."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

from fourfold.core import LogProb

__all__ = ["score_table", "summary", "write_scores"]


def summary(result: LogProb, unit: str) -> str:
    """The mean over examples in a unit, its standard error, and the kind of likelihood, in one line."""
    values, n = result.in_unit(unit).double(), len(result)
    known = result.std_error
    error = math.nan if known is None else replace(result, nats=known).in_unit(unit).abs().max().item()
    if n > 1:  # the spread between examples includes the error of each
        error = values.std().item() / math.sqrt(n)
    interval = "" if math.isnan(error) else f" ± {error:.4f}"
    number = "" if values.isnan().all() else f"{values.mean().item():.4f}{interval} {unit}, "
    return f"{number}{result.kind.words}, {n} example{'s' * (n != 1)}"


def score_table(result: LogProb, unit: str) -> str:
    """CSV with a row per example: nats, their standard error (empty if nothing is random), the unit, the kind."""
    others = {} if unit == "nats" else {unit: result.in_unit(unit).tolist()}
    errors = [math.nan] * len(result) if result.std_error is None else result.std_error.tolist()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["index", "nats", "std_error", *others, "kind"])
    for i, nats in enumerate(result.nats.tolist()):
        numbers = (nats, errors[i], *(values[i] for values in others.values()))
        writer.writerow([i, *("" if math.isnan(value) else f"{value:.6f}" for value in numbers), result.kind])
    return file.getvalue()


def write_scores(path: Path, result: LogProb, unit: str) -> Path:
    """Write :func:`score_table` to a ``.csv``.

    Raises:
        ValueError: for another ending, or a file that cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path}: scores are written as .csv: choose a name that ends so")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(score_table(result, unit), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror or error}): choose another name") from None
    return path
