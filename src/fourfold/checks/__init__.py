"""Conformance checks: what any model, of this library or a third party's, can run on itself.

Each check takes the thing it tests, returns nothing, and raises :class:`CheckFailed` with what was expected and what
was found. ``tests/test_contract.py`` runs them on everything the walk finds. A third-party paradigm runs the same:

    from fourfold import build, checks, Vectors
    checks.check_model(build("mine", Vectors(2), "xs"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fourfold.checks.agreement import check_samplers_agree
from fourfold.checks.base import CheckFailed, raw_examples
from fourfold.checks.densities import check_integrates, check_known_density, check_likelihood
from fourfold.checks.files import check_configuration, check_saved
from fourfold.checks.objectives import check_gradients, check_loss, check_stationary
from fourfold.checks.samplers import (
    check_batch_split,
    check_cost,
    check_evaluations,
    check_order,
    check_samples,
    check_seeds,
    moments,
)
from fourfold.checks.spaces import check_space
from fourfold.checks.training import check_ranks, check_resume, check_watching
from fourfold.checks.views import check_views
from fourfold.core import GenerativeModel

__all__ = [
    "MODEL_CHECKS",
    "CheckFailed",
    "check_batch_split",
    "check_configuration",
    "check_cost",
    "check_evaluations",
    "check_gradients",
    "check_integrates",
    "check_known_density",
    "check_likelihood",
    "check_loss",
    "check_model",
    "check_order",
    "check_ranks",
    "check_resume",
    "check_samplers_agree",
    "check_samples",
    "check_saved",
    "check_seeds",
    "check_space",
    "check_stationary",
    "check_views",
    "check_watching",
    "moments",
    "raw_examples",
]

MODEL_CHECKS: Mapping[str, Callable[[GenerativeModel], None]] = {
    "loss": check_loss,
    "gradients": check_gradients,
    "samples": check_samples,
    "seeds": check_seeds,
    "batch_split": check_batch_split,
    "cost": check_cost,
    "likelihood": check_likelihood,
    "configuration": check_configuration,
    "saved": check_saved,
    "resume": check_resume,
    "watching": check_watching,
}


def check_model(model: GenerativeModel) -> None:
    """Run every check that needs nothing but a model.

    Raises:
        CheckFailed: at the first promise that does not hold, naming the check.
    """
    for name, check in MODEL_CHECKS.items():
        try:
            check(model)
        except CheckFailed as failure:
            raise CheckFailed(f"{name}: {failure}") from None
