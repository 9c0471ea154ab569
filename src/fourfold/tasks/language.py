"""Tasks of a text model: continue a prompt token by token, under rules; fill gaps; score a long text."""

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
    "Shaping",
    "fill",
    "generate",
    "in_parts",
    "score_text",
    "stable_text",
    "stream",
    "stream_text",
    "text_parts",
    "truncation_note",
]


@final
@dataclass(frozen=True)
class Shaping:
    """Rules that change the distribution of the next token before a draw. By default none does.

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
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}")

    @property
    def faithful(self) -> bool:
        """True if samples follow the distribution that is scored."""
        return self == Shaping() or self == Shaping(top_p=1.0)

    @property
    def words(self) -> str:
        """The active rules in one line. Empty where none is active."""
        if self.faithful:
            return ""
        rules = [
            (self.repetition_penalty != 1, f"repetition penalty {self.repetition_penalty:g}"),
            (self.temperature != 1, f"temperature {self.temperature:g}"),
            (self.top_k is not None, f"the {self.top_k} likeliest tokens"),
            (self.top_p is not None, f"the likeliest tokens up to a mass of {self.top_p}"),
            (self.min_p is not None, f"tokens of at least {self.min_p} of the likeliest one's mass"),
        ]
        active = ", ".join(rule for on, rule in rules if on)
        return f"drawn with {active}: such text does not follow the distribution that the model's likelihood is about"

    def __call__(self, logits: Tensor, prefix: Tensor | None = None) -> Tensor:
        """Logits ``(B, V)`` after the rules, minus infinity where a token is ruled out.

        Args:
            logits: of the model, ``(B, V)``.
            prefix: ids of the text so far, ``(B, T)``.
        """
        if self.repetition_penalty != 1 and prefix is not None and prefix.shape[1]:
            old = logits.gather(1, prefix)
            new = torch.where(old > 0, old / self.repetition_penalty, old * self.repetition_penalty)
            logits = logits.scatter(1, prefix, new)
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
    """The space and the estimand of a model that draws text token by token.

    Raises:
        TypeError: for another model.
    """
    if not isinstance(model.space, Text) or not isinstance(model.estimand, TokenConditionals):  # prompts are texts
        raise TypeError(f"the model must draw text token by token, got one of {model.space}: train on text")
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

    A text longer than the context is continued given its last half.

    Args:
        model: of text.
        prompt: the prefix of the texts, or its ids.
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
    prefix = torch.zeros(n, 0, dtype=torch.long, device=model.device) if ids is None else ids.expand(n, -1)
    while True:
        logits = rules(estimand.logits(state), prefix)
        token = categorical(logits, state.next_uniforms(noise)[0])
        estimand.take(state, token)
        if rules.repetition_penalty != 1:
            prefix = torch.cat([prefix, token.unsqueeze(1)], 1)
        yield token


@torch.no_grad()
def score_text(model: GenerativeModel, ids: Tensor, stride: int | None = None, batch_size: int = 64) -> Tensor:
    """Nats of every token of one long text. Each is scored once, given at least ``context - stride`` earlier tokens.

    Windows of the network's context advance by ``stride``. All tokens of the first count, and the last ``stride`` of
    each later one.

    Args:
        model: a text model.
        ids: the text, ``(N,)`` int64.
        stride: 1 .. context. By default half of the context.
        batch_size: windows per network call.

    Returns:
        ``-log p(x_i | context)``, ``(N,)``. Its mean is in nats per token.

    Raises:
        TypeError: for a model of something else.
        ValueError: for an empty text, foreign ids or a stride out of range.
    """
    space, estimand = text_parts(model)
    context = estimand.net.length
    stride = stride or max(context // 2, 1)
    if not 1 <= stride <= context:
        raise ValueError(f"stride must be from 1 to the context of {context}, got {stride}")
    if not len(ids):
        raise ValueError("the text must have at least one token to be scored, got none")
    space.check(ids[None])
    ids = ids.to(model.device)
    if len(ids) <= context:
        return -estimand(ids[None])[0].cpu()
    ends = [*range(context, len(ids), stride), len(ids)]
    windows = torch.stack([ids[end - context : end] for end in ends])
    nats = -torch.cat([estimand(part) for part in torch.split(windows, batch_size)]).cpu()
    news = [context, *(b - a for a, b in pairwise(ends))]
    return torch.cat([row[context - new :] for row, new in zip(nats, news, strict=True)])


def truncation_note(model: GenerativeModel, prompt: str) -> str:
    """One line on a prompt that is longer than the context of a model. Empty if the model reads all of it."""
    if not isinstance(model.estimand, TokenConditionals) or not isinstance(model.space, Text) or not prompt:
        return ""  # a prompt is text
    count = len(model.space.parse(prompt))
    rest = model.estimand.window(count)
    context = f"more than a context of {model.estimand.net.length}"
    return f"the prompt has {count} tokens, {context}: only the last {rest} are read" if rest < count else ""


def generate(
    model: GenerativeModel,
    prompt: str = "",
    *,
    n: int = 1,
    length: int = 256,
    seed: int = 0,
    shaping: Shaping | None = None,
    stop: Sequence[str] = (),
) -> list[str]:
    """Draw ``n`` continuations of a prompt: at most ``length`` tokens, up to the end or a stop string.

    Args:
        model: of text.
        prompt: the prefix of the texts, which is not part of the result.
        n: number of texts.
        length: the most tokens of each.
        seed: fixes them.
        shaping: see :class:`Shaping`.
        stop: strings before which a text ends.

    Raises:
        TypeError: for a model of something else.
        ValueError: for a length or a number below 1, or a foreign character in the prompt.
    """
    if length < 1 or n < 1:
        raise ValueError(f"length and n must be at least 1, got {length} and {n}")
    if isinstance(model.estimand, ArbitraryConditionals | BlockDenoiser):
        if stop or (shaping or Shaping()) != Shaping():
            raise ValueError(
                "rules and stop strings must be left out for masked diffusion, which has no order of tokens"
            )
        return _filled_after(model, prompt, n, length, seed)
    space, _ = text_parts(model)
    tokens: list[list[int]] = [[] for _ in range(n)]
    at_end = [False] * n
    for step in itertools.islice(stream(model, prompt, n, seed, shaping), length):
        for i, token in enumerate(step.tolist()):
            at_end[i] = at_end[i] or _append(space, tokens[i], token, stop)
        if all(at_end):
            break
    return [_before(space.show(torch.tensor(ids, dtype=torch.long)), stop) for ids in tokens]


def stream_text(
    model: GenerativeModel,
    prompt: str = "",
    length: int = 256,
    seed: int = 0,
    shaping: Shaping | None = None,
    stop: Sequence[str] = (),
) -> Iterator[str]:
    """The first text of :func:`generate` in parts, as :func:`in_parts` yields them. Together they are the text.

    Args:
        model: of text.
        prompt: the prefix of the text.
        length: the most tokens.
        seed: fixes the text.
        shaping: see :class:`Shaping`.
        stop: strings before which the text ends.

    Raises:
        TypeError: for a model of something else.
        ValueError: for a foreign character in the prompt.
    """
    return in_parts(text_parts(model)[0], map(int, stream(model, prompt, 1, seed, shaping)), length, stop)


def in_parts(space: Text, tokens: Iterator[int], length: int, stop: Sequence[str] = ()) -> Iterator[str]:
    """The text of at most ``length`` tokens in parts, one for each token as it is drawn.

    A part is empty while the end of the text may still change: half a character, or the start of a stop string.

    Args:
        space: of the tokens.
        tokens: ids, which may go on without end.
        length: the most tokens.
        stop: strings before which the text ends.
    """
    ids, printed = list[int](), ""
    for token in itertools.islice(tokens, length):
        if _append(space, ids, token, stop):
            break
        text = stable_text(space.show(torch.tensor(ids)), stop)
        yield text[len(printed) :]
        printed = max(printed, text, key=len)
    yield _before(space.show(torch.tensor(ids, dtype=torch.long)), stop)[len(printed) :]


def stable_text(text: str, ends: Sequence[str]) -> str:
    """A text without an end that may still change: half a character, or the start of a string that ends it."""
    text = text.rstrip("\ufffd")
    lengths = [size for end in ends for size in range(1, len(end)) if text.endswith(end[:size])]
    return text[: len(text) - max(lengths, default=0)]


def _append(space: Text, ids: list[int], token: int, stop: Sequence[str]) -> bool:
    """Append a token to a text unless it is the end token. Return true if the text ends."""
    if space.tokenizer is not None and token == space.tokenizer.end:
        return True
    ids.append(token)
    recent = space.show(torch.tensor(ids[-64:])) if stop else ""
    return any(string in recent for string in stop)


def _filled_after(model: GenerativeModel, prompt: str, n: int, length: int, seed: int) -> list[str]:
    """Continuations of a prompt by a masked diffusion, up to the end of its window."""
    assert isinstance(model.space, Text)  # a prompt is a text
    ids = model.space.parse(prompt).tolist() if prompt else []
    most = min(length, model.space.length - len(ids))
    if most < 1:
        raise ValueError(
            f"prompt must have fewer tokens than a window of {model.space.length}, got {len(ids)}: shorten it"
        )
    if isinstance(model.estimand, BlockDenoiser):
        windows = _in_blocks(model, model.estimand, ids, len(ids) + most, n, seed)
    else:
        windows = _completed(model, ids, len(ids), n, seed)
    return [model.space.show(row[len(ids) : len(ids) + most]) for row in windows]


@torch.no_grad()
def _in_blocks(
    model: GenerativeModel, estimand: BlockDenoiser, ids: Sequence[int], length: int, n: int, seed: int
) -> Tensor:
    """Texts ``(n, length)`` with a prefix of ids."""
    noise = Noise(seed, 0, n, "complete", model.device)
    mask = torch.arange(length, device=model.device) < len(ids)
    x = torch.tensor([*ids, *[0] * (length - len(ids))], device=model.device).expand(n, -1)
    steps = model.sampler.steps if isinstance(model.sampler, BlockUnmasking) else 0
    return estimand.complete(x, mask, noise, steps).cpu()


def _completed(model: GenerativeModel, ids: Sequence[int], mask: int | Sequence[bool], n: int, seed: int) -> Tensor:
    """Windows ``(n, L)`` with a prefix of ids. The first ``mask`` ids stay, or those where the mask is true."""
    length = model.space.shape[0]
    row_mask = [i < mask for i in range(length)] if isinstance(mask, int) else [*mask, *[False] * (length - len(ids))]
    x = torch.tensor([*ids, *[0] * (length - len(ids))])
    return complete(model, x.expand(n, -1), torch.tensor(row_mask).expand(n, -1), seed=seed)


def fill(model: GenerativeModel, text: str, n: int = 1, seed: int = 0) -> list[str]:
    """Fill the gaps of a text, each written ``{8}`` for 8 tokens: ``n`` draws given the rest of the text.

    Args:
        model: a masked diffusion of text.
        text: with gaps, no longer than a window.
        n: number of draws.
        seed: fixes them.

    Raises:
        TypeError: for a model of something else, or one that draws in order only.
        ValueError: for a text without gaps, or longer than a window.
    """
    space = model.space
    if not isinstance(space, Text) or not isinstance(model.estimand, ArbitraryConditionals):  # gaps are of texts
        raise TypeError(
            f"the model must be a masked diffusion of text to fill gaps, got {model.paradigm} of {space}: "
            "train diffusion/masked"
        )
    ids: list[int] = []
    mask: list[bool] = []
    for i, part in enumerate(re.split(r"\{(\d+)\}", text)):
        tokens = [0] * int(part) if i % 2 else space.parse(part).tolist() if part else []
        ids, mask = ids + tokens, mask + [not i % 2] * len(tokens)
    if all(mask):
        raise ValueError("the text must have a gap, got none: write {8} for eight tokens")
    if len(ids) > space.length:
        raise ValueError(f"text must have at most {space.length} tokens (a window), got {len(ids)}: shorten it")
    return [space.show(row[: len(ids)]) for row in _completed(model, ids, mask, n, seed)]


def _before(text: str, stop: Sequence[str]) -> str:
    """A text up to the first stop string."""
    ends = [at for string in stop if (at := text.find(string)) >= 0]
    return text[: min(ends)] if ends else text
