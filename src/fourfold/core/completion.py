"""Completion: draws and probabilities of some values of an example given the others.

A network that tells ``p(x_i | x_S)`` for every set ``S`` makes a distribution ``q(x_U | x_K)`` of the unknown pieces by
the chain rule. It need not be the conditional of the joint distribution ``p(x)`` that the model scores and samples: the
conditionals of two orders agree only as far as they were learned. So ``q`` only proposes. A proposal has the weight

    w(x_U) = p(x_K, x_U) / q(x_U | x_K),

and a Markov chain moves from its state to the next proposal with the probability ``min(1, w' / w)`` (independence
Metropolis-Hastings: Hastings 1970, https://doi.org/10.1093/biomet/57.1.97; Tierney 1994,
https://doi.org/10.1214/aos/1176325750), whose distribution tends to ``p(x_U | x_K)``.

The chain ends after a proposal that is accepted even against the heaviest weight that any proposal so far could have.
It has then forgotten where it began. Where that weight is the greatest of all, which it is if only restrictions weigh,
this is rejection sampling, and exact. Else the greatest is learned from the proposals (Caffo, Booth, Davis 2002,
https://doi.org/10.1093/biomet/89.4.745).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

import torch
from torch import Tensor

from fourfold.core.codec import PiecewiseCodec
from fourfold.core.log_prob import LogProb
from fourfold.core.noise import Noise
from fourfold.vocabulary import Kind

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = [
    "ArbitraryConditionals",
    "CaptionConditionals",
    "JointConditionals",
    "arbitrary",
    "complete_block",
    "prob_block",
    "score_given",
]

FIRST = 32
"""Proposals of a row at first."""
ROUND = 256
"""Proposals of a row at once, at most."""
MOST = 1 << 14
"""Proposals of a row, at most."""
SURE = 64
"""The least proposals of a row from which a probability is estimated."""
ACCEPTED = 10
"""The least of these that the heaviest one would not keep out."""
AT_ONCE = 1 << 14
"""Proposals in one call of the network, at most."""
ABLE = "autoregressive, diffusion/masked"
"""The recipes whose models tell arbitrary conditionals."""


class ArbitraryConditionals(ABC):
    """An estimand that tells ``p(x_i | x_S, c)`` of every piece ``i`` and every set ``S`` of others.

    Several pieces are scored by the chain rule in their order, ``prod_i p(x_i | x_S, x_<i, c)``, and drawn so, unless
    the estimand tells a joint distribution: see :class:`JointConditionals`.
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


class JointConditionals(ArbitraryConditionals):
    """Arbitrary conditionals beside the distribution that samples have, ``p(x | c) = E_sigma p(x | sigma, c)``.

    ``sigma`` is an order of the pieces, all equally likely, or the same one always. Draws given some pieces are of the
    conditional distribution of this joint one.
    """

    @abstractmethod
    def log_joint(self, x: Tensor, place: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x | sigma, c)``, ``(B,)``.

        Args:
            x: codes ``(B, L)``.
            place: uniform numbers ``(B, L)``, whose ranks are a random order, if orders are drawn.
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


class _Round(NamedTuple):
    """Proposals for some rows.

    Attributes:
        rows: their numbers, ``(R,)``.
        z: codes ``(R, times, L)``.
        log_w: logarithms of their weights, ``(R, times)``.
        log_u: logarithms of uniform numbers that accept them, ``(R, times)``.
    """

    rows: Tensor
    z: Tensor
    log_w: Tensor
    log_u: Tensor


@final
@dataclass(frozen=True, eq=False)
class _Proposer:
    """Proposes the pieces of rows that are not known.

    Attributes:
        estimand: tells the conditionals.
        z: codes ``(B, L)``.
        seen: the pieces that are known, bool ``(B, L)``.
        shares: ``log P(value is allowed | token)`` of the restricted pieces, by their place.
        free: where these restrictions hold, bool ``(B, L)``.
        noise: the stream of the rows.
        cond: labels ``(B,)``.
        group: the same number for rows with the same label that see the same, ``(B,)``.
    """

    estimand: ArbitraryConditionals
    z: Tensor
    seen: Tensor
    shares: Mapping[int, Tensor]
    free: Tensor
    noise: Noise
    cond: Tensor | None
    group: Tensor

    def rounds(self, least: int, accepted: int) -> Iterator[_Round]:
        """Proposals, at least so many of each row, until as many would be accepted in whatever state a chain is."""
        pending, tried = torch.arange(len(self.z), device=self.z.device), 0
        heaviest = torch.full((len(self.z),), -torch.inf, dtype=torch.float64, device=self.z.device)
        surest = heaviest.unsqueeze(1).repeat(1, accepted)
        while len(pending) and tried < MOST:
            times = min(tried or least, ROUND)
            u = self.noise.uniform(times, 2 * self.z.shape[1] + 1)[pending]
            z, *both = self._proposals(pending.repeat_interleave(times), u.flatten(0, 1))
            log_w, log_most = (part.view(-1, times) for part in both)
            proposed = _Round(pending, z.view(-1, times, z.shape[1]), log_w, (1 - u[:, :, -1].double()).log())
            yield proposed
            heaviest[pending] = heaviest[pending].maximum(log_most.amax(1))
            surest[pending] = torch.cat([surest[pending], log_w - proposed.log_u], 1).topk(accepted).values
            enough = surest[pending, -1] > heaviest[pending]
            pending, tried = pending[~enough & self.weighted], tried + times

    @property
    def weighted(self) -> bool:
        """Whether weights may differ; if not, each proposal is a draw."""
        return bool(self.shares) or isinstance(self.estimand, JointConditionals)

    def _proposals(self, rows: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        parts = zip(torch.split(rows, AT_ONCE), torch.split(u, AT_ONCE), strict=True)
        return tuple(map(torch.cat, zip(*(self._propose(*part) for part in parts), strict=True)))

    def _propose(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals for the rows by ``u``, restricted pieces first, ``log w``, and what is the most that it can be.

        The probability that a later restriction holds, given the earlier pieces, is a factor of the weight, at most 1.
        """
        z, seen, cond = self.z[rows], self.seen[rows], None if self.cond is None else self.cond[rows]
        group = self.group[rows]
        joint = self.estimand if isinstance(self.estimand, JointConditionals) else None
        log_w, length = torch.zeros(len(z), dtype=torch.float64, device=z.device), z.shape[1]
        log_holds, first = log_w.clone(), torch.ones(len(z), dtype=torch.bool, device=z.device)
        for i in [*self.shares, *(i for i in range(length) if i not in self.shares)]:
            at = (~seen[:, i]).nonzero().squeeze(1)
            if not len(at):
                continue
            labels = None if cond is None else cond[at]
            log_p = self._conditional(z[at], seen[at], i, labels, group[at]).double()
            allowed = log_p
            if i in self.shares:
                allowed = torch.where(self.free[rows[at], i, None], log_p + self.shares[i], log_p)
            possible = (allowed > -torch.inf).any(1)
            if i in self.shares:
                log_holds[at] += allowed.logsumexp(1).masked_fill(first[at] & possible, 0.0)
                first[at] &= ~self.free[rows[at], i]
            z[at, i], seen[at, i] = draw(torch.where(possible[:, None], allowed, log_p), u[at, i]), True
            group = torch.unique(group * (z[:, i].amax() + 1) + z[:, i], return_inverse=True)[1]
            if joint is not None:
                log_w[at] -= log_p.gather(1, z[at, i, None]).squeeze(1)
        if joint is not None:
            log_w += joint.log_joint(z, u[:, length : 2 * length], cond).double()
        return z, log_w + log_holds, log_w

    def _conditional(self, z: Tensor, seen: Tensor, piece: int, cond: Tensor | None, group: Tensor) -> Tensor:
        """The conditional of each row; the network is asked once for the rows of a group, which see the same."""
        groups, place = torch.unique(group, return_inverse=True)
        rows = place.new_zeros(len(groups)).scatter_(0, place, torch.arange(len(place), device=place.device))
        labels = None if cond is None else cond[rows]
        return self.estimand.conditional(z[rows], seen[rows], piece, labels)[place]


def _proposer(
    model: GenerativeModel,
    x: Tensor,
    known: Tensor,
    allowed: Mapping[int, Tensor],
    noise: Noise,
    cond: Tensor | None,
) -> _Proposer:
    """Proposals for raw rows. A known value that the model has never seen says nothing about the others.

    Raises:
        ValueError: for allowed values of which the model knows none.
    """
    estimand, codec = arbitrary(model)
    z, log_mass = codec.pieces(x)
    shares = {i: codec.log_shares(i, cells).to(z.device) for i, cells in allowed.items()}
    for i, share in shares.items():
        if bool((share == -torch.inf).all()):
            raise ValueError(f"{_name(model, i)}: the model knows none of the values that are allowed: allow others")
    seen = known & torch.isfinite(log_mass)
    labels = z[:, :0] if cond is None else cond.view(len(x), -1)
    group = torch.unique(torch.cat([torch.where(seen, z, -1), labels], 1), dim=0, return_inverse=True)[1]
    return _Proposer(estimand, z, seen, shares, ~known, noise, cond, group)


def complete_block(
    model: GenerativeModel,
    x: Tensor,
    known: Tensor,
    allowed: Mapping[int, Tensor],
    noise: Noise,
    decoding: Noise,
    cond: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Raw rows ``(B, L)`` in which every value that is not known is drawn, and whether there is such a row, ``(B,)``.

    :meth:`fourfold.core.GenerativeModel.complete` describes the arguments; ``known`` is bool ``(B, L)``. The stream of
    decoding is one of its own: how many proposals there are depends on the other rows.
    """
    proposer = _proposer(model, x, known, allowed, noise, cond)
    z, log_w = proposer.z.clone(), torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    for proposed in proposer.rounds(FIRST if proposer.weighted else 1, 1):
        at, log_w[proposed.rows] = _last_state(log_w[proposed.rows], proposed)
        moved = at >= 0
        z[proposed.rows[moved]] = proposed.z[moved, at[moved]]
    _, codec = arbitrary(model)
    return torch.where(known, x, codec.decode(z, decoding, allowed)), log_w > -torch.inf


def _last_state(log_w: Tensor, proposed: _Round) -> tuple[Tensor, Tensor]:
    """Where a chain from a state of weight ``w`` ends among proposals (-1: where it began), and that state's weight."""
    at = torch.full_like(proposed.rows, -1)
    for k in range(proposed.log_u.shape[1]):
        accepted = proposed.log_u[:, k] < proposed.log_w[:, k] - log_w
        at, log_w = at.masked_fill(accepted, k), torch.where(accepted, proposed.log_w[:, k], log_w)
    return at, log_w


def prob_block(
    model: GenerativeModel,
    x: Tensor,
    known: Tensor,
    values: Mapping[int, Tensor],
    noise: Noise,
    cond: Tensor | None,
) -> Tensor:
    """``P(x_i in values_i | x_K)`` of each place of ``values``, ``(B, len(values))`` float64; see ``prob_given``."""
    proposer, (_, codec) = _proposer(model, x, known, {}, noise, cond), arbitrary(model)
    shares = {i: codec.log_shares(i, cells).to(x.device) for i, cells in values.items()}
    log_p = torch.full((len(x), len(shares) + 1), -torch.inf, dtype=torch.float64, device=x.device)
    for rows, z, log_w, _ in proposer.rounds(SURE, ACCEPTED):
        inside = torch.stack([*(log_w + share[z[:, :, i]] for i, share in shares.items()), log_w], 2).logsumexp(1)
        log_p[rows] = torch.logaddexp(log_p[rows], inside)
    return (log_p[:, :-1] - log_p[:, -1:]).exp()


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


def _name(model: GenerativeModel, piece: int) -> str:
    """The name of a column, or its place."""
    return model.space.columns[piece] if model.space.columns else f"place {piece}"
