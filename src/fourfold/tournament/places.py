"""Where the runs of a comparison ran. Runs on unlike hardware are marked, since they are not comparable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fourfold.tournament.jobs import Outcome

__all__ = ["elsewhere", "places", "usual_machine"]


def usual_machine(outcomes: Sequence[Outcome]) -> str:
    """The hardware on which most of the finished runs were trained, in words; empty where no run says."""
    counted = Counter(found for outcome in outcomes if (found := _hardware(outcome, "machine")))
    return counted.most_common(1)[0][0] if counted else ""


def elsewhere(outcomes: Sequence[Outcome], usual: str) -> tuple[str, ...]:
    """The runs that were trained or sampled on other hardware, in words, each with its seed if there are several."""
    marks = []
    for outcome in outcomes:
        for key, verb in (("machine", "trained"), ("sampled_on", "sampled")):
            found = _hardware(outcome, key)
            if found and usual and found != usual:
                seed = f"seed {outcome.job.seed}: " if len(outcomes) > 1 else ""
                marks.append(f"{seed}{verb} on {found}, others on {usual}")
                break
    return tuple(marks)


def places(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """The runs of each machine: its name and hardware, and the paradigm and seed of each run."""
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        hardware, place = _hardware(outcome, "machine"), _place(outcome, "machine")
        if hardware:
            found.setdefault(f"{place['host']}: {hardware}", []).append(
                f"{outcome.job.paradigm}, seed {outcome.job.seed}"
            )
    return found


def _place(outcome: Outcome, key: str) -> dict[str, Any]:
    found = (outcome.result or {}).get(key)
    return found if isinstance(found, dict) else {}


def _hardware(outcome: Outcome, key: str) -> str:
    """The hardware of a run in words; empty for runs of earlier versions, which do not say."""
    place = _place(outcome, key)
    if not place:
        return ""
    accelerator = f", {place['accelerator']}" if place.get("accelerator") else ""
    return f"{place['cpu']}, {place['cores']} cores{accelerator}"
