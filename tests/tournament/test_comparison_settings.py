"""Every option stands in one place: signature, command line and printed command agree with it."""

import importlib
import inspect
import shlex
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
import typer

import fourfold
from fourfold.cli.app import app
from fourfold.settings.data import DataOptions
from fourfold.settings.declaration import options_of
from fourfold.tournament import Settings, compare
from fourfold.tournament.settings import CompareKeywords

EVERY: dict[str, Any] = {
    "budget": "300 steps",
    "paradigms": ("flow/maf", "diffusion"),
    "seeds": 3,
    "folds": 5,
    "seed": 7,
    "size": "xs",
    "n": 128,
    "features": "pixels",
    "likelihood_examples": 99,
    "patience": 2.5,
    "sweep": False,
    "precision": "float32",
    "compile": False,
    "device": "cpu",
    "executor": "cluster:cpus=2,gpus=0.5",
    "samples": ("theirs=new.csv", "old.csv"),
    "data_options": {"limit": 500, "given": "labels", "n_values": 16, "size": 8, "fractions": [0.7, 0.2, 0.1]},
    "out": "a folder/r.html",
    "runs_dir": "somewhere",
    "resume": False,
}


def test_the_signature_has_the_fields_and_their_defaults() -> None:
    parameters = inspect.signature(compare).parameters
    own = {name: p.default for name, p in parameters.items() if name not in ("data", "given", "progress", "say")}
    assert own == {f.name: f.default for f in fields(Settings)}
    assert set(EVERY) == set(own)
    assert all(EVERY[name] != default for name, default in own.items())


def test_the_command_line_has_every_option_with_the_same_default() -> None:
    parameters = {p.name: p for p in typer.main.get_command(app).commands["compare"].params}
    defaults = {f.name: f.default for f in fields(Settings) if f.name != "data_options"}
    assert set(defaults) <= set(parameters)
    for name, default in defaults.items():
        option_default = parameters[name].default
        assert (str(option_default) if name in ("out", "runs_dir") else option_default) == (
            "report.html" if name == "out" else default
        )
    rest = set(parameters) - set(defaults) - {"data", "config", "as_json", "threads", "print_jobs", "run_folders"}
    assert rest == {option.parameter(name) for name, option in options_of(DataOptions).items()}


class Asked(Exception):  # noqa: N818
    """Carries what compare was called with."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(data: str, settings: Settings, **options: Any) -> None:
        raise Asked(data, settings)

    monkeypatch.setattr("fourfold.cli.compare.run_comparison", pretend)


@pytest.mark.parametrize("name", [*EVERY, "everything"])
def test_the_printed_command_gives_every_option_again(asked: None, name: str) -> None:
    given = EVERY if name == "everything" else {name: EVERY[name]}
    words = shlex.split(Settings(**given).command("my data.csv"))
    with pytest.raises(Asked) as caught:
        app(words[1:], standalone_mode=False)
    assert caught.value.args == ("my data.csv", Settings(**{"out": "report.html", **given}))


def test_the_printed_call_gives_every_option_again() -> None:
    call = Settings(**EVERY).call(repr("my data.csv"))

    class Module:
        @staticmethod
        def compare(data: str, **options: Any) -> tuple[str, Settings]:
            return data, Settings(**options)

    assert eval(call, {"fourfold": Module}) == ("my data.csv", Settings(**EVERY))
    assert Settings().call("dataset") == "fourfold.compare(dataset)"


def test_what_only_python_can_ask_for_has_no_command() -> None:
    assert Settings(data_options={"size": (8, 9)}).command("digits") == ""
    assert (
        Settings(data_options={"limit": 9, "skip_bad": False}).command("digits") == "fourfold compare digits --limit 9"
    )


@pytest.mark.parametrize(
    "wrong",
    [{"budget": "soon"}, {"seeds": 0}, {"n": 3}, {"patience": 0.0}, {"precision": "half"}, {"likelihood_examples": 1}],
)
def test_what_cannot_be_asked_for_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong)).split("_")[0])):
        Settings(**wrong)


def test_patience_follows_the_budget() -> None:
    assert Settings(budget="60s").seconds == 30
    assert Settings(budget="2s").seconds == 5
    assert Settings(budget="10 steps").seconds == 120
    assert Settings(budget="60s", patience=1.0).seconds == 1


def test_compare_is_the_function_whatever_is_imported() -> None:
    importlib.import_module("fourfold.tournament.worker")
    assert inspect.isfunction(fourfold.compare)
    assert fourfold.compare is compare


def test_the_whole_time_lies_between_training_alone_and_all_that_measuring_may_take() -> None:
    settings = Settings(budget="2m")
    assert settings.seconds == 60
    assert settings.time(8) == "8 runs of 2m: about 17 min to 37 min, one after the other"  # 8 (8 + 120), and 8 * 150 s
    assert Settings(budget="10s", sweep=False).time(1) == "1 run of 10s: about 18 s to 28 s, one after the other"
    assert Settings(budget="1h").time(8).startswith("8 runs of 1h: about 8.0 h to 18.0 h")
    assert Settings(budget="400 steps or 30s", patience=5).time(2).startswith("2 runs of 400 steps or 30s: about 76 s")
    assert Settings(budget="40 steps").time(2) == "2 runs of 40 steps, and at most 10 min to measure them"


def test_the_keywords_for_editors_are_the_fields_and_their_types() -> None:
    declared, keywords = get_type_hints(Settings), get_type_hints(CompareKeywords)
    assert set(keywords) == set(declared)
    wider = {"budget", "paradigms", "samples", "out", "runs_dir"}  # Settings.of makes one value of them
    assert {name: keywords[name] for name in set(keywords) - wider} == {
        name: declared[name] for name in set(declared) - wider
    }


def test_each_option_is_that_of_its_field() -> None:
    parameters = {p.name: p for p in typer.main.get_command(app).commands["compare"].params}
    options, hints = options_of(Settings), get_type_hints(Settings)
    assert {f.name for f in fields(Settings)} - set(options) == {"out", "runs_dir", "data_options"}
    for name, option in options.items():
        assert parameters[name].help == option.help
        assert name in ("paradigms", "samples") or hints[name] in (option.type, option.type | None)


def test_an_unknown_keyword_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match=r"compare\(\) .* got 'budjet'; did you mean 'budget'\?"):
        fourfold.compare("two-moons", budjet=2)  # type: ignore[call-arg]
