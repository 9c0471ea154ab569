import numpy as np
import pytest
import torch

from captions import encode_captions
from fourfold import build, train
from fourfold.core import Batch
from fourfold.data import Split
from fourfold.engine.loader import Loader, Stream
from fourfold.spaces import Categories, Images, Lines, Text, Vectors


def split(n=10, classes=True):
    return Split(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n) if classes else None)


def test_an_epoch_shows_every_example_once_without_a_ragged_batch():
    loader = Loader(split(10), Vectors(1), 3, seed=0)
    assert loader.steps_per_epoch == 3
    seen = torch.cat([loader(i).x for i in range(3)]).flatten()
    assert len(seen.unique()) == 9


def test_a_batch_is_a_function_of_seed_and_step():
    loader, two = Loader(split(), Vectors(1), 3, seed=0), Loader(split(), Vectors(1), 3, seed=0)
    forward = [loader(i).x for i in range(12)]
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
    with pytest.raises(ValueError, match="divisible into 4 equal parts, got"):
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
    with pytest.raises(ValueError, match="a window, got"):
        Loader(Split(stream[:5]), Text("ab", length=7), 5, seed=0)


# --- what train takes besides data sets -------------------------------------------------------------------------------


def steps(model, data, n=3, **options):
    return [step.losses for step in train(model, data, budget=f"{n} steps", seed=1, **options)]


def model_of(space):
    torch.manual_seed(0)
    return build("autoregressive", space, "xs")


def test_a_loader_of_torch_trains_as_its_examples_do():
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batches = [x[:4].float(), x[4:8].float(), x[8:].float()]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.arange(12)), batch_size=4)
    models = [model_of(Vectors(2)) for _ in range(4)]
    models[3].codec.fit(x.float())
    # 5 steps: the loader is begun again, labels that the model does not know are left out
    trained = [
        steps(models[0], loader, 5),
        steps(models[1], batches, 5),
        steps(models[2], [batch.numpy() for batch in batches], 5),
        steps(models[3], lambda step: Batch(batches[step % 3]), 5),
    ]
    assert trained[0] == trained[1] == trained[2] == trained[3]
    for model in models[:3]:
        for key, value in models[3].state_dict().items():
            assert torch.equal(model.state_dict()[key], value)


def test_an_array_trains_as_the_tensor_does():
    x = np.random.default_rng(0).normal(size=(300, 2))
    models = [steps(model_of(Vectors(2)), data) for data in (x, torch.tensor(x), torch.tensor(x).float())]
    assert models[0] == models[1] == models[2]


def test_labels_of_a_loader_are_learned():
    x, y = torch.randn(8, 2), torch.arange(8) % 2
    space = Vectors(2, given=Categories.numbered(2))
    assert torch.equal(Stream([(x, y)], space)(0).cond, y)
    assert steps(model_of(space), [(x, y)]) != steps(model_of(space), [(x, 1 - y)])


def test_captions_of_a_loader_are_filled_up_and_long_ones_refused():
    space, x = Images(3, 4, 4, given=Lines.of_bytes(5)), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    narrow, full = encode_captions(["red", "a"], 3), encode_captions(["red", "a"], 5)
    stream = Stream([(x, narrow), (x, full)], space)
    assert torch.equal(stream.first().cond, full.repeat(2, 1))
    with pytest.raises(ValueError, match=r"6,.*7"):
        Stream([(x, encode_captions(["orange", "a"], 6))], space)(0)


@pytest.mark.parametrize("data", [5, "digits", iter([torch.zeros(2, 2)]), [], [["a", "b"]]])
def test_other_data_is_refused_with_what_would_do(data):
    with pytest.raises(
        TypeError, match=r"data must be a data set, a tensor or array|at least one|must be a tensor, an array"
    ):
        steps(model_of(Vectors(2)), data)
