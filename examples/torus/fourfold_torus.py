"""A space in one file: angles, which are periodic, and two models that know it.

    pip install ./examples/torus && fourfold compare angles.csv --space torus --paradigms autoregressive,torus

The recipe ``autoregressive`` has mixtures of wrapped normals ``sum_j N(x + 2 pi j; m, s)`` as its ``p(x_i | x_<i, c)``:
no seam lies between -pi and pi. ``torus`` leaves ``x_<i`` out, and so shows what the dependence of the angles is worth.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fourfold import core
from fourfold.estimands import Conditionals
from fourfold.metrics import Features, Measurement, References, by_features
from fourfold.nn.reading import reading_of
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood
from fourfold.recipes import autoregressive
from fourfold.spaces import Vectors
from fourfold.vocabulary import Card, Paradigm

TURN = 2 * math.pi


def wrapped(x: Tensor) -> Tensor:
    return (x + math.pi).remainder(TURN) - math.pi


class Circles(Features):
    name, protocol = "circles", "cosine and sine of each angle"

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([x.cos(), x.sin()], 1)


@dataclass(frozen=True)
class Torus(core.Space):
    dim: int
    columns: tuple[str, ...] = ()
    unit = "nats"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dim,)

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if not bool((x.abs() <= math.pi).all()):
            raise ValueError("angles are radians from -pi to pi: bring them there with space.conform(x)")

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        return wrapped(TURN * torch.rand(n, self.dim, generator=generator))

    @classmethod
    def of(cls, space: core.Space, x: Tensor) -> core.Space:
        return cls(space.dim, space.columns) if isinstance(space, Vectors) else super().of(space, x)

    def conform(self, x: Tensor, source: core.Space | None = None) -> Tensor:
        if source is not None and source.shape != self.shape:  # any table of so many columns may hold angles
            self.require(source)
        return wrapped(x.float())

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        self.check_features(features)
        return by_features(x, references, Circles())

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> core.Cloud:
        names, behind = self.columns or ("first angle", "last angle"), x[:0] if references is None else references.test
        return core.Cloud(x[:800, [0, -1]], (-math.pi, math.pi) * 2, (names[0], names[-1]), behind[:800, [0, -1]])


class Angles(core.Codec):
    measure = core.Measure.LEBESGUE

    def encode(self, x: Tensor, noise: core.Noise | None = None) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(len(x))

    def decode(self, z: Tensor, noise: core.Noise | None = None) -> Tensor:
        return z

    def fit(self, x: Tensor) -> None: ...


class WrappedNormals(Conditionals):
    def __init__(self, space: Torus, components: int, width: int, dependent: bool) -> None:
        super().__init__()
        self.event, self.dependent, self.reading = space.shape, dependent, reading_of(space)
        inputs = 3 * space.dim + (self.reading.width if self.reading else 0)
        self.net = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, 3 * components))

    def mixture(self, x: Tensor, cond: Tensor | None, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and log-scales of angle ``i`` given the earlier ones and a condition, ``(B, K)`` each."""
        place, c = torch.arange(x.shape[1], device=x.device), self.reading(cond, len(x)) if self.reading else x[:, :0]
        known = (place < i) & self.dependent
        inputs = torch.cat([(place == i).expand_as(x), x.cos() * known, x.sin() * known, c], 1)
        logits, mean, log_s = self.net(inputs.to(self.net[0].weight.dtype)).float().chunk(3, 1)
        centres = torch.linspace(-math.pi, math.pi, mean.shape[1] + 1, device=x.device)[1:]
        return logits.log_softmax(1), wrapped(centres + mean), (log_s - 1).clamp(-5, 1)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        turns, parts = TURN * torch.arange(-3, 4, device=x.device), []
        for i in range(x.shape[1]):
            log_w, mean, log_s = self.mixture(x, cond, i)
            z = (x[:, i, None, None] - mean[..., None] + turns) / log_s.exp()[..., None]
            parts.append((log_w + (-0.5 * z.square()).logsumexp(2) - log_s - 0.5 * math.log(TURN)).logsumexp(1))
        return torch.stack(parts, 1)

    def begin(self, batch: int, cond: Tensor | None = None) -> list[Tensor | None]:
        return [cond, torch.zeros(batch, *self.event, device=self.net[0].weight.device)]

    def draw(self, state: list, noise: core.Noise, temperature: float = 1.0) -> tuple[Tensor, list]:
        x, i = state[-1], len(state) - 2
        log_w, mean, log_s = self.mixture(x, state[0], i)
        shares = (log_w / temperature).softmax(1).cumsum(1)
        k = (shares < noise.uniform(1)).sum(1, keepdim=True).clamp(max=shares.shape[1] - 1)
        angle = wrapped(mean.gather(1, k) + temperature * log_s.gather(1, k).exp() * noise.normal(1))
        return angle[:, 0], [*state, torch.cat([x[:, :i], angle, x[:, i + 1 :]], 1)]


@autoregressive.likelihood.register
def torus(space: Torus, size: str, dependent: bool = True) -> core.GenerativeModel:
    if not isinstance(space, Torus):
        raise TypeError(f"torus models angles, not {space}")
    width, components = {"xs": (32, 8), "s": (128, 16), "m": (256, 32)}[size]
    parts = WrappedNormals(space, components, width, dependent), MaximumLikelihood(), Ancestral(), ChainRule()
    return core.GenerativeModel(space, Angles(), *parts, core.Training(batch_size=256, learning_rate=5e-3))


RECIPES = {"independent": functools.partial(torus, dependent=False)}
CARD = Card(name="torus", paradigm=Paradigm.AUTOREGRESSIVE, recipes=RECIPES, summary="Each angle by itself.")
