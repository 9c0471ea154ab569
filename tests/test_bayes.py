"""Classes by Bayes' rule through a generative model: against the exact answer on data with a known density."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.main import run as main
from fourfold.paradigms import build
from fourfold.spaces import Categories, Vectors
from fourfold.tasks import class_probabilities, classify


def test_class_probabilities_are_bayes_rule_on_the_likelihoods_of_the_classes() -> None:
    torch.manual_seed(0)
    model = build("autoregressive", Vectors(2, given=Categories.numbered(3)), "xs").eval()
    for p in model.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    x, prior = torch.randn(20, 2), torch.tensor([0.2, 0.5, 0.3])
    joint = torch.stack([model.log_prob(x, c).nats.double().exp() * prior[c].double() for c in range(3)], 1)
    probabilities = class_probabilities(model, x, prior)
    assert torch.allclose(probabilities, joint / joint.sum(1, keepdim=True), atol=1e-9)
    assert torch.allclose(classify(model, x), class_probabilities(model, x))
    with pytest.raises(ValueError, match="3 probabilities that add up to 1"):
        class_probabilities(model, x, torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match="must have classes"):
        class_probabilities(build("autoregressive", Vectors(2), "xs"), x)
    with pytest.raises(ValueError, match="must have a likelihood"):
        class_probabilities(build("adversarial", Vectors(2, given=Categories.numbered(3)), "xs").eval(), x)


def test_the_command_classifies_examples_by_the_classes_that_a_model_is_given(tmp_path, capsys) -> None:
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 200)
    x = (draw.normal(size=(200, 2)) + 6 * y[:, None]).astype(np.float32)
    np.savez(tmp_path / "apart.npz", x=x, y=y)
    np.savez(tmp_path / "bare.npz", x=x)
    run = tmp_path / "run"
    trained = fourfold.fit(
        "flow", tmp_path / "apart.npz", given="labels", budget="60 steps", out=run, precision="float32"
    )
    assert main(["classify", str(run), str(tmp_path / "apart.npz"), "--json"]) == 0
    (score,) = json.loads(capsys.readouterr().out)["scores"]
    truth = fourfold.tasks.classify(trained.model, torch.from_numpy(x)).argmax(1).numpy() == y
    assert score["accuracy"][0] == truth.mean() > 0.9
    assert main(["classify", str(run), str(tmp_path / "bare.npz"), "--out", str(tmp_path / "p.csv")]) == 0
    predicted = pd.read_csv(tmp_path / "p.csv")["predicted"].astype(int).to_numpy()
    assert (predicted == y).mean() == score["accuracy"][0]
    assert "has no classes" in capsys.readouterr().err
