"""Texts that describe examples: captions of pictures, transcripts of sounds, texts of anything.

``p(T | x)`` is told by a model of texts given examples, by a model that learned both directions, or by Bayes' rule
through any model of examples given texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, Noise, Space
from fourfold.core.evaluations import evaluating
from fourfold.paradigms.autoregressive import Ancestral
from fourfold.spaces import Lines
from fourfold.tasks.examples import raw_examples
from fourfold.vocabulary import Kind
from fourfold_captions.multimodal import PairConditionals

__all__ = ["Caption", "caption", "caption_nats", "captioned"]

BATCH = 64
"""Examples per network call."""


@dataclass(frozen=True)
class Caption:
    """A caption and the exact log-mass of its tokens given the example, in nats.

    Other tokens may spell the same letters, so it is a lower bound on the mass of the letters.
    """

    text: str
    nats: float


def captioned(space: Space) -> tuple[Space, Lines]:
    """The space of examples, and that of the texts that describe them: one is given the other.

    Raises:
        TypeError: for a space without texts.
    """
    texts = next((part for part in (space, space.given) if isinstance(part, Lines)), None)
    if texts is None or space.given is None:
        raise TypeError(
            f"the model must be of texts given examples, or of examples given texts, got one of {space}: "
            "train it on captioned data (--given captions)"
        )
    return (space.given if texts is space else space), texts


@torch.no_grad()
def caption(model: GenerativeModel, x: Any, draws: int = 8, temperature: float = 0.5, seed: int = 0) -> list[Caption]:
    """A caption of each raw example: the likeliest of several draws of ``p(T | x)``.

    Args:
        model: of texts given examples, or of both directions.
        x: raw examples ``(B, *shape)``, such as pictures, as a tensor or an array.
        draws: captions drawn for each example.
        temperature: logits are divided by it. Below 1, likely captions are preferred.
        seed: seed of the draws.

    Raises:
        TypeError: for another model.
    """
    examples, texts = captioned(model.space)
    x = raw_examples(x, examples)
    if texts is model.space:
        codes, nats = _draws(model, x, draws, temperature, seed)
    else:
        pair = _both_directions(model)
        parts = [_described(pair, z, start, draws, temperature, seed) for start, z in _codes(model, x)]
        codes, nats = (torch.cat(part) for part in zip(*parts, strict=True))
    best = nats.argmax(1, keepdim=True)
    strings = texts.strings(codes.take_along_dim(best.unsqueeze(-1), 1).squeeze(1).cpu())
    return list(map(Caption, strings, nats.amax(1).tolist()))


def _draws(model: GenerativeModel, x: Tensor, draws: int, temperature: float, seed: int) -> tuple[Tensor, Tensor]:
    """Texts ``(B, draws, L)`` that a model of texts draws given examples, and their log-masses ``(B, draws)``."""
    hot = model.with_parts(sampler=Ancestral(temperature)) if isinstance(model.sampler, Ancestral) else model
    cond = x.repeat_interleave(draws, 0)
    codes = hot.sample(len(cond), cond, seed)
    return codes.view(-1, draws, codes.shape[1]), model.log_prob(codes, cond, seed).nats.view(-1, draws)


def _described(
    pair: PairConditionals, z: Tensor, start: int, draws: int, temperature: float, seed: int
) -> tuple[Tensor, Tensor]:
    """The same as :func:`_draws`, by the chain of captions given the tokens of pictures."""
    streams = (Noise(seed, start, start + len(z), f"caption {i}", z.device) for i in range(draws))
    codes = torch.stack([pair.describe(z, noise, temperature) for noise in streams], 1)
    return codes, torch.stack([pair.log_caption(z, code) for code in codes.unbind(1)], 1)


def _both_directions(model: GenerativeModel) -> PairConditionals:
    """The estimand of a model of examples that tells ``p(T | x)`` too.

    Raises:
        TypeError: for another model.
    """
    if not isinstance(model.estimand, PairConditionals):
        raise TypeError(
            f"the model must draw captions, got {model.paradigm} of {model.space}: train "
            "latent-autoregressive/multimodal on captioned images (--given captions), or name captions to choose from"
        )
    return model.estimand


def _codes(model: GenerativeModel, x: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The tokens of examples batch by batch, each with the number of the first."""
    with evaluating(model):
        for start in range(0, len(x), BATCH):
            part = x[start : start + BATCH].to(model.device)
            noise = Noise(0, start, start + len(part), "score", model.device)
            yield start, model.codec.encode(part, noise)[0]


@torch.no_grad()
def caption_nats(model: GenerativeModel, x: Tensor, captions: Sequence[str], seed: int = 0) -> Tensor:
    """``log p(T_k | x_b)`` of given captions for each raw example, ``(B, K)`` in nats.

    It is the exact mass of their tokens where the model tells it. Any other model of examples given texts tells
    ``log p(x_b | T_k)``, which is the same up to a number for each example if all captions are equally likely (Bayes'
    rule).

    Raises:
        ValueError: for an empty caption, one that is too long, or a model without a likelihood.
        TypeError: for a model without texts.
    """
    if not all(captions):
        raise ValueError("captions must have words, got an empty one: leave it out")
    examples, texts = captioned(model.space)
    x, rows = raw_examples(x, examples), texts.parse(captions)
    if texts is model.space:
        return torch.stack([model.log_prob(row.expand(len(x), -1), x, seed).nats for row in rows], 1)
    if not isinstance(model.estimand, PairConditionals):
        return torch.stack([_likelihood(model, x, text, seed) for text in captions], 1)
    pair, rows = model.estimand, texts.conditions(captions, len(captions)).to(model.device)
    parts = (torch.stack([pair.log_caption(z, row.expand(len(z), -1)) for row in rows], 1) for _, z in _codes(model, x))
    return torch.cat([part.cpu() for part in parts])


def _likelihood(model: GenerativeModel, x: Tensor, text: str, seed: int) -> Tensor:
    """``log p(x | T)``, ``(B,)``."""
    result = model.log_prob(x, text, seed)
    if result.kind is Kind.NONE:
        raise ValueError(f"the model must have a likelihood for Bayes' rule, got {model.paradigm}: train another")
    return result.nats
