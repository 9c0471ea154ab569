import pytest
import torch

from fourfold.data import Split
from fourfold.engine.loader import Loader
from fourfold.spaces import Text, Vectors


def split(n=10, classes=True):
    return Split(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n) if classes else None)


def test_an_epoch_shows_every_example_once_without_a_ragged_batch():
    loader = Loader(split(10), Vectors(1), 3, seed=0)
    assert loader.steps_per_epoch == 3
    seen = torch.cat([loader(i).x for i in range(3)]).flatten()
    assert len(seen.unique()) == 9


def test_a_batch_is_a_function_of_seed_and_step():
    one, two = Loader(split(), Vectors(1), 3, seed=0), Loader(split(), Vectors(1), 3, seed=0)
    forward = [one(i).x for i in range(12)]
    backward = [two(i).x for i in reversed(range(12))][::-1]
    assert all(map(torch.equal, forward, backward))
    assert not torch.equal(torch.cat(forward[:3]), torch.cat(forward[3:6]))
    other = Loader(split(100), Vectors(1), 50, seed=1)
    assert not torch.equal(Loader(split(100), Vectors(1), 50, seed=0)(0).x, other(0).x)


def test_labels_stay_with_their_examples():
    batch = Loader(split(), Vectors(1), 4, seed=0)(2)
    assert torch.equal(batch.x[:, 0].long(), batch.cond)


def test_processes_share_a_batch():
    whole = Loader(split(), Vectors(1), 6, seed=0)(4).x
    parts = [Loader(split(), Vectors(1), 6, seed=0, rank=r, world=2)(4).x for r in range(2)]
    assert torch.equal(torch.cat(parts), whole)
    with pytest.raises(ValueError, match="divided among 4"):
        Loader(split(100), Vectors(1), 6, seed=0, world=4)


def test_small_data_makes_small_batches():
    assert len(Loader(split(10), Vectors(1), 128, seed=0)(0).x) == 10


def test_text_is_cut_into_random_windows():
    stream = torch.arange(1000)
    loader = Loader(Split(stream), Text("ab", length=7), 5, seed=0)
    x = loader(3).x
    assert x.shape == (5, 7)
    assert torch.equal(x - x[:, :1], torch.arange(7).expand(5, 7))
    assert torch.equal(loader(3).x, x)
    assert not torch.equal(loader(4).x, x)
    assert loader.steps_per_epoch == 1000 // 35
    with pytest.raises(ValueError, match="fewer than one window"):
        Loader(Split(stream[:5]), Text("ab", length=7), 5, seed=0)
