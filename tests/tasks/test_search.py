"""Beam search against all sequences gone through."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from fourfold.tasks.search import Paths, beam_search

LENGTH = 4


class Chain(Paths):
    """Sequences of a Markov chain of four tokens, all of which are recorded; token 3 ends a sequence."""

    def __init__(self, log_p: Tensor, cut: float = -torch.inf) -> None:
        self.log_p, self.cut, self.sequences, self.nats = log_p, cut, [(0,)], torch.zeros(1, dtype=torch.float64)
        self.finished: dict[tuple[int, ...], float] = {}
        self.widths: list[int] = []

    def scores(self) -> Tensor:
        scores = self.nats[:, None] + self.log_p[[sequence[-1] for sequence in self.sequences]]
        for sequence, nats in zip(self.sequences, scores[:, 3].tolist(), strict=True):
            self.finished[(*sequence, 3)] = nats
        scores[:, 3] = -torch.inf
        return scores

    def promising(self, scores: Tensor) -> int:
        assert (scores.diff() <= 0).all()
        return int((scores > self.cut).sum())

    def follow(self, rows: Tensor, tokens: Tensor, scores: Tensor) -> None:
        self.sequences = [(*self.sequences[row], token) for row, token in zip(rows, tokens.tolist(), strict=True)]
        self.nats = scores
        self.widths.append(len(scores))


@pytest.fixture
def log_p() -> Tensor:
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).log_softmax(1)


def masses(log_p: Tensor) -> dict[tuple[int, ...], float]:
    """Every sequence that ends after at most ``LENGTH`` tokens, with its log-probability."""
    every = [(0, *body, 3) for n in range(LENGTH) for body in itertools.product(range(3), repeat=n)]
    return {s: float(sum(log_p[a, b] for a, b in itertools.pairwise(s))) for s in every}


def test_as_many_beams_as_there_are_sequences_find_all(log_p: Tensor) -> None:
    chain = Chain(log_p)
    beam_search(chain, 3**LENGTH, LENGTH)
    assert chain.finished == pytest.approx(masses(log_p))
    assert chain.widths == [3, 9, 27, 81]


def test_one_beam_is_greedy(log_p: Tensor) -> None:
    chain, sequence = Chain(log_p), [0]
    beam_search(chain, 1, LENGTH)
    for _ in range(LENGTH):
        sequence.append(int(log_p[sequence[-1], :3].argmax()))
    assert chain.sequences == [tuple(sequence)]


def test_a_search_ends_where_no_path_is_promising_or_goes_on(log_p: Tensor) -> None:
    chain = Chain(log_p, cut=-2.5)
    beam_search(chain, 100, 1000)
    following = {s: nats for s, nats in masses(log_p).items() if nats - float(log_p[s[-2], 3]) > -2.5}
    assert {s: chain.finished[s] for s in following} == pytest.approx(following)
    assert max(chain.widths) < 27
    ended = Chain(torch.tensor([-torch.inf] * 3 + [0.0]).double().expand(4, 4))
    beam_search(ended, 5, LENGTH)
    assert ended.finished == {(0, 3): 0.0}
    assert not ended.widths
