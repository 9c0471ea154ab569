"""A run remembers what it is: what contradicts it is refused with both values, and it is found from everywhere."""

import json
import re

import numpy as np
import pytest
import torch

from fourfold.data import DataError, load
from fourfold.engine import Run, fit, parse_budget
from fourfold.engine.loader import Loader
from fourfold.main import run
from fourfold.paradigms import build_recipe
from fourfold.runs.card import read_card
from fourfold.runs.remembered import settings_of


def call(*words):
    return run([str(word) for word in words], False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on a relative path, trained for three steps."""
    place = tmp_path_factory.mktemp("place")
    np.save(place / "rel.npy", np.random.default_rng(0).normal(size=(200, 3)).astype("float32"))
    words = ("--size", "xs", "--budget", "3 steps", "--seed", 4, "--limit", 100, "--batch-size", 16)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert call("fit", "flow", "rel.npy", *words, "--precision", "float32", "--out", "run") == 0
    return place / "run"


@pytest.mark.parametrize(
    ("words", "both"),
    [
        (("diffusion",), "paradigm must be flow, as in {}, got diffusion; leave it out"),
        (("--size", "m"), "size must be xs, as in {}, got m; leave it out"),
        (("--seed", "0"), "seed must be 4, as in {}, got 0; leave it out"),
        (("--limit", "50"), "limit must be 100, as in {}, got 50; leave it out"),
        (
            (
                "--given",
                "labels",
            ),
            "given must be the default, as in {}, got labels; leave it out",
        ),
        (("--batch-size", "8"), "batch size must be 16, as in {}, got 8; leave it out"),
        (("--learning-rate", "0.5"), "learning rate must be 0.002, as in {}, got 0.5; leave it out"),
        (("--out", "elsewhere"), "--out must be left out with --resume, which names the run folder {}, got elsewhere"),
        (("flow", "two-moons"), "data must be that of "),
    ],
)
def test_what_contradicts_a_run_is_refused_with_both_values(folder, capsys, words, both):
    before = (folder / "card.json").read_bytes()
    assert call("fit", "--resume", folder, *words) == 2
    assert both.replace("{}", str(folder)) in " ".join(capsys.readouterr().err.split())
    assert (folder / "card.json").read_bytes() == before


def test_what_is_equal_is_accepted(folder):
    words = ("--size", "xs", "--seed", 4, "--limit", 100, "--batch-size", 16, "--length", 256, "--budget", "4 steps")
    assert call("fit", "flow", folder.parent / "rel.npy", "--resume", folder, *words) == 0
    assert Run.load(folder).card["steps"] == 4


def test_data_is_found_from_another_folder(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert json.loads((folder / "card.json").read_text())["data"]["path"] == str(folder.parent / "rel.npy")
    assert call("score", folder, "-n", 5) == 0
    assert call("fit", "--resume", folder, "--budget", "5 steps") == 0
    assert Run.load(folder).dataset().digest == Run.load(folder).card["data"]["digest"]


def test_whole_numbers_stay_vectors_for_a_run_that_was_trained_on_them(tmp_path):
    """A run that was written when a file of whole numbers was read as vectors goes on, and is scored."""
    rows = np.random.default_rng(0).integers(0, 9, (100, 2))
    np.savetxt(tmp_path / "t.csv", rows, "%d", ",", header="a,b", comments="")
    words = ("--size", "xs", "--budget", "2 steps", "--precision", "float32", "--out", tmp_path / "run")
    assert call("fit", "flow", tmp_path / "t.csv", "--space", "vectors", *words) == 0
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    del card["data"]["options"]["space"]
    (tmp_path / "run" / "card.json").write_text(json.dumps(card))
    assert Run.load(tmp_path / "run").dataset().train.x.dtype == torch.float32
    assert call("fit", "--resume", tmp_path / "run", "--budget", "3 steps") == 0


def test_data_that_has_moved_is_told_and_can_be_given(folder, tmp_path, monkeypatch):
    old, new = folder.parent / "rel.npy", tmp_path / "moved.npy"
    old.rename(new)
    try:
        with pytest.raises(DataError, match=rf"{old}, the data of {folder}, is not there: .* RUN DATA"):
            Run.load(folder).dataset()
        assert call("fit", "flow", new, "--resume", folder, "--budget", "6 steps") == 0
    finally:
        new.rename(old)


def test_what_was_asked_is_remembered(tmp_path):
    settings = {"size": "xs", "precision": "autocast", "checkpoint_every": 7.5, "device": "cpu"}
    fit("latent-flow", "two-moons", budget="1234567 flops", out=tmp_path, data_options={"limit": 300}, **settings)
    remembered = settings_of(read_card(tmp_path), tmp_path)
    assert {key: getattr(remembered, key) for key in settings} == settings
    assert remembered.budget == parse_budget("1234567 flops")
    assert remembered.data_options == {"limit": 300}


@pytest.mark.parametrize("budget", ["1234567 steps", "12345.678s", "3.4567891e9 flops", "1e15 flops", "0.1 epochs"])
def test_a_budget_is_written_exactly(budget):
    assert parse_budget(str(parse_budget(budget))) == parse_budget(budget)


def test_other_settings_of_training_are_refused(folder):
    run, data = Run.load(folder), load(folder.parent / "rel.npy", seed=4, limit=100)
    with pytest.raises(ValueError, match=r"batch size must be 16, as in .*, got \d+; leave it out"):
        fit("flow", data, out=folder, seed=4, resume=True, training=run.model.training_defaults)
    assert torch.isfinite(run.sample(2)).all()


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        ({"paradigm": "diffusion"}, "paradigm must be flow, as in {}, got diffusion; leave it out"),
        ({"size": "m"}, "size must be xs, as in {}, got m; leave it out"),
        ({"seed": 0}, "seed must be 4, as in {}, got 0; leave it out"),
        ({"batch_size": 8}, "batch size must be 16, as in {}, got 8; leave it out"),
        ({"learning_rate": 0.5}, "learning rate must be 0.002, as in {}, got 0.5; leave it out"),
        ({"muon_rate": 0.5}, "muon rate must be the default, as in {}, got 0.5; leave it out"),
        ({"data_options": {"limit": 50}}, "limit must be 100, as in {}, got 50; leave it out"),
        ({"data_options": {"size": (8, 8)}}, "image size must be the default, as in {}, got (8, 8); leave it out"),
        ({"data": "two-moons"}, "data must be that of "),
    ],
)
def test_python_refuses_the_same(folder, settings, both):
    before = (folder / "card.json").read_bytes()
    with pytest.raises(ValueError, match=re.escape(both.replace("{}", str(folder)))):
        fit(**settings, out=folder, resume=True)
    assert (folder / "card.json").read_bytes() == before


def test_python_remembers_everything(tmp_path):
    settings = {"size": "xs", "seed": 4, "batch_size": 16, "precision": "float32", "checkpoint_every": 7.0}
    before = fit("flow", "two-moons", budget="3 steps", out=tmp_path, data_options={"limit": 99}, **settings).card
    after = fit(out=tmp_path, resume=True, budget="4 steps", size="xs").card
    keys = ("paradigm", "recipe", "size", "seed", "training", "asked", "data", "precision")
    assert {key: after[key] for key in keys} == {key: before[key] for key in keys}
    assert (before["steps"], after["steps"]) == (3, 4)
    assert fit(out=tmp_path, resume=True).card["steps"] == 4  # the budget, too


def test_nothing_to_train_is_said(tmp_path):
    with pytest.raises(ValueError, match="paradigm and data must be given, got None"):
        fit("flow", out=tmp_path / "new")
    with pytest.raises(ValueError, match="out must be the folder of a run to resume"):
        fit("flow", "two-moons", resume=True)
    assert not list(tmp_path.iterdir())


def test_a_batch_size_walks_to_the_loader_and_one_model_is_built(tmp_path, monkeypatch):
    built, loaders = [], []

    def build(*words):
        built.append(words)
        return build_recipe(*words)

    def loader(*words, **settings):
        loaders.append(Loader(*words, **settings))
        return loaders[-1]

    monkeypatch.setattr("fourfold.engine.start.build_recipe", build)
    monkeypatch.setattr("fourfold.engine.gradients.Loader", loader)
    words = ("fit", "diffusion", "digits", "--budget", "2 steps", "--size", "xs", "--precision", "float32")
    assert call(*words, "--batch-size", 24, "--muon-rate", 0, "--out", tmp_path / "run") == 0
    assert len(built) == 1
    assert [source.batch_size for source in loaders] == [24]
    card = Run.load(tmp_path / "run").card
    assert (card["training"]["batch_size"], card["training"]["muon_rate"]) == (24, None)


@pytest.mark.parametrize(
    "settings", [{"seed": -1}, {"checkpoint_every": -1.0}, {"batch_size": 0}, {"learning_rate": 0.0}]
)
def test_a_value_out_of_range_is_refused_before_data_is_read(settings, monkeypatch):
    monkeypatch.setattr("fourfold.engine.fitting.load", lambda *args, **options: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=r"must be (at least 0|positive)"):
        fit("flow", "two-moons", **settings)


def test_data_that_another_version_reads_otherwise_are_read_as_the_model_does(tmp_path):
    """The rows are the same to the bit. The columns that are inferred from them, such as a format, may not be."""
    rng = np.random.default_rng(0)
    rows = [f"{rng.bytes(8).hex()},{rng.normal():.2f}" for _ in range(100)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,x", *rows]))
    folder = tmp_path / "run"
    before = fit("flow", tmp_path / "rows.csv", budget="2 steps", size="xs", precision="float32", out=folder).dataset()
    text = (folder / "model.json").read_text()
    assert "[0-9a-f]{16}" in text
    (folder / "model.json").write_text(text.replace("[0-9a-f]{16}", "id {}"))
    again = Run.load(folder)
    assert not again.model.space.fits(load(tmp_path / "rows.csv").space)
    assert again.dataset().digest == before.digest
    assert torch.equal(again.dataset().test.x, before.test.x)
    assert again.dataset().space == again.model.space
    assert torch.equal(again.test_set(tmp_path / "rows.csv").test.x, before.test.x)
