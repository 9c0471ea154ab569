"""Draws and probabilities of some values of an example given the others, by proposals that are accepted or not.

A network of ``p(x_i | x_S)`` for every set ``S`` makes a distribution ``q(x_U | x_K)`` of the missing tokens by the
chain rule. It need not be the conditional of the joint distribution ``p(x)`` that the model scores and samples: the
conditionals of two orders agree only as far as they were learned. So ``q`` only proposes. A proposal has the weight

    w(x_U) = p(x_K, x_U) / q(x_U | x_K),

and a Markov chain moves from its state to the next proposal with the probability ``min(1, w' / w)`` (independence
Metropolis-Hastings: Hastings 1970, https://doi.org/10.1093/biomet/57.1.97; Tierney 1994,
https://doi.org/10.1214/aos/1176325750), whose distribution tends to ``p(x_U | x_K)``.

The chain ends after a proposal that is accepted even against the heaviest weight that any proposal so far could have.
It then no longer depends on its start. Where that weight is the greatest of all, which it is if only restrictions have
weights, this is rejection sampling, and exact. Else the greatest is learned from the proposals (Caffo, Booth, Davis
2002, https://doi.org/10.1093/biomet/89.4.745).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from fourfold.core import ArbitraryConditionals, GenerativeModel, JointConditionals, LogProb, Noise, TokenwiseCodec
from fourfold.core.conditions import numbered
from fourfold.maths.categorical import categorical
from fourfold.tasks.rejection import ABLE, Round, Tally, TooFewError, accept
from fourfold.vocabulary import Kind

__all__ = ["MOST", "arbitrary", "complete_block", "prob_block", "score_given"]

FIRST = 32
"""Proposals of a row in the first round."""
ROUND = 256
"""Proposals of a row in one round, at most."""
MOST = 1 << 14
"""Proposals of a row, at most."""
LEAST_OF_PROBABILITY = 64
"""Proposals of a row from which a probability is estimated, at least."""
ACCEPTED_OF_PROBABILITY = 10
"""Proposals of these that would be accepted against the heaviest one, at least."""
BATCH = 1 << 14
"""Proposals in one call of the network, at most."""


class _Proposed(NamedTuple):
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
    """Proposals for the missing tokens of rows.

    Attributes:
        estimand: has the conditionals.
        z: codes ``(B, L)``.
        observed: true for tokens that are given, bool ``(B, L)``.
        shares: ``log P(value is allowed | token)`` of restricted tokens, by their position.
        free: true where these restrictions hold, bool ``(B, L)``.
        noise: the stream of the rows.
        cond: labels ``(B,)``.
        group: the same number for rows with the same label and the same observed tokens, ``(B,)``.
    """

    estimand: ArbitraryConditionals
    z: Tensor
    observed: Tensor
    shares: Mapping[int, Tensor]
    free: Tensor
    noise: Noise
    cond: Tensor | None
    group: Tensor

    def rounds(self, least: int, accepted: int) -> Iterator[_Proposed]:
        """Proposals, at least ``least`` for each row, until ``accepted`` of them would be from any state of a chain.

        Raises:
            TooFewError: with the rows that have fewer after the most proposals.
        """
        heaviest = torch.full((len(self.z),), -torch.inf, dtype=torch.float64, device=self.z.device)
        surest = heaviest.unsqueeze(1).repeat(1, accepted)

        def propose(pending: Tensor, tally: Tally) -> Round[_Proposed]:
            times = min(tally.proposals or least, ROUND)
            u = self.noise.uniform(times, 2 * self.z.shape[1] + 1)[pending]
            z, *weights = self._proposals(pending.repeat_interleave(times), u.flatten(0, 1))
            log_w, log_most = (weight.view(-1, times) for weight in weights)
            proposed = _Proposed(pending, z.view(-1, times, z.shape[1]), log_w, (1 - u[:, :, -1].double()).log())
            heaviest[pending] = heaviest[pending].maximum(log_most.amax(1))
            surest[pending] = torch.cat([surest[pending], log_w - proposed.log_u], 1).topk(accepted).values
            enough = surest[pending, -1] > heaviest[pending]
            complete = pending[enough] if self.weighted else pending
            return Round(complete, proposed, times, len(complete))

        everything = torch.arange(len(self.z), device=self.z.device)
        for proposed, _ in accept(everything, propose, MOST, "their conditions for certain"):
            yield proposed.content

    @property
    def weighted(self) -> bool:
        """True if weights may differ. If not, each proposal is a draw."""
        return bool(self.shares) or isinstance(self.estimand, JointConditionals)

    def _proposals(self, rows: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        batches = zip(torch.split(rows, BATCH), torch.split(u, BATCH), strict=True)
        return tuple(map(torch.cat, zip(*(self._propose(*batch) for batch in batches), strict=True)))

    def _propose(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals for the rows by ``u``, restricted tokens first, with ``log w`` and the most that it can be.

        The probability that a later restriction holds, given the earlier tokens, is a factor of the weight, at most 1.
        """
        z, observed, cond = self.z[rows], self.observed[rows], None if self.cond is None else self.cond[rows]
        group = self.group[rows]
        joint = self.estimand if isinstance(self.estimand, JointConditionals) else None
        log_w, length = torch.zeros(len(z), dtype=torch.float64, device=z.device), z.shape[1]
        log_holds, first = log_w.clone(), torch.ones(len(z), dtype=torch.bool, device=z.device)
        for i in [*self.shares, *(i for i in self.estimand.order or range(length) if i not in self.shares)]:
            at = (~observed[:, i]).nonzero().squeeze(1)
            if not len(at):
                continue
            labels = None if cond is None else cond[at]
            log_p = self._conditional(z[at], observed[at], i, labels, group[at]).double()
            log_mass = log_p
            if i in self.shares:
                log_mass = torch.where(self.free[rows[at], i, None], log_p + self.shares[i], log_p)
            possible = (log_mass > -torch.inf).any(1)
            if i in self.shares:
                log_holds[at] += log_mass.logsumexp(1).masked_fill(first[at] & possible, 0.0)
                first[at] &= ~self.free[rows[at], i]
            z[at, i] = categorical(torch.where(possible[:, None], log_mass, log_p), u[at, i])
            observed[at, i] = True
            group = torch.unique(group * (z[:, i].amax() + 1) + z[:, i], return_inverse=True)[1]
            if joint is not None:
                log_w[at] -= log_p.gather(1, z[at, i, None]).squeeze(1)
        if joint is not None:
            log_w += joint.log_joint(z, u[:, length : 2 * length], cond).double()
        return z, log_w + log_holds, log_w

    def _conditional(self, z: Tensor, observed: Tensor, position: int, cond: Tensor | None, group: Tensor) -> Tensor:
        """The conditional of each row. The network runs once for the rows of a group, which have the same condition."""
        groups, place = torch.unique(group, return_inverse=True)
        rows = place.new_zeros(len(groups)).scatter_(0, place, torch.arange(len(place), device=place.device))
        labels = None if cond is None else cond[rows]
        return self.estimand.conditional(z[rows], observed[rows], position, labels)[place]


def _proposer(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    restrictions: Mapping[int, Tensor],
    noise: Noise,
    cond: Tensor | None,
) -> _Proposer:
    """Proposals for raw rows. An observed value that was not in the training data is left out of the condition.

    Raises:
        ValueError: for restrictions of which the model can draw no value.
    """
    estimand, codec = arbitrary(model)
    z, log_mass = codec.tokenize(x)
    shares = {i: codec.log_shares(i, values).to(z.device) for i, values in restrictions.items()}
    for i, share in shares.items():
        if bool((share == -torch.inf).all()):
            name = model.space.columns[i] if model.space.columns else f"position {i}"
            raise ValueError(f"{name} must have a value that the model can draw, got none: allow others")
    observed = observed_mask & torch.isfinite(log_mass)
    labels = z[:, :0] if cond is None else numbered(cond)[:, None]
    group = torch.unique(torch.cat([torch.where(observed, z, -1), labels], 1), dim=0, return_inverse=True)[1]
    return _Proposer(estimand, z, observed, shares, ~observed_mask, noise, cond, group)


def complete_block(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    restrictions: Mapping[int, Tensor],
    noise: Noise,
    decoding: Noise,
    cond: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Raw rows ``(B, L)`` in which every missing value is drawn, the rows that are possible, the approximate ones.

    The last two are bool ``(B,)``. A row is approximate if it reached the most proposals, and the last state of its
    chain may still depend on the first. :func:`fourfold.tasks.complete` describes the arguments. ``observed_mask`` is
    bool ``(B, L)``. The stream of decoding is separate, since the number of proposals depends on the other rows.
    """
    proposer = _proposer(model, x, observed_mask, restrictions, noise, cond)
    z, log_w = proposer.z.clone(), torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    approximate = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    try:
        for proposed in proposer.rounds(FIRST if proposer.weighted else 1, 1):
            at, log_w[proposed.rows] = _last_state(log_w[proposed.rows], proposed)
            moved = at >= 0
            z[proposed.rows[moved]] = proposed.z[moved, at[moved]]
    except TooFewError as error:
        approximate[error.rows] = True
    possible, (_, codec) = log_w > -torch.inf, arbitrary(model)
    return torch.where(observed_mask, x, codec.decode(z, decoding, restrictions)), possible, approximate & possible


def _last_state(log_w: Tensor, proposed: _Proposed) -> tuple[Tensor, Tensor]:
    """The proposal at which a chain from a state of weight ``w`` ends (-1: its start), and that state's weight."""
    at = torch.full_like(proposed.rows, -1)
    for k in range(proposed.log_u.shape[1]):
        accepted = proposed.log_u[:, k] < proposed.log_w[:, k] - log_w
        at, log_w = at.masked_fill(accepted, k), torch.where(accepted, proposed.log_w[:, k], log_w)
    return at, log_w


def prob_block(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    events: Mapping[int, Tensor],
    noise: Noise,
    cond: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """``P(x_i in events_i | x_K)`` of each event, ``(B, len(events))`` float64: see :func:`.prob_given`.

    Also true for the rows that are approximate, bool ``(B,)``: those that reached the most proposals.
    """
    proposer, (_, codec) = _proposer(model, x, observed_mask, {}, noise, cond), arbitrary(model)
    shares = {i: codec.log_shares(i, values).to(x.device) for i, values in events.items()}
    log_p = torch.full((len(x), len(shares) + 1), -torch.inf, dtype=torch.float64, device=x.device)
    approximate = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    try:
        for rows, z, log_w, _ in proposer.rounds(LEAST_OF_PROBABILITY, ACCEPTED_OF_PROBABILITY):
            inside = torch.stack([*(log_w + share[z[:, :, i]] for i, share in shares.items()), log_w], 2).logsumexp(1)
            log_p[rows] = torch.logaddexp(log_p[rows], inside)
    except TooFewError as error:
        approximate[error.rows] = True
    return (log_p[:, :-1] - log_p[:, -1:]).exp(), approximate


def score_given(
    estimand: ArbitraryConditionals, codec: TokenwiseCodec, x: Tensor, observed_mask: Tensor, cond: Tensor | None
) -> LogProb:
    """``log p(missing | observed)`` of raw rows: see :func:`fourfold.tasks.log_prob_given`."""
    z, log_mass = codec.tokenize(x)
    observed, nats = (
        observed_mask & torch.isfinite(log_mass),
        torch.zeros(z.shape, dtype=torch.float64, device=x.device),
    )
    for i in estimand.order or range(z.shape[1]):
        rows = (~observed_mask[:, i]).nonzero().squeeze(1)
        if len(rows):
            labels = None if cond is None else cond[rows]
            log_p = estimand.conditional(z[rows], observed[rows], i, labels)
            nats[rows, i] = log_p.gather(1, z[rows, i, None]).squeeze(1).double() + log_mass[rows, i]
            observed[rows, i] = torch.isfinite(log_mass[rows, i])
    note = "chain rule over the missing tokens, in their order"
    return LogProb(nats.sum(1).float(), Kind.EXACT, note=note, terms=nats)


def arbitrary(model: GenerativeModel) -> tuple[ArbitraryConditionals, TokenwiseCodec]:
    """The estimand and the codec of a model of arbitrary conditionals.

    Raises:
        TypeError: for another model, naming those that are.
    """
    if not isinstance(model.estimand, ArbitraryConditionals) or not isinstance(model.codec, TokenwiseCodec):
        raise TypeError(
            f"model must have distributions of some values given others ({ABLE}), got one of {model.paradigm}; use "
            "another"
        )
    return model.estimand, model.codec
