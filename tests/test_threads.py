"""Threads: as many as there are free cores, and asleep while they wait."""

import os
import subprocess
import sys

import pytest

from fourfold.machine import threads


@pytest.mark.parametrize(("running", "cores", "free"), [(0, 4, 4), (1, 4, 3), (3, 4, 1), (9, 4, 1), (0, 1, 1)])
def test_running_tasks_of_others_take_cores(tmp_path, monkeypatch, running, cores, free):
    load = tmp_path / "loadavg"
    load.write_text(f"6.38 7.29 6.98 {running + 1}/123 20803\n")
    monkeypatch.setattr(threads, "LOAD", load)
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    assert threads.free_cores(3, 0.0) == free


@pytest.mark.parametrize("text", [None, "", "1 2 3", "0.1 0.1 0.1 many/few 3"])
def test_without_a_word_of_the_system_all_cores_are_free(tmp_path, monkeypatch, text):
    load = tmp_path / "loadavg"
    if text is not None:
        load.write_text(text)
    monkeypatch.setattr(threads, "LOAD", load)
    assert threads.free_cores(1, 0.0) == threads._cores()


@pytest.mark.parametrize(
    ("given", "asked", "expected"),
    [({"OMP_NUM_THREADS": "2"}, None, ("2", "PASSIVE")),
     ({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "ACTIVE"}, 1, ("1", "ACTIVE"))],
)  # fmt: skip
def test_torch_computes_with_the_threads_that_were_set(given, asked, expected):
    """The user's environment stands, but an explicit number of threads comes before it."""
    program = (
        f"from fourfold.machine.threads import set_threads; set_threads({asked}); import os, torch; "
        "print(torch.get_num_threads(), os.environ['OMP_WAIT_POLICY'])"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run([sys.executable, "-c", program], env=bare | given, capture_output=True, text=True, check=True)
    assert tuple(done.stdout.split()) == expected
