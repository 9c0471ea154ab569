"""A trained model is saved as a run wherever it was trained, and opened again by Python and the command line."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from torch import nn

import fourfold
from fourfold import main
from fourfold.engine import BrokenRun, Run, fit

from .toys import velocity_model

MOONS = fourfold.load("two-moons", limit=400)
XS = {"size": "xs", "precision": "float32"}


def fourfold_command(*words):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main.run([str(word) for word in words]) == 0
    return printed.getvalue()


def trained_by_hand(data, steps=30):
    """A model of a plain torch loop, which knows fourfold's parts alone."""
    torch.manual_seed(0)
    model = fourfold.build("diffusion", data.space, size="xs")
    model.fit_statistics(data.train.x, data.train.cond)
    (term,) = model.terms().values()
    optimizer = torch.optim.Adam(term.parameters(), 1e-3)
    for _ in range(steps):
        rows = torch.randint(len(data.train), (64,))
        cond = None if data.train.cond is None else data.train.cond[rows]
        optimizer.zero_grad()
        term(model.encode(data.train.x[rows], cond)).mean().backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    data = fourfold.load("wine", given="labels")
    return Run(trained_by_hand(data), data=data).save(tmp_path_factory.mktemp("saved") / "mine")


def test_a_model_of_a_plain_torch_loop_is_opened_again_as_it_was(by_hand):
    x = by_hand.data.test.x
    loaded = Run.load(by_hand.folder)
    assert not loaded.model.training
    assert torch.equal(loaded.sample(5, given=1), by_hand.sample(5, given=1))
    assert torch.equal(loaded.log_prob(x, given=0).nats, by_hand.log_prob(x, given=0).nats)
    assert loaded.dataset().space == by_hand.model.space  # with its classes, as it was loaded


def test_the_command_line_uses_a_model_of_a_plain_torch_loop(by_hand, tmp_path):
    fourfold_command("sample", by_hand.folder, "-n", 5, "--given", "class_1", "--out", tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), by_hand.sample(5, given=1))
    scored = json.loads(fourfold_command("score", by_hand.folder, "--json"))
    mean = by_hand.log_prob(by_hand.data.test.x, given=by_hand.data.test.cond).nats.mean()
    assert scored["mean"] == pytest.approx(float(mean), rel=1e-4)
    assert "likelihood" in fourfold_command("evaluate", by_hand.folder, "-n", 18)
    assert "trained     elsewhere" in fourfold_command("info", by_hand.folder)


def test_a_model_of_the_generator_is_saved_without_data_too(tmp_path):
    model = fourfold.build("flow", MOONS.space, size="xs")
    for step in fourfold.train(model, MOONS.train.x, budget="100 steps"):
        if step.index == 5:
            break
    run = Run(model).save(tmp_path / "mine")
    loaded = Run.load(tmp_path / "mine")
    assert torch.equal(loaded.sample(4), run.sample(4))
    assert loaded.card["trained"] == "elsewhere"
    with pytest.raises(ValueError, match="data must be named"):
        loaded.evaluate()
    assert "data        not recorded" in fourfold_command("info", run.folder)


def test_fit_without_a_folder_is_saved_as_fit_with_one_writes_it(tmp_path):
    written = fit("flow", MOONS, budget="6 steps", out=tmp_path / "fit", **XS)
    saved = fit("flow", MOONS, budget="6 steps", **XS).save(tmp_path / "saved")
    for name in ("model.json", "weights.safetensors"):
        assert (tmp_path / "fit" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
    ours, theirs = (json.loads((tmp_path / name / "card.json").read_text()) for name in ("saved", "fit"))
    for card in (ours, theirs):
        assert card.pop("seconds") > card["choice"].pop("seconds") > 0
    assert ours == theirs
    assert torch.equal(Run.load(tmp_path / "saved").sample(3), written.sample(3))
    assert repr(saved).startswith(f"Run('{tmp_path / 'saved'}': flow on two-moons, 6 steps in ")


def test_a_saved_run_is_not_overwritten_and_not_resumed(tmp_path):
    run = fit("flow", MOONS, budget="2 steps", **XS).save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"a, which holds weights of a trained model: .*choose another"):
        run.save(tmp_path / "a")
    with pytest.raises(BrokenRun, match="resume/ is missing"):
        fit(data=MOONS, out=tmp_path / "a", resume=True)
    Run(run.model).save(tmp_path / "b")
    with pytest.raises(BrokenRun, match=r"b was trained elsewhere, so there is no training to resume: "):
        fit(data=MOONS, out=tmp_path / "b", resume=True)


def test_what_could_not_be_opened_again_is_not_written(tmp_path):
    class Net(nn.Module):
        def forward(self, x, t, cond=None):
            return x

    model = fourfold.build("flow", MOONS.space, size="xs")
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="holds NaN"):
        Run(model).save(tmp_path / "nan")
    foreign = velocity_model()
    foreign.estimand.__dict__["_arguments"] = {"net": Net()}
    with pytest.raises(TypeError, match="must be a Part or a dataclass, got Net"):
        Run(foreign).save(tmp_path / "net")
    with pytest.raises(TypeError, match=r"data must be a Dataset, got ndarray: load it"):
        Run(model, data=np.zeros((30, 2)))
    assert not list(tmp_path.iterdir())


def test_a_data_set_is_loaded_again_as_it_was(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "".join(f"{i}.5,{i % 7},{'uv'[i % 2]}\n" for i in range(60)))
    data = fourfold.load(tmp_path / "t.csv", labels="kind", given="labels", fractions=(0.5, 0.5), seed=3)
    Run(trained_by_hand(data, 1), data=data).save(tmp_path / "mine")
    again = Run.load(tmp_path / "mine").dataset()
    assert (again.space, again.digest, again.seed) == (data.space, data.digest, 3)
    assert torch.equal(again.test.x, data.test.x)
    assert torch.equal(again.test.cond, data.test.cond)
    assert Run.load(tmp_path / "mine").label_column == "kind"
