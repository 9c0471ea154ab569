"""Autoregressive models in any order: the conditional of each token given any set of the others, in one network.

    log p(x) = sum_i log p(x_sigma(i) | x_sigma(<i))

for every order ``sigma`` (Uria, Murray, Larochelle 2014, https://arxiv.org/abs/1310.1757). Rows of tables are scored
and drawn in the order of their columns. Given some of the values, the others are proposed in an order with the known
ones first. Each order is a distribution of its own, and conditionals of two orders agree only as well as they were
learned, so the order of the columns accepts what the other one proposes (``fourfold.tasks.proposals``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Batch, Codec, Estimand, Measure, SingleLoss, forgetful
from fourfold.estimands import AnyOrderConditionals
from fourfold.nn.columns import ColumnNetwork
from fourfold.vocabulary import Principle

__all__ = ["AnyOrderLikelihood", "ColumnConditionals"]


@final
class ColumnConditionals(AnyOrderConditionals):
    """``p(x_i | x_S, c)`` of the columns of a table. Examples are drawn and scored in the order of the columns.

    Args:
        net: gives the log-masses of each column's tokens, given those that it sees.
        columns: how many there are.
    """

    measure = Measure.COUNTING

    def __init__(self, net: ColumnNetwork, columns: int) -> None:
        super().__init__()
        self.net, self.event = net, (columns,)

    def start(self, x: Tensor, codec: Codec) -> None:
        """Give each column the shares of its tokens, whatever the other columns hold."""
        tokens = codec.encode(x.to(self.net.entry.device))[0]
        self.net.heads.start(tokens)

    def in_order(self, x: Tensor, order: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(x, order, cond)

    def conditional(self, x: Tensor, observed_mask: Tensor, position: int, cond: Tensor | None = None) -> Tensor:
        return self.net(x, observed_mask, cond, position)


@final
class AnyOrderLikelihood(SingleLoss):
    """``min_theta -E log p_theta(x | c) / L`` in the order of the tokens, and in orders drawn at random.

    A batch has one order. Held-out examples see both kinds.

    Args:
        shuffled: share of the batches that are scored in a random order.
        label_dropout: share of labels that training hides, so that the model also learns the distribution without one.

    Paper: Uria, Murray, Larochelle 2014 (https://arxiv.org/abs/1310.1757).
    """

    learns: ClassVar[type[Estimand]] = AnyOrderConditionals
    principle = Principle.LIKELIHOOD
    summary = "maximise the log-likelihood of each token given the earlier ones, in a fixed order and in random ones"
    formula = "min_θ −E_σ Σ_i log p_θ(x_σ(i) | x_σ(<i))"
    term, judges, shares_draws = "likelihood", True, True

    def __init__(self, shuffled: float = 0.5, label_dropout: float = 0.1) -> None:
        super().__init__(label_dropout)
        self.shuffled = shuffled

    def separate(self, estimand: AnyOrderConditionals) -> bool:
        return True

    def loss(self, estimand: AnyOrderConditionals, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        x, share, cond = batch.x, self.shuffled, forgetful(batch.cond, self.label_dropout)
        shuffled = torch.randperm(x.shape[1]).to(x.device)
        if self.training:
            order = shuffled if float(torch.rand(())) < share else torch.arange(x.shape[1], device=x.device)
            return -estimand.in_order(x, order, cond).mean(1), {}
        in_order, random = estimand(x, cond).mean(1), estimand.in_order(x, shuffled, cond).mean(1)
        return -(1 - share) * in_order - share * random, {}
