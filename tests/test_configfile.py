"""Configuration files: written, read, refused, and repeating a run to the bit."""

import json
import re
import tomllib

import pytest
import typer

from fourfold.cli import compare
from fourfold.cli.app import app
from fourfold.cli.configfile import SECTIONS, config_text, read_config, template
from fourfold.main import run

COMMANDS = typer.main.get_command(app).commands


def call(*words):
    return run([str(word) for word in words], False)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_template_holds_every_option_and_changes_nothing(name):
    text = template(COMMANDS[name])
    assert tomllib.loads(text) == {name: {}}
    shown = tomllib.loads(re.sub(r"(?m)^# (?=[a-z-]+ = )", "", text))[name]
    params = {param.name.replace("_", "-") for param in COMMANDS[name].params}
    assert set(shown) == params - {"config", "as-json", "resume", "run-folders", "print-jobs"}
    assert max(map(len, text.splitlines())) <= 80


def test_init_writes_once(tmp_path, capsys):
    path = tmp_path / "fourfold.toml"
    assert call("init", "--out", path) == 0
    assert tomllib.loads(path.read_text()) == {"fit": {}, "compare": {}}
    assert call("init", "--out", path) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fit]\nbudgt = '5 steps'", r"got 'budgt'; did you mean 'budget'\?"),
        ("[fit]\nresume = 'x'", "option must be one of .*, got 'resume'"),
        ("[compare]\n", r"must have a section \[fit\], got none"),
        ("[fit]\nseed = {}", "seed must be a text, a number or true or false, got dict"),
        ("[fit", "must be TOML"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    path = tmp_path / "c.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config(path, COMMANDS["fit"])


def test_a_run_writes_the_file_that_repeats_it_and_the_command_line_wins(tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text(
        "[fit]\nparadigm = 'diffusion'\ndata = 'wine'\nbudget = '4 steps'\nsize = 'xs'\nseed = 5\n"
        "precision = 'float32'\nfractions = [0.7, 0.1, 0.2]\n"
    )
    first, second = tmp_path / "first", tmp_path / "second"
    assert call("fit", "--config", config, "--seed", 3, "--out", first) == 0
    capsys.readouterr()
    assert call("fit", "--config", first / "run.toml", "--out", second, "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["run"], card["data"]["seed"], card["steps"]) == (str(second), 3, 4)
    assert (first / "weights.safetensors").read_bytes() == (second / "weights.safetensors").read_bytes()
    assert (first / "run.toml").read_text().splitlines()[1:] == (second / "run.toml").read_text().splitlines()[1:]


def test_texts_survive_the_file(tmp_path):
    path = tmp_path / "c.toml"
    values = {"data": 'a "quoted"\n\\ path', "seed": 3, "given": ["labels"], "learning_rate": 1e-05, "out": "elsewhere"}
    path.write_text(config_text(COMMANDS["fit"], values, "head"))
    assert read_config(path, COMMANDS["fit"]) == {name: value for name, value in values.items() if name != "out"}


def test_results_are_printed_as_json(tmp_path, capsys):
    run = tmp_path / "run"
    fit = ("fit", "flow", "wine", "--budget", "3 steps", "--size", "xs", "--precision", "float32", "--out", run)
    assert call(*fit) == 0
    capsys.readouterr()

    def printed(*words):
        assert call(*words, "--json") == 0
        return json.loads(capsys.readouterr().out)

    scored = printed("score", run, "wine")
    assert (scored["kind"], scored["unit"], scored["examples"]) == ("exact", "nats", 18)
    assert printed("sample", run, "-n", 3)["samples"] == 3
    assert printed("data", "wine")["train"] == 142
    assert "digits" in printed("data")
    assert printed("info", run)["card"]["steps"] == 3
    assert printed("info", "flow")["vectors"]["likelihood"] == "exact"
    assert {card["name"] for card in printed("info")} >= {"flow", "diffusion", "energy"}
    assert any(score["name"].startswith("mmd") for score in printed("evaluate", run, "wine", "-n", 16))
    assert call("score", run, "wine", "--json", "--out", "-") == 2


def test_the_demo_names_the_report_and_what_to_try_next(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compare, "DEMO", ("diffusion",))
    monkeypatch.setattr(compare, "DEMO_BUDGET", "2 steps or 30s")
    report = tmp_path / "report.html"
    assert call("demo", "--out", report, "--runs-dir", tmp_path / "runs") == 0
    printed = capsys.readouterr().out
    assert f"Look at {report}" in printed
    (folder,) = re.findall(r"fourfold sample (\S+) -n 100", printed)
    assert json.loads((tmp_path / "results.json").read_text())["budget"] == "2 steps or 30s"
    assert call("info", folder) == 0
