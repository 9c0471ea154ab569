"""The options of sampling: another sampler by name, its number of steps, guidance. Conditions beside samples."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from fourfold.core import Beside, GenerativeModel, Sampler, Space
from fourfold.estimands.guidance import classifier_free
from fourfold.samplers import resampled

__all__ = ["adjusted", "beside"]


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
        raise ValueError("guidance must be left out for an unconditional model: train it with --given")
    try:
        return classifier_free(model, scale).eval()
    except TypeError as error:
        raise ValueError(str(error)) from None


def beside(space: Space, cond: Tensor | None, label: str = "label") -> Beside:
    """The conditions of samples as files show them: columns of a table, and the classes.

    Args:
        space: of the samples.
        cond: encoded conditions ``(n, *)``.
        label: the name of the column of classes.
    """
    table = None if cond is None or space.given is None else space.given.condition_table(cond.cpu())
    if table is None or space.given is None or not space.given.names:
        return Beside(table)
    table.columns = [label]
    return Beside(table, list(table[label]))
