"""Completion: draws and log-probabilities of some values of an example given the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fourfold.core.codec import PiecewiseCodec
from fourfold.core.log_prob import LogProb
from fourfold.core.noise import Noise
from fourfold.vocabulary import Kind

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = ["ArbitraryConditionals", "CaptionConditionals", "arbitrary", "complete_block", "score_given"]

TRIES = 20_000
"""How often a row is drawn until all of its restricted values are allowed, at most."""
ABLE = "autoregressive, diffusion/masked"
"""The recipes whose models tell arbitrary conditionals."""


class ArbitraryConditionals(ABC):
    """An estimand that tells ``p(x_i | x_S, c)`` of every piece ``i`` and every set ``S`` of others.

    Several pieces are drawn and scored by the chain rule in their order, ``prod_i p(x_i | x_S, x_<i, c)``, so that
    draws and log-probabilities given ``x_S`` are of one distribution, and exact.
    """

    @abstractmethod
    def conditional(self, x: Tensor, known: Tensor, piece: int, cond: Tensor | None = None) -> Tensor:
        """``log p(x_piece | x_S, c)`` of each token, ``(B, sizes[piece])`` float32.

        Args:
            x: codes ``(B, L)``; those that are not known may be any.
            known: which pieces are in ``S``, ``(B, L)``.
            piece: the one asked for; it is not in ``S``.
            cond: labels ``(B,)``.
        """


class CaptionConditionals(ABC):
    """An estimand that tells ``p(T | I)`` of every caption given the codes of a picture.

    Attributes:
        caption: the most bytes of a caption.
    """

    caption: int

    @abstractmethod
    def describe(self, x: Tensor, noise: Noise, temperature: float = 1.0) -> Tensor:
        """A caption ``(B, L)`` of each picture's codes; logits are divided by ``temperature``."""

    @abstractmethod
    def log_caption(self, x: Tensor, cond: Tensor) -> Tensor:
        """``log p(T | I)`` of captions ``(B, L)`` given the codes of pictures, ``(B,)`` nats."""


def draw(log_p: Tensor, u: Tensor) -> Tensor:
    """A token for each row of log-masses ``(B, K)``, by the inverse of their distribution function at ``u``, ``(B,)``.

    The masses need not sum to 1. A token without mass is never drawn.
    """
    steps = (log_p - log_p.amax(1, keepdim=True)).double().exp().cumsum(1)
    # u in [0, 1) times the sum may round up to the sum: the last token with mass is then drawn.
    target = (u.double() * steps[:, -1]).minimum(steps[:, -1].nextafter(steps.new_zeros(())))
    return torch.searchsorted(steps, target.unsqueeze(1), right=True).squeeze(1)


def complete_block(
    model: GenerativeModel,
    x: Tensor,
    known: Tensor,
    allowed: Mapping[int, Tensor],
    noise: Noise,
    cond: Tensor | None,
) -> Tensor:
    """Raw rows ``(B, L)`` in which every value that is not known is drawn.

    :meth:`fourfold.core.GenerativeModel.complete` describes the arguments; ``known`` is bool ``(B, L)``.
    """
    estimand, codec = arbitrary(model)
    z, log_mass = codec.pieces(x)
    seen = known & torch.isfinite(log_mass)  # a value that the model has never seen says nothing about the others
    shares = {i: codec.log_shares(i, cells).to(z.device) for i, cells in allowed.items()}
    for i, share in shares.items():
        if bool((share == -torch.inf).all()):
            raise ValueError(f"{_name(model, i)}: the model knows none of the values that are allowed: allow others")
    z, seen = _restricted(model, estimand, z, seen, known, shares, noise, cond)
    u = noise.uniform(z.shape[1])
    for i in range(z.shape[1]):
        rows = (~seen[:, i] & ~known[:, i]).nonzero().squeeze(1)
        if len(rows):
            labels = None if cond is None else cond[rows]
            z[rows, i] = draw(estimand.conditional(z[rows], seen[rows], i, labels), u[rows, i])
            seen[rows, i] = True
    return torch.where(known, x, codec.decode(z, noise, allowed))


def _restricted(
    model: GenerativeModel,
    estimand: ArbitraryConditionals,
    z: Tensor,
    seen: Tensor,
    known: Tensor,
    shares: Mapping[int, Tensor],
    noise: Noise,
    cond: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Draw the restricted pieces: each from its conditional cut to the allowed values, in their order.

    The product of the cut conditionals is not yet the distribution given that all are allowed: it lacks the factor
    ``P(allowed | earlier)`` of each piece but the first. A draw is accepted with the product of these, and made again
    if it is not (rejection sampling), which is exact.
    """
    z, seen = z.clone(), seen.clone()
    free = ~known[:, list(shares)]
    pending = free.any(1).nonzero().squeeze(1)
    tried, times = 0, 1
    while len(pending) and tried < TRIES:
        u = noise.uniform(times, len(shares) + 1)[pending].flatten(0, 1).double()
        rows = pending.repeat_interleave(times)
        drawn, have, log_accept = _proposed(estimand, z[rows], seen[rows], free[rows], shares, u, cond, rows)
        accepted = (u[:, -1].log() < log_accept).view(-1, times)
        chosen = accepted.int().argmax(1) + torch.arange(len(pending), device=z.device) * times  # the first accepted
        found = accepted.any(1)
        z[pending[found]], seen[pending[found]] = drawn[chosen[found]], have[chosen[found]]
        pending, tried, times = pending[~found], tried + times, min(2 * times, 256)
    if not len(pending):
        return z, seen
    names = ", ".join(_name(model, i) for i in shares)
    raise ValueError(
        f"row {noise.start + int(pending[0])}: the allowed values of {names} are too rare together: none of {tried:,} "
        "draws was accepted; allow more, or restrict fewer columns"
    )


def score_given(
    estimand: ArbitraryConditionals, codec: PiecewiseCodec, x: Tensor, known: Tensor, cond: Tensor | None
) -> LogProb:
    """``log p(unknown | known)`` of raw rows; see :meth:`fourfold.core.GenerativeModel.log_prob_given`."""
    z, log_mass = codec.pieces(x)
    seen, nats = known & torch.isfinite(log_mass), torch.zeros(z.shape, dtype=torch.float64, device=x.device)
    for i in range(z.shape[1]):
        rows = (~known[:, i]).nonzero().squeeze(1)
        if len(rows):
            labels = None if cond is None else cond[rows]
            log_p = estimand.conditional(z[rows], seen[rows], i, labels)
            nats[rows, i] = log_p.gather(1, z[rows, i, None]).squeeze(1).double() + log_mass[rows, i]
            seen[rows, i] = torch.isfinite(log_mass[rows, i])
    note = "chain rule over the unknown pieces, in their order"
    return LogProb(nats.sum(1).float(), Kind.EXACT, note=note, pieces=nats)


def arbitrary(model: GenerativeModel) -> tuple[ArbitraryConditionals, PiecewiseCodec]:
    """The estimand and the codec of a model that tells arbitrary conditionals.

    Raises:
        TypeError: for another model, naming those that do.
    """
    if not isinstance(model.estimand, ArbitraryConditionals) or not isinstance(model.codec, PiecewiseCodec):
        raise TypeError(
            f"this {model.paradigm} model knows no conditional distribution of some values given others: "
            f"use a model that does ({ABLE})"
        )
    return model.estimand, model.codec


def _proposed(
    estimand: ArbitraryConditionals,
    z: Tensor,
    seen: Tensor,
    free: Tensor,
    shares: Mapping[int, Tensor],
    u: Tensor,
    cond: Tensor | None,
    rows: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """One proposal for each row: its pieces, which of them are set, and the logarithm of its acceptance."""
    log_accept, first = u.new_zeros(len(z)), torch.ones(len(z), dtype=torch.bool, device=z.device)
    for k, (i, share) in enumerate(shares.items()):
        at = free[:, k].nonzero().squeeze(1)
        log_p = estimand.conditional(z[at], seen[at], i, None if cond is None else cond[rows[at]]).double() + share
        log_accept[at] += log_p.logsumexp(1).masked_fill(first[at], 0.0)
        z[at, i], seen[at, i], first[at] = draw(log_p, u[at, k]), True, False
    return z, seen, log_accept


def _name(model: GenerativeModel, piece: int) -> str:
    """The name of a column, or its place."""
    return model.space.columns[piece] if model.space.columns else f"place {piece}"
