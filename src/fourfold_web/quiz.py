"""Human eyes: which of some examples are real, and which did the model draw?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, Space
from fourfold.data import Dataset
from fourfold.metrics.score import Floor, Measurement, wilson_interval
from fourfold.tasks.evaluation import examples
from fourfold.tasks.sampling import draw

__all__ = ["Quiz", "make_quiz", "parse_answers"]


@final
@dataclass(frozen=True)
class Quiz:
    """Real and drawn examples in random order.

    Attributes:
        space: of the examples.
        x: raw examples, ``(n, *shape)``.
        drawn: whether the model drew each, ``(n,)``.
    """

    space: Space
    x: Tensor
    drawn: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def score(self, answers: Sequence[bool]) -> Measurement:
        """The share of right answers, with Wilson's 95 % interval. Who cannot tell them apart is right half the time.

        Args:
            answers: whether somebody takes each of the first examples for drawn, at most ``n``.

        Raises:
            ValueError: for no answer, or more than there are examples.

        Reference: Wilson 1927, Probable Inference, https://doi.org/10.1080/01621459.1927.10502953
        """
        if not 0 < len(answers) <= len(self):
            raise ValueError(f"answers must be 1 to {len(self)}, got {len(answers)}; answer each example once")
        hits = torch.tensor(answers) == self.drawn[: len(answers)]
        share = hits.double().mean().item()
        low, high = wilson_interval(share, len(hits), 1.96)
        words = "each example real or drawn with probability 1/2; interval of Wilson; 0.5 is chance"
        score = Measurement("accuracy[human eyes]", share, low, high, n=len(hits), protocol=words, better="nearer")
        return score.beside(Floor(0.5))


def make_quiz(model: GenerativeModel, dataset: Dataset, n: int = 40, seed: int = 0) -> Quiz:
    """Choose ``n`` examples: a coin says of each whether it is a test example or a sample.

    A conditional model draws for the condition of the test example in whose place its sample stands.

    Args:
        model: trained.
        dataset: whose test examples are the real ones.
        n: number of examples, at most as many as there are test examples.
        seed: of the coins, the choice and the samples.

    Raises:
        ValueError: for n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}; ask about one example or more")
    generator = torch.Generator().manual_seed(seed)
    references = examples(dataset, max(n, 2000))
    rows = torch.randperm(len(references.test), generator=generator)[:n]
    is_sample = torch.rand(len(rows), generator=generator) < 0.5
    cond = None if references.cond is None else references.cond[rows]
    samples = draw(model, len(rows), seed, cond).x
    real = references.test[rows]
    return Quiz(
        dataset.space, torch.where(is_sample.reshape(-1, *[1] * (real.ndim - 1)), samples.to(real), real), is_sample
    )


def parse_answers(text: str) -> list[bool]:
    """Answers ``real`` or ``drawn``, or their first letters, between blanks. True stands for drawn.

    Raises:
        ValueError: for another word, with its place.
    """
    words = text.split()
    for i, word in enumerate(words, 1):
        if word.lower() not in ("r", "d", "real", "drawn"):
            raise ValueError(f"answer {i} must be real or drawn (r or d), got {word!r}; correct it")
    return [word.lower()[0] == "d" for word in words]
