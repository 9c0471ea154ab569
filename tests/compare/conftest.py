"""Fixtures: a comparison made up from samples, without any training."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import Fake, outcome

from fourfold.compare import Comparison, Settings
from fourfold.compare.tournament import _comparison, _jobs
from fourfold.data import Dataset, load


@pytest.fixture(scope="module")
def moons() -> Dataset:
    return load("two-moons", limit=2000)


@pytest.fixture
def made(tmp_path: Path, moons: Dataset) -> Callable[..., Comparison]:
    """Makes up a comparison: fakes by paradigm, or lists of them, one for each seed."""

    def make(fakes: Mapping[str, Fake | list[Fake]], **settings: Any) -> Comparison:
        lists = {name: fake if isinstance(fake, list) else [fake] for name, fake in fakes.items()}
        seeds = len(next(iter(lists.values())))
        asked = Settings(**{"budget": "15s", "runs_dir": str(tmp_path / "runs"), "seeds": seeds, "n": 200, **settings})
        jobs = _jobs(asked, list(fakes), moons)
        outcomes = [outcome(j, lists[j.paradigm][j.seed], moons, Path(asked.runs_dir)) for j in jobs]
        return replace(_comparison(asked, moons, list(fakes), outcomes, "two-moons"), planned=len(jobs))

    return make
