"""The samples of a run, kept so that all models can be judged by the same number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fourfold.metrics import Measurement
from fourfold.tournament.benchmark import Benchmark
from fourfold.tournament.jobs import Outcome

__all__ = ["NEIGHBOURS", "draws_at", "load_samples", "save_samples", "scores_at", "smallest", "sweep_at"]

NEIGHBOURS = 8
"""The number of samples that are shown with their nearest training example."""
_FILE = "samples.safetensors"


def save_samples(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write samples, and the tensors that are shown beside them."""
    save_file({name: x.contiguous().clone() for name, x in tensors.items()}, folder / _FILE)


def load_samples(folder: Path, name: str, n: int | None = None) -> Tensor | None:
    """The first ``n`` rows of a tensor that :func:`save_samples` wrote. ``None`` if there is none of that name."""
    try:
        with safe_open(folder / _FILE, framework="pt") as file:
            return file.get_slice(name)[:n] if name in file.keys() else None  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def smallest(outcomes: Sequence[Outcome], others: Sequence[Sized] = ()) -> int:
    """The largest number of samples that every finished run and every other system has. 0 if no run is finished."""
    numbers = [Measurement.from_record(o.result["scores"][1]).n for o in outcomes if o.result is not None]
    return min([*numbers, *map(len, others)]) if numbers else 0


def scores_at(outcome: Outcome, benchmark: Benchmark) -> list[Measurement]:
    """The scores of a finished run. Those of samples are measured again on the benchmark's number of samples.

    Distances fall with the number of samples, so they can only be compared at the same number. Measures of several
    draws for each condition do not.

    Raises:
        ValueError: if the samples have been removed.
    """
    assert outcome.result is not None
    scores, conditional = (
        [Measurement.from_record(record) for record in outcome.result[key]] for key in ("scores", "conditional")
    )
    if scores[1].n == benchmark.n:
        return scores + conditional
    again = {score.name: score for score in benchmark.quality(_samples(outcome, "samples", benchmark.n))}
    scores = [again.get(score.name, score) for score in scores if score.name in again or "[" not in score.name]
    return scores + conditional


def sweep_at(outcome: Outcome, benchmark: Benchmark) -> tuple[dict[str, Any], ...]:
    """The scores of a finished run at other numbers of sampling steps, on the benchmark's number of samples."""
    assert outcome.result is not None
    records = []
    for record in outcome.result["sweep"]:
        if record["score"]["n"] != benchmark.n:
            score = benchmark.headline(_samples(outcome, f"steps.{record['steps']}", benchmark.n))
            record = {**record, "score": score.record()}
        records.append(record)
    return tuple(records)


def draws_at(outcome: Outcome, benchmark: Benchmark) -> list[Measurement]:
    """The scores of a finished run's random draws, if its model shows medians or means. Otherwise empty."""
    assert outcome.result is not None
    scores = [Measurement.from_record(record) for record in outcome.result["draws"]]
    if not scores or scores[0].n == benchmark.n:
        return scores
    return benchmark.quality(_samples(outcome, "draws", benchmark.n))


def _samples(outcome: Outcome, name: str, n: int) -> Tensor:
    x = load_samples(outcome.folder, name, n)
    if x is None or len(x) < n:
        raise ValueError(f"{outcome.folder / _FILE} lacks {name}; remove {outcome.folder / 'result.json'}, then repeat")
    return x
