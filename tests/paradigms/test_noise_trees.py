"""Denoisers of trees: those of Gaussians in closed form, what trees add, and the likelihood of a mixture."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

import fourfold
from fourfold.codecs import RealRows
from fourfold.core import GenerativeModel, Noise
from fourfold.likelihoods import DiffusionBound
from fourfold.nn.noise_trees import NoiseTrees
from fourfold.paradigms import build
from fourfold.samplers.inverse import Matrix, Posterior
from fourfold.spaces import Categorical, Categories, Images, Numeric, Table, Vectors
from fourfold.spaces.columns import MISSING, UNSEEN
from fourfold.vocabulary import Kind, TooManyColumns

SCHEMA = (
    Numeric("size", "int64", low=0, high=200, missing=True),
    Categorical("kind", categories=("a", "b", "c"), missing=True),
    Numeric("weight", "int64", low=0, high=300),
    Categorical("group", categories=("no", "yes")),
)
TABLE = Table(SCHEMA, target="group")


def rows(n: int, seed: int = 0) -> Tensor:
    """Two groups. The weight follows the size, and the kind says how the size was cut."""
    g = torch.Generator().manual_seed(seed)
    group = (torch.rand(n, generator=g) < 0.3).long()
    size = (60 + 70 * group + 10 * torch.randn(n, generator=g)).round().clamp(0, 200).long()
    weight = (1.2 * size + 5 * torch.randn(n, generator=g)).round().clamp(0, 300).long()
    kind = torch.where(torch.rand(n, generator=g) < 0.1, MISSING, (size // 20) % 3)
    return torch.stack([size.masked_fill(torch.rand(n, generator=g) < 0.15, MISSING), kind, weight, group], 1)


@pytest.fixture(scope="module")
def model() -> GenerativeModel:
    torch.manual_seed(0)
    model = build("diffusion/trees", TABLE, "xs")
    model.fit_statistics(rows(300))
    return model.eval()


def points(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points of two Gaussians."""
    g = torch.Generator().manual_seed(seed)
    label = (torch.rand(n, generator=g) < 0.4).long()
    x = torch.randn(n, 3, generator=g) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.6, 0.2], [0.0, 0.0, 0.3]])
    return x + 3.0 * label.unsqueeze(1), label


def without_trees(net: NoiseTrees) -> NoiseTrees:
    net.value.zero_()
    return net.double()


def test_without_trees_it_is_the_denoiser_of_a_mixture_of_gaussians() -> None:
    """The oracle: ``E[x | y] = y + s^2 grad log p(y)`` of the noised mixture, at noise of at least 1."""
    x, label = points(400)
    net = NoiseTrees(3, classes=2, levels=2, rounds=1, leaves=4)
    net.fit(x, label)
    net = without_trees(net)
    y = x[:20].double().requires_grad_()
    s, masses = torch.linspace(1, 4, 20, dtype=torch.float64), torch.tensor([0.6, 0.4], dtype=torch.float64)
    denoised, share = net(y, s, masses.log().expand(20, 2))
    nats = []
    for k in range(2):
        covariance = net.basis[k] @ net.variance[k].diag() @ net.basis[k].T
        noised = covariance + s.square()[:, None, None] * torch.eye(3, dtype=torch.float64)
        nats.append(MultivariateNormal(net.mean[k], noised).log_prob(y) + masses[k].log())
    total = torch.stack(nats, 1)
    (score,) = torch.autograd.grad(total.logsumexp(1).sum(), y)
    assert torch.allclose(denoised, y + s.square().unsqueeze(1) * score, atol=1e-6)
    assert torch.allclose(share, total.softmax(1), atol=1e-6)


def test_trees_add_what_a_gaussian_leaves_over_and_none_is_added_where_it_leaves_nothing() -> None:
    """On a ring the denoiser is not linear. New points are denoised better with trees, those of a Gaussian as well."""
    g = torch.Generator().manual_seed(0)

    def ring(n: int) -> Tensor:
        angle = 2 * math.pi * torch.rand(n, generator=g)
        return 1.4 * torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2, generator=g)

    for draw, gains in ((ring, True), (lambda n: torch.randn(n, 2, generator=g), False)):
        net = NoiseTrees(2, levels=6, rounds=16, leaves=16)
        net.fit(draw(300), torch.zeros(300, dtype=torch.long))
        x, none = draw(2000), torch.zeros(2000, 1)
        for s in (0.3, 0.6):
            y, noise = x + s * torch.randn(x.shape, generator=g), torch.full((2000,), s)
            with torch.no_grad():
                error = float((net(y, noise, none)[0] - x).square().mean())
                linear = float((net._gaussian(y, noise.unsqueeze(1), 0)[0] - x).square().mean())
            assert error < (0.93 if gains else 1.02) * linear


def test_samples_have_the_groups_gaps_and_correlations_of_the_rows(model: GenerativeModel) -> None:
    x, drawn = rows(4000, 1), model.sample(4000)
    for i, value in ((3, 1), (1, 1), (0, MISSING), (1, MISSING)):
        share, share_drawn = (float((t[:, i] == value).double().mean()) for t in (x, drawn))
        assert share_drawn == pytest.approx(share, abs=0.05)
    for group in (0, 1):
        a, b = (t[(t[:, 3] == group) & (t[:, 0] != MISSING)][:, [0, 2]].double() for t in (x, drawn))
        assert torch.allclose(a.mean(0), b.mean(0), rtol=0.06)
        assert float(torch.corrcoef(b.T)[0, 1]) == pytest.approx(float(torch.corrcoef(a.T)[0, 1]), abs=0.1)


def test_the_bound_is_below_the_exact_log_density_of_the_mixture() -> None:
    """Without trees the model is a mixture of Gaussians, whose density is known."""
    x, label = points(400)
    space = Vectors(3, given=Categories(("a", "b")))
    model = build("diffusion/trees", space, "xs")
    model.fit_statistics(x, label)
    without_trees(model.estimand.net).float()
    model = model.eval().with_parts(likelihood=DiffusionBound(64))
    net, z = model.estimand.net, model.codec.encode(x[:100])[0]
    score = model.log_prob(x[:100], label[:100])
    covariance = net.basis[label[:100]] @ net.variance[label[:100]].diag_embed() @ net.basis[label[:100]].mT
    exact = MultivariateNormal(net.mean[label[:100]], covariance).log_prob(z) - model.codec.scale.log().sum()
    error = float(score.variance.mean() / 100) ** 0.5
    assert score.kind is Kind.LOWER_BOUND
    assert float((score.nats - exact).mean()) == pytest.approx(0, abs=3 * error + 0.02)


def test_corners_and_cells_are_read_back_and_bound_the_mass_of_a_row() -> None:
    codec, x = RealRows(TABLE), rows(500)
    codec.fit(x)
    z, log_det = codec.encode(x, Noise(0, 0, 500))
    assert torch.equal(codec.decode(z), x)
    # the density of the codes of a category with the masses p is sum_k p_k N(z; a e_k, (a w)^2): the bound is its mass
    one_column = RealRows(Table((SCHEMA[1],)))
    raw = torch.tensor([[0], [1], [2], [MISSING]]).repeat(50, 1)
    z, log_det = one_column.encode(raw, Noise(0, 0, 200))
    masses, corners = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.eye(4)
    density = torch.distributions.Normal(corners, 0.1).log_prob(z.unsqueeze(1)).sum(2)
    nats = (density + masses.log()).logsumexp(1) + log_det
    assert torch.allclose(nats, masses.log().repeat(50), atol=1e-3)
    assert one_column.encode(torch.tensor([[UNSEEN]]))[1].isinf().all()


def test_a_label_chooses_the_trees_and_an_unknown_one_those_of_all_rows() -> None:
    x, label = points(300)
    model = build("diffusion/trees", Vectors(3, given=Categories(("a", "b"))), "xs")
    model.fit_statistics(x, label)
    model.eval()
    for k in (0, 1):
        assert torch.allclose(model.sample(1000, k).mean(0), x[label == k].mean(0), atol=0.25)
    assert torch.allclose(model.sample(1000).mean(0), x.mean(0), atol=0.3)


SLOPES, NOISE = torch.tensor([[1.0, -0.5], [0.0, 0.8]]), torch.tensor([[0.4, 0.0], [0.2, 0.3]])


def linear(n: int, seed: int, bend: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """``x = A c + L eps`` with a bend, ``c``, and ``log p(x | c)``."""
    g = torch.Generator().manual_seed(seed)
    c, noise = torch.randn(n, 2, generator=g), torch.randn(n, 2, generator=g) @ NOISE.T
    mean = c @ SLOPES.T + bend * (2.5 * c[:, :1]).sin()
    law = MultivariateNormal(mean, scale_tril=NOISE)
    return mean + noise, c, law.log_prob(mean + noise)


def test_the_bound_given_numbers_is_the_exact_density_of_a_linear_law() -> None:
    """Without trees, of 2,000 rows. An unknown condition has the density of all rows."""
    (x, c, _), (test, conditions, exact) = linear(2000, 0), linear(200, 1)
    model = build("diffusion/trees", Vectors(2, given=Vectors(2)), "xs")
    model.fit_statistics(x, c)
    without_trees(model.estimand.net).float()
    model = model.eval().with_parts(likelihood=DiffusionBound(64))
    marginal = MultivariateNormal(torch.zeros(2), SLOPES @ SLOPES.T + NOISE @ NOISE.T).log_prob(test)
    for cond, truth in ((conditions, exact), (None, marginal)):
        score = model.log_prob(test, cond)
        error = float(score.variance.mean() / len(test)) ** 0.5
        assert float((score.nats - truth).mean()) == pytest.approx(0, abs=3 * error + 0.03)
    assert float(model.log_prob(test, conditions.flip(0)).nats.mean()) < float(exact.mean()) - 3


def test_trees_given_numbers_learn_what_is_not_linear() -> None:
    (x, c, _), (test, conditions, exact) = linear(1000, 0, bend=1.0), linear(100, 1, bend=1.0)
    table = torch.stack([(c[:, 0] > 0).long(), torch.zeros(len(c), dtype=torch.long)], 1)
    model = build("diffusion/trees", Vectors(2, given=Vectors(2)), "xs")
    model.fit_statistics(x, c)
    model = model.eval().with_parts(likelihood=DiffusionBound(64))
    with_trees = model.log_prob(test, conditions)
    drawn = model.sample(300, torch.tensor([0.6, 0.0]))
    without_trees(model.estimand.net).float()
    linear_alone = model.log_prob(test, conditions)
    assert float(linear_alone.nats.mean()) + 0.2 < float(with_trees.nats.mean())
    assert float(with_trees.nats.mean()) < float(exact.mean()) + 0.05
    assert drawn.mean(0).tolist() == pytest.approx([1.6, 1.0], abs=0.45)  # the regression alone has .67 and .07
    rows_given_rows = build("diffusion/trees", Vectors(2, given=Table((SCHEMA[3], SCHEMA[2]))), "xs")
    rows_given_rows.fit_statistics(x, table)
    for k in (0, 1):
        mean = rows_given_rows.eval().sample(300, torch.tensor([k, 0])).mean(0)
        assert torch.allclose(mean, x[table[:, 0] == k].mean(0), atol=0.15)


def test_a_posterior_follows_a_measurement() -> None:
    x, _ = points(300)
    model = build("diffusion/trees", Vectors(3), "xs")
    model.fit_statistics(x)
    measured = torch.tensor([[1.5]])
    sampler = Posterior(Matrix(torch.tensor([[1.0, 0.0, 0.0]])), measured, 0.1)
    drawn = model.codec.encode(model.eval().with_parts(sampler=sampler).sample(200))[0]
    assert float(drawn[:, 0].mean()) == pytest.approx(1.5, abs=0.1)


def test_a_run_is_saved_without_pickles_and_loaded_to_the_bit(tmp_path: Path) -> None:
    run = fourfold.fit("diffusion/trees", TABLE.table(rows(200)), budget="4 steps", size="xs", out=tmp_path / "run")
    again = fourfold.Run.load(tmp_path / "run")
    assert torch.equal(run.sample(20), again.sample(20))


@pytest.mark.parametrize("x", [rows(1), rows(2), rows(11), rows(1).repeat(30, 1)], ids=["1", "2", "11", "30 equal"])
def test_few_or_equal_rows_have_a_model(x: Tensor) -> None:
    model = build("diffusion/trees", TABLE, "xs")
    model.fit_statistics(x)
    model.eval()
    assert model.log_prob(x).nats.isfinite().all()
    assert not bool(TABLE.outside(model.sample(5)).any())


def test_other_data_is_refused_with_the_reason() -> None:
    with pytest.raises(TypeError, match="Table or Vectors for this recipe, got Images; use diffusion"):
        build("diffusion/trees", Images(1, 4, 4))
    with pytest.raises(TooManyColumns, match="at most 256 numbers, got 300"):
        build("diffusion/trees", Vectors(300))
    with pytest.raises(TooManyColumns, match="at most 256 numbers, got 300"):
        build("diffusion/trees", Vectors(100, given=Vectors(200)))


def test_the_bound_of_few_rows_is_nearer_to_the_exact_density_than_that_of_a_gaussian() -> None:
    """A third of what a Gaussian loses remains at most, of 300 rows of four known clusters in two dimensions."""
    g = torch.Generator().manual_seed(0)
    means, spread = 1.5 * torch.randn(4, 2, generator=g), 0.35 * torch.randn(4, 2, 2, generator=g)
    covariances = spread @ spread.mT + 0.05 * torch.eye(2)
    clusters = torch.distributions.MultivariateNormal(means, covariances)
    exact = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(4)), clusters)
    k, roots = torch.randint(4, (400,), generator=g), torch.linalg.cholesky(covariances)
    x = means[k] + torch.einsum("bij,bj->bi", roots[k], torch.randn(400, 2, generator=g))
    model = build("diffusion/trees", Vectors(2), "s")
    model.fit_statistics(x[:300])
    truth, bound = exact.log_prob(x[300:]).mean(), model.eval().log_prob(x[300:]).nats.mean()
    with torch.no_grad():
        model.estimand.net.gain.zero_()
    gaussian = model.log_prob(x[300:]).nats.mean()
    assert gaussian < bound < truth
    assert truth - bound < (truth - gaussian) / 3
