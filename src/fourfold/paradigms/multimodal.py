"""One autoregressive model of pictures and their captions: both are tokens of one sequence, in either order.

    log p(T, I) = log p(T) + log p(I | T) = log p(I) + log p(T | I)

One transformer learns both chains. A picture is drawn given a caption by the first, and a caption given a picture by
the second; each conditional has an exact mass. Pictures become tokens by a learned codec (Ramesh et al. 2021,
https://arxiv.org/abs/2102.12092; Chameleon Team 2024, https://arxiv.org/abs/2405.09818).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Batch, Estimand, Measure, Noise, Objective, Term, draw, forgetful
from fourfold.estimands import Conditionals
from fourfold.nn.transformer import TokenTransformer
from fourfold.vocabulary import Principle

__all__ = ["BothOrders", "PairConditionals"]

BYTES = 257
"""Tokens of a caption: its bytes, and its end."""


@dataclass
class _Drawing:
    """Pictures being drawn: the cache, the newest token, and how many have been drawn."""

    cache: Any
    last: Tensor
    u: Tensor | None = None
    drawn: int = 0


@final
class PairConditionals(Conditionals):
    """``p(z_i | T, z_<i)`` of a picture's tokens given a caption, and ``p(t_i | I, t_<i)`` of a caption's bytes.

    As a model of pictures it is the first; the empty caption stands for an unknown one. Each kind of token has its own
    softmax, so that the mass of a sequence is spread over sequences of its kind alone.

    Args:
        net: with ``size + 257`` tokens, two start symbols and a length of ``pieces + caption + 3``.
        size: number of picture tokens.
        pieces: picture tokens of one example.
        caption: the most bytes of a caption.
    """

    measure = Measure.COUNTING

    def __init__(self, net: TokenTransformer, size: int, pieces: int, caption: int) -> None:
        super().__init__()
        self.net, self.size, self.caption, self.event = net, size, caption, (pieces,)
        self.end = size + BYTES - 1

    @property
    def summary(self) -> str:
        return "the conditional distribution of each token of a picture given its caption, and the other way round"

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(z_i | T, z_<i)`` of picture tokens ``(B, N)`` given captions ``(B, L)``, ``(B, N)`` float32."""
        return self.in_order(x, cond, caption_first=True)[0]

    def log_caption(self, x: Tensor, cond: Tensor, given_picture: bool = True) -> Tensor:
        """``log p(T | I)`` of captions ``(B, L)`` given picture tokens ``(B, N)``, or ``log p(T)``; ``(B,)`` nats."""
        return self.in_order(x, cond, caption_first=not given_picture)[1].sum(1)

    def in_order(self, x: Tensor, cond: Tensor | None, caption_first: bool) -> tuple[Tensor, Tensor]:
        """Log-masses of the pieces of pictures ``(B, N)`` and of captions ``(B, L)``, each given those before it.

        The end of a caption is one of its pieces, unless it has ``L`` bytes. Pieces after the end, and those of an
        unknown caption, count 0.
        """
        text = self._text(len(x), cond, x.device)
        picture_start, caption_start = self._starts(len(x), x.device)
        between = text.shape[1] + 1
        if caption_first:
            logits = self.net(torch.cat([caption_start, text, picture_start, x[:, :-1]], 1))
            of_text, of_picture = logits[:, : between - 1], logits[:, between:]
        else:
            logits = self.net(torch.cat([picture_start, x, caption_start, text[:, :-1]], 1))
            of_picture, of_text = logits[:, : x.shape[1]], logits[:, x.shape[1] + 1 :]
        picture = of_picture[..., : self.size].log_softmax(-1).gather(-1, x.unsqueeze(-1)).squeeze(-1)
        letters = _not_empty(of_text[:, : self.caption, self.size :]).log_softmax(-1)
        ended = (text == self.end).cumsum(1)[:, : self.caption] > 1  # after the first end
        unknown = text[:, :1] == self.end
        spelled = letters.gather(-1, text[:, : self.caption, None] - self.size).squeeze(-1)
        return picture, spelled.masked_fill(ended | unknown, 0.0)

    def _text(self, batch: int, cond: Tensor | None, device: torch.device) -> Tensor:
        """Tokens of captions ``(B, L + 1)``: their bytes, then ends."""
        ids = torch.full((batch, self.caption + 1), self.end, device=device)
        if cond is not None:
            ids[:, : cond.shape[1]] = torch.where(cond >= 0, cond + self.size, self.end)
        return ids

    def _starts(self, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The symbols that begin a picture and a caption, ``(B, 1)`` each."""
        first = torch.full((batch, 1), self.size + BYTES, device=device)
        return first, first + 1

    def begin(self, batch: int, cond: Tensor | None = None) -> _Drawing:
        device = self.net.embedding.weight.device
        text = self._text(batch, cond, device)
        picture_start, caption_start = self._starts(batch, device)
        cache = self.net.cache(batch)
        self.net(torch.cat([caption_start, text], 1), cache)
        return _Drawing(cache, picture_start)

    def draw(self, state: _Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, _Drawing]:
        state.u = noise.uniform(*self.event) if state.u is None else state.u
        logits = self.net(state.last, state.cache)[:, -1, : self.size]
        token = draw(logits / temperature, state.u[:, state.drawn])
        state.last, state.drawn = token.unsqueeze(1), state.drawn + 1
        return token, state

    @torch.no_grad()
    def describe(self, x: Tensor, noise: Noise, temperature: float = 1.0) -> Tensor:
        """Captions drawn for pictures of tokens ``(B, N)``: bytes ``(B, L)`` padded with -1."""
        picture_start, last = self._starts(len(x), x.device)
        cache, u = self.net.cache(len(x)), noise.uniform(self.caption)
        self.net(torch.cat([picture_start, x], 1), cache)
        told = torch.full((len(x), self.caption), -1, device=x.device)
        open_ = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for i in range(self.caption):
            logits = self.net(last, cache)[:, -1:, self.size :]
            letter = draw((logits if i else _not_empty(logits))[:, 0] / temperature, u[:, i])
            open_ &= letter != BYTES - 1
            told[open_, i] = letter[open_]
            last = (letter + self.size).unsqueeze(1)
            if not bool(open_.any()):
                break
        return told


def _not_empty(logits: Tensor) -> Tensor:
    """Logits ``(B, T, 257)`` of the pieces of captions, of which the first is not the end."""
    first = torch.zeros_like(logits[0])
    first[0, -1] = -torch.inf
    return logits + first


@final
class BothOrders(Objective):
    """``min_theta -E [log p_theta(T) p_theta(I | T) + log p_theta(I) p_theta(T | I)] / 2 N``, nats per picture token.

    Args:
        label_dropout: share of captions that training hides, so that the model also learns pictures without one.
    """

    learns: ClassVar[type[Estimand]] = PairConditionals
    principle = Principle.LIKELIHOOD
    summary = "maximise the log-likelihood of pictures and captions in both orders"
    formula = "min_θ −½ [log p_θ(T) p_θ(I | T) + log p_θ(I) p_θ(T | I)]"

    def __init__(self, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.label_dropout = label_dropout

    def terms(self, estimand: PairConditionals) -> Mapping[str, Term]:
        return {"likelihood": BothOrdersTerm(estimand, self)}


@final
class BothOrdersTerm(Term):
    """``-log p(T, I) / N``, ``(B,)``: even rows of a batch with the caption first, odd rows with the picture first."""

    judges: ClassVar[bool] = True

    def __init__(self, estimand: PairConditionals, objective: BothOrders) -> None:
        super().__init__([estimand])
        self.estimand, self.objective = estimand, objective

    def forward(self, batch: Batch) -> Tensor:
        cond = forgetful(batch.cond, self.objective.label_dropout)
        nats = batch.x.new_zeros(len(batch.x), dtype=torch.float32)
        for first, rows in ((True, slice(0, None, 2)), (False, slice(1, None, 2))):
            x = batch.x[rows]
            if len(x):
                picture, caption = self.estimand.in_order(x, None if cond is None else cond[rows], first)
                nats[rows] = picture.sum(1) + caption.sum(1)
        return -nats / batch.x.shape[1]
