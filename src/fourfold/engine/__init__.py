"""The engine: the training loop, budgets, precision, averaging, checkpoints and runs. It knows no paradigm."""

from __future__ import annotations

from fourfold.engine.budget import Budget, parse_budget
from fourfold.engine.checkpoint import BrokenRun, load_model, resumable, save_model
from fourfold.engine.choice import inference
from fourfold.engine.fitting import Interrupted, fit
from fourfold.engine.lock import RunInUse, locked
from fourfold.engine.loop import Loop
from fourfold.engine.precision import Precision
from fourfold.engine.run import Run
from fourfold.engine.step import Diverged, Step
from fourfold.engine.training import train

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
