"""Bayes' rule for conditions of any kind: ``p(c | x)`` by draws, through a model of ``p(x | c)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.maths.categorical import quantile
from fourfold.tasks.conditions import conditioning, given_space
from fourfold.tasks.examples import raw_examples
from fourfold.vocabulary import Kind

__all__ = ["PosteriorDraws", "posterior"]

FEW = 30
"""Effective draws below which a posterior is said to be rough."""
_WORDS = {
    Kind.EXACT: "the weights are exact ratios of likelihoods",
    Kind.ESTIMATE: "the weights are ratios of estimates",
    Kind.UNNORMALISED: "the weights leave out the normaliser of each condition",
}


@final
@dataclass(frozen=True)
class PosteriorDraws:
    """Draws of ``p(c | x)`` for each example, and the weighted candidates that they were drawn from.

    Attributes:
        draws: conditions, ``(B, n, *given.shape)``.
        candidates: draws of the prior, ``(K, *given.shape)``.
        weights: of the candidates for each example, ``(B, K)`` float64. They add up to 1.
        effective: effective sample size of the weights, ``1 / sum w^2``, ``(B,)``.
        kind: the kind of the likelihood.
    """

    draws: Tensor
    candidates: Tensor
    weights: Tensor
    effective: Tensor
    kind: Kind

    @property
    def note(self) -> str:
        """How far the weights are exact, and a warning where too few candidates explain an example."""
        words = _WORDS.get(self.kind, "the weights are ratios of bounds")
        rough = int((self.effective < FEW).sum())
        few = f"; {rough:,} of {len(self.effective):,} examples have fewer than {FEW} effective candidates: give more"
        return words + (few if rough else "")


@torch.no_grad()
def posterior(
    model: GenerativeModel, x: Any, n: int, prior: Any = None, seed: int = 0, batch_size: int = 1024
) -> PosteriorDraws:
    """Draw conditions of examples, ``c ~ p(c | x)``: candidates of the prior, weighted by the likelihood.

        w_k = p(x | c_k) / sum_j p(x | c_j),   c_k ~ p(c)

    The error falls with the effective sample size, ``1 / sum_k w_k^2``: a sharp posterior needs many candidates.
    :func:`~fourfold.tasks.class_probabilities` sums over all classes instead.

    Args:
        model: conditional, with a likelihood.
        x: raw examples ``(B, *shape)``.
        n: draws for each example, by systematic resampling.
        prior: draws of ``p(c)``, such as the conditions of the training data, in any form of several conditions. By
            default each class once, where conditions are classes. :meth:`fourfold.Run.posterior` takes those of its
            training data.
        seed: of the draws, and of a likelihood that draws.
        batch_size: rows per network call.

    Raises:
        ValueError: for n < 1, a model without conditions or without a likelihood, or no candidates.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    x, candidates = raw_examples(x, model.space), _candidates(model, prior)
    scores = []
    for row in x:
        result = model.log_prob(row.expand(len(candidates), *row.shape), candidates, seed, batch_size)
        if result.kind is Kind.NONE:
            raise ValueError(f"the model must have a likelihood for Bayes' rule, got {model.paradigm}: train another")
        scores.append(result.nats.double())
    weights = torch.stack(scores).softmax(1)
    if not bool(weights.isfinite().all()):
        row = int((~weights.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"row {row}: no candidate condition gives it any mass: give others (prior=)")
    rows = torch.stack([_resampled(w, n, seed + i) for i, w in enumerate(weights)])
    return PosteriorDraws(candidates[rows], candidates, weights, 1 / weights.square().sum(1), result.kind)


def _candidates(model: GenerativeModel, prior: Any) -> Tensor:
    """Encoded draws of the prior."""
    given = given_space(model.space)
    if prior is None:
        if not given.names:
            raise ValueError(
                f"prior must be draws of the condition, {given}, got none: give those of the training data"
            )
        prior = list(range(len(given.names)))
    condition = conditioning(model.space, prior).condition
    if not len(condition):
        raise ValueError("prior must be at least one condition, got none: give draws of it")
    return given.conditions(condition, len(condition))


def _resampled(weights: Tensor, n: int, seed: int) -> Tensor:
    """``n`` indices, each as often as its weight says, up to one (systematic resampling), in a random order."""
    generator = torch.Generator().manual_seed(seed)
    levels = (torch.arange(n) + torch.rand(1, generator=generator)).double() / n
    return quantile(weights.cumsum(0), levels)[torch.randperm(n, generator=generator)]
