"""Names that a ``model.json`` of an earlier version may hold."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

__all__ = ["renamed_arguments", "renamed_class"]

_MODULES: Mapping[str, str] = {
    "fourfold.samplers.likelihood": "fourfold.likelihoods.ode",
    "fourfold.samplers.reference": "fourfold.distributions.references",
    "fourfold.samplers.guidance": "fourfold.estimands.guidance",
}
"""Modules, as they were called and as they are."""
_MOVED = (
    ("diffusion", "estimands.preconditioned", "NetworkField NetworkNoise NetworkScore NetworkVelocity Preconditioned"),
    ("diffusion", "distributions.times", "LogitNormal Uniform"),
    ("diffusion", "likelihoods.bound", "DiffusionBound"),
    ("few_step", "estimands.preconditioned", "ConsistencyNetwork NetworkAverage"),
    ("latent", "distributions.observations", "AsDraw AsMean AsMedian GaussianHead LogisticHead"),
    ("latent", "paradigms.perceptual", "PerceptualBound"),
)
"""The paradigm in whose file classes stood, where they stand now, and their names."""
_CLASSES: Mapping[str, str] = {
    "fourfold.distributions.references:GaussianMixture": "fourfold.distributions.references:FittedMixture",
    "fourfold.paradigms.adversarial:NoDensity": "fourfold.likelihoods.none:NoDensity",
    **{
        f"fourfold.paradigms.{paradigm}:{kind}": f"fourfold.{room}:{kind}"
        for paradigm, room, kinds in _MOVED
        for kind in kinds.split()
    },
    "fourfold.paradigms.diffusion:VariationalBound": "fourfold.likelihoods.bound:DiffusionBound",
    "fourfold.paradigms.energy:DenoisingScoreMatching": "fourfold.paradigms.energy:EnergyScoreMatching",
    "fourfold.paradigms.few_step:NoDensity": "fourfold.likelihoods.none:NoDensity",
    "fourfold.paradigms.flow:MaximumLikelihood": "fourfold.paradigms.flow:ChangeOfVariables",
    "fourfold.paradigms.flow:NoDensity": "fourfold.likelihoods.none:NoDensity",
}
"""``module:Class``, as it was and as it is; the module by its present name."""
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "dropout": ("label_dropout",),
    "hidden": ("label_dropout",),
    "drop": ("label_dropout", "dropout"),
}
"""Arguments, as they were, and as they may be called now."""


def renamed_class(name: str) -> str:
    """The present ``module:Class`` of one that was written earlier; of any other, itself."""
    module, _, kind = name.partition(":")
    present = f"{_MODULES.get(module, module)}:{kind}"
    return _CLASSES.get(present, present)


def renamed_arguments(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, those that it no longer knows by their present names."""
    known = inspect.signature(kind).parameters
    return {
        key if key in known else next((new for new in _ARGUMENTS.get(key, ()) if new in known), key): value
        for key, value in arguments.items()
    }
