"""Joint diffusion: its bound and its samples on a law whose denoisers are known, and on all rows of a small table."""

import math

import pytest
import torch
from torch import Tensor, nn

from fourfold.codecs import MixedColumns
from fourfold.core import Batch, Noise
from fourfold.estimands import MixedDenoiser
from fourfold.maths.paths import LinearLogSNR, broadcast
from fourfold.paradigms import build
from fourfold.paradigms.joint import JointBound, JointDenoising, JointSteps
from fourfold.spaces import Categorical, Numeric, Table, Vectors
from fourfold.spaces.columns import MISSING, UNSEEN
from fourfold.vocabulary import Kind

SHARE = torch.tensor([[0.1, 0.3], [0.2, 0.05], [0.05, 0.3]], dtype=torch.float64)
"""``p(a, b)`` of two categories."""
MEAN = torch.tensor([[-1.5, 0.5], [1.0, -0.5], [0.2, 1.5]], dtype=torch.float64)
SCALE = torch.tensor([[0.2, 0.5], [0.4, 0.3], [0.6, 0.1]], dtype=torch.float64)
"""``z ~ N(MEAN[a, b], SCALE[a, b]^2)``."""


class Truth(MixedDenoiser):
    """The exact posterior of both categories and of the real."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes, self.reals, self.path, self.event = (3, 2), 1, LinearLogSNR(), (3,)
        self.groups = ((1, 0),)
        self.net = nn.Identity()

    def forward(
        self, k: Tensor, observed_mask: Tensor, z_t: Tensor, t: Tensor, cond: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        z = z_t.double()[:, :, None]
        alpha, sigma = (broadcast(f(t.double()), z) for f in (self.path.alpha, self.path.sigma))
        variance = (alpha * SCALE).square() + sigma.square()
        log_p = SHARE.log() - (z - alpha * MEAN).square() / (2 * variance) - variance.log() / 2
        a, b = torch.arange(3)[:, None], torch.arange(2)
        possible = ~observed_mask[:, :1, None] | (a == k[:, :1, None])
        possible = possible & (~observed_mask[:, 1:, None] | (b == k[:, 1:, None]))
        log_p = log_p.masked_fill(~possible, -math.inf)
        p = log_p.flatten(1).softmax(1).view(-1, 3, 2)
        mean = MEAN + alpha * SCALE.square() / variance * (z - alpha * MEAN)
        single = torch.stack([nn.functional.pad(p.sum(1), (0, 1)), p.sum(2)], 1)
        return (single.log().float(),), (p * mean).sum((1, 2))[:, None].float()


def drawn(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    both = torch.multinomial(SHARE.flatten(), n, True, generator=generator)
    a, b = both // 2, both % 2
    z = MEAN[a, b] + SCALE[a, b] * torch.randn(n, generator=generator, dtype=torch.float64)
    return torch.stack([a, b, z], 1).float()


def exact(x: Tensor) -> Tensor:
    a, b, z = x[:, 0].long(), x[:, 1].long(), x[:, 2].double()
    return SHARE[a, b].log() + torch.distributions.Normal(MEAN[a, b], SCALE[a, b]).log_prob(z)


def test_the_bound_is_tight_at_the_truth_and_never_above():
    x = drawn(3000)
    bound = JointBound(64)(Truth(), Batch(x), Noise(0, 0, len(x), "score"), JointDenoising())
    assert bound.kind is Kind.LOWER_BOUND
    off = bound.nats.double() - exact(x)
    error = float(off.std()) / len(x) ** 0.5
    assert float(off.mean()) < 3 * error
    assert float(off.mean()) > -0.02 - 3 * error
    assert error < 0.02


class Wrong(Truth):
    """Denoisers that are a little off."""

    def forward(
        self, k: Tensor, observed_mask: Tensor, z_t: Tensor, t: Tensor, cond: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        (log_p,), z = super().forward(k, observed_mask, z_t, t, cond)
        sigma = broadcast(self.path.sigma(t), z)
        a = (0.5 * log_p[:, 1]).log_softmax(1)
        return (torch.stack([log_p[:, 0], a], 1),), z + 0.2 * sigma


def test_a_wrong_denoiser_lowers_the_bound():
    x, noise = drawn(3000), [Noise(0, 0, 3000, "score") for _ in range(2)]
    true, wrong = (
        JointBound(16)(e, Batch(x), n, JointDenoising()) for e, n in zip((Truth(), Wrong()), noise, strict=True)
    )
    assert float(wrong.nats.mean()) < float(true.nats.mean()) - 0.1


def test_the_loss_is_the_bound_up_to_a_constant():
    """The difference of two denoisers' losses is that of their bounds, per value."""
    x = drawn(4000)
    loss, bound = [], []
    for estimand in (Truth(), Wrong()):
        torch.manual_seed(0)
        term = JointDenoising().terms(estimand)["joint"]
        loss.append(torch.stack([term(Batch(x[torch.randperm(len(x))])).mean() for _ in range(20)]).mean())
        bound.append(JointBound(20)(estimand, Batch(x), Noise(0, 0, len(x), "score"), JointDenoising()).nats.mean())
    assert float(3 * (loss[1] - loss[0])) == pytest.approx(float(bound[0] - bound[1]), rel=0.1)


@pytest.mark.agreement
def test_samples_follow_the_law():
    x = JointSteps(400)(Truth(), Noise(0, 0, 8000))
    a, b, z = x[:, 0].long(), x[:, 1].long(), x[:, 2].double()
    for i in range(3):
        for j in range(2):
            here, p = (a == i) & (b == j), float(SHARE[i, j])
            assert abs(float(here.double().mean()) - p) < 5 * (p * (1 - p) / 8000) ** 0.5 + 0.006
            n = int(here.sum())
            assert abs(float(z[here].mean() - MEAN[i, j])) < 5 * float(SCALE[i, j]) / n**0.5 + 0.03
            assert float(z[here].std()) == pytest.approx(float(SCALE[i, j]), rel=0.15)


TABLE = Table(
    (
        Categorical("kind", categories=("x", "y", "z"), missing=True),
        Numeric("price", low=-5, high=40, missing=True),
        Categorical("member", categories=("no", "yes")),
        Numeric("flat", low=3, high=4),
    )
)


def test_rows_survive_the_codec_and_masses_sum_to_one():
    x = TABLE.examples(2000, torch.Generator().manual_seed(0))
    x[:600, 1] = 0
    codec = MixedColumns(TABLE, bins=12, spikes=2)
    codec.fit(x)
    assert 0 in codec.frequent[0].tolist()
    z, _ = codec.encode(x, Noise(0, 0, len(x)))
    assert torch.equal(codec.decode(z), x)
    every = TABLE.support(0, 0.0)[0]
    z, log_det = codec.encode(every, Noise(0, 0, len(every)))
    reals = z[:, len(codec.sizes) :].double()
    tokens = -sum(math.log(size) for size in codec.sizes)
    nats = tokens - (reals.square() + math.log(2 * math.pi)).sum(1) / 2 + log_det
    # a frequent cell has a second code, "elsewhere", whose share of the mass is not counted
    assert 0.97 < float(nats.exp().sum()) < 1 + 1e-5
    x[0, 0], x[1, 1], x[2, 1] = UNSEEN, 41, MISSING
    log_det = codec.encode(x[:3])[1]
    assert torch.isinf(log_det).tolist() == [True, True, False]


def test_a_model_of_categories_alone_and_one_of_numbers_alone():
    for kinds in ((TABLE.schema[0], TABLE.schema[2]), (Numeric("a", low=0, high=99), Numeric("b", low=0, high=5))):
        space = Table(kinds)
        model = build("diffusion/joint", space, "xs")
        model.codec.fit(space.examples(300, torch.Generator().manual_seed(0)))
        space.check(model.sample(20))
        assert torch.isfinite(model.log_prob(space.examples(20, torch.Generator().manual_seed(1))).nats).all()


def test_steps_and_draws_are_checked_and_other_spaces_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        JointSteps(0)
    with pytest.raises(ValueError, match="draws must be at least 2"):
        JointBound(1)
    with pytest.raises(TypeError, match="must be Table for this recipe, got Vectors"):
        build("diffusion/joint", Vectors(3))
