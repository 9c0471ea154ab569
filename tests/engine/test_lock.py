"""One process at a time works in a run folder; a dead one holds nothing."""

import os
import subprocess
import sys

import pytest

from fourfold.data import load
from fourfold.engine import RunInUse, fit, locked
from fourfold.runs.lock import LOCK

from .toys import game_model

MOONS = load("two-moons", limit=500)

HOLD = "import fcntl, os, time; f = open('.lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); "


@pytest.fixture(autouse=True)
def _toys_are_third_parties(monkeypatch):
    monkeypatch.setattr("fourfold.core.parts.packages", lambda: {__name__.partition(".")[0]})


def test_a_folder_is_held_by_one(tmp_path):
    with (
        locked(tmp_path / "new"),
        pytest.raises(RunInUse, match=f"new is being trained by process {os.getpid()}: "),
        locked(tmp_path / "new"),
    ):
        pass
    assert not (tmp_path / "new").exists()
    with locked(tmp_path / "new"):
        assert (tmp_path / "new" / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_failed_attempt_leaves_the_holder_its_lock(tmp_path):
    with locked(tmp_path):
        for _ in range(3):
            with pytest.raises(RunInUse), locked(tmp_path):
                pass
        assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize("end", ["time.sleep(60)", "os._exit(1)"])
def test_the_lock_of_a_dead_process_does_not_block(tmp_path, end):
    holder = subprocess.Popen([sys.executable, "-Sc", HOLD + end], cwd=tmp_path, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    if "sleep" in end:
        with pytest.raises(RunInUse, match="by another process"), locked(tmp_path):  # it has written no number
            pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        pass


def test_a_run_in_training_is_not_trained_by_another(tmp_path):
    tried = []

    def again(step):
        for resume in (False, True):
            with pytest.raises(RunInUse, match=f"being trained by process {os.getpid()}"):
                fit(game_model(), MOONS, budget="2 steps", out=tmp_path, resume=resume)
            tried.append(resume)

    fit(game_model(), MOONS, budget="1 steps", out=tmp_path, observe=again)
    assert tried == [False, True]
    fit(game_model(), MOONS, budget="2 steps", out=tmp_path, resume=True)
