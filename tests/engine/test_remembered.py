"""A run remembers what it is: what contradicts it is refused with both values, and it is found from everywhere."""

import json

import numpy as np
import pytest
import torch

from fourfold.cli import _run
from fourfold.data import DataError, load
from fourfold.engine import Run, fit, parse_budget
from fourfold.engine.remembered import settings_of


def call(*words):
    return _run([str(word) for word in words], False)


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
        (("diffusion",), "paradigm diffusion contradicts {}, which has flow"),
        (("--size", "m"), "size m contradicts {}, which has xs"),
        (("--seed", "0"), "seed 0 contradicts {}, which has 4"),
        (("--limit", "50"), "limit 50 contradicts {}, which has 100"),
        (("--conditional",), "conditional True contradicts {}, which has the default"),
        (("--batch-size", "8"), "batch size 8 contradicts {}, which has 16"),
        (("--learning-rate", "0.5"), "learning rate 0.5 contradicts {}, which has "),
        (("--out", "elsewhere"), "out elsewhere contradicts {}, which has {}"),
        (("flow", "two-moons"), "was trained on other data ("),
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
    fit("latent-flow", "two-moons", budget="1234567 flops", run_dir=tmp_path, data_options={"limit": 300}, **settings)
    found = settings_of(tmp_path, {}, {})
    assert {key: found[key] for key in settings} == settings
    assert parse_budget(found["budget"]) == parse_budget("1234567 flops")
    assert settings_of(tmp_path, {"device": "cuda", "budget": "2 steps"}, {})["device"] == "cuda"


@pytest.mark.parametrize("budget", ["1234567 steps", "12345.678s", "3.4567891e9 flops", "1e15 flops", "0.1 epochs"])
def test_a_budget_is_written_exactly(budget):
    assert parse_budget(str(parse_budget(budget))) == parse_budget(budget)


def test_other_settings_of_training_are_refused(folder):
    run, data = Run.load(folder), load(folder.parent / "rel.npy", seed=4, limit=100)
    with pytest.raises(ValueError, match=r"was trained with Training.*, not with Training"):
        fit("flow", data, run_dir=folder, seed=4, resume=True, training=run.model.training_defaults)
    assert torch.isfinite(run.sample(2)).all()
