"""A budget in seconds on a busy machine gives a trained model or a warning, and a terminal shows how far it is."""

import dataclasses
import os
import pty
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest

import fourfold
from fourfold.engine import auto, execution
from fourfold.engine.auto import Sizing
from fourfold.engine.loop import Loop
from fourfold.engine.shortfall import FEWEST, slowed
from fourfold.machine.usage import Usage
from fourfold.runs.budget import parse_budget

MOONS = fourfold.load("two-moons", limit=500)
XS = {"size": "xs", "precision": "float32"}


def test_a_spent_budget_still_buys_one_step_and_says_that_it_is_few(monkeypatch):
    late = Sizing("s/8", why="timed on a busy machine", seconds=7.0)
    monkeypatch.setattr(execution, "choose_size", lambda *_: late)
    with pytest.warns(UserWarning, match="1 step in 5s: the model is hardly trained; give a longer budget") as seen:
        run = fourfold.fit("flow", MOONS, budget=5, precision="float32")
    assert seen[0].filename == __file__
    assert run.card["steps"] == 1
    assert not np.array_equal(run.sample(3), fourfold.fit("flow", MOONS, budget="2 steps", size="s/8").sample(3))


def test_the_warning_goes_where_messages_go():
    said = []
    fourfold.fit("latent-flow", MOONS, budget=0.02, say=said.append, **XS)
    assert any(line.startswith("stage ") and "the model is hardly trained" in line for line in said)


def test_trees_are_a_model_before_their_first_step():
    rows, said = pd.DataFrame(MOONS.train.x[:100].round(decimals=1).numpy(), columns=["a", "b"]), []
    run = fourfold.fit("autoregressive/trees", rows, budget=0.02, say=said.append, **XS)
    assert run.card["steps"] < FEWEST
    assert not any("hardly trained" in line for line in said)


def test_a_budget_in_steps_gets_what_it_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fourfold.fit("flow", MOONS, budget="2 steps or 1h", **XS)
        fourfold.fit("flow", MOONS, budget="3 steps", **XS)


def test_a_busy_machine_is_named_with_the_steps_that_were_expected(monkeypatch):
    sizing = Sizing("s/8", why="", steps=90_000)
    monkeypatch.setattr(execution, "choose_size", lambda *_: sizing)
    monkeypatch.setattr(Usage, "share", property(lambda self: 0.43))
    said = []
    run = fourfold.fit("flow", MOONS, budget="1s", precision="float32", say=said.append)
    message = f"{run.card['steps']:,} steps of 90,000 expected: the machine gave 43% of the processor"
    assert [line for line in said if line.startswith(message)]
    said.clear()
    fourfold.fit("flow", MOONS, budget="3 steps", say=said.append, **XS)
    assert not [line for line in said if "processor" in line]
    monkeypatch.setattr(Usage, "share", property(lambda self: 0.97))
    fourfold.fit("flow", MOONS, budget="1s", precision="float32", say=said.append)
    assert not [line for line in said if "processor" in line]


def test_the_share_is_that_of_a_process_among_others():
    """Three times as many busy processes as cores leave a third of the processor, or less."""
    spin = "while True: pass"
    others = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(3 * len(os.sched_getaffinity(0)))]
    try:
        time.sleep(0.5)
        said = []
        fourfold.fit("flow", MOONS, budget="1s", say=said.append, **XS)
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert [line for line in said if "the machine gave" in line], said


def test_timing_a_size_takes_one_step_where_that_is_long_already(monkeypatch):
    taken, step = [], Loop.step

    def slow(loop, *args):
        taken.append(loop)
        return dataclasses.replace(step(loop, *args), seconds=0.6)

    monkeypatch.setattr(Loop, "step", slow)
    assert auto.choose_size("flow", MOONS, parse_budget("5s"), "cpu").size == "s/8"
    assert len(taken) == 1  # half a second is a tenth of the budget


def shown_in_a_terminal(monkeypatch, **settings):
    """The text that a short training writes to a terminal."""
    master, slave = pty.openpty()
    shown = []
    reader = threading.Thread(target=lambda: shown.extend(iter(lambda: _read(master), b"")))
    reader.start()
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        fourfold.fit("flow", MOONS, budget="5 steps", **XS, **settings)
    reader.join()
    os.close(master)
    return b"".join(shown).decode()


def _read(master):
    """The next part of what is written to a terminal. Empty at its end."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


def test_a_terminal_shows_a_bar_unless_it_is_switched_off(monkeypatch):
    shown = shown_in_a_terminal(monkeypatch)
    for word in ("100%", "steps/s", "precision float32"):
        assert word in shown
    assert shown_in_a_terminal(monkeypatch, progress=False) == ""
    assert shown_in_a_terminal(monkeypatch, observe=lambda step: None) == ""


def test_a_pipe_gets_no_bar(capfd):
    fourfold.fit("flow", MOONS, budget="5 steps", **XS)
    assert capfd.readouterr() == ("", "")


ASKED = "import os{}; import fourfold{}; print(os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("first", "then", "set_before", "policy"),
    [
        ("", "; fourfold.fit", None, "PASSIVE"),
        ("", "; from fourfold import Card", None, "PASSIVE"),  # which loads no torch, and is quicker
        ("", "; fourfold.Card", "ACTIVE", "ACTIVE"),
        ("", "", None, "None"),
        (", torch", "; fourfold.Card", None, "None"),
    ],
)
def test_waiting_threads_sleep_in_python_too(first, then, set_before, policy):
    """OpenMP reads the variable once, when torch is loaded; numbers do not depend on it."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {} if set_before is None else {"OMP_WAIT_POLICY": set_before}
    program = ASKED.format(first, then)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == policy


def test_threads_that_spin_on_a_busy_machine_are_named(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    card = {"budget": "5s", "steps": 7}
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert slowed(card, 0.2, resumed=False) == "7 steps: the machine gave 20% of the processor"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert slowed(card, 0.2, resumed=False).endswith("set OMP_WAIT_POLICY=PASSIVE, or import fourfold before torch")
