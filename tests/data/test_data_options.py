"""A setting of reading data is declared once: options, keywords, signature and records come from it."""

import inspect
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import numpy as np
import pytest
import typer
from torch import Tensor

import fourfold
from fourfold.cli.app import app
from fourfold.core import Space
from fourfold.main import run
from fourfold.privacy import Protection
from fourfold.settings.data import DataKeywords, DataOptions, words_of
from fourfold.settings.declaration import options_of

TYPES = {"np": np, "Tensor": Tensor, "Space": Space, "Protection": Protection}
WIDER = {
    "labels": str | os.PathLike[str] | np.ndarray | Tensor | None,
    "size": int | tuple[int, int] | None,
    "tokens": str | os.PathLike[str] | None,
    "schema": str | os.PathLike[str] | None,
    "rules": bool,
    "data_dir": str | os.PathLike[str] | None,
    "text_model": str | os.PathLike[str] | None,
}
"""What a caller may give where a reader takes one form."""
EVERY: dict[str, Any] = {
    "labels": "kind",
    "given": ["age,income", "./faces"],
    "limit": 50,
    "size": (8, 8),
    "channels": 1,
    "rate": 8000,
    "seconds": 1.5,
    "n_values": 17,
    "skip_bad": True,
    "deduplicate": True,
    "stream": True,
    "length": 64,
    "tokens": "bpe:512",
    "text": "body",
    "text_model": "lm",
    "fractions": [0.5, 0.25, 0.25],
    "space": "table",
    "schema": __file__,
    "rules": False,
    "rare": 7,
    "keep_rare": True,
    "header": False,
    "query": "select * from t",
    "target": "y",
    "group": "user",
    "series": "shop",
    "order": "at",
    "data_dir": "there",
}


class Asked(Exception):  # noqa: N818
    """Carries what load was called with."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(data: str, **keywords: Any) -> None:
        raise Asked(keywords)

    monkeypatch.setattr("fourfold.cli.data.load", pretend)


def given_by(words: Sequence[str]) -> dict[str, Any]:
    with pytest.raises(Asked) as caught:
        app(["data", "x.csv", *words], standalone_mode=False)
    return {name: value for name, value in caught.value.args[0].items() if name != "seed"}


def test_the_keywords_for_editors_are_the_fields_and_their_types() -> None:
    declared, keywords = get_type_hints(DataOptions, localns=TYPES), get_type_hints(DataKeywords, localns=TYPES)
    assert list(keywords) == [f.name for f in fields(DataOptions)]
    assert keywords == {**{name: declared[name] for name in keywords}, **WIDER}


def test_the_signature_spells_out_every_keyword_and_its_default() -> None:
    parameters = inspect.signature(fourfold.load).parameters
    assert {name: p.default for name, p in parameters.items() if name != "data"} == {
        f.name: f.default for f in fields(DataOptions)
    }


@pytest.mark.parametrize("command", ["fit", "compare", "data"])
def test_every_setting_but_the_seed_is_an_option(command: str) -> None:
    params = {p.name: p for p in typer.main.get_command(app).commands[command].params}  # type: ignore[attr-defined]
    options = options_of(DataOptions)
    assert set(options) == {f.name for f in fields(DataOptions)} - {"seed", "private", "text_rows"} == set(EVERY)
    for name, option in options.items():
        param = params[option.parameter(name)]
        assert (param.help, param.default) == (option.help, None)


@pytest.mark.parametrize("name", [*EVERY, "everything"])
def test_the_words_of_a_setting_give_it_again(asked: None, name: str) -> None:
    given = EVERY if name == "everything" else {name: EVERY[name]}
    words = [word for setting, value in given.items() for word in words_of(setting, value) or ()]
    assert DataOptions.of(**given_by(shlex.split(shlex.join(words)))) == DataOptions.of(**given)


def test_what_no_command_line_can_give_has_no_words() -> None:
    assert words_of("labels", np.arange(3)) is words_of("size", (4, 7)) is words_of("seed", 3) is None
    assert words_of("skip_bad", False) == []
    assert words_of("size") == ["--image-size"]


def test_nothing_is_given_that_was_not_asked_for(asked: None) -> None:
    assert given_by([]) == {}


@pytest.mark.parametrize("name", ["lable", "fraction"])
def test_an_unknown_setting_is_refused_with_the_nearest_name(name: str) -> None:
    with pytest.raises(
        TypeError, match=rf"load\(\) .* got {name!r}; did you mean '{'labels' if name == 'lable' else name + 's'}'"
    ):
        fourfold.load("two-moons", **{name: 1})  # type: ignore[arg-type]


def test_a_run_of_the_command_line_records_its_fractions(tmp_path, capsys) -> None:
    words = ["fit", "flow", "two-moons", "--limit", "200", "--fractions", "0.5,0.25,0.25", "--size", "xs"]
    assert run([*words, "--budget", "1 steps", "--out", str(tmp_path / "r")], False) == 0
    record = json.loads((tmp_path / "r" / "card.json").read_text())["data"]
    assert (record["train"], record["options"]["fractions"]) == (100, [0.5, 0.25, 0.25])
    again = fourfold.Run.load(tmp_path / "r").dataset()
    assert [len(part) for part in (again.train, again.validation, again.test)] == [100, 50, 50]
