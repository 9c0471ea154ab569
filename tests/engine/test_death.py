"""A process that dies while it writes leaves a run that continues to the bit from its last whole checkpoint."""

import random
import shutil

import pytest
import torch

from fourfold.engine import Run, resumable

from . import dying
from .dying import PHASES, train


@pytest.fixture(autouse=True)
def _toys_are_third_parties(monkeypatch):
    monkeypatch.setattr("fourfold.core.parts.packages", lambda: {__name__.partition(".")[0]})


@pytest.fixture(scope="module")
def server():
    return dying.server()


def weights(run):
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def assert_same(expected, run):
    assert all(torch.equal(value, run.model.state_dict()[name]) for name, value in expected.items())


def dies(server, *arguments):
    process = server.Process(target=dying.die_writing, args=arguments)
    process.start()
    process.join()
    assert process.exitcode in (0, 9)
    return process.exitcode == 9


@pytest.mark.parametrize("kind", ["game", "staged"])
def test_death_at_every_write_loses_nothing(server, tmp_path, kind):
    """A game of which every step is a checkpoint, in the middle of every file and after it; stages at one of both."""
    whole, deaths, begun = weights(train(kind, None)), 0, set()
    for at in range(200):
        phases = PHASES if kind == "game" else PHASES[at % 2 :][:1]
        folders = [tmp_path / f"{at}-{phase}" for phase in phases]
        died = [dies(server, kind, folder, at, phase) for folder, phase in zip(folders, phases, strict=True)]
        for folder in folders:
            begun.add(resumable(folder))
            assert_same(whole, train(kind, folder, resume=(folder / "card.json").exists()))
            assert_same(whole, Run.load(folder))
            assert Run.load(folder).card["done"]
            assert not list(folder.rglob(".*.tmp"))
        deaths += sum(died)
        if not any(died):
            break
    assert deaths > 20
    assert begun == {True, False}


def test_a_run_killed_at_random_goes_on_to_the_bit(server, tmp_path):
    whole = weights(train("game", None, steps=40))
    draw, killed, longest, code = random.Random(0), 0, 0.6, None
    while code != 0:
        process = server.Process(target=dying.train_on, args=("game", tmp_path, 40))
        process.start()
        process.join(draw.uniform(0, longest) if killed < 4 else None)
        killed += process.is_alive()
        process.kill()
        process.join()
        code = process.exitcode
        if code == 0 and not killed:  # a fast machine was done too early: begin again
            code, longest = None, longest / 2
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
    assert_same(whole, Run.load(tmp_path))
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize(("at", "done"), [(3, False), (4, True)])
def test_a_signal_to_one_rank_stops_both_and_finishes_no_stage(server, tmp_path, at, done):
    """Of two gloo ranks only the second gets SIGTERM, in the first stage of four steps."""

    def together(folder, resume, stop):
        port = dying.free_port()
        ranks = [server.Process(target=dying.rank, args=(i, port, folder, resume, stop)) for i in range(2)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        return [process.exitcode for process in ranks]

    assert together(tmp_path / "whole", False, None) == [0, 0]
    assert together(tmp_path / "parts", False, at) == [130, 130]
    card = Run.load(tmp_path / "parts" / "stages" / "first").card
    assert (card["steps"], card["done"]) == (at, done)
    assert together(tmp_path / "parts", True, None) == [0, 0]
    parts = Run.load(tmp_path / "parts")
    assert parts.card["done"]
    assert [stage["steps"] for stage in parts.card["stages"]] == [4, 2, 2]
    assert_same(weights(Run.load(tmp_path / "whole")), parts)
