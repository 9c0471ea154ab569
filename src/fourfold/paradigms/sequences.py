"""Sequences of rows: row after row with a mark for the end, or as a whole with tokens that are masked.

    log p(x) = sum_t [ log p(m_t | x_<t) + m_t sum_c log p(x_tc | x_<t, x_t<c) ]

where the mark ``m_t`` says that there is a row ``t``: the chain rule, exact for the length too. A transformer over rows
(Vaswani et al. 2017, https://arxiv.org/abs/1706.03762) sees the rows before; within the row, one value follows the
other (Padhi et al. 2021, https://arxiv.org/abs/2011.01843, model tabular time series so; here with a likelihood).

Masked diffusion draws the length first, ``p(n) = prod_t p(m_t | m_t-1)``, and then values in a random order given those
drawn before (Hoogeboom et al. 2021, https://arxiv.org/abs/2110.02037). Its conditionals always see the length, so the
bound of masked tokens is that of ``log p(n) + log p(x | n)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Codec, Measure, Noise
from fourfold.estimands import Continuing, StepwiseConditionals, TokenDenoiser
from fourfold.maths.categorical import categorical
from fourfold.maths.one_by_one import one_by_one
from fourfold.nn.attending import Shares
from fourfold.nn.relative import latest, with_gaps
from fourfold.nn.sequences import SequenceNetwork
from fourfold.nn.transformer import Cache
from fourfold.spaces.sequences import ABSENT

__all__ = ["SequenceConditionals", "SequenceDenoiser"]


@final
class _Layout:
    """Codes ``(B, length · (1 + C))`` as the network's columns, and back.

    A row of codes is a mark and ``C`` values. Keyed sequences have one column more in the network: that of their start,
    which the order column holds in the first row, where there is no step.

    Args:
        length: the most rows.
        slots: ``1 + C``.
        order: the slot of the order column.
        keyed: whether sequences have a start and an end.
    """

    def __init__(self, length: int, slots: int, order: int, keyed: bool) -> None:
        self.length, self.slots, self.order, self.keyed = length, slots, order, keyed

    def rows(self, z: Tensor) -> Tensor:
        """``(B, length, 1 + C)``."""
        return z.view(len(z), self.length, self.slots)

    def there(self, rows: Tensor) -> Tensor:
        """Which rows are there, by their marks, bool ``(B, length)``."""
        return rows[..., 0] > 0 if self.keyed else torch.ones_like(rows[..., 0], dtype=torch.bool)

    def reach(self, rows: Tensor) -> int:
        """How many rows any of some sequences reaches, the mark of an end included. All, where that costs more."""
        if not self.keyed or rows.is_meta or torch.compiler.is_compiling() or one_by_one():
            return self.length
        return min(int(self.there(rows).sum(1).max()) + 1, self.length)

    def spread(self, rows: Tensor, first: int = 0) -> Tensor:
        """Codes or flags of the rows from ``first`` on, as columns of the network. What does not apply is 0."""
        if not self.keyed:
            return rows
        start, step = torch.zeros_like(rows[..., 0]), rows[..., self.order].clone()
        if first == 0:
            start[:, 0], step[:, 0] = rows[:, 0, self.order], 0
        return torch.cat([rows[..., : self.order], start[..., None], step[..., None], rows[..., self.order + 1 :]], 2)

    def value_mask(self, rows: Tensor) -> Tensor:
        """Which columns of the network hold a value, bool."""
        return self.spread(self.there(rows)[..., None].expand(rows.shape))

    def applies(self, t: int) -> Tensor:
        """Which columns of the network row ``t`` has, bool ``(C,)``."""
        return self.spread(torch.ones(1, 2, self.slots, dtype=torch.bool))[0, min(t, 1)]

    def gather(self, nats: Tensor) -> Tensor:
        """Nats of the network's columns ``(B, length, 1 + C or more)``, as those of slots."""
        if not self.keyed:
            return nats
        slots = torch.cat([nats[..., : self.order], nats[..., self.order + 1 :]], 2)
        first = slots[:, :1].clone()
        first[..., self.order] = nats[:, :1, self.order]
        return torch.cat([first, slots[:, 1:]], 1)

    def column(self, slot: int, t: int) -> int:
        """The network's column of a slot in row ``t``. That of the start comes before that of the step."""
        return slot if not self.keyed or slot < self.order or (slot == self.order and t == 0) else slot + 1


def _at(near: Tensor | None, rows: Tensor | tuple[slice, slice | int]) -> Tensor | None:
    """The nearest tokens of some rows, if there are any."""
    return None if near is None else near[rows]


def _certain(like: Tensor, token: int, tokens: int) -> Tensor:
    """Logits of one certain token for each row of ``(B,)``, ``(B, tokens)``."""
    return torch.full((len(like), tokens), -torch.inf, device=like.device).index_fill(
        1, torch.tensor([token], device=like.device), 0.0
    )


@dataclass
class _Row:
    """The row in hand of sequences that go on: tokens of the network's columns, and vectors of the first of them.

    ``last`` holds the last known token of each column in the rows before, and its row.
    """

    x: Tensor
    last: Tensor | None
    near: Tensor | None
    offset: Tensor
    e: Tensor
    count: int = 0

    def select(self, rows: Tensor) -> _Row:
        """That of some sequences."""
        last, near = _at(self.last, rows), _at(self.near, rows)
        return _Row(self.x[rows], last, near, self.offset[rows], self.e[rows], self.count)


@dataclass
class _Drawing:
    """Sequences being drawn: the first ``count`` tokens of ``z``.

    Those that go on have numbers in ``alive``, a place in the cache and in ``shares``, which are those of conditions.
    """

    z: Tensor
    cache: Cache
    alive: Tensor
    shares: Shares | None
    count: int = 0
    row: _Row | None = None
    u: Tensor | None = None


@final
class SequenceConditionals(StepwiseConditionals, Continuing):
    """``p(m_t | x_<t)`` and ``p(x_tc | x_<t, x_t<c)`` of rows with a mark for each: see the module.

    Args:
        net: causal. Its columns are the mark, the start of a keyed sequence, and the values.
        length: the most rows.
        slots: one more than the values of a row.
        order: the slot of the order column.
        keyed: whether sequences have a start and an end. Windows have neither.
    """

    measure = Measure.COUNTING
    rows_at_once: ClassVar[int | None] = 4096
    separate: ClassVar[bool] = True

    def __init__(self, net: SequenceNetwork, length: int, slots: int, order: int, keyed: bool) -> None:
        super().__init__()
        self.net, self.event = net, (length * slots,)
        self.layout = _Layout(length, slots, order, keyed)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        rows = self.layout.rows(x)
        nats = self._nats(rows[:, : self.layout.reach(rows)], cond)
        return F.pad(nats, (0, 0, 0, rows.shape[1] - nats.shape[1])).flatten(1)

    def _nats(self, rows: Tensor, cond: Tensor | None) -> Tensor:
        """``log p`` of the tokens of rows, ``(B, T, slots)``."""
        there, spread = self.layout.there(rows), self.layout.spread(rows)
        near = self.net.near(spread, self.layout.value_mask(rows))
        context = self.net(spread, near=near, shares=self.net.read(cond, len(rows)))
        reached = F.pad(there[:, :-1], (1, 0), value=True)  # a row, or the mark that there is none
        order, every = torch.arange(spread.shape[2], device=rows.device), one_by_one()
        some, its, close = (
            None if part is None else part.flatten(0, 1) if every else part[reached] for part in (spread, context, near)
        )
        log_p = self.net.columns(some, order, context=its, near=close)
        whole = log_p.new_zeros(spread.shape)
        nats = log_p.view(spread.shape) if every else whole.masked_scatter(reached[..., None], log_p)
        nats = self.layout.gather(nats)
        mark = nats[..., :1] * (torch.arange(rows.shape[1], device=rows.device) > 0)[:, None]
        columns = torch.where(there[..., None], nats[..., 1:], 0.0)
        return torch.cat([torch.where(reached[..., None], mark, 0.0), columns], 2)

    def start(self, x: Tensor, codec: Codec) -> None:
        """Give each column of the network the shares of its tokens, whatever the others and the rows before hold."""
        rows = self.layout.rows(codec.encode(x.to(self.net.place.weight.device))[0])
        spread, mask, there = self.layout.spread(rows), self.layout.value_mask(rows), self.layout.there(rows)
        if self.layout.keyed:  # after each row stands a mark, whether another follows
            mask[..., 0] = F.pad(there[:, :-1], (1, 0), value=False)
        columns = [tokens[inside] for tokens, inside in zip(spread.unbind(2), mask.unbind(2), strict=True)]
        count = max(map(len, columns))
        every = [tokens.repeat(-(-count // max(len(tokens), 1)))[:count] for tokens in columns]
        whole = [tokens if len(tokens) else rows.new_zeros(count) for tokens in every]
        self.net.columns.heads.start(torch.stack(whole, 1))

    def begin(self, batch: int, cond: Tensor | None = None) -> _Drawing:
        device = self.net.place.weight.device
        z = torch.zeros(batch, *self.event, dtype=torch.long, device=device)
        every = torch.arange(batch, device=device)
        return _Drawing(z, self.net.cache(batch), every, self.net.read(cond, batch))

    def logits(self, state: _Drawing) -> Tensor:
        some = self._next(state).log_softmax(1)
        if len(some) == len(state.z):
            return some
        return _certain(state.z[:, 0], 0, some.shape[1]).index_copy(0, state.alive, some)  # 0 behind the end

    def _next(self, state: _Drawing) -> Tensor:
        """Logits of the next token of the sequences that go on."""
        t, slot = divmod(state.count, self.layout.slots)
        if slot == 0:
            self._begin_row(state, t)
            if t == 0 or not self.layout.keyed:
                return _certain(state.alive, int(self.layout.keyed), 2)
        at = self.layout.column(slot, t)
        row = self._embedded(state, at)
        near = _at(row.near, (slice(None), at))
        return self.net.columns.next_logits(row.e[:, :at], row.offset[:, at], near)

    def _begin_row(self, state: _Drawing, t: int) -> None:
        """Put row ``t`` in hand, once the network has seen the row before."""
        columns = len(self.net.columns.code_embedding.offsets)
        if t == 0:
            e = self.net.place.weight.new_zeros(len(state.alive), columns, self.net.columns.embedding)
        else:
            e = self._embedded(state, columns).e
        context = self.net(e[:, None], cache=state.cache, shares=state.shares)[:, 0]
        x = torch.zeros(e.shape[:2], dtype=torch.long, device=e.device)
        last = self._last(state.row, x, t) if self.net.sides else None
        near = None if last is None else with_gaps(last, t)[:, :, None]
        state.row = _Row(x, last, near, self.net.columns.offsets(context), torch.empty_like(e))

    def _last(self, row: _Row | None, x: Tensor, t: int) -> Tensor:
        """The last known token of each column before row ``t``, and its row, ``(B, C, 2)``."""
        if row is None or row.last is None:
            return x.new_full((*x.shape, 2), -1)
        mask = self.net.observed(row.x, self.layout.applies(t - 1).to(x.device))
        return torch.where(mask[..., None], torch.stack([row.x, torch.full_like(row.x, t - 1)], 2), row.last)

    def _embedded(self, state: _Drawing, end: int) -> _Row:
        """The row in hand, with the vectors of its columns up to ``end``."""
        row = state.row
        assert row is not None, "a row is in hand"
        if row.count < end:
            columns = slice(row.count, end)
            near = _at(row.near, (slice(None), columns))
            row.e[:, columns] = self.net.columns.embedded(row.x[:, columns], near, row.count)
            row.count = end
        return row

    def take(self, state: _Drawing, token: Tensor) -> None:
        t, slot = divmod(state.count, self.layout.slots)
        some = token[state.alive]
        self.layout.rows(state.z)[state.alive, t, slot] = some
        state.count += 1
        if state.row is not None:
            state.row.x[:, self.layout.column(slot, t)] = some
        if slot == 0 and self.layout.keyed and not some.all():
            self._drop(state, some == 0)

    def _drop(self, state: _Drawing, ended: Tensor) -> None:
        """Go on without the sequences of a mask: each ends with this mark."""
        stay = state.cache.drop(ended)
        state.row = None if state.row is None else state.row.select(stay)
        state.alive = state.alive[stay]
        state.shares = None if state.shares is None else state.shares.select(stay)

    def draw(self, state: _Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, _Drawing]:
        token = self._token(state, noise, temperature)
        self.take(state, token)
        return token, state

    def _token(self, state: _Drawing, noise: Noise, temperature: float = 1.0) -> Tensor:
        """The next token of each sequence, ``(B,)``, which is yet to be taken."""
        slot = state.count % self.layout.slots
        state.u = noise.uniform(self.layout.slots) if slot == 0 or state.u is None else state.u
        token = torch.zeros(len(state.z), dtype=torch.long, device=state.z.device)  # 0 behind the end
        if len(state.alive):
            logits = self._next(state)
            hot = logits if temperature == 1 else logits / temperature
            token[state.alive] = categorical(hot, state.u[state.alive, slot])
        return token

    def go_on(
        self, x: Tensor, rows: int, noise: Noise, cond: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        state = self.begin(len(x), cond)
        prefix = self.layout.rows(x)[:, :rows]
        if rows:
            self._take_rows(state, prefix)
        while (count := state.count) < self.event[0]:
            token = self._token(state, noise)
            self.take(state, token if mask is None else torch.where(mask[:, count], x[:, count], token))
        return state.z

    def _take_rows(self, state: _Drawing, prefix: Tensor) -> None:
        """Take whole rows, ``(B, rows, slots)``, as those drawn so far."""
        rows = prefix.shape[1]
        self.layout.rows(state.z)[:, :rows], state.count = prefix, rows * self.layout.slots
        before, mask = self.layout.spread(prefix), self.layout.value_mask(prefix)
        near = self.net.near(before, mask)
        beside = None if near is None else F.pad(near[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        context = self.net(F.pad(before[:, :-1], (0, 0, 1, 0)), cache=state.cache, near=beside, shares=state.shares)
        nearest = _at(near, (slice(None), -1))
        last = None if near is None else latest(before, self.net.observed(before, mask))[:, -1]
        offset = self.net.columns.offsets(context[:, -1])
        e = self.net.columns.embedded(before[:, -1], nearest)
        state.row = _Row(before[:, -1], last, nearest, offset, e, e.shape[1])
        ended = ~self.layout.there(prefix)[:, -1]
        if ended.any():
            self._drop(state, ended)


@final
class _Context(NamedTuple):
    """Rows as the network sees them: its columns, which of them are seen, contexts, and nearest tokens."""

    x: Tensor
    mask: Tensor
    context: Tensor
    near: Tensor | None

    def at(self, rows: Tensor | tuple[slice, slice | int]) -> _Context:
        """Some of the rows."""
        return _Context(self.x[rows], self.mask[rows], self.context[rows], _at(self.near, rows))

    def nats(self, net: SequenceNetwork, column: int | None = None) -> Tensor:
        """Log-masses of the values, or of every token of one column."""
        return net.columns(self.x, self.mask, column=column, context=self.context, near=self.near)


@final
class SequenceDenoiser(TokenDenoiser, Continuing):
    """``p(x_tc | known values, n)`` of the values of all rows in one evaluation, and ``p(n)`` by marks: see the module.

    Args:
        net: not causal, else as of :class:`SequenceConditionals`.
        length, slots, order, keyed: as of :class:`SequenceConditionals`.
        steps: in how many steps the rows that follow given ones are drawn, at most.
    """

    def __init__(self, net: SequenceNetwork, length: int, slots: int, order: int, keyed: bool, steps: int = 64) -> None:
        super().__init__()
        self.net, self.event, self.steps = net, (length * slots,), steps
        self.layout = _Layout(length, slots, order, keyed)
        self.lasting = nn.Parameter(torch.full((length,), 2.0)) if keyed else None

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Count how often sequences go on, so that lengths are right before the first step. Half a case is added."""
        if self.lasting is not None:
            there = x[..., 0] != ABSENT
            reached, lasts = F.pad(there[:, :-1], (1, 0), value=True).sum(0), there.sum(0)
            self.lasting.copy_(((lasts + 0.5) / (reached - lasts + 0.5)).log())

    def _log_lasting(self, shares: Shares | None) -> Tensor:
        """``log p(m_t | m_t-1 = 1, c)`` for ``m_t = 0, 1``, ``(B or 1, length, 2)``. The first row is there."""
        assert self.lasting is not None
        logits = self.lasting[None] if shares is None else self.lasting + self.net.marks(shares)
        log_p = torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], 2).float()
        first = torch.arange(log_p.shape[1], device=log_p.device)[:, None] == 0
        return torch.where(first, log_p.new_tensor([-torch.inf, 0.0]), log_p)

    def _context(self, rows: Tensor, observed_mask: Tensor, shares: Shares | None) -> _Context:
        """The rows as the network sees them. It always sees the marks."""
        mask = observed_mask & self.layout.there(rows)[..., None]
        mask = torch.cat([torch.ones_like(mask[..., :1]), mask[..., 1:]], 2)
        x, mask = self.layout.spread(rows), self.layout.spread(mask)
        near = self.net.near(x, mask)
        return _Context(x, mask, self.net(x, mask, near=near, shares=shares), near)

    def forward(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None = None) -> Tensor:
        rows = self.layout.rows(x)
        there, shares = self.layout.there(rows), self.net.read(cond, len(x))
        whole = self._context(rows, self.layout.rows(observed_mask), shares)
        log_p = whole.at(there).nats(self.net)
        nats = self.layout.gather(log_p.new_zeros(whole.x.shape).masked_scatter(there[..., None], log_p))
        nats = torch.where(there[..., None], nats, 0.0)
        return torch.cat([self._marks(there, shares)[..., None], nats[..., 1:]], 2).flatten(1)

    def _marks(self, there: Tensor, shares: Shares | None) -> Tensor:
        """``log p(m_t | m_t-1, c)``, ``(B, length)``. 0 behind the end."""
        if not self.layout.keyed:
            return torch.zeros_like(there, dtype=torch.float32)
        log_p = self._log_lasting(shares).expand(len(there), -1, -1).gather(2, there.long()[..., None])[..., 0]
        reached = F.pad(there[:, :-1], (1, 0), value=True)
        return torch.where(reached, log_p, 0.0)

    def conditional(self, x: Tensor, observed_mask: Tensor, position: int, cond: Tensor | None = None) -> Tensor:
        t, slot = divmod(position, self.layout.slots)
        rows, at = self.layout.rows(x), self.layout.column(slot, t)
        there, shares = self.layout.there(rows), self.net.read(cond, len(x))
        if slot == 0 and not self.layout.keyed:
            return torch.zeros(len(x), 1, device=x.device)
        if slot == 0:
            after_end = self.lasting.new_tensor([0.0, -torch.inf])  # type: ignore[union-attr]
            return torch.where(there[:, max(t - 1, 0), None] | (t == 0), self._log_lasting(shares)[:, t], after_end)
        log_p = self._context(rows, self.layout.rows(observed_mask), shares).at((slice(None), t)).nats(self.net, at)
        only = torch.full_like(log_p, -torch.inf).index_fill(1, torch.tensor([0], device=x.device), 0.0)
        return torch.where(there[:, t, None], log_p, only)

    def draw(
        self, x: Tensor, observed_mask: Tensor, target_mask: Tensor, u: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """As :meth:`TokenDenoiser.draw`. The numbers ``u`` of all marks fix the length from the first step on."""
        rows, observed_mask, target_mask, u = (
            self.layout.rows(part) for part in (x.clone(), observed_mask, target_mask, u)
        )
        shares = self.net.read(cond, len(x))
        if self.layout.keyed:
            likely = u[..., 0] < self._log_lasting(shares)[..., 1].exp()
            lasts = torch.where(observed_mask[..., 0], rows[..., 0] > 0, likely)
            rows[..., 0] = lasts.long().cumprod(1)
        there = self.layout.there(rows)
        target_mask = target_mask & there[..., None]
        some = target_mask[..., 1:].flatten(1).any(1)  # the network sees only sequences of which a value is drawn
        if some.any():
            part, target_mask, u = rows[some], target_mask[some], u[some]
            context = self._context(part, observed_mask[some], None if shares is None else shares.select(some))
            for slot in (target_mask[..., 1:].any(0).any(0).nonzero().flatten() + 1).tolist():
                self._draw_slot(part, slot, target_mask[..., slot], u[..., slot], context)
            rows[some] = part
        return rows.flatten(1)

    def _draw_slot(self, rows: Tensor, slot: int, target_mask: Tensor, u: Tensor, context: _Context) -> None:
        """Draw one slot of the wanted rows, in place: that of the first row apart, if it holds the start."""
        first = torch.arange(rows.shape[1], device=rows.device) == 0
        for t, part in ((0, target_mask & first), (1, target_mask & ~first)):
            if part.any():
                at = self.layout.column(slot, t)
                log_p = context.at(part).nats(self.net, at)
                rows[..., slot][part] = categorical(log_p, u[part])

    def go_on(
        self, x: Tensor, rows: int, noise: Noise, cond: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        size = self.event[0]
        observed = rows * self.layout.slots
        rank = noise.uniform(size)[:, observed:].argsort(1).argsort(1)
        u, steps = noise.uniform(size), max(min(self.steps, size - observed), 1)
        step = F.pad(rank * steps // max(size - observed, 1), (observed, 0), value=-1)
        step = step if mask is None else step.masked_fill(mask, -1)
        z = torch.where(step < 0, x, 0)
        for k in range(steps):
            z = self.draw(z, step < k, step == k, u, cond)
        return z
