import json

import numpy as np
import pytest
import torch

from fourfold.data import DataError, Dataset, describe, load, splits
from fourfold.data.assembly import assemble
from fourfold.data.dataset import digest
from fourfold.data.source import Source
from fourfold.data.splits import reorder
from fourfold.settings.data import DataOptions
from fourfold.spaces import Categories, Images


def rows(split):
    return {row.numpy().tobytes() for row in split.x}


@pytest.fixture
def numbered(tmp_path):
    """300 distinct rows with three labels of unequal share."""
    path = tmp_path / "n.npz"
    x = np.arange(300, dtype=np.float32)[:, None] + np.array([0, 1000], dtype=np.float32)
    np.savez(path, x=x, y=np.repeat([0, 1, 2], [200, 70, 30]))
    return path


def test_splits_are_a_partition(numbered):
    data = load(numbered, seed=3)
    parts = [rows(split) for split in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [240, 30, 30]
    assert len(set.union(*parts)) == 300


def test_splits_follow_the_seed_and_the_digest_does_not(numbered):
    a, b, c = load(numbered, seed=1), load(numbered, seed=1), load(numbered, seed=2)
    assert torch.equal(a.train.x, b.train.x)
    assert not torch.equal(a.train.x, c.train.x)
    assert a.digest == b.digest == c.digest
    assert len(a.digest) == 64


def test_labels_stay_with_their_rows_and_every_class_keeps_its_share(numbered):
    data = load(numbered, given="labels")
    for split, counts in ((data.train, (160, 56, 24)), (data.validation, (20, 7, 3)), (data.test, (20, 7, 3))):
        class_counts = torch.bincount(split.cond, minlength=3).tolist()
        assert all(abs(a - b) <= 1 for a, b in zip(class_counts, counts, strict=True))
        index = split.x[:, 0]
        assert torch.equal(split.cond, (index >= 200).long() + (index >= 270).long())


def test_the_order_of_a_split_is_random(numbered):
    cond = load(numbered, given="labels").train.cond
    first = torch.bincount(cond[:120], minlength=3) / 120
    assert (first - torch.tensor([2 / 3, 0.7 / 3, 0.1])).abs().max() < 0.1


@pytest.mark.parametrize(
    ("fractions", "sizes"),
    [
        ((0.5, 0.25, 0.25), (150, 75, 75)),
        ((0.9, 0.1), (270, 30, 30)),
        ((0.98, 0.01, 0.01), (294, 3, 3)),
    ],
)
def test_fractions(numbered, fractions, sizes):
    data = load(numbered, fractions=fractions)
    assert tuple(map(len, (data.train, data.validation, data.test))) == sizes
    assert (data.validation is data.test or rows(data.validation) == rows(data.test)) == (len(fractions) == 2)


@pytest.mark.parametrize("fractions", [(1.0,), (0.5, 0.6), (0.9, 0.1, 0.0), (0.4, 0.3, 0.2, 0.1), (1.2, -0.2)])
def test_impossible_fractions_are_refused(numbered, fractions):
    with pytest.raises(DataError, match="fractions"):
        load(numbered, fractions=fractions)


def test_limit_is_a_seeded_choice(numbered):
    data = load(numbered, limit=100, seed=1)
    assert sum(map(len, (data.train, data.validation, data.test))) == 100
    assert rows(data.train) != rows(load(numbered, limit=100, seed=2).train)
    assert len(load(numbered, limit=10_000).train) == 240


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_refused(limit):
    with pytest.raises(DataError, match="limit"):
        load("digits", limit=limit)


def test_too_few_examples_are_refused(tmp_path):
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(3, 2)))
    with pytest.raises(DataError, match=r"few.npy: examples must be at least 20, got 3"):
        load(tmp_path / "few.npy")
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(20, 2)))
    data = load(tmp_path / "few.npy")
    assert min(map(len, (data.train, data.validation, data.test))) >= 1


@pytest.mark.parametrize(
    "setting", [{"size": 8}, {"labels": "y"}, {"channels": 1}, {"n_values": 4}, {"tokens": "bytes"}]
)
def test_settings_that_mean_nothing_are_refused(setting):
    with pytest.raises(DataError, match=f"{next(iter(setting))} must be left out for digits"):
        load("digits", **setting)


def test_digest_sees_every_bit_and_every_label():
    x, y = torch.zeros(5000, 3), torch.zeros(5000, dtype=torch.long)
    z = x.clone()
    z[4999, 2] = 1e-30
    other = y.clone()
    other[17] = 1
    digests = [digest(x), digest(z), digest(x.reshape(3, 5000)), digest(x.double()), digest(x, y), digest(x, other)]
    assert len(set(digests)) == len(digests)
    assert digest(x) == digest(x.t().contiguous().t())


def test_large_data_is_reordered_in_place(numbered, monkeypatch):
    small = load(numbered, given="labels", seed=4)
    monkeypatch.setattr(splits, "LARGE", 0)
    large = load(numbered, given="labels", seed=4)
    storages = {split.x.untyped_storage().data_ptr() for split in (large.train, large.validation, large.test)}
    assert len(storages) == 1
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(small, part).x, getattr(large, part).x)
        assert torch.equal(getattr(small, part).cond, getattr(large, part).cond)
    assert small.digest == large.digest


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 2, 3)])
def test_large_data_in_any_layout_keeps_its_labels(axes, monkeypatch):
    """Arrays whose channels come last in memory, or that are stored in Fortran's order."""
    monkeypatch.setattr(splits, "LARGE", 0)
    value = torch.arange(200)
    x = torch.randint(256, (200, 3, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    x[:, 0, 0, 0] = value
    laid = x.permute(axes).clone(memory_format=torch.contiguous_format).permute(np.argsort(axes).tolist())
    assert torch.equal(laid, x)
    source = Source(
        laid, Images(3, 2, 2), "made", cond=value // 20, given=Categories.numbered(int(value.max()) // 20 + 1)
    )
    data = assemble("made", source, DataOptions(given="labels"))
    for part in (data.train, data.validation, data.test):
        came = part.x[:, 0, 0, 0].long()
        assert torch.equal(part.x, x[came])
        assert torch.equal(part.cond, came // 20)
        assert not torch.equal(came, came.sort().values)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_reorder_is_indexing(n):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, order = rng.normal(size=(n, 2)), rng.permutation(n)
        expected = x[order]
        reorder(x, order.tolist())
        assert np.array_equal(x, expected)


def test_record_is_json(numbered):
    data = load(numbered, seed=9)
    record = json.loads(json.dumps(data.record()))
    assert record["digest"] == data.digest
    assert record["seed"] == 9
    assert (record["train"], record["validation"], record["test"]) == (240, 30, 30)


def test_describe_tells_what_matters(numbered):
    data = load(numbered)
    text = describe(data)
    for word in (
        data.digest,
        "240 train",
        "30 validation",
        "30 test",
        "2 columns",
        "3 categories (0, 1, 2)",
        "nats",
        "MiB",
    ):
        assert word in text
    assert "exact density" in describe(load("gaussian-mixture", limit=100))
    assert "grey images of 8 x 8 pixels with 17 values" in describe(load("digits"))
    assert "characters, in windows of 256" in describe(load("python-docs"))


def test_a_dataset_needs_no_more_than_its_parts():
    data = load("digits")
    copy = Dataset("mine", data.space, data.train, data.validation, data.test, data.digest, "here")
    assert copy.skipped == ()
    assert copy.density is None
