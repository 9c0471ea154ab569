"""A GAN of table rows with conditional vectors: it sees rare categories in proportion to the log of their counts.

Generator and critic are conditioned on one value ``c`` of a row: a column, drawn evenly, and one of its categories.
Training draws the category in proportion to ``log(1 + N_c)``, where ``N_c`` is the number of rows that have it. A
cross-entropy pulls the generated row to this category. Sampling draws it in proportion to ``N_c``. Xu, Skoularidou,
Cuesta-Infante, Veeramachaneni 2019, Modeling Tabular Data using Conditional GAN (https://arxiv.org/abs/1907.00503).

Real rows with the category are drawn from the batch with replacement. Generated rows have the most likely category of
each column, with the gradient of the softmax (a straight-through estimator: Bengio, Léonard, Courville 2013,
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
from fourfold.maths.categorical import quantile, quantile_between
from fourfold.nn.resnet import ResMLP
from fourfold.paradigms.adversarial import AdversarialGame, diversity
from fourfold.vocabulary import Principle

__all__ = ["ConditionalGAN", "RowGenerator"]


@final
class RowGenerator(Pushforward):
    """``x = g(z)``: two numbers of ``z`` draw the value ``c`` that the row is conditioned on, the others are noise.

    Codes are those of :class:`~fourfold.codecs.MixedColumns`: tokens, then reals.

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
        """Logits of each column's tokens, and the reals, conditioned on ``c``, ``(B,)``, an index among all tokens."""
        one_hot = F.one_hot(c, sum(self.sizes)).to(noise.dtype)
        return torch.split_with_sizes(self.net(torch.cat([noise, one_hot], 1), cond), (*self.sizes, self.reals), 1)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        u = torch.special.ndtr(z[:, :2].double()).clamp(max=1 - 1e-9)
        column = (u[:, 0] * len(self.sizes)).long()
        *logits, reals = self.outputs(z[:, 2:], self._token(column, u[:, 1]), cond)
        return torch.cat([*(part.argmax(1, keepdim=True).to(reals.dtype) for part in logits), reals], 1)

    def _token(self, column: Tensor, u: Tensor) -> Tensor:
        """Draw a token of each column in proportion to its count, as an index among all tokens."""
        below = torch.cat([self.counts.new_zeros(1), self.counts]).double().cumsum(0)
        first = self.offsets[column]
        last = first + torch.tensor(self.sizes, device=u.device)[column]
        return quantile_between(below, u, first, last)


class ConditionedRows(NamedTuple):
    """Real rows, each with the value that both networks are conditioned on.

    Attributes:
        rows: one-hot categories, then reals, ``(B, sum(sizes) + R)``.
        column: column of the value, ``(B,)``.
        c: index of the value among all tokens, ``(B,)``.
        cond: labels.
    """

    rows: Tensor
    column: Tensor
    c: Tensor
    cond: Tensor | None


@final
class ConditionalGAN(Objective):
    """A GAN whose generator and critic are conditioned on one value of the row.

    Args:
        game: the critic, the losses and the penalty. The critic sees a row and the value side by side.
        weight: of the cross-entropy between the value and the generated row.
    """

    learns: ClassVar[type[Estimand]] = Pushforward
    principle = Principle.ADVERSARIAL

    @property
    def summary(self) -> str:
        condition = (
            "both are conditioned on one category of the row, and rare ones are nearly as frequent as common ones"
        )
        return f"{self.game.summary}; {condition}"

    @property
    def formula(self) -> str:
        return f"{self.game.formula};  c ~ log(1 + N_c);  G: −{self.weight:g}·E log p(c | G(z, c))"

    def __init__(self, game: AdversarialGame, weight: float = 1.0) -> None:
        super().__init__()
        self.game, self.weight = game, weight

    def terms(self, estimand: Pushforward) -> Mapping[str, Term]:
        if not isinstance(estimand, RowGenerator):
            raise TypeError(f"estimand must be a RowGenerator for ConditionalGAN, got {type(estimand).__name__}")
        return {"critic": ConditionalCritic(estimand, self), "generator": ConditionalGenerator(estimand, self)}


def condition_rows(generator: RowGenerator, batch: Batch, label_dropout: float) -> ConditionedRows:
    """Draw a column for each row, and then a row of the batch, with more weight where its category is rare.

    A row whose category occurs in ``N`` rows has the weight ``log(1 + N) / N``, so that categories are drawn in
    proportion to ``log(1 + N)``.
    """
    kinds = len(generator.sizes)
    place = batch.x[:, :kinds].round().long() + generator.offsets
    n = generator.counts[place].double() + 1
    column = torch.randint(kinds, (len(place),), device=place.device)
    rows = quantile((n.log1p() / n).cumsum(0).T[column], torch.rand(len(place), device=place.device))
    one_hot = torch.zeros(len(place), sum(generator.sizes), device=place.device).scatter_(1, place[rows], 1.0)
    cond = None if batch.cond is None else forgetful(batch.cond[rows], label_dropout)
    return ConditionedRows(torch.cat([one_hot, batch.x[rows, kinds:]], 1), column, place[rows, column], cond)


def generate(generator: RowGenerator, data: ConditionedRows) -> tuple[Tensor, Tensor]:
    """Generate rows, one-hot with the gradient of the softmax, and return ``log p`` of the value in them too."""
    noise = torch.randn(len(data.c), generator.latent[0] - 2, device=data.c.device)
    *logits, reals = generator.outputs(noise, data.c, data.cond)
    log_p = torch.cat([part.float().log_softmax(1) for part in logits], 1)
    hard = torch.cat([F.one_hot(part.argmax(1), part.shape[1]) for part in logits], 1)
    soft = log_p.exp()
    return torch.cat([hard + soft - soft.detach(), reals], 1), log_p.gather(1, data.c[:, None])[:, 0]


def with_condition(rows: Tensor, data: ConditionedRows, tokens: int) -> Tensor:
    """Concatenate rows and the one-hot value that they are conditioned on."""
    return torch.cat([rows, F.one_hot(data.c, tokens).to(rows.dtype)], 1)


@final
class ConditionalCritic(Term):
    """The critic's loss and penalty with a fixed generator. It counts the categories of the data.

    It watches ``critic_accuracy`` (share of correctly ranked pairs) and ``critic_margin``.
    """

    def __init__(self, generator: RowGenerator, objective: ConditionalGAN) -> None:
        super().__init__([objective.game.critic], objective.game.critic_rate)
        self.generator, self.objective = generator, objective

    def forward(self, batch: Batch) -> Tensor:
        generator, game = self.generator, self.objective.game
        if self.training:
            place = batch.x[:, : len(generator.sizes)].round().long() + generator.offsets
            generator.counts += torch.bincount(place.flatten(), minlength=sum(generator.sizes))
        data = condition_rows(generator, batch, game.label_dropout if self.training else 0.0)
        with torch.no_grad():
            fake = with_condition(generate(generator, data)[0], data, sum(generator.sizes))
        x = with_condition(data.rows, data, sum(generator.sizes))
        real, false = game.numbers(x, fake, data.cond)
        margin = (real - false).detach()
        self.watched = {"critic_accuracy": (margin > 0).float().mean(), "critic_margin": margin.mean()}
        loss = game.contest.critic(real, false)
        return loss if game.penalty is None else loss + game.penalty(game.critic, x, fake, data.cond)


@final
class ConditionalGenerator(Term):
    """The generator's loss with a fixed critic, and the cross-entropy of the value. It watches ``diversity``."""

    def __init__(self, generator: RowGenerator, objective: ConditionalGAN) -> None:
        super().__init__([generator])
        self.generator, self.objective = generator, objective

    def forward(self, batch: Batch) -> Tensor:
        generator, game, tokens = self.generator, self.objective.game, sum(self.generator.sizes)
        data = condition_rows(generator, batch, game.label_dropout if self.training else 0.0)
        rows, log_p = generate(generator, data)
        self.watched = {"diversity": diversity(rows, data.rows), "condition_prob": log_p.detach().exp().mean()}
        loss = game.generator_loss(
            with_condition(data.rows, data, tokens), with_condition(rows, data, tokens), data.cond
        )
        return loss - self.objective.weight * log_p
