"""What people do with a text model: go on with a prompt, one token after the other, under rules of their own."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor

from fourfold.core import ArbitraryConditionals, GenerativeModel, Noise
from fourfold.maths.categorical import categorical
from fourfold.paradigms.autoregressive import TokenConditionals
from fourfold.paradigms.blocks import BlockDenoiser, BlockUnmasking
from fourfold.spaces import Text
from fourfold.tasks.completing import complete

__all__ = [
    "Draft",
    "Shaping",
    "cut_of",
    "fill",
    "generate",
    "residual",
    "score_text",
    "settled",
    "speculate",
    "stream",
    "text_parts",
    "written",
]


@final
@dataclass(frozen=True)
class Shaping:
    """How the next token's distribution is changed before it is drawn from; by default it is not.

    The rules apply in the order of the arguments. Each but a temperature of 1 makes samples follow another distribution
    than the one that is scored.

    Args:
        repetition_penalty: logits of tokens that are in the text are divided by it where positive, multiplied where
            negative (Keskar et al. 2019, https://arxiv.org/abs/1909.05858).
        temperature: logits are divided by it.
        top_k: only so many of the likeliest tokens remain (Fan, Lewis, Dauphin 2018, https://arxiv.org/abs/1805.04833).
        top_p: only the fewest likeliest tokens whose mass reaches it (Holtzman et al. 2019,
            https://arxiv.org/abs/1904.09751).
        min_p: only tokens of at least this share of the likeliest one's mass (Nguyen et al. 2024,
            https://arxiv.org/abs/2407.01082).

    Raises:
        ValueError: for a value out of its range.
    """

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        for name in ("repetition_penalty", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must lie above 0 and not above 1, not {value}")

    @property
    def faithful(self) -> bool:
        """Whether samples follow the distribution that is scored."""
        return self == Shaping() or self == Shaping(top_p=1.0)

    @property
    def words(self) -> str:
        """What the rules do to the distribution, as one line; empty where they do nothing."""
        if self.faithful:
            return ""
        rules = [
            (self.repetition_penalty != 1, f"repetition penalty {self.repetition_penalty:g}"),
            (self.temperature != 1, f"temperature {self.temperature:g}"),
            (self.top_k is not None, f"the {self.top_k} likeliest tokens"),
            (self.top_p is not None, f"the likeliest tokens up to a mass of {self.top_p}"),
            (self.min_p is not None, f"tokens of at least {self.min_p} of the likeliest one's mass"),
        ]
        kept = ", ".join(rule for used, rule in rules if used)
        return f"drawn with {kept}: such text does not follow the distribution that the model's likelihood is about"

    def __call__(self, logits: Tensor, seen: Tensor | None = None) -> Tensor:
        """Logits ``(B, V)`` after the rules, minus infinity where a token is ruled out.

        Args:
            logits: of the model, ``(B, V)``.
            seen: ids of the text so far, ``(B, T)``.
        """
        if self.repetition_penalty != 1 and seen is not None and seen.shape[1]:
            old = logits.gather(1, seen)
            new = torch.where(old > 0, old / self.repetition_penalty, old * self.repetition_penalty)
            logits = logits.scatter(1, seen, new)
        if self.temperature != 1:
            logits = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[1]:
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[:, -1:], -math.inf)
        if self.top_p is not None and self.top_p < 1:
            logits = self._nucleus(logits)
        if self.min_p is not None:
            floor = logits.amax(1, keepdim=True) + math.log(self.min_p)
            logits = logits.masked_fill(logits < floor, -math.inf)
        return logits

    def _nucleus(self, logits: Tensor) -> Tensor:
        """Without the tokens that come, by falling mass, after ``top_p`` is reached."""
        assert self.top_p is not None
        ordered, order = logits.sort(1, descending=True)
        before = ordered.softmax(1).cumsum(1) - ordered.softmax(1)
        return logits.masked_fill((before >= self.top_p).gather(1, order.argsort(1)), -math.inf)


def text_parts(model: GenerativeModel) -> tuple[Text, TokenConditionals]:
    """Space and estimand of a model of text that is drawn token by token.

    Raises:
        TypeError: for another model.
    """
    if not isinstance(model.space, Text) or not isinstance(model.estimand, TokenConditionals):  # prompts are texts
        raise TypeError(f"this needs a model of text that is drawn token by token, not of {model.space}")
    return model.space, model.estimand


@torch.no_grad()
def stream(
    model: GenerativeModel,
    prompt: str | Sequence[int] = "",
    n: int = 1,
    seed: int = 0,
    shaping: Shaping | None = None,
) -> Iterator[Tensor]:
    """Draw text token by token after a prompt, without end: ``(n,)`` ids at each step.

    A text longer than the context goes on from its last half.

    Args:
        model: of text.
        prompt: what the text begins with, or its ids.
        n: number of texts, drawn together.
        seed: fixes them.
        shaping: the rules.

    Raises:
        TypeError: for a model of something else.
        ValueError: for a character of the prompt that the model does not know.
    """
    space, estimand = text_parts(model)
    rules, noise = shaping or Shaping(), Noise(seed, 0, n, device=model.device)
    state: Any = estimand.begin(n)
    ids = None
    if prompt:
        ids = space.parse(prompt) if isinstance(prompt, str) else torch.tensor(prompt)
        ids = ids.to(model.device)
    if ids is not None:
        state = estimand.prompt(state, ids.expand(n, -1))
    seen = torch.zeros(n, 0, dtype=torch.long, device=model.device) if ids is None else ids.expand(n, -1)
    while True:
        logits = rules(estimand.logits(state), seen)
        token = categorical(logits, state.next_uniforms(noise)[0])
        estimand.take(state, token)
        if rules.repetition_penalty != 1:
            seen = torch.cat([seen, token.unsqueeze(1)], 1)
        yield token


@torch.no_grad()
def score_text(model: GenerativeModel, ids: Tensor, stride: int | None = None, batch_size: int = 64) -> Tensor:
    """Nats of every token of one long text; each is scored once, given at least ``context - stride`` earlier tokens.

    Windows of the network's context advance by ``stride``. All tokens of the first count, and the last ``stride`` of
    each later one.

    Args:
        model: a text model.
        ids: the text, ``(N,)`` int64.
        stride: 1 .. context; by default half of the context.
        batch_size: windows per network call.

    Returns:
        ``-log p(x_i | context)``, ``(N,)``; its mean is in nats per token.

    Raises:
        TypeError: for a model of something else.
        ValueError: for an empty text, foreign ids or a stride out of range.
    """
    space, estimand = text_parts(model)
    context = estimand.net.length
    stride = stride or max(context // 2, 1)
    if not 1 <= stride <= context:
        raise ValueError(f"stride must lie between 1 and the context of {context}, not {stride}")
    if not len(ids):
        raise ValueError("the text is empty: there is nothing to score")
    space.check(ids[None])
    ids = ids.to(model.device)
    if len(ids) <= context:
        return -estimand(ids[None])[0].cpu()
    ends = [*range(context, len(ids), stride), len(ids)]
    windows = torch.stack([ids[end - context : end] for end in ends])
    nats = -torch.cat([estimand(part) for part in torch.split(windows, batch_size)]).cpu()
    news = [context, *(b - a for a, b in pairwise(ends))]
    return torch.cat([row[context - new :] for row, new in zip(nats, news, strict=True)])


def cut_of(model: GenerativeModel, prompt: str) -> str:
    """One line on what a model does not read of a prompt that is longer than its context; empty if it reads all."""
    # a prompt is text
    if not isinstance(model.estimand, TokenConditionals) or not isinstance(model.space, Text) or not prompt:
        return ""
    count = len(model.space.parse(prompt))
    kept = model.estimand.kept(count)
    context = f"more than a context of {model.estimand.net.length}"
    return f"the prompt has {count} tokens, {context}: only the last {kept} are read" if kept < count else ""


@final
@dataclass
class Draft:
    """A small model that proposes tokens, which a large one accepts or replaces; and what came of it so far.

    Attributes:
        model: of text in the same tokens.
        ahead: how many tokens it proposes at once.
        proposed, accepted: tokens.
        drawn: tokens of the texts.
        evaluations: evaluations of the large model after the prompts.

    Raises:
        ValueError: for fewer than one token at once.
    """

    model: GenerativeModel
    ahead: int = 4
    proposed: int = 0
    accepted: int = 0
    drawn: int = 0
    evaluations: int = 0

    def __post_init__(self) -> None:
        if self.ahead < 1:
            raise ValueError(f"ahead must be at least 1, not {self.ahead}")

    def __str__(self) -> str:
        share, each = self.accepted / max(self.proposed, 1), self.drawn / max(self.evaluations, 1)
        return f"{share:.0%} of the drafted tokens accepted, {each:.2f} tokens for each evaluation of the large model"


def residual(p: Tensor, q: Tensor) -> Tensor:
    """``max(p - q, 0)``, normalised: what a token follows where one that was drawn from ``q`` is refused, ``(V,)``.

    A token of ``q`` is kept with probability ``min(1, p / q)``, so that ``q min(1, p / q) + (1 - sum q min(1, p / q))
    residual = p``.
    """
    left = (p - q).clamp_min(0)
    return left / left.sum() if left.sum() > 0 else p


@torch.no_grad()
def speculate(
    model: GenerativeModel,
    draft: Draft,
    prompt: str = "",
    index: int = 0,
    seed: int = 0,
    shaping: Shaping | None = None,
) -> Iterator[int]:
    """Draw one text as :func:`stream` does, from the same distribution, with fewer evaluations of the model.

    The draft proposes some tokens, the model looks at all of them in one evaluation, keeps those up to the first that
    it refuses, and draws one more itself. Rules apply to both.

    Args:
        model: of text.
        draft: a smaller model with the same tokens; it counts the tokens that are accepted.
        prompt: what the text begins with.
        index: number of the text, which has its own random numbers.
        seed: fixes them.
        shaping: the rules.

    Raises:
        TypeError: for a model of something else.
        ValueError: for a draft in other tokens, or a character of the prompt that the model does not know.

    Reference: Leviathan, Kalman, Matias 2023, Fast Inference from Transformers via Speculative Decoding,
    https://arxiv.org/abs/2211.17192
    """
    (space, large), (other, small) = text_parts(model), text_parts(draft.model)
    if (space.vocabulary, space.pieces) != (other.vocabulary, other.pieces):
        raise ValueError(f"the draft models {other}, and the model {space}: give a draft in the same tokens")
    rules, noise = shaping or Shaping(), Noise(seed, index, index + 1, device=model.device)
    ids = space.parse(prompt).to(model.device)[None] if prompt else torch.zeros(1, 0, dtype=torch.long)
    state, guess = large.begin(1), small.begin(1)
    for estimand, one in ((large, state), (small, guess)):
        one.cache.forget(0)
        if prompt:
            estimand.prompt(one, ids)
    seen = ids.to(model.device)

    def masses(logits: Tensor) -> Tensor:
        return rules(logits, seen).softmax(-1)[0]

    def drawn(p: Tensor) -> Tensor:
        return categorical(p.log()[None], noise.uniform())

    while True:
        k = min(draft.ahead, large.room(state), small.room(guess))
        before, q, tokens = seen, list[Tensor](), list[Tensor]()
        for _ in range(k):
            q.append(masses(small.logits(guess)))
            tokens.append(drawn(q[-1]))
            small.take(guess, tokens[-1])
            seen = torch.cat([seen, tokens[-1][None]], 1)
        logits = large.ahead(state, seen[:, seen.shape[1] - k :])
        seen, kept = before, 0
        p = masses(logits[:, 0])
        while kept < k and float(noise.uniform()) * q[kept][tokens[kept]] < p[tokens[kept]]:
            seen = torch.cat([seen, tokens[kept][None]], 1)
            kept += 1
            p = masses(logits[:, kept])
        last = drawn(p if kept == k else residual(p, q[kept]))
        seen = torch.cat([seen, last[None]], 1)
        state.cache.forget(k - kept)
        for token in (*tokens[:kept], last):
            large.take(state, token)
        if kept < k:
            small.replace(guess, k - kept, last)
        else:
            small.logits(guess)  # puts its newest token into the cache
            small.take(guess, last)
        draft.proposed, draft.accepted = draft.proposed + k, draft.accepted + kept
        draft.drawn, draft.evaluations = draft.drawn + kept + 1, draft.evaluations + 1
        yield from map(int, (*tokens[:kept], last))


def generate(
    model: GenerativeModel,
    prompt: str = "",
    *,
    n: int = 1,
    length: int = 256,
    seed: int = 0,
    shaping: Shaping | None = None,
    stop: Sequence[str] = (),
    draft: Draft | None = None,
) -> list[str]:
    """Draw ``n`` texts that go on after a prompt: at most ``length`` tokens, up to the end or a stop string.

    Args:
        model: of text.
        prompt: what the texts begin with; it is not part of the result.
        n: number of texts.
        length: the most tokens of each.
        seed: fixes them.
        shaping: see :class:`Shaping`.
        stop: strings before which a text ends.
        draft: a small model that proposes tokens, see :func:`speculate`; texts are then drawn one by one.

    Raises:
        TypeError: for a model of something else.
        ValueError: for a length or a number below 1, or a foreign character in the prompt.
    """
    if length < 1 or n < 1:
        raise ValueError(f"length and n must be at least 1, not {length} and {n}")
    if isinstance(model.estimand, ArbitraryConditionals | BlockDenoiser):
        if stop or (shaping or Shaping()) != Shaping() or draft is not None:
            raise ValueError("masked diffusion draws tokens in a random order: leave rules, stop strings and draft out")
        return _filled_after(model, prompt, n, length, seed)
    space, _ = text_parts(model)
    if draft is not None:
        return ["".join(written(model, prompt, i, length, seed, shaping, stop, draft)) for i in range(n)]
    drawn: list[list[int]] = [[] for _ in range(n)]
    done = [False] * n
    for step in itertools.islice(stream(model, prompt, n, seed, shaping), length):
        for i, token in enumerate(step.tolist()):
            done[i] = done[i] or _ended(space, drawn[i], token, stop)
        if all(done):
            break
    return [_before(space.show(torch.tensor(ids, dtype=torch.long)), stop) for ids in drawn]


def written(
    model: GenerativeModel,
    prompt: str = "",
    index: int = 0,
    length: int = 256,
    seed: int = 0,
    shaping: Shaping | None = None,
    stop: Sequence[str] = (),
    draft: Draft | None = None,
) -> Iterator[str]:
    """One text of :func:`generate` in parts, one for each token as it is drawn; together they are the text.

    A part is empty while what was drawn may still change: half a character, or the beginning of a stop string.

    Args:
        model: of text.
        prompt: what the text begins with.
        index: number of the text; without a draft, only the first one is drawn alone.
        length: the most tokens.
        seed: fixes the text.
        shaping: see :class:`Shaping`.
        stop: strings before which the text ends.
        draft: a small model that proposes tokens, see :func:`speculate`.

    Raises:
        TypeError: for a model of something else.
        ValueError: for a foreign character in the prompt, or a later text without a draft.
    """
    if draft is None and index:
        raise ValueError(f"text {index} is drawn together with those before it: use generate")
    space, _ = text_parts(model)
    alone = map(int, stream(model, prompt, 1, seed, shaping))
    tokens = alone if draft is None else speculate(model, draft, prompt, index, seed, shaping)
    drawn, shown = list[int](), ""
    for token in itertools.islice(tokens, length):
        if _ended(space, drawn, token, stop):
            break
        text = settled(space.show(torch.tensor(drawn)), stop)
        yield text[len(shown) :]
        shown = max(shown, text, key=len)
    yield _before(space.show(torch.tensor(drawn, dtype=torch.long)), stop)[len(shown) :]


def settled(text: str, ends: Sequence[str]) -> str:
    """A text without what may still change: half a character, or the beginning of a string that ends it."""
    text = text.rstrip("\ufffd")
    held = [size for one in ends for size in range(1, len(one)) if text.endswith(one[:size])]
    return text[: len(text) - max(held, default=0)]


def _ended(space: Text, drawn: list[int], token: int, stop: Sequence[str]) -> bool:
    """Add a token to a text unless it ends it; whether the text ends."""
    if space.pieces is not None and token == space.pieces.end:
        return True
    drawn.append(token)
    recent = space.show(torch.tensor(drawn[-64:])) if stop else ""
    return any(one in recent for one in stop)


def _filled_after(model: GenerativeModel, prompt: str, n: int, length: int, seed: int) -> list[str]:
    """What a masked diffusion fills in after a prompt, up to the end of its window."""
    assert isinstance(model.space, Text)  # a prompt is a text
    ids = model.space.parse(prompt).tolist() if prompt else []
    most = min(length, model.space.length - len(ids))
    if most < 1:
        raise ValueError(f"the prompt has {len(ids)} tokens and fills a window of {model.space.length}: shorten it")
    if isinstance(model.estimand, BlockDenoiser):
        windows = _in_blocks(model, model.estimand, ids, len(ids) + most, n, seed)
    else:
        windows = _completed(model, ids, len(ids), n, seed)
    return [model.space.show(row[len(ids) : len(ids) + most]) for row in windows]


@torch.no_grad()
def _in_blocks(
    model: GenerativeModel, estimand: BlockDenoiser, ids: Sequence[int], length: int, n: int, seed: int
) -> Tensor:
    """Texts ``(n, length)`` that begin with ids."""
    noise = Noise(seed, 0, n, "complete", model.device)
    known = torch.arange(length, device=model.device) < len(ids)
    x = torch.tensor([*ids, *[0] * (length - len(ids))], device=model.device).expand(n, -1)
    steps = model.sampler.steps if isinstance(model.sampler, BlockUnmasking) else 0
    return estimand.complete(x, known, noise, steps).cpu()


def _completed(model: GenerativeModel, ids: Sequence[int], known: int | Sequence[bool], n: int, seed: int) -> Tensor:
    """Windows ``(n, L)`` that begin with ids, of which the known ones stay."""
    length = model.space.shape[0]
    given = [i < known for i in range(length)] if isinstance(known, int) else [*known, *[False] * (length - len(ids))]
    x = torch.tensor([*ids, *[0] * (length - len(ids))])
    return complete(model, x.expand(n, -1), torch.tensor(given).expand(n, -1), seed=seed)


def fill(model: GenerativeModel, text: str, n: int = 1, seed: int = 0) -> list[str]:
    """Fill the gaps of a text, each written ``{8}`` for so many tokens: ``n`` draws given all that stands around them.

    Args:
        model: of text, which tells the tokens of any place given any others: a masked diffusion.
        text: with gaps, no longer than a window.
        n: number of draws.
        seed: fixes them.

    Raises:
        TypeError: for a model of something else, or one that only goes on after a text.
        ValueError: for a text without gaps, or longer than a window.
    """
    space = model.space
    if not isinstance(space, Text) or not isinstance(model.estimand, ArbitraryConditionals):  # gaps are of texts
        raise TypeError("gaps are filled by a masked diffusion of text: train one with fourfold fit diffusion/masked")
    ids: list[int] = []
    known: list[bool] = []
    for i, part in enumerate(re.split(r"\{(\d+)\}", text)):
        found = [0] * int(part) if i % 2 else space.parse(part).tolist() if part else []
        ids, known = ids + found, known + [not i % 2] * len(found)
    if all(known):
        raise ValueError("there is no gap to fill: write {8} for eight tokens")
    if len(ids) > space.length:
        raise ValueError(f"the text has {len(ids)} tokens, more than a window of {space.length}: shorten it")
    return [space.show(row[: len(ids)]) for row in _completed(model, ids, known, n, seed)]


def _before(text: str, stop: Sequence[str]) -> str:
    """A text up to the first stop string."""
    ends = [at for one in stop if (at := text.find(one)) >= 0]
    return text[: min(ends)] if ends else text
