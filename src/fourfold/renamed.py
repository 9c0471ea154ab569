"""Earlier names, which a ``model.json`` may hold for ever and imports may use for a while. Torch-free."""

from __future__ import annotations

import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

__all__ = ["earlier_names", "renamed_arguments", "renamed_class", "renamed_keywords", "renamed_options"]

_MODULES: Mapping[str, str] = {
    "fourfold.samplers.likelihood": "fourfold.likelihoods.ode",
    "fourfold.samplers.reference": "fourfold.distributions.references",
    "fourfold.samplers.guidance": "fourfold.estimands.guidance",
}
"""Earlier names of modules, and their present names."""
_MOVED = (
    ("adversarial", "likelihoods.none", "NoDensity"),
    ("adversarial", "paradigms.stylegan", "PathLength StyleGenerator StyleTruncation"),
    ("autoregressive", "paradigms.pixels", "PixelConditionals"),
    ("diffusion", "estimands.preconditioned", "NetworkField NetworkNoise NetworkScore NetworkVelocity Preconditioned"),
    ("diffusion", "distributions.times", "LogitNormal Uniform"),
    ("diffusion", "likelihoods.bound", "DiffusionBound"),
    ("energy", "paradigms.denoising_energy", "EnergyScoreMatching NoisedScoreMatching PreconditionedEnergy"),
    ("energy", "samplers.monitor", "ChainMonitor"),
    ("few_step", "estimands.preconditioned", "ConsistencyNetwork NetworkAverage"),
    ("few_step", "likelihoods.none", "NoDensity"),
    ("few_step", "samplers.ode", "trajectory"),
    ("flow", "likelihoods.none", "NoDensity"),
    ("flow", "paradigms.continuous_flow", "ContinuousLikelihood FreeVelocity"),
    ("latent", "distributions.observations", "AsDraw AsMean AsMedian GaussianHead LogisticHead"),
    ("latent", "paradigms.perceptual", "PerceptualBound"),
)
"""The paradigm from whose file names have moved, their present module, and the names."""
_NAMES: Mapping[str, str] = {
    "fourfold.distributions.references:GaussianMixture": "fourfold.distributions.references:FittedMixture",
    **{
        f"fourfold.paradigms.{paradigm}:{name}": f"fourfold.{room}:{name}"
        for paradigm, room, names in _MOVED
        for name in names.split()
    },
    "fourfold.paradigms.diffusion:VariationalBound": "fourfold.likelihoods.bound:DiffusionBound",
    "fourfold.paradigms.energy:DenoisingScoreMatching": "fourfold.paradigms.denoising_energy:EnergyScoreMatching",
    "fourfold.paradigms.flow:MaximumLikelihood": "fourfold.paradigms.flow:ChangeOfVariables",
}
"""The earlier and the present ``module:name``; modules by their present names."""
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "dropout": ("label_dropout",),
    "hidden": ("label_dropout",),
    "drop": ("label_dropout", "dropout"),
}
"""Earlier names of arguments, and their possible present names."""
_GONE = {"shuffled"}
"""Arguments that a class may have lost, and that changed its training alone."""


def renamed_class(name: str) -> str:
    """The present ``module:Class`` of one that was written earlier; any other name stays as it is."""
    module, _, kind = name.partition(":")
    present = f"{_MODULES.get(module, module)}:{kind}"
    return _NAMES.get(present, present)


def renamed_arguments(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, with the present names of those that it no longer knows."""
    known = inspect.signature(kind).parameters
    return {
        key if key in known else next((new for new in _ARGUMENTS.get(key, ()) if new in known), key): value
        for key, value in arguments.items()
        if key in known or key not in _GONE
    }


def renamed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which data was read, as they are called now."""
    given = {"as_bytes": None, **options}
    as_bytes = given.pop("as_bytes")
    return given if as_bytes is None else {"tokens": "bytes" if as_bytes else "chars", **given}


def earlier_names(module: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module whose names have moved: it finds them where they stand now, and warns.

    Args:
        module: its full name.

    Returns:
        A function of a name. It warns with ``DeprecationWarning``, which says what to write instead, and raises
        ``AttributeError`` for a name that never was in the module.
    """

    def find(name: str) -> Any:
        present = _NAMES.get(f"{module}:{name}")
        if present is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, kind = present.partition(":")
        warnings.warn(
            f"{module}.{name} will go with the next minor version: write {home}.{kind}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(home), kind)

    return find


_P = ParamSpec("_P")
_T = TypeVar("_T")


def renamed_keywords(**present: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """A decorator of a function whose arguments have new names: an earlier name raises ``TypeError`` and says the new.

    Args:
        present: the present name of each earlier one.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            for earlier in present.keys() & kwargs.keys():
                raise TypeError(f"{function.__name__} has no argument {earlier}: write {present[earlier]}=...")
            return function(*args, **kwargs)

        return checked

    return decorate
