"""Small models for the engine's tests: one term, and two terms with an optimizer each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fourfold.codecs import Dequantised, Standardised
from fourfold.core import (
    Batch,
    Codec,
    GenerativeModel,
    Likelihood,
    LogProb,
    Measure,
    Noise,
    Objective,
    Part,
    Sampler,
    Term,
    Training,
    no_likelihood,
)
from fourfold.estimands import Pushforward, Velocity
from fourfold.maths.paths import RectifiedFlow
from fourfold.spaces import Images, Vectors
from fourfold.vocabulary import Kind, Principle


class Rotated(Codec):
    """A codec with a weight that no term trains: a rotation drawn when it is fitted."""

    measure = Measure.LEBESGUE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dim), requires_grad=False)

    def fit(self, x: Tensor) -> None:
        self.weight.data = torch.linalg.qr(torch.randn(self.weight.shape))[0].contiguous()

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x @ self.weight, torch.zeros(len(x))

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z @ self.weight.T


class Net(Part, nn.Module):
    """A multilayer perceptron that computes in the dtype of its weights."""

    for_adamw = ("first", "last")

    def __init__(self, inputs: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.first, self.hidden, self.last = (
            nn.Linear(inputs, width),
            nn.Linear(width, width),
            nn.Linear(width, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x.to(self.first.weight.dtype)))
        return self.last(torch.relu(self.hidden(h))).float()


class ConvNet(Part, nn.Module):
    """Three convolutions that compute in the dtype of their weights."""

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + 1, width, 3, padding=1)
        self.hidden = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x.to(self.first.weight.dtype)))
        return self.last(torch.relu(self.hidden(h))).float()


class ToyVelocity(Velocity):
    """A velocity of vectors or images."""

    def __init__(self, net: Part, event: tuple[int, ...]) -> None:
        super().__init__()
        self.net, self.event, self.path = net, tuple(event), RectifiedFlow()

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        plane = t.reshape(-1, *[1] * (x_t.ndim - 1)).expand(-1, 1, *x_t.shape[2:])
        return self.net(torch.cat([x_t, plane], 1))


class _Matching(Term):
    judges = True

    def __init__(self, velocity: Velocity) -> None:
        super().__init__([velocity])
        self.velocity = velocity

    def forward(self, batch: Batch) -> Tensor:
        t, eps = torch.rand(len(batch.x)), torch.randn_like(batch.x)
        v = self.velocity(self.velocity.path.noised(batch.x, eps, t), t, batch.cond)
        loss = (v - (eps - batch.x)).square().flatten(1).mean(1)
        self.watched = {"loss_high_noise": loss.detach()[t > 0.5].mean()}
        return loss


class Matching(Objective):
    learns = Velocity
    principle = Principle.DENOISING

    def terms(self, estimand: Velocity) -> Mapping[str, Term]:
        return {"matching": _Matching(estimand)}


@dataclass(frozen=True)
class EulerSteps(Sampler):
    needs = Velocity
    steps: int = 8

    def __call__(self, estimand: Velocity, noise: Noise, cond: Tensor | None = None) -> Tensor:
        x = noise.normal(*estimand.event)
        for i in range(self.steps):
            x = x - estimand(x, torch.full((len(x),), 1 - i / self.steps), cond) / self.steps
        return x


@dataclass(frozen=True)
class Nothing(Likelihood):
    needs = Velocity

    def __call__(self, estimand: Velocity, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        return no_likelihood(len(batch.x), "a toy")


class ToyGenerator(Pushforward):
    """A pushforward of vectors."""

    def __init__(self, net: Net, dim: int) -> None:
        super().__init__()
        self.net, self.event, self.latent = net, (dim,), (dim,)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(z)


class _Critic(Term):
    def __init__(self, generator: ToyGenerator, critic: Net) -> None:
        super().__init__([critic])
        self.generator, self.critic = generator, critic

    def forward(self, batch: Batch) -> Tensor:
        fake = self.generator(torch.randn_like(batch.x))
        margin = self.critic(batch.x) - self.critic(fake)
        return nn.functional.softplus(-margin)[:, 0]


class _Generator(Term):
    def __init__(self, generator: ToyGenerator, critic: Net) -> None:
        super().__init__([generator])
        self.generator, self.critic = generator, critic

    def forward(self, batch: Batch) -> Tensor:
        margin = self.critic(self.generator(torch.randn_like(batch.x))) - self.critic(batch.x)
        return nn.functional.softplus(-margin)[:, 0]


class Game(Objective):
    learns = Pushforward
    principle = Principle.ADVERSARIAL

    def __init__(self, critic: Net) -> None:
        super().__init__()
        self.critic = critic

    def terms(self, estimand: ToyGenerator) -> Mapping[str, Term]:
        return {"critic": _Critic(estimand, self.critic), "generator": _Generator(estimand, self.critic)}


@dataclass(frozen=True)
class Push(Sampler):
    needs = Pushforward

    def __call__(self, estimand: ToyGenerator, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return estimand(noise.normal(*estimand.latent), cond)


@dataclass(frozen=True)
class StandardNormal(Likelihood):
    """A density that ignores the model: enough to test what is done with numbers."""

    needs = Pushforward

    def __call__(self, estimand: ToyGenerator, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        x = batch.x.flatten(1)
        return LogProb(-(x.square().sum(1) + x.shape[1] * math.log(2 * math.pi)) / 2, Kind.EXACT)


class _Square(Term):
    def __init__(self, generator: ToyGenerator) -> None:
        super().__init__([generator])
        self.generator = generator

    def forward(self, batch: Batch) -> Tensor:
        return (self.generator(batch.x) - batch.x.flip(1)).square().sum(1)


class Linear(Objective):
    """A regression without random draws: its gradient on a batch is a function of the batch."""

    learns = Pushforward
    principle = Principle.ADVERSARIAL

    def terms(self, estimand: ToyGenerator) -> Mapping[str, Term]:
        return {"square": _Square(estimand)}


TRAINING = Training(batch_size=32, learning_rate=2e-3, clip=1.0)


def velocity_model(dim: int = 2, training: Training = TRAINING, seed: int = 0) -> GenerativeModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        estimand = ToyVelocity(Net(dim + 1, dim), (dim,))
    space = Vectors(dim)
    return GenerativeModel(space, Standardised(space), estimand, Matching(), EulerSteps(), Nothing(), training)


def image_model(space: Images, training: Training = TRAINING, seed: int = 0, width: int = 16) -> GenerativeModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        estimand = ToyVelocity(ConvNet(space.channels, width), space.shape)
    return GenerativeModel(space, Dequantised(space), estimand, Matching(), EulerSteps(), Nothing(), training)


def game_model(dim: int = 2, training: Training = TRAINING, seed: int = 0) -> GenerativeModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, critic = ToyGenerator(Net(dim, dim), dim), Net(dim, 1)
    space = Vectors(dim)
    return GenerativeModel(space, Standardised(space), generator, Game(critic), Push(), StandardNormal(), training)


def linear_model(dim: int = 2, seed: int = 0) -> GenerativeModel:
    model = game_model(dim, seed=seed)
    return GenerativeModel(model.space, model.codec, model.estimand, Linear(), Push(), StandardNormal(), TRAINING)
