"""Counting measures of text on texts small enough to count by hand."""

import math

import pytest
import torch

from fourfold.metrics import copied_ngrams, ngram_divergence, ngrams, repetition, text
from fourfold.spaces import Text

SPACE = Text("abcd")


def ids(*texts: str) -> torch.Tensor:
    return torch.stack([SPACE.parse(text) for text in texts])


def test_ngrams_are_equal_where_the_text_is() -> None:
    codes = ngrams(ids("abcabc"), 3)[0]
    assert codes[0] == codes[3]
    assert len(codes.unique()) == 3


def test_ngrams_are_the_polynomial_of_their_tokens() -> None:
    x = torch.randint(90, (3, 40), generator=torch.Generator().manual_seed(0))
    factor = 6364136223846793005
    for n in (1, 2, 7, 32, 40):
        code = torch.zeros(3, 41 - n, dtype=torch.long)
        for i in range(n):
            code = code * factor + x[:, i : i + 41 - n] + 1
        assert torch.equal(ngrams(x, n), code)


def test_divergence_of_equal_disjoint_and_half_shared_texts() -> None:
    assert ngram_divergence(ids("abab"), ids("baba"), 1).value == pytest.approx(0)
    assert ngram_divergence(ids("aaaa"), ids("bbbb"), 1).value == pytest.approx(1)
    half = ngram_divergence(ids("aabb"), ids("aacc"), 1).value  # m = (1/2, 1/4, 1/4)
    assert half == pytest.approx(1.5 - 1.0)


def test_repetition_counts_what_was_seen_before() -> None:
    score = repetition(ids("aaaaaaaaaa"), ids("abcdabcdab"), n=2)
    assert score.value == pytest.approx(8 / 9)
    assert score.floor == pytest.approx(5 / 9)


@pytest.mark.parametrize("portion", [1 << 22, 5, 1])
def test_copied_is_the_share_found_in_training(portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PORTION", portion)
    stream = SPACE.parse("abcdabcdabcd")
    score = copied_ngrams(ids("abcdab", "dcbadc"), stream, ids("bcdabc"), n=4)
    assert score.value == pytest.approx(0.5)
    assert score.floor == 1


def test_short_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5 tokens"):
        ngrams(ids("abc"), 5)


def test_intervals_need_twenty_windows() -> None:
    few = ngram_divergence(ids("abcd"), ids("abcd"), 2)
    assert math.isnan(few.low)
    many = ngram_divergence(torch.randint(4, (40, 50)), torch.randint(4, (40, 50)), 2)
    assert many.low < many.value < many.high
