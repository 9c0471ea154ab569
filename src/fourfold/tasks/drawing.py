"""The options of sampling: another sampler by name, its number of steps, guidance, and a class by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from fourfold.core import Condition, GenerativeModel, Sampler
from fourfold.core.conditions import condition_codes
from fourfold.estimands.guidance import classifier_free
from fourfold.output.printable import shortened
from fourfold.samplers import resampled

__all__ = ["adjusted", "class_names", "condition"]


def adjusted(
    model: GenerativeModel,
    sampler: Sampler | str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
) -> GenerativeModel:
    """The model with another sampler, another number of its steps, or classifier-free guidance.

    Args:
        model: the model, which stays as it is.
        sampler: a sampler or its name. ``AsDraw`` draws where a model shows medians.
        steps: the number of steps of the sampler.
        guidance: the scale of classifier-free guidance. 1 means none.

    Raises:
        ValueError: for an unknown sampler, for steps of a sampler without steps, or for guidance of a model without it.
        TypeError: for a sampler that does not fit the model.
    """
    if sampler is not None:
        model = resampled(model, sampler) if isinstance(sampler, str) else model.with_parts(sampler=sampler)
    if steps is not None:
        if "steps" not in {field.name for field in dataclasses.fields(model.sampler)}:  # type: ignore[arg-type]
            raise ValueError(f"steps must be left out for {type(model.sampler).__name__}, which has none, got {steps}")
        model = model.with_parts(sampler=dataclasses.replace(model.sampler, steps=steps))  # type: ignore[type-var]
    return model if guidance is None else _guided(model, guidance)


def _guided(model: GenerativeModel, scale: float) -> GenerativeModel:
    if not model.space.conditional:
        raise ValueError("guidance must be left out for an unconditional model: train it with --conditional")
    try:
        return classifier_free(model, scale).eval()
    except TypeError:
        kind = type(model.estimand).__name__
        raise ValueError(f"guidance needs a denoiser or a vector field, got a model of {kind}: leave it out") from None


def condition(model: GenerativeModel, cond: Condition) -> Condition:
    """The condition of a model, with classes as numbers. They may be given by name.

    A name that is also a number stands for the class of that name.

    Raises:
        ValueError: for a name that no class has.
    """
    names: tuple[str, ...] = getattr(model.space, "class_names", ())
    if model.space.caption is not None or model.space.sound is not None or cond is None:
        return cond
    if isinstance(cond, str):
        return _label(cond, names)
    if isinstance(cond, Sequence) and cond and all(isinstance(name, str) for name in cond):
        return torch.tensor([_label(str(name), names) for name in cond])
    return cond


def _label(name: str, names: tuple[str, ...]) -> int:
    if name in names:
        return names.index(name)
    if name.lstrip("-").isdecimal():
        return int(name)
    raise ValueError(
        f"the class must be one of {shortened(names) or 'none, since this model has no classes'}, got {name!r}"
    )


def class_names(model: GenerativeModel, cond: Condition, n: int) -> list[str]:
    """The class name of each of ``n`` samples. Empty if no class was asked for."""
    codes = condition_codes(model.space, n, condition(model, cond), torch.device("cpu"))
    if codes is None or model.space.classes is None:
        return []
    names: tuple[str, ...] = getattr(model.space, "class_names", ())
    return [names[code] if names else str(code) for code in codes.tolist()]
