"""Guidance of tokens and energies: 0 is the unconditional model, 1 the conditional one, others extrapolate."""

import itertools

import pytest
import torch

from fourfold.core import configuration, construct
from fourfold.estimands.guidance import classifier_free
from fourfold.paradigms import build
from fourfold.spaces import Categorical, Categories, Images, Numeric, Table, Text, Vectors

ROW = Table(
    (
        Categorical("kind", categories=("a", "b", "c")),
        Numeric("size", "int64", resolution=1, low=0, high=3, missing=True),
    )
)
ONE = Table((Categorical("kind", categories=("a", "b", "c", "d")),))
PIXELS = Images(1, 2, 2, n_values=3)
POINT = Vectors(2)


def model(recipe, space, spread=0.4):
    """A model with random weights, in which conditions matter."""
    torch.manual_seed(5)
    built = build(recipe, space, "xs")
    generator = torch.Generator().manual_seed(1)
    cond = space.given.conditions(space.given.examples(64, generator), 64)
    built.fit_statistics(space.examples(64, generator), cond)
    for weight in built.parameters():
        weight.data += (
            spread * torch.randn(weight.shape, generator=generator) / max(weight.shape[-1:], default=1) ** 0.5
        )
    return built.eval()


def examples(built, n=12):
    generator = torch.Generator().manual_seed(2)
    cond = built.space.given.conditions(built.space.given.examples(n, generator), n)
    return built.encode(built.space.examples(n, generator)).x, cond


@pytest.mark.parametrize("given", [Categories.numbered(3), POINT, ROW], ids=lambda given: type(given).__name__)
@pytest.mark.parametrize(("recipe", "space"), [("autoregressive", ROW), ("autoregressive", PIXELS)])
def test_tokens_are_conditional_at_one_and_unconditional_at_zero(recipe, space, given):
    built = model(recipe, space.conditioned_on(given))
    x, cond = examples(built)
    with torch.no_grad():
        conditional, unconditional = built.estimand(x, cond), built.estimand(x)
        full, none = (classifier_free(built, w).estimand for w in (1.0, 0.0))
        assert (conditional - unconditional).abs().max() > 0.02
        torch.testing.assert_close(full(x, cond), conditional, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(none(x, cond), unconditional, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(classifier_free(built, 4.0).estimand(x), unconditional)
    again = construct(configuration(full))
    assert again.scale == 1.0


def test_masses_of_one_token_are_powers_and_draws_follow_them():
    conditional = model("autoregressive", ONE.conditioned_on(POINT), spread=1.0)
    x, cond = torch.arange(4)[:, None], torch.tensor([[1.0, -2.0]])
    w = 2.5
    with torch.no_grad():
        log_c, log_u = (conditional.log_prob(x, c).nats.double() for c in (cond[0], None))
    p = ((1 - w) * log_u + w * log_c).softmax(0)
    strong = classifier_free(conditional, w)
    torch.testing.assert_close(strong.log_prob(x, cond[0]).nats.double().exp(), p, atol=1e-5, rtol=1e-4)
    frequency = strong.sample(4000, cond[0])[:, 0].bincount(minlength=4).double() / 4000
    assert ((frequency - p).abs() < 4 * (p * (1 - p) / 4000).sqrt() + 1e-9).all()


def test_guided_rows_have_masses_that_add_up_to_one_and_are_drawn():
    conditional = model("autoregressive", ROW.conditioned_on(Categories.numbered(2)))
    strong, (x, _) = classifier_free(conditional, 3.0), ROW.support(0, 0.0)
    p = strong.log_prob(x, 1).nats.double().exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-4)
    samples = strong.sample(4000, 1)
    shares = (samples[:, None] == x[None]).all(2).double().mean(0)
    assert ((shares - p).abs() < 4.5 * (p / 4000).sqrt() + 1e-3).all()


@pytest.mark.parametrize(("recipe", "space"), [("diffusion/masked", Text("abc", 3)), ("diffusion", ROW)])
def test_masked_tokens_are_extrapolated_and_drawn(recipe, space):
    """One token at a time, draws follow the product of the guided masses over all orders."""
    conditional, w = model(recipe, space.conditioned_on(POINT), 1.0), 2.5
    x, cond = space.support(0, 0.0)[0], conditional.space.given.conditions([1.0, -2.0], 1)
    z, net = conditional.codec.encode(x, None)[0], conditional.estimand
    strong = classifier_free(conditional, w)
    with torch.no_grad():
        observed_mask = torch.rand(z.shape) < 0.5
        rows = cond.expand(len(z), -1)
        for i in range(z.shape[1]):
            log_c, log_u = (net.conditional(z, observed_mask, i, c) for c in (rows, None))
            truth = ((1 - w) * log_u + w * log_c).log_softmax(1)
            torch.testing.assert_close(
                strong.estimand.conditional(z, observed_mask, i, rows), truth, atol=1e-5, rtol=1e-4
            )
            nats = strong.estimand(z, observed_mask, rows)[:, i]
            torch.testing.assert_close(nats, truth.gather(1, z[:, [i]])[:, 0], atol=1e-5, rtol=1e-4)
        places = torch.tensor(list(itertools.permutations(range(z.shape[1]))))
        in_order = [
            strong.estimand(z, (place < k).expand(z.shape), rows)[:, int((place == k).nonzero())]
            for place in places
            for k in range(z.shape[1])
        ]
    p = torch.stack(in_order).view(len(places), z.shape[1], -1).sum(1).double().exp().mean(0)
    assert p.sum().item() == pytest.approx(1, abs=1e-3)
    samples = strong.sample(4000, cond[0])
    shares = (samples[:, None] == x[None]).all(2).double().mean(0)
    assert ((shares - p).abs() < 4.5 * (p / 4000).sqrt() + 1e-3).all()


@pytest.mark.parametrize("recipe", ["energy", "energy/persistent", "energy/denoising"])
def test_energies_are_extrapolated(recipe):
    conditional, w = model(recipe, POINT.conditioned_on(POINT)), 2.5
    strong = classifier_free(conditional, w)
    x, cond = examples(conditional)
    with torch.no_grad():
        truth = (1 - w) * conditional.estimand(x) + w * conditional.estimand(x, cond)
        torch.testing.assert_close(strong.estimand(x, cond), truth, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(strong.estimand(x), conditional.estimand(x))
        assert (truth - conditional.estimand(x, cond)).abs().max() > 1e-3
    assert strong.sample(2, cond[:2]).isfinite().all()


def test_rows_of_masks_and_noise_are_extrapolated():
    built = model("diffusion/joint", ROW.conditioned_on(POINT))
    x, cond = examples(built)
    kinds = len(built.estimand.sizes)
    inputs = (
        x[:, :kinds].round().long(),
        torch.zeros(len(x), kinds, dtype=torch.bool),
        x[:, kinds:],
        torch.full((12,), 0.5),
    )
    with torch.no_grad():
        conditional, unknown = built.estimand(*inputs, cond), built.estimand(*inputs)
        for w, truth in ((1.0, conditional), (0.0, unknown)):
            log_p, reals = classifier_free(built, w).estimand(*inputs, cond)
            torch.testing.assert_close(reals, truth[1], atol=1e-5, rtol=1e-4)
            for part, whole in zip(log_p, truth[0], strict=True):
                torch.testing.assert_close(part, whole, atol=1e-5, rtol=1e-4)
    assert (conditional[1] - unknown[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("adversarial", "maps noise to examples at once"),
        ("flow", "maps noise to examples at once"),
        ("latent-variable", "maps noise to examples at once"),
        ("autoregressive", "its next value has no logits"),
        ("few-step", "jumps are not linear in the score"),
    ],
)
def test_other_models_say_why_they_have_none(recipe, reason):
    with pytest.raises(TypeError, match=reason):
        classifier_free(build(recipe, POINT.conditioned_on(POINT), "xs"))


def test_noised_conditions_of_reals_are_unknown_as_nan():
    """A field of a model conditioned on numbers: -1 would be a condition like any other."""
    conditional = model("diffusion", POINT.conditioned_on(POINT))
    x, cond = examples(conditional)
    t = torch.full((12,), 0.7)
    with torch.no_grad():
        none = classifier_free(conditional, 0.0).estimand
        torch.testing.assert_close(none(x, t, cond), conditional.estimand(x, t), atol=1e-5, rtol=1e-4)
        assert (conditional.estimand(x, t, torch.full_like(cond, -1)) - conditional.estimand(x, t)).abs().max() > 1e-3
    assert classifier_free(conditional, 2.0).sample(2, cond[0]).isfinite().all()
