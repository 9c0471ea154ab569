"""The engine: the training loop, budgets, precision, averaging, checkpoints and runs. It knows no paradigm."""

from __future__ import annotations

from fourfold.engine.choice import inference
from fourfold.engine.fitting import Interrupted, fit
from fourfold.engine.loop import Loop
from fourfold.engine.step import Diverged, Step
from fourfold.engine.training import train
from fourfold.runs.budget import Budget, parse_budget
from fourfold.runs.checkpoint import BrokenRun, load_model, resumable, save_model
from fourfold.runs.lock import RunInUse, locked
from fourfold.runs.precision import Precision
from fourfold.runs.run import Run

__all__ = [
    "BrokenRun",
    "Budget",
    "Diverged",
    "Interrupted",
    "Loop",
    "Precision",
    "Run",
    "RunInUse",
    "Step",
    "fit",
    "inference",
    "load_model",
    "locked",
    "parse_budget",
    "resumable",
    "save_model",
    "train",
]
