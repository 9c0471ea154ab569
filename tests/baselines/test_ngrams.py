"""The n-gram baseline of text against sums, and against a plain implementation with dictionaries."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from fourfold.baselines import text
from fourfold.baselines.text import KneserNey, KneserNeyLines
from fourfold.maths.ngrams import Ngrams, discounts
from fourfold.spaces import Lines, Text

SPACE = Text("ab cd", 12)
TEXT = "abc abd dab cab bad add cad dad a bacca " * 30 + "ddcc bb aa " * 7


@pytest.fixture(scope="module")
def ngrams():
    return KneserNey.fit(SPACE, SPACE.ids(TEXT))


def test_masses_of_the_next_token_sum_to_one(ngrams):
    past = SPACE.examples(200, torch.Generator().manual_seed(0))
    for length in (0, 1, 5, 12):
        torch.testing.assert_close(ngrams.next_masses(past[:, :length]).sum(1), torch.ones(200, dtype=torch.float64))


def _plain(ids, history, word, longest):
    """The same by the definition: counts in dictionaries, one n-gram at a time."""
    grams = {k: Counter(tuple(ids[i : i + k]) for i in range(len(ids) - k + 1)) for k in range(1, longest + 2)}
    p = 1 / SPACE.tokens
    for k in range(1, min(longest, len(history) + 1) + 1):
        counts = grams[k] if k == longest else Counter(gram[1:] for gram in grams[k + 1])
        h = tuple(history[len(history) - k + 1 :])
        after = {gram[-1]: c for gram, c in counts.items() if gram[:-1] == h}
        if not after:
            return p
        d = discounts(torch.tensor(list(counts.values()))).tolist()
        taken = sum(d[min(c, 3)] for c in after.values())
        c = after.get(word, 0)
        p = (max(c - d[min(c, 3)], 0) + taken * p) / sum(after.values())
    return p


def test_masses_are_those_of_the_definition(ngrams):
    ids = SPACE.ids(TEXT).tolist()
    windows = SPACE.rows(SPACE.ids(TEXT).long())[:3]
    windows = torch.cat([windows, SPACE.examples(3, torch.Generator().manual_seed(1))])
    log_masses = ngrams.masses(windows)
    for row, masses in zip(windows.tolist(), log_masses, strict=True):
        for i, mass in enumerate(masses.tolist()):
            assert mass == pytest.approx(_plain(ids, row[max(0, i - 7) : i], row[i], 8), rel=1e-9)


def test_whole_distributions_hold_the_same_masses(ngrams):
    windows = torch.cat([SPACE.rows(SPACE.ids(TEXT).long())[:5], SPACE.examples(5, torch.Generator().manual_seed(1))])
    start = torch.full((len(windows), 1), SPACE.tokens)
    p = ngrams.ngrams.after(torch.cat([start, windows[:, :-1]], 1), dtype=torch.float64)
    torch.testing.assert_close(p.sum(2), torch.ones(windows.shape, dtype=torch.float64))
    torch.testing.assert_close(p.gather(2, windows[..., None])[..., 0], ngrams.masses(windows))


def test_leaving_one_out_counts_the_text_without_that_occurrence():
    """The last token of a text is cut off, counted in the others, and held against them; discounts are the same."""
    ids = SPACE.ids("abcabdabcabbacabacddabcab" * 2).long()
    for cut in range(9, len(ids) + 1):
        text = ids[:cut]
        whole, less = Ngrams(text, SPACE.tokens, 3), Ngrams(text[:-1], SPACE.tokens, 3)
        for order, other in zip(whole.orders, less.orders, strict=True):
            object.__setattr__(other, "removed", _removed(other, order.discounts))
            object.__setattr__(other, "discounted_counts", other.counts - order.discounts[other.counts.clamp(max=3)])
        past, last = text[None, -6:-1], text[None, -5:].clone()
        last[:, :-1] = -1
        log_p = whole.after(past, last, dtype=torch.float64)[0, -1]
        torch.testing.assert_close(log_p, less.after(past, dtype=torch.float64)[0, -1])


def _removed(order, d):
    """The sum of the discounts ``d`` in each context."""
    context = torch.repeat_interleave(torch.arange(len(order.contexts)), order.starts.diff())
    return torch.zeros(len(order.contexts), dtype=torch.float64).index_add_(0, context, d[order.counts.clamp(max=3)])


def test_samples_have_the_masses_that_are_scored(ngrams):
    x = ngrams.sample(20_000, seed=3)
    for start in ("", "a", "da"):
        given = SPACE.ids(start).long()
        rows = x[(x[:, : len(given)] == given).all(1)]
        expected = ngrams.next_masses(given[None])[0]
        seen = torch.bincount(rows[:, len(given)], minlength=SPACE.tokens) / len(rows)
        assert (seen - expected).abs().max() < 5 * (0.25 / len(rows)) ** 0.5


def test_a_text_it_knows_is_likelier_than_noise(ngrams):
    rows = SPACE.rows(SPACE.ids(TEXT).long())
    noise = SPACE.examples(len(rows), torch.Generator().manual_seed(2))
    assert ngrams.log_prob(rows).nats.mean() > ngrams.log_prob(noise).nats.mean() + 10
    assert ngrams.log_prob(rows).kind == "exact"


def test_a_text_that_is_too_long_is_counted_in_part_and_says_so(monkeypatch):
    monkeypatch.setattr(text, "MOST", 200)
    ids = SPACE.ids(TEXT)
    part, counted = KneserNey.fit(SPACE, ids), KneserNey.fit(SPACE, ids[:200])
    x = SPACE.rows(ids).long()[:4]
    assert torch.equal(part.log_prob(x).nats, counted.log_prob(x).nats)
    assert part.log_prob(x).note.endswith("counted in the first 200 tokens")
    assert "counted in" not in counted.log_prob(x).note


def test_masses_of_all_short_texts_add_up_to_one_and_draws_follow_them():
    space = Lines(Text("ab", 4))
    words = [word for word, count in {"a": 9, "ab": 40, "ba": 25, "bab": 3, "b": 1}.items() for _ in range(count)]
    model = KneserNeyLines.fit(space, space.parse(words))
    every, _ = space.support(2, 3.0)
    p = model.log_prob(every).nats.exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    drawn, place = model.sample(20_000), {tuple(row): i for i, row in enumerate(every.tolist())}
    counts = torch.bincount(torch.tensor([place[tuple(row)] for row in drawn.tolist()]), minlength=len(every))
    z = ((counts / 20_000 - p) / (p * (1 - p) / 20_000).sqrt())[p * 20_000 > 20]
    assert len(z) > 8
    assert float(z.square().mean()) < 1 + 4 * (2 / len(z)) ** 0.5


def test_short_texts_hold_the_masses_of_one_stream_of_texts_and_ends():
    space = Lines(Text("ab", 6))
    model = KneserNeyLines.fit(space, space.parse(["ab", "aba", "", "bb"]))
    stream = torch.tensor([2, 0, 1, 2, 0, 1, 0, 2, 2, 1, 1, 2])  # an end, then each text with its end
    p = Ngrams(stream, 3, 8).masses(torch.tensor([[2, 0, 1, 1, 2]]))[0, 1:]
    assert float(model.log_prob(space.parse(["abb"])).nats[0]) == pytest.approx(float(p.log().sum()), abs=1e-9)
