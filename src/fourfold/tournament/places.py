"""Where the runs of a comparison ran. Runs on unlike hardware are marked, since they are not comparable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fourfold.tournament.jobs import Outcome

__all__ = ["elsewhere", "places", "usual_machine"]


def usual_machine(outcomes: Sequence[Outcome]) -> str:
    """The hardware on which most of the finished runs were trained, in words. Empty if none has finished."""
    counts = Counter(hardware for outcome in outcomes if (hardware := _hardware(outcome, "machine")))
    return counts.most_common(1)[0][0] if counts else ""


def elsewhere(outcomes: Sequence[Outcome], usual: str) -> tuple[str, ...]:
    """The runs that were trained or sampled on other hardware, in words, each with its seed if there are several."""
    marks = []
    for outcome in outcomes:
        for key, verb in (("machine", "trained"), ("sampled_on", "sampled")):
            hardware = _hardware(outcome, key)
            if hardware not in ("", usual):
                seed = f"seed {outcome.job.seed}: " if len(outcomes) > 1 else ""
                marks.append(f"{seed}{verb} on {hardware}, others on {usual}")
                break
    return tuple(marks)


def places(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """The runs of each machine: its name and hardware, and the paradigm and seed of each run."""
    runs: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.result is not None:
            name = f"{outcome.result['machine']['host']}: {_hardware(outcome, 'machine')}"
            runs.setdefault(name, []).append(f"{outcome.job.paradigm}, seed {outcome.job.seed}")
    return runs


def _hardware(outcome: Outcome, key: str) -> str:
    """The hardware of a run in words. Empty if it has not finished."""
    if outcome.result is None:
        return ""
    place = outcome.result[key]
    accelerator = f", {place['accelerator']}" if place.get("accelerator") else ""
    return f"{place['cpu']}, {place['cores']} cores{accelerator}"
