"""Measures of text by counting, without a judge model. They see spelling and phrases, not meaning."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import GROUPS, Floor, Measurement, bootstrap, jackknife_of_both

__all__ = ["copied_ngrams", "ngram_divergence", "ngrams", "repetition"]

_MULTIPLIERS = (6364136223846793005, pow(6364136223846793005, -1, 1 << 64) - (1 << 64))
"""An odd number below 2^63, and its inverse modulo 2^64 as a number with a sign."""
PORTION = 1 << 22
"""Tokens of a stream that are looked at once."""


def ngrams(windows: Tensor, n: int) -> Tensor:
    """A 64-bit code of every n-gram: ``(B, L) -> (B, L - n + 1)``. Codes of different n-grams rarely collide.

    With an odd ``M``, ``code_i = Σ_j (x_{i+j} + 1) M^{n-1-j}`` modulo 2^64 is a difference of sums of ``(x_k + 1)
    M^{-k}``, times a power, so that time does not grow with ``n`` (Karp and Rabin 1987,
    https://doi.org/10.1147/rd.312.0249).

    Raises:
        ValueError: if a window is shorter than ``n``.
    """
    if windows.shape[1] < n:
        raise ValueError(
            f"windows must have at least {n} tokens for {n}-grams, got {windows.shape[1]}; use longer ones"
        )
    length = windows.shape[1]
    powers, inverses = (torch.full((length,), m).index_fill_(0, torch.tensor([0]), 1).cumprod(0) for m in _MULTIPLIERS)
    sums = torch.nn.functional.pad(((windows.long() + 1) * inverses).cumsum(1), (1, 0))
    return (sums[:, n:] - sums[:, :-n]) * powers[n - 1 :]


def ngram_divergence(
    x: Tensor, y: Tensor, n: int, *, train: Tensor | Draws | None = None, unit: str = "characters", groups: int = GROUPS
) -> Measurement:
    """The Jensen-Shannon divergence of the n-gram counts of samples and of references, in bits: 0 to 1.

    ``JS = H((p + q)/2) - H(p)/2 - H(q)/2`` of plug-in frequencies, biased upwards when text is short: read it against
    its floor. The interval is over samples and references, by a jackknife of each.

    Args:
        x: windows of sampled ids, ``(B, L)``.
        y: windows of reference ids, ``(B', L)``.
        n: tokens in an n-gram.
        train: windows of training ids for the floor: several draws, or one, whose first ``B`` are used.
        unit: the name of a token.
        groups: number of groups of the jackknife.

    Reference: Lin 1991, Divergence Measures Based on the Shannon Entropy, https://doi.org/10.1109/18.61115
    """
    codes, reference = ngrams(x, n), ngrams(y, n)
    estimate = jackknife_of_both(
        lambda samples, tests: _divergence(codes[samples].flatten(), reference[tests].flatten()), len(x), len(y), groups
    )
    floor = floor_of(train, len(x), lambda base: _divergence(ngrams(base, n).flatten(), reference.flatten()))
    words = (
        f"Jensen-Shannon divergence of {n}-gram frequencies in bits; {codes.numel()} against {reference.numel()} "
        f"n-grams; interval over samples and references: jackknife of {groups} groups of each"
    )
    name = f"ngram_divergence[{unit}, n={n}]"
    score = Measurement(name, estimate.value, n=len(x), protocol=words, unit="bits", better="lower")
    return score.within(estimate).beside(floor)


def repetition(x: Tensor, y: Tensor, n: int = 8, *, unit: str = "characters") -> Measurement:
    """The share of n-grams of a sample that occurred earlier in it. The floor is that of references.

    Args:
        x: windows of sampled ids, ``(B, L)``.
        y: windows of reference ids, ``(B', L)``.
        n: tokens in an n-gram.
        unit: the name of a token.

    Reference: Welleck et al. 2020, Neural Text Generation with Unlikelihood Training, https://arxiv.org/abs/1908.04319
    """
    value, low, high = bootstrap(_first, _repeated(x, n))
    words = f"share of {n}-grams seen before in the same sample; floor: test text; interval over samples: bootstrap"
    floor = Floor(*bootstrap(_first, _repeated(y, n)))
    return Measurement(f"repetition[{unit}, n={n}]", value, low, high, n=len(x), protocol=words).beside(floor)


def copied_ngrams(x: Tensor, stream: Tensor, y: Tensor, n: int = 32, *, unit: str = "characters") -> Measurement:
    """The share of n-grams of samples that occur in the training text. The floor is that of held-out text.

    Args:
        x: windows of sampled ids, ``(B, L)``.
        stream: the training text, ``(N,)``.
        y: windows of held-out ids, ``(B', L)``.
        n: tokens in an n-gram: long enough not to recur by chance.
        unit: the name of a token.
    """
    value, low, high = bootstrap(_first, _copied(x, stream, n))
    words = f"share of {n}-grams found in the training text; floor: test text; interval over samples: bootstrap"
    floor = Floor(*bootstrap(_first, _copied(y, stream, n)))
    return Measurement(f"copied[{unit}, n={n}]", value, low, high, n=len(x), protocol=words).beside(floor)


def _first(means: Tensor) -> Tensor:
    return means[:, 0]


def _repeated(windows: Tensor, n: int) -> Tensor:
    codes = ngrams(windows, n).sort(1).values
    return (codes[:, 1:] == codes[:, :-1]).double().sum(1, keepdim=True) / codes.shape[1]


def _copied(windows: Tensor, stream: Tensor, n: int) -> Tensor:
    """The share of n-grams of each window that occur in a stream, ``(B, 1)``. The stream is read by portions."""
    codes = ngrams(windows, n)
    hits = torch.zeros_like(codes, dtype=torch.bool)
    for start in range(0, len(stream) - n + 1, PORTION):
        hits |= torch.isin(codes, ngrams(stream[None, start : start + PORTION + n - 1], n))
    return hits.double().mean(1, keepdim=True)


def _divergence(a: Tensor, b: Tensor) -> float:
    """Jensen-Shannon divergence in bits of the empirical distributions of two sets of codes."""
    values, inverse = torch.unique(torch.cat([a, b]), return_inverse=True)
    p = torch.bincount(inverse[: len(a)], minlength=len(values)).double() / len(a)
    q = torch.bincount(inverse[len(a) :], minlength=len(values)).double() / len(b)
    return (_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2).item()


def _entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum() / math.log(2)
