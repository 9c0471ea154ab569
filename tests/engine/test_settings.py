"""A setting of a training is declared once: options, keywords and signature are made from ``FitSettings``."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
import typer

import fourfold
from fourfold.cli.app import app
from fourfold.core import Training
from fourfold.privacy import Guarantee
from fourfold.runs.budget import Budget, parse_budget
from fourfold.runs.settings import FitKeywords, FitSettings
from fourfold.settings.declaration import options_of

TYPES = {"Training": Training}


def test_the_keywords_for_editors_are_the_fields_and_their_types():
    declared = get_type_hints(FitSettings, localns=TYPES)
    keywords = get_type_hints(FitKeywords, localns=TYPES)
    assert list(keywords) == [f.name for f in fields(FitSettings)]
    assert keywords.pop("budget") == str | float | Budget | None
    assert keywords.pop("private") == str | float | Guarantee | None
    assert keywords.pop("public") == str | os.PathLike[str] | Mapping[str, Any] | None
    assert keywords == {name: declared[name] | None for name in keywords}


def test_the_signature_spells_out_every_keyword():
    parameters = inspect.signature(fourfold.fit).parameters
    assert set(FitKeywords.__annotations__) < set(parameters)
    assert all(parameters[name].default is None for name in FitKeywords.__annotations__)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def test_the_command_line_has_an_option_for_each_setting_that_is_not_python_s_alone():
    parameters = {p.name: p for p in typer.main.get_command(app).commands["fit"].params}
    options, hints = options_of(FitSettings), get_type_hints(FitSettings, localns=TYPES)
    assert set(FitKeywords.__annotations__) - set(options) == {"training", "data_options", "opening"}
    for name, option in options.items():
        assert parameters[name].help == option.help
        assert parameters[name].default is None
        assert name in ("budget", "private", "public") or hints[name] in (option.type, option.type | None)


@pytest.mark.parametrize(("wrong", "right"), [("buget", "budget"), ("learningrate", "learning_rate"), ("outt", "out")])
def test_an_unknown_keyword_is_refused_with_the_nearest_name(wrong, right):
    with pytest.raises(TypeError, match=rf"fit\(\) .* got {wrong!r}; did you mean {right!r}\?"):
        fourfold.fit("flow", "two-moons", **{wrong: 1})


def test_what_is_not_given_keeps_its_value():
    before = FitSettings(size="m", seed=4, choose=False, data_options={"limit": 9})
    after = before.changed(budget="7 steps", size="auto", seed=None, choose=None, data_options={"length": 8})
    assert after.budget == parse_budget("7 steps")
    assert (after.size, after.seed, after.choose) == ("m", 4, False)
    assert after.data_options == {"limit": 9, "length": 8}
