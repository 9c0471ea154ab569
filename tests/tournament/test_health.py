"""Marks of trainings that say nothing, and the shares of the processor behind them."""

import math
import subprocess
import sys
from typing import Any

import pytest

from fourfold.machine import usage
from fourfold.machine.usage import Usage
from fourfold.tournament.health import advice, causes, health_of


def result(steps: int = 500, seconds: float = 15.0, share: float | None = 0.99, stages: tuple[int, ...] = ()) -> Any:
    record = {"steps": steps, "seconds": seconds, "epochs": 1.5, "stages": [{"steps": s} for s in stages]}
    return {**record, "usage": {} if share is None else {"share": share}}


def test_a_healthy_training_has_no_mark() -> None:
    assert health_of(result(), "15s").marks == ()
    assert health_of(result(share=None), "15s").marks == ()  # nothing was trained now


@pytest.mark.parametrize(
    ("outcome", "budget", "mark"),
    [
        (result(steps=3), "15s", "3 steps"),
        (result(steps=1), "15s", "1 step"),
        (result(steps=400, stages=(380, 20)), "15s", "20 steps"),
        (result(steps=400, stages=(20, 380)), "15s", "20 steps"),
        (result(seconds=99.0), "15s", "99 s of training for 15 s"),
        (result(share=0.41), "15s", "41% of the processor"),
        (result(steps=12, share=0.41), "12 steps", "12 steps"),
    ],
)
def test_what_is_marked(outcome: Any, budget: str, mark: str) -> None:
    assert health_of(outcome, budget).marks == (mark,)


def test_trees_need_no_steps_but_keep_to_the_budget() -> None:
    grown = {**result(steps=1), "fitted": True}
    assert health_of(grown, "15s").marks == ()
    late = health_of({**grown, "seconds": 38.0}, "20s")
    assert late.marks == ("38 s of training for 20 s",)
    assert advice([late], "20s") == ("1m", "give --budget 1m")
    assert causes([late], "20s") == ["more than 1.2 times the budget"]


def test_a_budget_that_is_not_in_seconds_buys_the_same_on_a_busy_machine() -> None:
    assert health_of(result(seconds=999.0, share=0.2), "500 steps").marks == ()


def test_the_way_out_is_a_budget_or_a_quiet_machine() -> None:
    slow, busy, late = (
        health_of(outcome, "15s") for outcome in (result(steps=10), result(share=0.5), result(seconds=20.0))
    )
    assert advice([slow, busy], "15s") == ("5m", "give --budget 5m and use a quiet machine")
    assert advice([busy], "15s") == ("", "use a quiet machine")
    assert advice([late], "15s") == ("30s", "give --budget 30s")
    few = health_of(result(steps=12), "12 steps")
    assert advice([few], "12 steps") == ("200 steps", "give --budget '200 steps'")
    assert advice([health_of(result(steps=1), "1h")], "1h")[0] == "200h"
    assert causes([slow, busy], "15s") == ["fewer than 50 steps", "less than 80% of the processor"]


def test_the_share_does_not_depend_on_how_many_threads_are_busy() -> None:
    assert Usage(10.0, 10.0, 0.0).share == 1.0  # one thread of two
    assert Usage(10.0, 20.0, 0.2).share == pytest.approx(0.99, abs=0.001)
    assert Usage(10.0, 5.0, 15.0).share == 0.25
    assert Usage(10.0, 4.0, math.nan).share == 0.4
    assert Usage(10.0, 17.0, math.nan).share == 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a process has waited")
def test_a_crowded_processor_is_noticed() -> None:
    """Three busy processes on one processor: each is ready all the time and runs a third of it."""
    code = (
        "import os, runpy, time; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        f"Usage = runpy.run_path({usage.__file__!r})['Usage']; start = Usage.now()\n"
        "while time.process_time() < 0.6: pass\n"
        "print(Usage.now().since(start).share)"
    )
    crowd = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert min(float(process.communicate()[0]) for process in crowd) < 0.8
