"""Cells as tokens: every cell of a span belongs to one bin, and masses over all cells sum to 1."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from fourfold.codecs import CellTokens, GaussianCells
from fourfold.codecs.table import _bins
from fourfold.core import Noise
from fourfold.spaces import Categorical, Numeric, Table
from fourfold.spaces.columns import MISSING, UNSEEN

TABLE = Table(
    (
        Categorical("kind", levels=("x", "y", "z"), missing=True),
        Numeric("price", low=-5, high=40, missing=True),
        Numeric("count", low=0, high=3),
    )
)


def fitted(bins=6):
    codec = CellTokens(TABLE, bins)
    x = TABLE.examples(300, torch.Generator().manual_seed(0))
    x[:100, 1] = 0
    codec.fit(x)
    return codec, x


def test_every_cell_of_a_span_is_in_one_bin():
    generator = np.random.default_rng(0)
    for n, low, high, count in [(0, 0, 99, 7), (5, 0, 99, 7), (500, -50, 1000, 33), (500, 3, 9, 7), (500, 3, 9, 3)]:
        values = generator.integers(low, high + 1, n) // 10 * 10
        starts = _bins(values.clip(low, high), low, high, count)
        assert len(starts) == count + 1
        assert starts[0] == low
        assert starts[-1] == high + 1
        assert (np.diff(starts) > 0).all()


def test_a_frequent_cell_has_a_bin_of_its_own():
    values = np.concatenate([np.zeros(900, dtype=np.int64), np.arange(1, 101), np.full(60, 700)])
    starts = _bins(values, 0, 1000, 12)
    for spike in (0, 700):
        k = np.searchsorted(starts, spike, side="right") - 1
        assert (starts[k], starts[k + 1]) == (spike, spike + 1)
    rest = np.histogram(values[(values > 0) & (values < 700)], starts)[0]
    assert rest.max() <= 30, "quantiles share the rest out"


def test_masses_of_cells_sum_to_one():
    codec, _ = fitted()
    x, _ = TABLE.support(0, 0.0)
    z, log_mass = codec.encode(x)
    uniform = -sum(float(np.log(size)) for size in codec.sizes)
    assert float((log_mass.double() + uniform).exp().sum()) == pytest.approx(1, abs=1e-6)
    assert [int(z[:, i].max()) + 1 for i in range(3)] == list(codec.sizes)


def test_decoding_is_within_the_bin_and_spreads_over_it():
    codec, x = fitted()
    z, _ = codec.encode(x)
    again = codec.decode(z, Noise(0, 0, len(z)))
    assert torch.equal(codec.encode(again)[0], z)
    wide = int(codec.starts[0].diff()[: codec.binned[0]].argmax())
    rows = torch.zeros(4000, 3, dtype=torch.long)
    rows[:, 1] = wide
    first, end = codec.starts[0, wide], codec.starts[0, wide + 1]
    assert codec.decode(rows, Noise(0, 0, 4000))[:, 1].unique().tolist() == list(range(int(first), int(end)))


def test_what_no_token_stands_for_has_no_mass():
    codec, x = fitted()
    x[0, 0], x[1, 1], x[2, 2] = UNSEEN, 41, -1
    log_mass = codec.encode(x)[1]
    assert torch.isinf(log_mass[:3]).all()
    assert torch.isfinite(log_mass[3:]).all()


def test_shares_count_the_allowed_cells_of_each_bin():
    codec, _ = fitted()
    allowed = torch.tensor([*range(7, 30), MISSING])
    share = codec.log_shares(1, allowed).exp()
    bounds = codec.starts[0, : codec.binned[0] + 1].tolist()
    for k, (first, end) in enumerate(pairwise(bounds)):
        assert float(share[k]) == pytest.approx(len(set(range(first, end)) & set(range(7, 30))) / (end - first))
    assert share[-1] == 1
    assert codec.log_shares(0, torch.tensor([2])).exp().tolist() == [0, 0, 1, 0]
    z = torch.tensor([[0, int(share[:-1].argmax()), 0]]).repeat(500, 1)
    drawn = codec.decode(z, Noise(0, 0, 500), {1: allowed})[:, 1]
    assert torch.isin(drawn, allowed).all()


def test_columns_of_reals_are_normal_and_decode_to_their_cells():
    x = TABLE.examples(5000, torch.Generator().manual_seed(0))
    codec = GaussianCells(TABLE, 6)
    codec.fit(x)
    z, log_det = codec.encode(x, Noise(0, 0, 5000))
    assert z.dtype == torch.float32
    assert torch.equal(codec.decode(z), x)
    assert z.mean(0).abs().max() < 0.06
    assert (z.std(0) - 1).abs().max() < 0.05
    cells = [(x[:, i] == v).double().mean().log() for i, v in enumerate(x[0])]
    standard = -(z.square() + np.log(2 * np.pi)).sum(1) / 2
    independent = float((standard + log_det)[0])
    assert independent == pytest.approx(float(sum(cells)), abs=0.6), "the mass of independent columns, by their bins"


def test_masses_of_reals_sum_to_one():
    codec, _ = GaussianCells(TABLE, 6), None
    codec.fit(TABLE.examples(300, torch.Generator().manual_seed(0)))
    x, _ = TABLE.support(0, 0.0)
    z, log_det = codec.encode(x, Noise(0, 0, len(x)))
    nats = -(z.square() + np.log(2 * np.pi)).sum(1) / 2 + log_det
    assert float(nats.double().exp().sum()) == pytest.approx(1, abs=1e-4)
