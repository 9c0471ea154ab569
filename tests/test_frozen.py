"""No stale value: a part is frozen in its arguments, so model.json and repr are those of the part that is there."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import fourfold
from fourfold.core import GenerativeModel, Part, configuration, construct
from fourfold.paradigms import build, recipes
from fourfold.spaces import Categories, Images, Text, Vectors

SPACES = (Vectors(2), Vectors(2, given=Categories.numbered(3)), Images(1, 8, 8, n_values=17), Text("abcdef", length=16))
MODELS = [(name, space) for name in recipes() for space in SPACES]


def built_model(name: str, space: fourfold.Space) -> GenerativeModel:
    try:
        return build(name, space, "xs")
    except TypeError:
        pytest.skip(f"{name} does not model {space}")


def parts(value: Any) -> Iterator[Any]:
    """Every part and every dataclass that a configuration is written from, the outermost first."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from parts(item)
    elif isinstance(value, Part) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        yield value
        names = value.arguments() if isinstance(value, Part) else [f.name for f in dataclasses.fields(value)]
        for name in names:
            yield from parts(value.arguments()[name] if isinstance(value, Part) else getattr(value, name))


@pytest.mark.parametrize(("name", "space"), MODELS, ids=lambda value: str(value).split(" (")[0])
def test_no_argument_of_any_part_can_be_set(name: str, space: fourfold.Space) -> None:
    model = built_model(name, space)
    before, shown = configuration(model), repr(model)
    all_parts = list(parts(model))
    assert {type(part) for part in all_parts} >= {type(model.space), type(model.estimand), type(model.objective)}
    inner = [module for module in model.modules() if isinstance(module, Part)]
    for part in [*all_parts, *inner]:
        names = part.arguments() if isinstance(part, Part) else [f.name for f in dataclasses.fields(part)]
        for argument in names:
            if argument != "training":  # the mode of nn.Module has this name
                with pytest.raises(AttributeError):
                    setattr(part, argument, "another")
    assert (configuration(model), repr(model)) == (before, shown)


@pytest.mark.parametrize("name", ["diffusion", "adversarial", "energy", "flow", "latent-variable"])
def test_training_changes_no_configuration(name: str) -> None:
    model = build(name, Vectors(2), "xs")
    before = configuration(model)
    for _ in fourfold.train(model, torch.randn(64, 2), budget="2 steps"):
        pass
    assert configuration(model) == before
    assert configuration(construct(before)) == before


def test_what_the_caller_changes_later_is_not_configuration() -> None:
    class Listed(Part, nn.Module):
        def __init__(self, sizes: list[int], names: dict[str, int]) -> None:
            super().__init__()

    sizes, names = [1, 2], {"a": 1}
    part = Listed(sizes, names)
    sizes.append(3)
    names["b"] = 2
    assert configuration(part)["args"] == {"sizes": [1, 2], "names": {"a": 1}}
