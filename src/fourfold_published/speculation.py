"""Speculative decoding: a small model proposes tokens, of which a large one evaluates several at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, Noise
from fourfold.maths.categorical import categorical
from fourfold.tasks.language import Shaping, in_parts, text_parts

__all__ = ["Draft", "generate", "residual", "speculate"]


@final
@dataclass
class Draft:
    """A small model that proposes tokens, which a large one accepts or replaces, and counts of both.

    Attributes:
        model: of text in the same tokens.
        ahead: number of tokens that it proposes at once.
        proposed, accepted: counts of its tokens.
        tokens: number of tokens of the texts.
        evaluations: number of evaluations of the large model after the prompts.

    Raises:
        ValueError: for fewer than one token at once.
    """

    model: GenerativeModel
    ahead: int = 4
    proposed: int = 0
    accepted: int = 0
    tokens: int = 0
    evaluations: int = 0

    def __post_init__(self) -> None:
        if self.ahead < 1:
            raise ValueError(f"ahead must be at least 1, got {self.ahead}; by default it is 4")

    def __str__(self) -> str:
        share, each = self.accepted / max(self.proposed, 1), self.tokens / max(self.evaluations, 1)
        return f"{share:.0%} of the drafted tokens accepted, {each:.2f} tokens for each evaluation of the large model"


def residual(p: Tensor, q: Tensor) -> Tensor:
    """``max(p - q, 0)``, normalised, ``(V,)``: the distribution of a token where one from ``q`` is refused.

    A token of ``q`` is accepted with probability ``min(1, p / q)``, so that
    ``q min(1, p / q) + (1 - sum q min(1, p / q)) residual = p``.
    """
    excess = (p - q).clamp_min(0)
    return excess / excess.sum() if excess.sum() > 0 else p


@torch.no_grad()
def speculate(
    model: GenerativeModel,
    draft: Draft,
    prompt: str = "",
    index: int = 0,
    seed: int = 0,
    shaping: Shaping | None = None,
) -> Iterator[int]:
    """Draw one text as :func:`~fourfold.tasks.language.stream` does, with fewer evaluations of the model.

    The draft proposes some tokens. The model evaluates all of them at once, keeps those before the first that it
    refuses, and draws one more itself, so that the text has the model's own distribution. Rules apply to both.

    Args:
        model: of text.
        draft: a smaller model with the same tokens. It counts the tokens that are accepted.
        prompt: the beginning of the text.
        index: number of the text, which has its own random numbers.
        seed: fixes them.
        shaping: the rules.

    Raises:
        TypeError: for a model of something else.
        ValueError: for a draft in other tokens, or a character of the prompt that the model does not know.

    Reference: Leviathan, Kalman, Matias 2023, Fast Inference from Transformers via Speculative Decoding,
    https://arxiv.org/abs/2211.17192
    """
    (space, large), (draft_space, small) = text_parts(model), text_parts(draft.model)
    if (space.vocabulary, space.tokenizer) != (draft_space.vocabulary, draft_space.tokenizer):
        raise ValueError(f"the draft must be a model of {space}, got one of {draft_space}; give one in its tokens")
    rules, noise = shaping or Shaping(), Noise(seed, index, index + 1, device=model.device)
    ids = space.parse(prompt).to(model.device)[None] if prompt else torch.zeros(1, 0, dtype=torch.long)
    state, guess = large.begin(1), small.begin(1)
    for estimand, start in ((large, state), (small, guess)):
        start.cache.forget(0)
        if prompt:
            estimand.prompt(start, ids)
    text = ids.to(model.device)

    def masses(logits: Tensor) -> Tensor:
        return rules(logits, text).softmax(-1)[0]

    def draw(p: Tensor) -> Tensor:
        return categorical(p.log()[None], noise.uniform())

    while True:
        k = min(draft.ahead, large.room(state), small.room(guess))
        before, q, tokens = text, list[Tensor](), list[Tensor]()
        for _ in range(k):
            q.append(masses(small.logits(guess)))
            tokens.append(draw(q[-1]))
            small.take(guess, tokens[-1])
            text = torch.cat([text, tokens[-1][None]], 1)
        logits = large.ahead(state, text[:, text.shape[1] - k :])
        text, accepted = before, 0
        p = masses(logits[:, 0])
        while accepted < k and float(noise.uniform()) * q[accepted][tokens[accepted]] < p[tokens[accepted]]:
            text = torch.cat([text, tokens[accepted][None]], 1)
            accepted += 1
            p = masses(logits[:, accepted])
        last = draw(p if accepted == k else residual(p, q[accepted]))
        text = torch.cat([text, last[None]], 1)
        state.cache.forget(k - accepted)
        for token in (*tokens[:accepted], last):
            large.take(state, token)
        if accepted < k:
            small.replace(guess, k - accepted, last)
        else:
            small.logits(guess)  # puts its newest token into the cache
            small.take(guess, last)
        draft.proposed, draft.accepted = draft.proposed + k, draft.accepted + accepted
        draft.tokens, draft.evaluations = draft.tokens + accepted + 1, draft.evaluations + 1
        yield from map(int, (*tokens[:accepted], last))


def generate(
    model: GenerativeModel,
    draft: Draft,
    prompt: str = "",
    *,
    n: int = 1,
    length: int = 256,
    seed: int = 0,
    shaping: Shaping | None = None,
    stop: Sequence[str] = (),
) -> list[str]:
    """Draw ``n`` texts as :func:`fourfold.tasks.language.generate` does, one after the other, with a draft.

    Args:
        model: of text.
        draft: a smaller model with the same tokens. It counts the tokens that are accepted.
        prompt: the beginning of the texts, which is not part of the result.
        n: number of texts.
        length: the most tokens of each.
        seed: fixes them.
        shaping: the rules.
        stop: strings before which a text ends.

    Raises:
        TypeError: for a model of something else.
        ValueError: for a draft in other tokens, or a foreign character in the prompt.
    """
    space, _ = text_parts(model)
    sources = (speculate(model, draft, prompt, i, seed, shaping) for i in range(n))
    return ["".join(in_parts(space, tokens, length, stop)) for tokens in sources]
