"""The adversarial game of rows with conditional vectors: rare levels are trained as often as their logarithm says.

Generator and critic are told one value ``c`` of a row: a column, drawn evenly, and one of its levels. In training the
level is drawn in proportion to ``log(1 + N_c)``, where ``N_c`` counts the rows that have it, and the generator's row
must have it, by a cross-entropy; to sample, it is drawn in proportion to ``N_c``. Xu, Skoularidou, Cuesta-Infante,
Veeramachaneni 2019, Modeling Tabular Data using Conditional GAN (https://arxiv.org/abs/1907.00503).

Rows with the level are drawn from the batch, again and again where they are few. Levels of a generated row are the most
likely ones, and gradients pass as if they were their softmax (Bengio, Léonard, Courville 2013,
https://arxiv.org/abs/1308.3432).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Batch, Estimand, Objective, Term, forgetful
from fourfold.estimands import Pushforward
from fourfold.maths.categorical import quantile_between
from fourfold.nn.resnet import ResMLP
from fourfold.paradigms.adversarial import AdversarialGame, diversity
from fourfold.vocabulary import Principle

__all__ = ["ConditionalGame", "RowGenerator"]


@final
class RowGenerator(Pushforward):
    """``x = g(z)``: the first two numbers of ``z`` draw the value ``c`` that the row is told, the others are noise.

    Codes are those of :class:`~fourfold.codecs.MixedCells`: tokens, then reals.

    Args:
        net: maps noise and ``c`` to logits of all tokens, and to the reals.
        sizes: tokens of each column.
        reals: how many there are.
        noise: length of the noise.
    """

    counts: Tensor
    offsets: Tensor

    def __init__(self, net: ResMLP, sizes: tuple[int, ...], reals: int, noise: int) -> None:
        super().__init__()
        self.net, self.sizes, self.reals = net, tuple(sizes), reals
        self.event, self.latent = (len(self.sizes) + reals,), (2 + noise,)
        self.register_buffer("counts", torch.ones(sum(self.sizes)))
        self.register_buffer("offsets", torch.tensor([0, *self.sizes[:-1]]).cumsum(0), persistent=False)

    def outputs(self, noise: Tensor, c: Tensor, cond: Tensor | None) -> tuple[Tensor, ...]:
        """Logits of each column's tokens, and the reals, for places ``c`` ``(B,)`` among all tokens."""
        told = F.one_hot(c, sum(self.sizes)).to(noise.dtype)
        return torch.split_with_sizes(self.net(torch.cat([noise, told], 1), cond), (*self.sizes, self.reals), 1)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        u = torch.special.ndtr(z[:, :2].double()).clamp(max=1 - 1e-9)
        column = (u[:, 0] * len(self.sizes)).long()
        *logits, reals = self.outputs(z[:, 2:], self._level(column, u[:, 1]), cond)
        return torch.cat([*(part.argmax(1, keepdim=True).to(reals.dtype) for part in logits), reals], 1)

    def _level(self, column: Tensor, u: Tensor) -> Tensor:
        """A token of each column in proportion to its count, as its place among all tokens."""
        below = torch.cat([self.counts.new_zeros(1), self.counts]).double().cumsum(0)
        first = self.offsets[column]
        last = first + torch.tensor(self.sizes, device=u.device)[column]
        return quantile_between(below, u, first, last)


class Told(NamedTuple):
    """Rows of the data with the value that both players are told.

    Attributes:
        rows: levels as ones, then reals, ``(B, sum(sizes) + R)``.
        column: of the value, ``(B,)``.
        c: its place among all tokens, ``(B,)``.
        cond: labels.
    """

    rows: Tensor
    column: Tensor
    c: Tensor
    cond: Tensor | None


@final
class ConditionalGame(Objective):
    """A game of generator and critic that are told one value of the row.

    Args:
        game: the critic, the losses and the penalty; the critic sees a row and the value side by side.
        weight: of the cross-entropy between the value and the generated row.
    """

    learns: ClassVar[type[Estimand]] = Pushforward
    principle = Principle.ADVERSARIAL

    @property
    def summary(self) -> str:
        return f"{self.game.summary}; both are told one level of the row, rare levels nearly as often as frequent ones"

    @property
    def formula(self) -> str:
        return f"{self.game.formula};  c ~ log(1 + N_c);  G: −{self.weight:g}·E log p(c | G(z, c))"

    def __init__(self, game: AdversarialGame, weight: float = 1.0) -> None:
        super().__init__()
        self.game, self.weight = game, weight

    def terms(self, estimand: Pushforward) -> Mapping[str, Term]:
        if not isinstance(estimand, RowGenerator):
            raise TypeError(f"ConditionalGame trains a RowGenerator, not a {type(estimand).__name__}")
        return {"critic": ToldCritic(estimand, self), "generator": ToldGenerator(estimand, self)}


def told(generator: RowGenerator, batch: Batch, label_dropout: float) -> Told:
    """For each row a column at random, and in its place a row of the batch, the rarer its level the likelier.

    With the weight ``log(1 + N) / N`` of a row whose level has ``N`` rows, levels come in proportion to ``log(1 + N)``.
    """
    kinds = len(generator.sizes)
    place = batch.x[:, :kinds].round().long() + generator.offsets
    n = generator.counts[place].double() + 1
    column = torch.randint(kinds, (len(place),), device=place.device)
    rows = torch.multinomial((n.log1p() / n).T[column], 1)[:, 0]
    ones = torch.zeros(len(place), sum(generator.sizes), device=place.device).scatter_(1, place[rows], 1.0)
    cond = None if batch.cond is None else forgetful(batch.cond[rows], label_dropout)
    return Told(torch.cat([ones, batch.x[rows, kinds:]], 1), column, place[rows, column], cond)


def made(generator: RowGenerator, seen: Told) -> tuple[Tensor, Tensor]:
    """Generated rows, levels as ones with the gradient of their softmax; and ``log p`` of the value in them."""
    noise = torch.randn(len(seen.c), generator.latent[0] - 2, device=seen.c.device)
    *logits, reals = generator.outputs(noise, seen.c, seen.cond)
    log_p = torch.cat([part.float().log_softmax(1) for part in logits], 1)
    hard = torch.cat([F.one_hot(part.argmax(1), part.shape[1]) for part in logits], 1)
    soft = log_p.exp()
    return torch.cat([hard + soft - soft.detach(), reals], 1), log_p.gather(1, seen.c[:, None])[:, 0]


def beside(rows: Tensor, seen: Told, tokens: int) -> Tensor:
    """Rows and the value that they are told, side by side."""
    return torch.cat([rows, F.one_hot(seen.c, tokens).to(rows.dtype)], 1)


@final
class ToldCritic(Term):
    """The critic's loss and penalty with a fixed generator; it counts the levels of the data.

    It watches ``critic_accuracy`` (share of correctly ranked pairs) and ``critic_margin``.
    """

    def __init__(self, generator: RowGenerator, objective: ConditionalGame) -> None:
        super().__init__([objective.game.critic], objective.game.critic_rate)
        self.generator, self.objective = generator, objective

    def forward(self, batch: Batch) -> Tensor:
        generator, game = self.generator, self.objective.game
        if self.training:
            place = batch.x[:, : len(generator.sizes)].round().long() + generator.offsets
            generator.counts += torch.bincount(place.flatten(), minlength=sum(generator.sizes))
        seen = told(generator, batch, game.label_dropout if self.training else 0.0)
        with torch.no_grad():
            fake = beside(made(generator, seen)[0], seen, sum(generator.sizes))
        x = beside(seen.rows, seen, sum(generator.sizes))
        real, false = game.numbers(x, fake, seen.cond)
        margin = (real - false).detach()
        self.watched = {"critic_accuracy": (margin > 0).float().mean(), "critic_margin": margin.mean()}
        loss = game.contest.critic(real, false)
        return loss if game.penalty is None else loss + game.penalty(game.critic, x, fake, seen.cond)


@final
class ToldGenerator(Term):
    """The generator's loss with a fixed critic, and the cross-entropy of the value. It watches ``diversity``."""

    def __init__(self, generator: RowGenerator, objective: ConditionalGame) -> None:
        super().__init__([generator])
        self.generator, self.objective = generator, objective

    def forward(self, batch: Batch) -> Tensor:
        generator, game, tokens = self.generator, self.objective.game, sum(self.generator.sizes)
        seen = told(generator, batch, game.label_dropout if self.training else 0.0)
        rows, log_p = made(generator, seen)
        self.watched = {"diversity": diversity(rows, seen.rows), "told": log_p.detach().exp().mean()}
        loss = game.generator_loss(beside(seen.rows, seen, tokens), beside(rows, seen, tokens), seen.cond)
        return loss - self.objective.weight * log_p
