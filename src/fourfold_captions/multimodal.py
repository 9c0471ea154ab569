"""One autoregressive model of pictures and their captions: both are tokens of one sequence, in either order.

    log p_1(T, I) = log p_1(T) + log p_1(I | T)        log p_2(T, I) = log p_2(I) + log p_2(T | I)

One transformer learns both chains. A picture is drawn given a caption by the first, and a caption given a picture by
the second. Each conditional has an exact mass. The chains are two joint distributions, which agree as well as they
were learned. Pictures become tokens by a learned codec (Ramesh et al. 2021,
https://arxiv.org/abs/2102.12092; Chameleon Team 2024, https://arxiv.org/abs/2405.09818).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Batch, Codec, Estimand, Measure, Noise, SingleLoss, forgetful
from fourfold.estimands import Conditionals
from fourfold.maths.categorical import categorical
from fourfold.nn.transformer import TokenTransformer
from fourfold.vocabulary import Principle
from fourfold_captions.words import CaptionWords

__all__ = ["BothOrders", "PairConditionals"]


END = 256
"""The end of a text of bytes, see :class:`fourfold.spaces.Lines`."""


@dataclass
class _Drawing:
    """Pictures being drawn: rows with captions of equal length and their cache, the newest tokens, and their number."""

    groups: list[tuple[Tensor, Any]]
    last: Tensor
    u: Tensor | None = None
    count: int = 0


@final
class PairConditionals(Conditionals):
    """``p(z_i | T, z_<i)`` of a picture's tokens given a caption, and ``p(t_i | I, t_<i)`` of a caption's tokens.

    As a model of pictures it is the first. The empty caption stands for an unknown one. Each kind of token has its own
    softmax, so that the mass of a sequence is spread over sequences of its kind alone. A sequence is a start symbol, a
    caption and its end, another start symbol and a picture, or the picture first. Nothing fills short captions up.

    Args:
        net: with ``size + words.size`` tokens, two start symbols and a context of ``length + caption + 3``.
        words: cuts captions into tokens.
        size: number of picture tokens.
        length: picture tokens of one example.
        caption: the most bytes, and the most tokens, of a caption.
    """

    reads_condition = True
    measure = Measure.COUNTING

    def __init__(self, net: TokenTransformer, words: CaptionWords, size: int, length: int, caption: int) -> None:
        super().__init__()
        self.net, self.words, self.size, self.caption, self.event = net, words, size, caption, (length,)
        self.end = size + words.END
        self.picture_start = size + words.size
        self.caption_start = self.picture_start + 1

    @property
    def summary(self) -> str:
        return "the conditional distribution of each token of a picture given its caption, and the other way round"

    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Count the words of captions."""
        if cond is not None:
            self.words.learn(_bytes(len(x), cond, x.device))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(z_i | T, z_<i)`` of picture tokens ``(B, N)`` given captions ``(B, L)``, ``(B, N)`` float32."""
        return self.in_order(x, cond, caption_first=True)[0]

    def log_caption(self, x: Tensor, cond: Tensor, given_picture: bool = True) -> Tensor:
        """``log p(T | I)`` of captions ``(B, L)`` given picture tokens ``(B, N)``, or ``log p(T)``. ``(B,)`` nats."""
        return self.in_order(x, cond, caption_first=not given_picture)[1].sum(1)

    def in_order(self, x: Tensor, cond: Tensor | None, caption_first: bool) -> tuple[Tensor, Tensor]:
        """Log-masses of the tokens of pictures ``(B, N)`` and of the tokens of captions, each given those before it.

        The end of a caption is one of its tokens, unless it has as many as it can have. Places after the end, and
        those of an unknown caption, count 0.
        """
        text, lengths = self._text(len(x), cond, x.device)
        B, N = x.shape
        last = lengths.unsqueeze(1)
        if caption_first:
            picture_at, text_at = last + 2, torch.zeros_like(last)
        else:
            picture_at, text_at = torch.zeros_like(last), torch.full_like(last, N + 1)
        picture_at = picture_at + torch.arange(N + 1, device=x.device)
        text_at = text_at + torch.arange(text.shape[1] + 1, device=x.device)
        ids = torch.full((B, N + text.shape[1] + 2), self.end, device=x.device)
        ids.scatter_(1, text_at, F.pad(text, (1, 0), value=self.caption_start))
        ids.scatter_(1, picture_at, F.pad(x, (1, 0), value=self.picture_start))
        logits = self.net(ids[:, :-1])
        of_picture = logits.gather(1, picture_at[:, :-1, None].expand(-1, -1, self.size))
        picture = of_picture.log_softmax(-1).gather(-1, x.unsqueeze(-1)).squeeze(-1)
        caption = text[:, : self.caption]
        letters = logits[..., self.size :].gather(
            1, text_at[:, : caption.shape[1], None].expand(-1, -1, self.words.size)
        )
        spelled = _not_empty(letters).log_softmax(-1).gather(-1, caption.unsqueeze(-1) - self.size).squeeze(-1)
        after = torch.arange(caption.shape[1], device=x.device) > last
        return picture, spelled.masked_fill(after | (last == 0), 0.0)

    def _text(self, batch: int, cond: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """Tokens of captions ``(B, n + 1)``, padded with ends, and their lengths ``(B,)``."""
        tokens = F.pad(self.words.encode(_bytes(batch, cond, device)), (0, 1), value=-1)
        inside = tokens >= 0
        return torch.where(inside, tokens + self.size, self.end), inside.sum(1)

    def begin(self, batch: int, cond: Tensor | None = None) -> _Drawing:
        text, lengths = self._text(batch, cond, self.net.embedding.weight.device)
        start = torch.full_like(lengths, self.picture_start)
        groups = []
        for length in sorted(set(lengths.tolist())):
            (rows,) = torch.nonzero(lengths == length, as_tuple=True)
            cache = self.net.cache(len(rows))
            self.net(torch.cat([(start + 1)[rows, None], text[rows, : length + 1]], 1), cache)
            groups.append((rows, cache))
        return _Drawing(groups, start)

    def draw(self, state: _Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, _Drawing]:
        state.u = noise.uniform(*self.event) if state.u is None else state.u
        token = torch.empty_like(state.last)
        for rows, cache in state.groups:
            logits = self.net(state.last[rows, None], cache)[:, -1, : self.size]
            token[rows] = categorical(logits / temperature, state.u[rows, state.count])
        state.last, state.count = token, state.count + 1
        return token, state

    @torch.no_grad()
    def describe(self, x: Tensor, noise: Noise, temperature: float = 1.0) -> Tensor:
        """Captions drawn for pictures of tokens ``(B, N)``: bytes and ends, ``(B, caption + 1)``."""
        first = torch.full((len(x), 1), self.picture_start, device=x.device)
        cache, u, last = self.net.cache(len(x)), noise.uniform(self.caption), first + 1
        self.net(torch.cat([first, x], 1), cache)
        tokens = torch.full((len(x), self.caption), -1, device=x.device)
        unfinished = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for i in range(self.caption):
            logits = self.net(last, cache)[:, -1:, self.size :]
            token = categorical((logits if i else _not_empty(logits))[:, 0] / temperature, u[:, i])
            unfinished &= token != self.words.END
            tokens[unfinished, i] = token[unfinished]
            last = (token + self.size).unsqueeze(1)
            if not bool(unfinished.any()):
                break
        codes = self.words.decode(tokens, self.caption)
        return F.pad(torch.where(codes < 0, END, codes), (0, 1), value=END)


def _bytes(batch: int, cond: Tensor | None, device: torch.device) -> Tensor:
    """Captions ``(B, L)`` as bytes that are padded with -1."""
    if cond is None:
        return torch.full((batch, 1), -1, device=device)
    return torch.where(cond < END, cond, -1).clamp(min=-1)


def _not_empty(logits: Tensor) -> Tensor:
    """Logits ``(B, T, words.size)`` of the tokens of captions, of which the first is not the end."""
    first = torch.zeros_like(logits[0])
    first[0, CaptionWords.END] = -torch.inf
    return logits + first


@final
class BothOrders(SingleLoss):
    """``min_theta -E [log p_theta(T) p_theta(I | T) + log p_theta(I) p_theta(T | I)] / 2 N``, nats per picture token.

    Even rows of a batch have the caption first, odd rows the picture.
    """

    learns: ClassVar[type[Estimand]] = PairConditionals
    principle = Principle.LIKELIHOOD
    summary = "maximise the log-likelihood of pictures and captions in both orders"
    formula = "min_θ −½ [log p_θ(T) p_θ(I | T) + log p_θ(I) p_θ(T | I)]"
    term, judges = "likelihood", True

    def loss(self, estimand: PairConditionals, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        cond = forgetful(batch.cond, self.label_dropout)
        nats = batch.x.new_zeros(len(batch.x), dtype=torch.float32)
        for first, rows in ((True, slice(0, None, 2)), (False, slice(1, None, 2))):
            x = batch.x[rows]
            if len(x):
                picture, caption = estimand.in_order(x, None if cond is None else cond[rows], first)
                nats[rows] = picture.sum(1) + caption.sum(1)
        return -nats / batch.x.shape[1], {}
