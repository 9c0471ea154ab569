import contextlib
import dataclasses
import os
import socket

import pytest
import torch
from torch import multiprocessing

from fourfold.data import load
from fourfold.engine import Run
from fourfold.engine.training import begin, train
from fourfold.parallel.processes import ALONE, Processes, join

from .toys import TRAINING, game_model, linear_model


def test_alone_without_torchrun():
    assert join() == ALONE
    assert ALONE.share(7) == (0, 7)
    assert [Processes(r, 3).share(7) for r in range(3)] == [(0, 2), (2, 4), (4, 7)]


def _free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def _work(rank, port, folder):
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    moons = load("two-moons", limit=500)
    processes = join()
    model = linear_model(seed=rank)
    loop = begin(model, moons, TRAINING, processes=processes)
    loop.step(1.0)
    gradient = loop.weights.gradient.clone()
    game = game_model(seed=rank)
    both = begin(game, moons, dataclasses.replace(TRAINING, muon_rate=0.02), processes=processes)
    for _ in train(game, moons, budget="5 steps", loop=both):
        pass
    game.eval()
    samples = Run(game).sample(70, seed=4)
    torch.save(
        {"samples": samples, "alone": game.sample(70, seed=4), "same": processes.same(rank)}, f"{folder}/s{rank}.pt"
    )
    torch.save({"gradient": gradient, "game": both.weights.flat.clone()}, f"{folder}/{rank}.pt")
    with contextlib.suppress(RuntimeError):  # the other may have passed it and be gone
        torch.distributed.barrier()
    os._exit(0)  # see checks.training._rank: gloo's threads may abort a process that has done its work


@pytest.mark.filterwarnings("ignore")
def test_two_processes_train_as_one(tmp_path):
    """The gradient of two gloo ranks is that of one process with both halves; their weights stay equal."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["torch._dynamo"])
    multiprocessing.start_processes(_work, (_free_port(), str(tmp_path)), nprocs=2, start_method="forkserver")
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    alone = begin(linear_model(seed=0), load("two-moons", limit=500), TRAINING)
    alone.step(1.0)
    torch.testing.assert_close(ranks[0]["gradient"], alone.weights.gradient, atol=1e-6, rtol=1e-5)
    assert torch.equal(ranks[0]["gradient"], ranks[1]["gradient"])
    assert torch.equal(ranks[0]["game"], ranks[1]["game"])
    for rank in range(2):
        drawn = torch.load(tmp_path / f"s{rank}.pt")
        assert torch.allclose(drawn["samples"], drawn["alone"], atol=1e-6)
        assert drawn["same"] == 0
