"""The samples of a run, kept so that all models can be judged by the same number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fourfold.data import Dataset
from fourfold.metrics import Measurement, References
from fourfold.tasks.evaluation import headline, quality
from fourfold.tournament.jobs import Outcome

__all__ = ["draws_at", "keep", "kept", "scores_at", "smallest", "sweep_at"]

_FILE = "samples.safetensors"


def keep(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write samples, and the tensors that are shown beside them."""
    save_file({name: x.contiguous().clone() for name, x in tensors.items()}, folder / _FILE)


def kept(folder: Path, name: str, n: int | None = None) -> Tensor | None:
    """The first ``n`` rows of a tensor that :func:`keep` wrote; ``None`` if there is none of that name."""
    try:
        with safe_open(folder / _FILE, framework="pt") as file:
            return file.get_slice(name)[:n] if name in file.keys() else None  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def smallest(outcomes: Sequence[Outcome]) -> int:
    """The largest number of samples that every finished run has; 0 if no run is finished."""
    found = [Measurement.from_record(o.result["scores"][1]).n for o in outcomes if o.result is not None]
    return min(found, default=0)


def scores_at(
    outcome: Outcome, n: int, dataset: Dataset, chosen: References, features: str | None
) -> list[Measurement]:
    """The scores of a finished run; those of samples are measured again on its first ``n``, with the same references.

    Distances fall with the number of samples, so they can only be compared at the same number.

    Raises:
        ValueError: if the samples have been removed.
    """
    assert outcome.result is not None
    scores = [Measurement.from_record(record) for record in outcome.result["scores"]]
    if scores[1].n == n:
        return scores
    again = {score.name: score for score in quality(_samples(outcome, "samples", n), dataset, chosen, features)}
    return [again.get(score.name, score) for score in scores if score.name in again or "[" not in score.name]


def sweep_at(
    outcome: Outcome, n: int, dataset: Dataset, chosen: References, features: str | None
) -> tuple[dict[str, Any], ...]:
    """The scores of a finished run at other numbers of sampling steps, on its first ``n`` samples."""
    assert outcome.result is not None
    found = []
    for other in outcome.result["sweep"]:
        if other["score"]["n"] != n:
            score = headline(_samples(outcome, f"steps.{other['steps']}", n), dataset, chosen, features)
            other = {**other, "score": score.record()}
        found.append(other)
    return tuple(found)


def draws_at(outcome: Outcome, n: int, dataset: Dataset, chosen: References, features: str | None) -> list[Measurement]:
    """The scores of a finished run's random draws, if its model shows medians or means; otherwise empty."""
    assert outcome.result is not None
    scores = [Measurement.from_record(record) for record in outcome.result.get("draws", [])]
    if not scores or scores[0].n == n:
        return scores
    return quality(_samples(outcome, "draws", n), dataset, chosen, features)


def _samples(outcome: Outcome, name: str, n: int) -> Tensor:
    x = kept(outcome.folder, name, n)
    if x is None or len(x) < n:
        raise ValueError(f"{outcome.folder / _FILE} lacks {name}: remove {outcome.folder / 'result.json'}, then repeat")
    return x
