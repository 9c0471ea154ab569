"""D1. Simulation-based inference: C2ST against the reference posteriors of sbibm, by ``inference.py``."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import inference
import torch

from published_rows import Anchor, Line, Missing, Options, Row, Value, spread

ORIGIN = "the wheel of sbibm 1.1.0, unpacked into the folder sbibm"
SETS = {f"{task}, {n:,} simulations": (task, n) for task in ("two_moons", "gaussian_linear") for n in (1000, 10_000)}
BOUNDED = ("gaussian_linear",)
"""Tasks whose densities of reference and model are both exact."""
MORE = {
    ("two_moons", 10_000): {"NLE": (0.713, ""), "SNPE": (0.554, ""), "SMC-ABC": (0.707, "")},
    ("gaussian_linear", 10_000): {"NLE": (0.555, ""), "SNPE": (0.544, ""), "SMC-ABC": (0.829, "")},
}


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """Moments of the reference draws that are known: of the normal posterior, or the radius of the arc."""
    task, _ = SETS[name]
    folder = options.folder / "sbibm"
    if not folder.exists():
        raise Missing(f"{folder} is not here: it is {ORIGIN}")
    pairs = [inference.reference(task, k, folder) for k in range(1, inference.OBSERVATIONS + 1)]
    if task == "gaussian_linear":
        centred = torch.cat([theta - x / 2 for x, theta in pairs])
        yield Anchor("mean of reference draws from x / 2", 0, centred.mean().item(), 1e-3)
        yield Anchor("variance of reference draws", 0.05, centred.var().item(), 5e-4)
    else:
        shifts = [torch.stack([-t.sum(1).abs(), t[:, 1] - t[:, 0]], 1) / math.sqrt(2) for _, t in pairs]
        points = [x - shift - torch.tensor([0.25, 0.0]) for (x, _), shift in zip(pairs, shifts, strict=True)]
        yield Anchor(
            "mean radius of the arc of reference draws", 0.1, torch.cat(points).norm(dim=1).mean().item(), 1e-3
        )


def measure(name: str, options: Options) -> Iterator[Line]:
    """Each recipe that has settings for the task. A posterior of ten numbers is judged by exact densities.

    The classifiers of one line of C2ST have 100 hidden units there, and take longer than all trainings of the row.
    """
    task, simulations = SETS[name]
    for (its_task, recipe), setting in inference.SETTINGS.items():
        if its_task == task:
            classified = 0 if task in BOUNDED else 10_000
            asked = {"draws": 10_000, "classified": classified, "plot": None, "data_folder": options.folder / "sbibm"}
            contests = [
                argparse.Namespace(simulations=simulations, seed=seed, rank_sets=1, **asked)
                for seed in range(options.seeds)
            ]
            records = [inference.contest(task, recipe, contest) for contest in contests]
            yield line(name, f"fourfold {recipe} {setting.size}, {setting.steps} steps", records)


def line(name: str, system: str, records: Sequence[Mapping[str, Any]]) -> Line:
    """Records of ``inference.py``, one a seed, as a line."""
    cost = f"{statistics.mean(record['training, s'] for record in records):.0f} of the processor"
    p_values = [float(p) for record in records for p in record["ranks, p-values"].split(", ")]
    calibrated = {"ranks, p below .05": f"{sum(p < 0.05 for p in p_values)} of {len(p_values)}"}
    if records[0]["C2ST"] == "":
        figures: dict[str, Value] = {"C2ST": spread([record["best accuracy"] for record in records]), **calibrated}
        why = "the accuracy of the best of all classifiers, by exact densities, which C2ST cannot exceed"
        return Line(name, system, figures, "bound", cost, differs={"metric": why}, seeds=len(records))
    least, most = min(record["least"] for record in records), max(record["most"] for record in records)
    accuracies = spread([record["C2ST"] for record in records])
    figures = {"C2ST": accuracies, "of all observations": f"{least} to {most}", **calibrated}
    return Line(name, system, figures, seconds=cost, seeds=len(records))


ROW = Row(
    title="Posteriors from simulations (D1)",
    figure="C2ST",
    lower=True,
    protocol="The accuracy of a perceptron that tells 10,000 draws from the reference posterior, over five folds, the "
    "mean of ten observations: .5 is perfect. One model of ours serves all ten, as NPE does.",
    source="sbi-benchmark/results at 741183c, main_paper.csv, means over ten observations; minutes on CPUs of AWS C5",
    data=ORIGIN,
    chosen="by the nats of fresh simulations of other seeds. That of flow/maf was changed after a figure of seed 0",
    interval="least and most of the seeds; the least and the most of all observations stand beside",
    sets=tuple(SETS),
    published=tuple(
        Line(name, system, {"C2ST": value}, seconds=f"{minutes} min" if minutes else "", source="main_paper.csv")
        for name, (task, n) in SETS.items()
        for system, (value, minutes) in {"NPE": inference.TASKS[task].peers[n], **MORE.get((task, n), {})}.items()
    ),
    anchors=anchors,
    measure=measure,
    notes=(
        "SNPE trains anew for each observation.",
        "Ranks: the p-values of uniform ranks of 1,000 fresh simulations, of each parameter and seed; of calibrated "
        "ranks one in twenty is below .05.",
    ),
)
