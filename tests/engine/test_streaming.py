"""Training on data that stays in its files: resumed to the bit, shared among ranks, read by workers."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fourfold.core import Batch
from fourfold.data import DataError, load
from fourfold.engine import Interrupted, Step, fit
from fourfold.engine.loader import Ahead, FileLoader
from fourfold.tournament.snapshot import load_snapshot, save_snapshot


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    x[:, 0] = np.arange(400)
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy"


def loader(rows: Path, **how) -> FileLoader:
    streamed = load(rows, stream=True).streamed
    assert streamed is not None
    return FileLoader(streamed, 32, seed=3, **how)


def ending(last: int) -> Callable[[Step], None]:
    def observe(step: Step) -> None:
        if step.index == last:
            os.kill(os.getpid(), signal.SIGTERM)

    return observe


def same(batch: Batch, other: Batch) -> bool:
    return torch.equal(batch.x, other.x)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_read_the_parts_of_the_batch_of_one_process(rows: Path, world: int) -> None:
    whole = loader(rows)
    parts = [loader(rows, rank=rank, world=world) for rank in range(world)]
    for step in (0, 9, 10, 57):  # 320 examples: ten steps an epoch
        assert torch.equal(torch.cat([part(step).x for part in parts]), whole(step).x)


def test_every_epoch_holds_each_example_once(rows: Path) -> None:
    whole = loader(rows)
    assert whole.steps_per_epoch == 10
    for epoch in (0, 3):
        seen = torch.cat([whole(10 * epoch + i).x[:, 0] for i in range(10)])
        assert len(seen.unique()) == 320


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_give_the_same_batches_in_and_out_of_turn(rows: Path) -> None:
    here = loader(rows)
    ahead = Ahead(loader(rows), workers=2)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for step in (0, 0, 1, 2, 3, 0, 1, 7, 8, 9, 10, 11):
        assert same(ahead(step), here(step))
    assert torch.equal(torch.get_rng_state(), before)  # workers draw nothing from the stream of the step


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_workers_cannot_read_is_said_in_one_line(rows: Path) -> None:
    ahead = Ahead(loader(rows), workers=1)
    ahead(0)
    ahead(1)
    broken = loader(rows)
    x = np.load(rows)
    x[:] = np.nan
    np.save(rows, x)
    with pytest.raises(DataError, match=r"x\.npy, row \d+, column 0: .* missing"):
        Ahead(broken, workers=0)(0)
    with pytest.raises(DataError, match=r"x\.npy, row \d+, column 0: .* missing") as error:
        [ahead(step) for step in range(2, 9)]
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_run_that_is_stopped_at_any_step_ends_with_the_same_weights(rows: Path, tmp_path: Path) -> None:
    about = {"data_options": {"stream": True}, "size": "xs", "precision": "float32", "batch_size": 32, "choose": False}
    whole = fit("flow", rows, budget="14 steps", out=tmp_path / "whole", **about)
    assert whole.card["data"]["streamed"]
    for stop in (1, 9, 10, 13):
        folder = tmp_path / str(stop)
        with pytest.raises(Interrupted):
            fit("flow", rows, budget="14 steps", out=folder, observe=ending(stop), **about)
        again = fit(out=folder, resume=True)
        for (name, a), b in zip(whole.model.state_dict().items(), again.model.state_dict().values(), strict=True):
            assert torch.equal(a, b), (stop, name)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_broken_row_ends_training_and_keeps_what_was_trained(rows: Path, tmp_path: Path) -> None:
    x = np.load(rows)
    data = load(rows, stream=True)
    assert data.streamed is not None
    row = int(data.streamed.rows(0, 0, 5 * 32, 5 * 32 + 1)[0])  # the first of the sixth step
    x[row] = np.inf
    np.save(rows, x)
    about = {"budget": "20 steps", "size": "xs", "precision": "float32", "batch_size": 32, "choose": False}
    with pytest.raises(DataError, match=f"row {row + 1}, column 0"):
        fit("flow", data, out=tmp_path / "run", **about)
    x[row] = 0.0
    np.save(rows, x)
    assert fit(out=tmp_path / "run", resume=True, data=data).card["steps"] == 20


def test_the_processes_of_a_comparison_stream_the_same_examples(rows: Path, tmp_path: Path) -> None:
    data = load(rows, stream=True, seed=5)
    save_snapshot(data, tmp_path / "data.safetensors")
    again = load_snapshot(tmp_path / "data.safetensors")
    assert torch.equal(again.test.x, data.test.x)
    assert again.streamed is not None
    assert data.streamed is not None
    assert again.streamed.rows(0, 0, 0, 99).tolist() == data.streamed.rows(0, 0, 0, 99).tolist()
    np.save(rows, np.load(rows) + 1)
    with pytest.raises(DataError, match="has changed"):
        load_snapshot(tmp_path / "data.safetensors")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_array_that_does_not_fit_is_streamed_and_stays_so(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as small:
        small.setattr("fourfold.data.arrays.free_memory", lambda: 1000)
        data = load(rows)
        assert data.streamed is not None
        assert "do not fit" in data.notes[0]
        about = {"size": "xs", "precision": "float32", "batch_size": 32, "choose": False}
        fit("flow", rows, budget="3 steps", out=tmp_path / "run", **about)
    assert load(rows).streamed is None  # now it fits
    assert fit(out=tmp_path / "run", resume=True, budget="5 steps").card["data"]["streamed"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_hybrid_streams_in_every_stage(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    options = {"stream": True}
    about = {"budget": "8 steps", "size": "xs", "precision": "float32", "batch_size": 16, "data_options": options}
    run = fit("latent-diffusion", tmp_path / "x.npy", **about)
    assert run.card["data"]["train"] == 160
    assert run.sample(2, seed=0).shape == (2, 3, 8, 8)
