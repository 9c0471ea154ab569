"""The zoo: small runs that come with the package, found by name wherever a run is asked for."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fourfold import Run
from fourfold.cli.app import app
from fourfold_web import recorded, zoo
from fourfold_web.traces import traced

LIMIT = 4_000_000
SEEN = ["two-moons/flow", "two-moons/latent-variable", "digits/diffusion"]


def test_the_zoo_is_small_and_its_weights_are_those_of_its_digests():
    files = [path for path in zoo.FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT
    digests = json.loads((zoo.FOLDER / "digests.json").read_text(encoding="utf-8"))
    weights = {path.relative_to(zoo.FOLDER).as_posix(): path for path in files if path.suffix == ".safetensors"}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in weights.items()} == digests
    assert {"model.json", "card.json", "weights.safetensors"} <= {path.name for path in files}


def test_each_paradigm_is_there_once_at_least():
    paradigms = {json.loads((zoo.FOLDER / name / "card.json").read_text())["facts"]["paradigm"] for name in zoo.names()}
    assert paradigms == {"autoregressive", "latent-variable", "adversarial", "diffusion", "flow", "energy"}
    assert recorded.sets() == {"two-moons": [*recorded.ORDER], "digits": [*recorded.ORDER]}


@pytest.mark.parametrize("name", SEEN)
def test_a_run_is_loaded_by_its_name(name: str):
    run = Run.load(f"zoo:{name}", "cpu")
    assert run.folder == zoo.FOLDER / name
    assert torch.equal(run.sample(3, seed=1), Run.load(zoo.FOLDER / name, "cpu").sample(3, seed=1))


def test_the_command_line_samples_a_run_into_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["sample", "zoo:two-moons/flow", "-n", "3"])
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "samples.csv").read_text().splitlines()) == 4
    assert not list((zoo.FOLDER / "two-moons" / "flow").glob("samples*"))


def test_an_unknown_name_lists_those_of_the_zoo():
    with pytest.raises(ValueError, match=r"zoo:digits/nothing.*digits/diffusion"):
        Run.load("zoo:digits/nothing")


def test_a_folder_comes_before_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Run.load("zoo:two-moons/energy", "cpu").save(tmp_path / "zoo:two-moons" / "flow")
    assert "energy" in Run.load("zoo:two-moons/flow", "cpu").card["paradigm"]


@pytest.mark.parametrize("name", ["two-moons/flow", "two-moons/adversarial"])
def test_a_stored_trace_is_that_of_its_run(name: str):
    data, _, paradigm = name.partition("/")
    stored, fresh = json.loads(recorded.trace_of(data, paradigm)), traced(zoo.folder_of(name), data).record()
    assert [frame["caption"] for frame in stored["frames"]] == [frame["caption"] for frame in fresh["frames"]]
    assert stored["answers"] == fresh["answers"]
    assert stored["evaluations"] == fresh["evaluations"]
    layers = [[layer for panel in record["panels"] for layer in panel["layers"]] for record in (stored, fresh)]
    first, second = (torch.tensor([(layer["low"], layer["high"]) for layer in part]) for part in layers)
    torch.testing.assert_close(first, second, atol=1e-2, rtol=1e-2)
