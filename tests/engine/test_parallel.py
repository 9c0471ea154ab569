"""Several processes that share a training take the steps of one process, whatever each of them holds."""

import os
import socket
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from fourfold.core import parts
from fourfold.engine import Run, fit, resumable
from fourfold.engine.heldout import HeldOut
from fourfold.parallel import blocks
from fourfold.parallel.processes import LostProcess, Processes, join
from fourfold.parallel.shards import rows_of
from fourfold.runs.card import read_card
from fourfold.runs.shards import newest

from . import sharing, test_restarts
from .dying import MOONS, free_port, server
from .sharing import GAME, WORKS, flow, game_steps, text_steps
from .toys import game_model, linear_model


@pytest.fixture(scope="module")
def context():
    return server()


def together(context, target, world, *arguments, port=None):
    """Run a function in several processes; return how each ended."""
    port = port or free_port()
    workers = [context.Process(target=target, args=(rank, world, port, *arguments)) for rank in range(world)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    alive = [worker for worker in workers if worker.is_alive()]
    for worker in alive:
        worker.kill()
    assert not alive
    return [worker.exitcode for worker in workers]


def wait_until(condition, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def assert_close(actual, expected):
    """An element whose gradient is rounding noise may move either way, by less than a tenth of a step of AdamW."""
    for name, value in expected.items():
        torch.testing.assert_close(
            actual[name], value, atol=2e-4, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_two_ranks_take_the_steps_of_one_process(context, tmp_path, monkeypatch):
    """A game of two optimizers, with Muon, clipping and averages, and a transformer whose blocks are sharded and
    computed again, in four parts a batch; and samples and scores."""
    assert together(context, sharing.train_both, 2, tmp_path) == [0, 0]
    monkeypatch.setattr(blocks, "BLOCK", 0)
    alone = {"game": game_steps(parts=4), "text": text_steps(parts=4)}
    samples = linear_model(seed=0).eval().sample(150, seed=3)
    scores = flow().log_prob(MOONS.test.x[:75], seed=3)
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        torch.testing.assert_close(results["samples"], samples)
        torch.testing.assert_close(results["scores"].nats, scores.nats)
        assert results["scores"].kind is scores.kind
        for way in WORKS:
            for name, expected in alone.items():
                assert_close(results[way][name], expected)


def test_a_run_in_shards_goes_on_in_one_process(context, tmp_path, monkeypatch):
    """One rank is killed: the other says so at once. Three steps by two ranks and three by one are six by one."""
    folder = tmp_path / "run"
    start = time.monotonic()
    codes = together(context, sharing.fit_game, 2, folder, 6, False, 4)
    assert codes == [1, -9]
    assert time.monotonic() - start < 120
    (line,) = (folder / "lost0.txt").read_text().splitlines()
    assert "process 0 of 2 stops, because another one is gone" in line
    assert newest(folder).name == "shards-3"
    run = fit(game_model(), MOONS, out=folder, resume=True, budget="6 steps")
    assert newest(folder) is None
    other = tmp_path / "alone"
    settings = {"budget": "6 steps", "precision": "float32", "checkpoint_every": 0.0, "training": GAME}
    fit(game_model(), MOONS, out=other, accumulate=2, **settings)
    assert run.card["steps"] == 6
    assert run.card["parts"] == 2
    assert_close(load_file(folder / "weights.safetensors"), load_file(other / "weights.safetensors"))
    monkeypatch.setattr(parts, "packages", lambda: {game_model.__module__.partition(".")[0]})
    assert Run.load(folder).sample(3).shape == (3, 2)


def test_shards_go_on_as_shards(context, tmp_path):
    """A run in shards of which a rank is killed goes on in shards, to the bit, though nothing asks for shards again."""
    assert together(context, sharing.fit_game, 2, tmp_path / "whole", 6, False, None) == [0, 0]
    assert together(context, sharing.fit_game, 2, tmp_path / "parts", 6, False, 4) == [1, -9]
    assert together(context, sharing.fit_game, 2, tmp_path / "parts", 6, True, None) == [0, 0]
    whole, parts = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert read_card(tmp_path / "parts")["parallel"] == "fsdp"


def test_two_ranks_begin_again_as_one_process_does(context, tmp_path, monkeypatch):
    """After an early stop, in both ways, and in shards from a checkpoint of the second training."""
    assert together(context, sharing.train_again, 2, tmp_path) == [0, 0]
    monkeypatch.setattr(HeldOut, "PATIENCE", 2)
    monkeypatch.setattr(HeldOut, "LEAST", 20)
    run = test_restarts.trained(accumulate=2)
    names = ("kept_step", "training", "trainings", "stopped")
    for way in WORKS:
        choice = read_card(tmp_path / way)["choice"]
        assert [choice[name] for name in names] == [run.card["choice"][name] for name in names]
        assert choice["training"] == 2
        assert_close(load_file(tmp_path / way / "weights.safetensors"), run.model.state_dict())


def test_ranks_end_with_their_torchrun(tmp_path):
    """Ranks whose ``torchrun`` is killed save and end."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    fitting = ["-m", "fourfold", "fit", "diffusion", "two-moons", "--budget", "100000 steps", "--size", "xs"]
    agent = subprocess.Popen(
        [*torchrun, *fitting, "--out", str(tmp_path / "run")], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    log, lock = tmp_path / "run" / "log.jsonl", tmp_path / "run" / ".lock"
    try:
        wait_until(log.exists)
    finally:
        agent.kill()
        agent.wait()
    wait_until(lambda: not lock.exists())
    assert resumable(log.parent)


def test_a_start_that_fails_says_where(monkeypatch):
    """The port of the first process is taken by another program."""
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        address = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        for name, value in address.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(
            LostProcess, match=f"process 0 of 2 cannot meet the others at localhost:{port} .*failed to listen"
        ):
            join()


def test_processes_that_are_started_again_do_not_meet_the_dead(context):
    """The agent of ``torchrun`` keeps the store of the first start; one rank counts the restart, the other is late."""
    store = torch.distributed.TCPStore("localhost", 0, is_master=True)
    for late in (0.0, 1.0):
        assert together(context, sharing.start_again, 2, late, port=store.port) == [0, 0]


def test_what_cannot_be_shared_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="torchrun --nproc-per-node"):
        fit("diffusion", "two-moons", parallel="fsdp")
    with pytest.raises(ValueError, match="one of auto, none, ddp, fsdp, got 'zero'"):
        fit("diffusion", "two-moons", parallel="zero")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="parallel must be auto, ddp or fsdp under torchrun, got none"):
        fit("diffusion", "two-moons", parallel="none")


def test_a_batch_is_divided_into_equal_parts():
    with pytest.raises(ValueError, match="divisible into 7 equal parts"):
        fit(game_model(), MOONS, training=GAME, budget="1 steps", accumulate=7)


@pytest.mark.parametrize("world", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("rows", [1, 2, 5, 8])
def test_rows_are_those_of_chunk(rows, world):
    chunks = torch.arange(rows).chunk(world)
    for rank in range(world):
        expected = chunks[rank].tolist() if rank < len(chunks) else []
        assert list(range(*rows_of(rows, rank, world))) == expected


def test_processes_know_their_share():
    assert Processes(1, 2).sharing(True) == Processes(1, 2, sharded=True)
