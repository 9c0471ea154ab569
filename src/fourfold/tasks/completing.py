"""Complete, score and classify examples of which some values are given."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fourfold.core import ArbitraryConditionals, Condition, GenerativeModel, LogProb, Noise, TokenwiseCodec
from fourfold.core.evaluations import evaluating
from fourfold.maths.categorical import categorical
from fourfold.spaces.columns import UNSEEN
from fourfold.spaces.rules import FreeRows
from fourfold.tasks.proposals import MOST, arbitrary, complete_block, prob_block, score_given
from fourfold.tasks.rejection import search
from fourfold.tasks.ruled import FreeCondition, agree, free_conditions, free_model, free_rows_of, too_few

BLOCK = 1 << 14
"""Proposals for all rows that are drawn at once, where draws may contradict a condition."""
PROPOSALS = 128
"""Draws of the bases of a given value, of which one is taken by its weight."""
EFFECTIVE = 4.0
"""A result is approximate if its proposals are worth fewer draws of equal weight."""
DRAWS = 16
"""Draws of a row whose share is a probability, where that is no event of free columns."""

__all__ = [
    "Completed",
    "approximate_note",
    "complete",
    "completions",
    "conditional",
    "log_prob_given",
    "prob_given",
    "weighted_probabilities",
]


class Completed(NamedTuple):
    """Some rows of those that are completed.

    Attributes:
        rows: their numbers, ``(R,)``.
        x: raw examples ``(R, L)``.
        approximate: true for a row whose proposals reached their limit before one was sure to be accepted, ``(R,)``.
    """

    rows: Tensor
    x: Tensor
    approximate: Tensor


def approximate_note(count: int, total: int) -> str:
    """The remark that ``count`` of ``total`` rows are approximate."""
    return (
        f"{count:,} of {total:,} rows are approximate, since {MOST:,} proposals had none that is sure to be accepted: "
        "give fewer values, or train longer"
    )


def complete(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    restrictions: Mapping[int, Tensor] | None = None,
    cond: Condition = None,
    seed: int = 0,
    batch_size: int = 1024,
) -> Tensor:
    """Draw the missing values of raw examples given the observed ones: ``x_U ~ p(. | x_K, x_i in restrictions_i)``.

    ``p`` is the distribution that the model samples. A model of arbitrary conditionals proposes token by token, the
    restricted ones first, and its joint distribution accepts proposals: see :mod:`fourfold.tasks.proposals`. Any other
    model of discrete values draws whole samples, and those that agree are taken, within a limit.

    Args:
        model: a trained model.
        x: raw examples ``(B, L)``. Values that are not observed may be any.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        restrictions: for some columns, by their index, the raw values that a missing value is drawn among.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        seed: with the index of a row, it fixes the draws.
        batch_size: rows per network call.

    Returns:
        ``(B, L)``, where observed values are unchanged. An observed value that was not in the training data is left out
        of the condition. A warning counts the rows whose draws are approximate.

    Raises:
        ValueError: for shapes that differ, restrictions of which the model can draw no value, or if too few samples
            agree with the observed values.
        TypeError: for a model of densities, of which no sample agrees exactly.
    """
    result, approximate = x.clone(), 0
    for completed in completions(model, x, observed_mask, restrictions, cond, seed, batch_size):
        result[completed.rows] = completed.x.to(x.device)
        approximate += int(completed.approximate.sum())
    if approximate:
        warnings.warn(approximate_note(approximate, len(x)), stacklevel=2)
    return result


def completions(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    restrictions: Mapping[int, Tensor] | None = None,
    cond: Condition = None,
    seed: int = 0,
    batch_size: int = 1024,
    start: int = 0,
) -> Iterator[Completed]:
    """Complete rows as :func:`complete` does, and yield some of them as soon as they are complete.

    The caller may stop after any of them, so that a long search ends in time. Some have no rows.

    Args:
        model: a trained model.
        x: raw examples ``(B, L)``. Values that are not observed may be any.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        restrictions: for some columns, by their index, the raw values that a missing value is drawn among.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        seed: with the index of a row, it fixes the draws.
        batch_size: rows per network call.
        start: the index of the first row, for completing a long table in parts.

    Raises:
        ValueError, TypeError: as :func:`complete` does, once no more rows can be completed.
    """
    mask = _expanded(x, observed_mask)
    restrictions = {i: values.flatten() for i, values in (restrictions or {}).items()}
    labels = model.space.encode_condition(cond, len(x), model.device)
    if (free := free_model(model)) is not None:
        yield from _ruled(model, free, x, mask, restrictions, labels, seed, batch_size)
        return
    if not isinstance(model.estimand, ArbitraryConditionals) or not isinstance(model.codec, TokenwiseCodec):
        if x.is_floating_point() or x.ndim != 2:
            arbitrary(model)
        for rows, samples in search(model, x, mask, restrictions, labels, seed):
            yield Completed(rows, samples, torch.zeros(len(rows), dtype=torch.bool))
        return
    for (low, high), block, block_mask, block_cond in _blocks(model, x, mask, labels, batch_size, start):
        rows = torch.arange(low - start, high - start)
        noise, decoding = (Noise(seed, low, high, name, model.device) for name in ("complete", "decode"))
        with torch.no_grad(), evaluating(model):
            parts = complete_block(model, block, block_mask, restrictions, noise, decoding, block_cond)
        completed, possible, approximate = (part.to(rows.device) for part in parts)
        yield Completed(rows[possible], completed[possible], approximate[possible])
        if not bool(possible.all()):
            raise ValueError(
                f"row {int(rows[~possible][0])}: the model has no row with these observed values and restrictions: "
                "give others"
            )


def _ruled(
    model: GenerativeModel,
    free: GenerativeModel,
    x: Tensor,
    mask: Tensor,
    restrictions: Mapping[int, Tensor],
    cond: Tensor | None,
    seed: int,
    batch_size: int,
) -> Iterator[Completed]:
    """Complete rows that keep rules, by their free columns. Draws that contradict the condition are drawn again."""
    free_rows, pending, draws, proposals = free_rows_of(model), torch.arange(len(x)), 0, 0
    never = torch.zeros(len(x), dtype=torch.bool)
    for g, group in enumerate(free_conditions(free_rows, x, mask, restrictions)):
        if group.impossible:  # the rows of others are drawn first
            never[group.rows] = True
        elif group.distances:
            some = None if cond is None else cond[group.rows]
            draws_of_rows = _by_weight(free, free_rows, group, x, mask, some, seed + (g << 20), batch_size)
            fits = torch.isfinite(draws_of_rows.log_w).any(1)
            rows = group.rows[fits]
            yield Completed(rows, draws_of_rows.choice(seed)[fits], draws_of_rows.approximate[fits])
            pending = pending[~torch.isin(pending, rows)]
    pending = pending[~never[pending]]
    while len(pending) and proposals < MOST:
        times = max(min(proposals, BLOCK // len(pending)), 1)  # as many again as before, up to a block
        proposals += times
        numbers = pending.repeat_interleave(times)
        for group in free_conditions(free_rows, x[numbers], mask[numbers], restrictions):
            rows, draws = numbers[group.rows], draws + 1
            labels = None if cond is None else cond[rows]
            for part in _free_rows(free, group, labels, seed + (draws << 20), batch_size):
                whole, at = free_rows.expand(part.x.cpu()), rows[part.rows]
                fits = agree(whole, x[at].cpu(), mask[at].cpu(), restrictions) & torch.isin(at, pending)
                hits, first = np.unique(at[fits].numpy(), return_index=True)
                place = fits.nonzero().flatten()[torch.from_numpy(first)]
                yield Completed(torch.from_numpy(hits), whole[place], part.approximate[place])
                pending = pending[~torch.isin(pending, at[fits])]
    rest = torch.cat([pending, never.nonzero().flatten()])
    if len(rest):
        raise too_few(rest, free_rows)


class _Weighted(NamedTuple):
    """Draws of rows, of which each is taken by its weight.

    Attributes:
        x: ``(R, PROPOSALS, C)``.
        log_w: ``(R, PROPOSALS)``, ``-inf`` for a draw that does not fit.
    """

    x: Tensor
    log_w: Tensor

    @property
    def w(self) -> Tensor:
        """Weights that sum to 1, or 0 where no draw fits."""
        return self.log_w.softmax(1).nan_to_num()

    @property
    def approximate(self) -> Tensor:
        """Which rows have draws that are worth fewer than :data:`EFFECTIVE` of equal weight, ``(R,)``."""
        return 1 / self.w.square().sum(1) < EFFECTIVE

    def choice(self, seed: int) -> Tensor:
        """One draw of each row, ``(R, C)``."""
        proposal = categorical(self.log_w, Noise(seed, 0, len(self.log_w), "weights").uniform())
        return self.x[torch.arange(len(proposal)), proposal]


@torch.no_grad()
def _by_weight(
    free: GenerativeModel,
    free_rows: FreeRows,
    group: FreeCondition,
    x: Tensor,
    mask: Tensor,
    cond: Tensor | None,
    seed: int,
    batch_size: int,
) -> _Weighted:
    r"""Draws of rows of which a value ``b`` is given and a base ``a <= b`` is not, for importance resampling.

    All but the distance ``d`` is drawn, ``u ~ p(u | given)``. Each draw gets the distance that it needs, and the weight
    ``p(d = b - a | u, given)``. Rubin 1988, Using the SIR Algorithm to Simulate Posterior Distributions.
    """
    copies = torch.arange(len(group.rows)).repeat_interleave(PROPOSALS)
    labels, y = None if cond is None else cond[copies], group.y[copies].clone()
    many = group._replace(rows=group.rows[copies], y=y)
    for part in _free_rows(free, many, labels, seed, batch_size):
        y[part.rows] = part.x.cpu()
    target, fixed = x[many.rows].cpu(), mask[many.rows].cpu()
    places = list(group.distances)
    y[:, places] = free_rows.reduce(torch.where(fixed, target, free_rows.expand(y)))[:, places]
    rows = free_rows.expand(y)
    fits = agree(rows, target, fixed, {}) & ~(y == UNSEEN).any(1)
    others = torch.ones(y.shape[1], dtype=torch.bool).index_fill(0, torch.tensor(places), False)
    log_w = torch.full((len(y),), -torch.inf)
    if bool(fits.any()):
        some = None if labels is None else labels[fits]
        log_w[fits] = log_prob_given(free, y[fits], others, some, batch_size).nats.cpu()
    return _Weighted(rows.view(-1, PROPOSALS, rows.shape[1]), log_w.view(-1, PROPOSALS))


def _free_rows(
    free: GenerativeModel, group: FreeCondition, cond: Tensor | None, seed: int, batch_size: int
) -> Iterator[Completed]:
    """Free rows of their condition."""
    if group.among or bool(group.observed.any()):
        yield from completions(free, group.y, group.observed, group.among, cond, seed, batch_size)
    else:
        rows = torch.arange(len(group.y))
        yield Completed(rows, free.sample(len(rows), cond, seed), torch.zeros(len(rows), dtype=torch.bool))


def prob_given(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    events: Mapping[int, Tensor],
    cond: Condition = None,
    seed: int = 0,
    batch_size: int = 1024,
    start: int = 0,
) -> Tensor:
    """``P(x_i in events_i | x_K)`` of some columns, ``(B, len(events))`` float64, by weighted draws of all others.

    Each estimate has at least 64 draws, so its standard error is at most 0.06 where the draws have equal weights. A
    warning counts the rows whose draws are too few for this.

    Args:
        model: of arbitrary conditionals.
        x: raw examples ``(B, L)``. Values that are not observed may be any.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        events: raw values, by the index of their column.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        seed: with the index of a row, it fixes the draws.
        batch_size: rows per network call.
        start: the index of the first row, for a long table in parts.

    Raises:
        TypeError: for a model without arbitrary conditionals.
        ValueError: for shapes that differ.
    """
    p, approximate = weighted_probabilities(model, x, observed_mask, events, cond, seed, batch_size, start)
    if approximate.any():
        warnings.warn(approximate_note(int(approximate.sum()), len(x)), stacklevel=2)
    return p


@torch.no_grad()
def weighted_probabilities(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    events: Mapping[int, Tensor],
    cond: Condition = None,
    seed: int = 0,
    batch_size: int = 1024,
    start: int = 0,
) -> tuple[Tensor, Tensor]:
    """The probabilities of :func:`prob_given`, and true for approximate rows, bool ``(B,)``, instead of a warning."""
    mask, parts = _expanded(x, observed_mask), []
    labels = model.space.encode_condition(cond, len(x), model.device)
    if (free := free_model(model)) is not None:
        return _ruled_probabilities(model, free, x, mask, events, labels, seed, batch_size)
    with evaluating(model):
        for (low, high), block, block_mask, block_cond in _blocks(model, x, mask, labels, batch_size, start):
            noise = Noise(seed, low, high, "probability", model.device)
            parts.append(prob_block(model, block, block_mask, events, noise, block_cond))
    p, approximate = zip(*parts, strict=True)
    return torch.cat(p).cpu(), torch.cat(approximate).cpu()


def _ruled_probabilities(
    model: GenerativeModel,
    free: GenerativeModel,
    x: Tensor,
    mask: Tensor,
    events: Mapping[int, Tensor],
    cond: Tensor | None,
    seed: int,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """:func:`weighted_probabilities` of rows that keep rules: by their free columns, or by complete draws."""
    free_rows, p = free_rows_of(model), torch.zeros(len(x), len(events), dtype=torch.float64)
    approximate = torch.zeros(len(x), dtype=torch.bool)
    for g, group in enumerate(free_conditions(free_rows, x, mask, {})):
        if group.impossible:  # nothing has a probability then
            continue
        some, number = None if cond is None else cond[group.rows], seed + (g << 20)
        for k, (i, values) in enumerate(events.items()):
            event = free_rows.event(i, values) if group.complete and not group.among else None
            if group.distances:
                parts = _by_weight(free, free_rows, group, x, mask, some, number, batch_size)
                p[group.rows, k] = (parts.w.double() * torch.isin(parts.x[:, :, i], values)).sum(1)
                flags = parts.approximate
            elif event is None:
                arguments = (x[group.rows], mask[group.rows], i, values, some, number, batch_size)
                p[group.rows, k], flags = _share_of_draws(model, *arguments)
            elif bool(group.observed[event[0]]):
                p[group.rows, k], flags = torch.isin(group.y[:, event[0]], event[1]).double(), approximate[group.rows]
            else:
                at = {event[0]: event[1]}
                part, flags = weighted_probabilities(free, group.y, group.observed, at, some, number, batch_size)
                p[group.rows, k] = part[:, 0]
            approximate[group.rows] |= flags
    return p, approximate


def _share_of_draws(
    model: GenerativeModel,
    x: Tensor,
    mask: Tensor,
    column: int,
    values: Tensor,
    cond: Tensor | None,
    seed: int,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """The share of draws of each row that have one of the values, ``(B,)``, and which rows are approximate."""
    rows = torch.arange(len(x)).repeat_interleave(DRAWS)
    hits, approximate = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(x), dtype=torch.bool)
    for part in completions(model, x[rows], mask[rows], {}, None if cond is None else cond[rows], seed, batch_size):
        at = rows[part.rows]
        hits.index_add_(0, at, torch.isin(part.x[:, column], values).double())
        approximate[at] |= part.approximate
    return hits / DRAWS, approximate


@torch.no_grad()
def log_prob_given(
    model: GenerativeModel, x: Tensor, observed_mask: Tensor, cond: Condition = None, batch_size: int = 1024
) -> LogProb:
    """``log q(x_U | x_K)`` of the values that are not observed given the observed ones, in nats per raw example.

    ``q`` is the chain rule over the conditionals of the network. Without observed values it is ``p(x)``. Else it is
    ``p(x_U | x_K)`` only as far as conditionals of different orders agree.

    Args:
        model: of arbitrary conditionals.
        x: raw examples ``(B, L)``.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        batch_size: rows per network call.

    Raises:
        TypeError: for a model without arbitrary conditionals.
        ValueError: if ``x`` does not belong to the space, or for shapes that differ.
    """
    free = free_model(model)
    if free is not None:
        return _ruled_log_prob(model, free, x, _expanded(x, observed_mask), cond, batch_size)
    estimand, codec = arbitrary(model)
    model.space.check(x)
    mask = _expanded(x, observed_mask)
    labels = model.space.encode_condition(cond, len(x), model.device)
    with evaluating(model):
        parts = [
            score_given(estimand, codec, block, block_mask, block_cond)
            for _, block, block_mask, block_cond in _blocks(model, x, mask, labels, batch_size)
        ]
    result = LogProb.cat(parts)
    return dataclasses.replace(
        result, nats=result.nats.cpu(), dims=math.prod(x.shape[1:]), outside=model.space.outside(x)
    )


def _ruled_log_prob(
    model: GenerativeModel, free: GenerativeModel, x: Tensor, mask: Tensor, cond: Condition, batch_size: int
) -> LogProb:
    """:func:`log_prob_given` of rows that keep rules. A given value that rules tie to a missing one counts with it.

    Of combinations, those that fit the given values share all probability.
    """
    model.space.check(x)
    free_rows, labels = free_rows_of(model), model.space.encode_condition(cond, len(x), model.device)
    whole = free_rows.reduce(x)
    nats, terms, result = torch.zeros(len(x)), torch.zeros(x.shape, dtype=torch.float64), None
    for group in free_conditions(free_rows, x, mask, {}):
        y, observed = whole[group.rows], group.observed.clone()
        some = None if labels is None else labels[group.rows]
        log_p = torch.zeros(len(y))
        for j, codes in group.among.items():
            log_q = conditional(free, y, observed, j, some, batch_size).cpu()
            fitting = log_q.gather(1, y[:, j, None].clamp(0, log_q.shape[1] - 1))[:, 0]
            log_p += fitting - log_q[:, codes].logsumexp(1)
            observed[j] = True
        result = log_prob_given(free, y, observed, some, batch_size)
        if result.terms is not None:
            terms[group.rows[:, None], free_rows.places] = result.terms.cpu()
        nats[group.rows] = result.nats + torch.where((y == UNSEEN).any(1), -torch.inf, log_p)
    assert result is not None
    outside = model.space.outside(x)
    return dataclasses.replace(result, nats=nats, dims=math.prod(x.shape[1:]), outside=outside, terms=terms)


@torch.no_grad()
def conditional(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    column: int,
    cond: Condition = None,
    batch_size: int = 1024,
) -> Tensor:
    """``log q(x_column | x_K)`` of each token of one column, ``(B, K)``: token ``k`` is category ``k``.

    It is the network's own conditional, as in :func:`log_prob_given`.

    Args:
        model: of arbitrary conditionals.
        x: raw examples ``(B, L)``.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        column: the index of the column, which counts as not observed.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        batch_size: rows per network call.

    Raises:
        TypeError: for a model without arbitrary conditionals.
        ValueError: for shapes that differ.
    """
    estimand, codec = arbitrary(model)
    mask = _expanded(x, observed_mask).index_fill(1, torch.tensor([column], device=observed_mask.device), False)
    labels = model.space.encode_condition(cond, len(x), model.device)
    parts = []
    with evaluating(model):
        for _, block, block_mask, block_cond in _blocks(model, x, mask, labels, batch_size):
            z, log_mass = codec.tokenize(block)
            parts.append(estimand.conditional(z, block_mask & torch.isfinite(log_mass), column, block_cond))
    return torch.cat(parts)


def _blocks(
    model: GenerativeModel, x: Tensor, mask: Tensor, labels: Tensor | None, batch_size: int, start: int = 0
) -> Iterator[tuple[tuple[int, int], Tensor, Tensor, Tensor | None]]:
    """The first index of some rows and the one behind them, then the rows, their mask and labels on the device."""
    for low, high in Noise.spans(start, start + len(x), batch_size):
        rows = slice(low - start, high - start)
        cond = None if labels is None else labels[rows]
        yield (low, high), x[rows].to(model.device), mask[rows].to(model.device), cond


def _expanded(x: Tensor, observed_mask: Tensor) -> Tensor:
    """The mask of every row, after a check of its shape and dtype (``ValueError``)."""
    if observed_mask.dtype != torch.bool or observed_mask.shape not in (x.shape, x.shape[1:]):
        raise ValueError(
            f"observed_mask must be bool of shape {tuple(x.shape)}, or {tuple(x.shape[1:])} for all rows, got "
            f"{observed_mask.dtype} of shape {tuple(observed_mask.shape)}"
        )
    return observed_mask.expand(x.shape)
