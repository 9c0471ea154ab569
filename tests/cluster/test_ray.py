"""Runs of a comparison as tasks of Ray."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fourfold.data import Dataset
from fourfold.tournament import Settings, run_comparison
from fourfold.tournament.executors import executor_of
from fourfold.tournament.jobs import read_job
from fourfold_cluster.ray import Ray
from small_comparison import SMALL, SOURCE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ray:cpu=2", r"setting must be one of .*, got 'cpu'; did you mean 'cpus'\?"),
        ("ray:cpus=many", "cpus must be a number, got 'many'"),
        ("ray:cpus=0", "cpus of a task must be at least 1, got 0"),
        ("ray:gpus=-1", "gpus of a task must be at least 0, got -1"),
    ],
)
def test_wrong_settings_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        executor_of(text)


def test_settings_follow_the_name() -> None:
    assert executor_of("ray") == Ray()
    assert executor_of("ray:address=10.0.0.1:6379,gpus=0.5,cpus=2") == Ray("10.0.0.1:6379", 2, 0.5)
    assert [executor_of(text).device("auto") for text in ("ray", "ray:gpus=1")] == ["cpu", "cuda"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two local nodes with one processor each, beside a head without any."""
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    before = dict(os.environ)
    os.environ |= {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    about = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **about})
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_a_comparison_on_two_nodes_equals_one_here(nodes: Any, moons: Dataset, tmp_path: Path) -> None:
    settings = Settings(executor="ray", runs_dir=str(tmp_path / "there"), **SMALL)
    there = run_comparison(moons, settings, progress=False)
    assert there.planned == 2
    assert not there.failed
    here = run_comparison(moons, replace(settings, executor=None, runs_dir=str(tmp_path / "here")), progress=False)
    for entry_there, other in zip(there.entries, here.entries, strict=True):
        assert entry_there.name == other.name
        assert [s.value for s in entry_there.scores if s.unit != "ms"] == [
            s.value for s in other.scores if s.unit != "ms"
        ]
    assert sum(map(len, there.places.values())) == 2
    again = run_comparison(moons, settings, progress=False)  # takes what is finished
    assert [outcome.seconds for entry in again.entries for outcome in entry.outcomes] == [0, 0]


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_what_a_lost_worker_trained_goes_on(nodes: Any, moons: Dataset, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")

    asked = {**SMALL, "paradigms": ("adversarial",), "budget": "1000 steps"}
    settings = Settings(executor="ray", runs_dir=str(tmp_path / "runs"), **asked)
    killed = threading.Event()

    def kill() -> None:
        """Kill the worker of Ray once its process has trained a while."""
        while not (logs := list(tmp_path.glob("runs/*/run/log.jsonl"))) or logs[0].stat().st_size < 500:
            time.sleep(0.05)
        folder = str(logs[0].parents[1])
        for process in psutil.process_iter(["cmdline"]):
            if folder in (process.info["cmdline"] or []):
                os.kill(process.ppid(), signal.SIGKILL)
                killed.set()
                return

    thread = threading.Thread(target=kill)
    thread.start()
    comparison = run_comparison(moons, settings, progress=False)
    thread.join()
    assert killed.is_set()
    (outcome,) = comparison.entries[0].outcomes
    assert outcome.result is not None, outcome.failure
    assert outcome.result["resumed"]
    assert outcome.result["steps"] == 1000
    assert read_job(outcome.folder).paradigm == "adversarial"


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_more_than_a_node_has_is_refused_at_once(nodes: Any, moons: Dataset, tmp_path: Path) -> None:
    settings = Settings(executor="ray:cpus=64", runs_dir=str(tmp_path), **SMALL)
    with pytest.raises(ValueError, match="no node of Ray has the 64 processors"):
        run_comparison(moons, settings, progress=False)
