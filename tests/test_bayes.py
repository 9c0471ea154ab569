"""Classes by Bayes' rule through a generative model: against the exact answer on data with a known density."""

import pytest
import torch

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
    with pytest.raises(ValueError, match="has no classes"):
        class_probabilities(build("autoregressive", Vectors(2), "xs"), x)
    with pytest.raises(ValueError, match="must have a likelihood"):
        class_probabilities(build("adversarial", Vectors(2, given=Categories.numbered(3)), "xs").eval(), x)
