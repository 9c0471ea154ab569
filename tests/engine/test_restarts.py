"""The rest of a budget after an early stop: trainings from the same beginning, each at a third of the rate."""

import json
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from fourfold import info
from fourfold.data import Dataset, Split
from fourfold.engine import Interrupted, Run, fit, loop
from fourfold.engine.heldout import HeldOut
from fourfold.engine.training import begin
from fourfold.paradigms import build
from fourfold.runs.budget import Progress, Steps
from fourfold.spaces import Vectors

RATES = {2: 0.07, 1: 0.05}
"""Learning rates, by the training whose weights are the best."""


@pytest.fixture(autouse=True, scope="module")
def impatient():
    """Trainings end at the second measurement that is worse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeldOut, "PATIENCE", 2)
        patch.setattr(HeldOut, "LEAST", 20)
        yield


def gaussians(rows: int) -> Dataset:
    """Normal numbers, the second close to the first."""
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 0.2 * x[:, 1] + x[:, 0]
    cut = rows // 5
    parts = (Split(x[2 * cut :]), Split(x[:cut]), Split(x[cut : 2 * cut]))
    return Dataset("gaussians", Vectors(3), *parts, digest=str(rows), source="drawn")


SMALL = gaussians(150)


def flow(rate: float):
    """A flow that overfits, at a constant rate without noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build("flow/maf", SMALL.space, "xs")
    constant = {"warmup": 0.0, "floor": 1.0, "smoothing": 0.0}
    model.training_defaults = replace(model.training_defaults, batch_size=48, learning_rate=rate, **constant)
    return model


def trained(folder: Path | None = None, best: int = 2, steps: int = 400, data: Dataset = SMALL, **settings) -> Run:
    return fit(flow(RATES[best]), data, budget=f"{steps} steps", precision="float32", out=folder, **settings)


class Whole(NamedTuple):
    """An unbroken run, its messages, and the last steps of the trainings after which one began."""

    run: Run
    lines: list[str]

    @property
    def ends(self) -> list[int]:
        return [int(line.split()[1].rstrip(":")) for line in self.lines if "training begins again" in line]


@pytest.fixture(scope="module")
def wholes(impatient, tmp_path_factory) -> dict[int, Whole]:
    """A run of each kind, by the training whose weights are the best."""
    lines = {best: [] for best in RATES}
    folder = tmp_path_factory.mktemp("wholes")
    return {best: Whole(trained(folder / str(best), best, say=lines[best].append), lines[best]) for best in RATES}


def logged(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.model.state_dict()


def equal(run: Run, other: Run) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(run).items())


def choice(run: Run) -> dict:
    return {key: value for key, value in run.card["choice"].items() if key != "seconds"}


@pytest.mark.parametrize("best", [1, 2])
def test_the_weights_with_the_lowest_held_out_loss_of_all_trainings_are_kept(best, wholes):
    run, lines = wholes[best]
    record, lowest = run.card["choice"], dict[int, tuple[float, int]]()
    for line in logged(run.folder):
        if loss := line.get("likelihood/held_out"):
            number = line.get("training", 1)
            lowest[number] = min(lowest.get(number, (math.inf, 0)), (loss, line["step"]))
    assert len(lowest) == record["trainings"] == best + 1  # one more than the best: it may be better still
    assert min(lowest, key=lowest.get) == record["training"] == best
    assert lowest[best] == (record["best_loss"], record["kept_step"])
    judge = HeldOut(begin(deepcopy(run.model), SMALL, run.model.training_defaults, fresh=False), SMALL)
    judge.loop.progress = Progress(steps=1)
    judge(last=True)
    assert float(judge.best_losses.mean()) == pytest.approx(record["best_loss"], abs=1e-6)
    sentence = f"the weights of step {record['kept_step']}, of training {best} of {best + 1}, are kept"
    assert record["note"].startswith(sentence)
    assert lines[-1] == record["note"]
    assert sentence in info.text(str(run.folder))
    assert len(wholes[best].ends) == best
    assert run.card["steps"] <= 400


def test_the_second_training_is_one_from_the_beginning_at_a_third_of_the_rate(wholes):
    """Its batches and draws are those of its steps, which go on counting."""
    run, first = wholes[2].run, wholes[2].ends[0]
    model = flow(RATES[2])
    training = replace(model.training_defaults, learning_rate=RATES[2] / 3)
    other = begin(model, SMALL, training)
    other.progress = Progress(steps=first, steps_before=first, per_epoch=other.progress.per_epoch)
    for _ in range(run.card["choice"]["kept_step"] - first):
        other.step(1.0)
    other.finish()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights(run)[name], value, atol=1e-5, rtol=1e-4)


def test_a_run_that_stops_anywhere_goes_on_to_the_bit(wholes, tmp_path):
    """In each training, at the step after which one begins, and at the last one."""
    whole, starts = wholes[2].run, wholes[2].ends
    best, end = whole.card["choice"]["kept_step"], whole.card["steps"]
    stops = sorted({10, starts[0], starts[0] + 1, best, best + 1, starts[1], starts[1] + 5, end})
    for i, stop in enumerate(stops):
        with pytest.raises(Interrupted):
            trained(tmp_path, observe=lambda step, stop=stop: step.index == stop, resume=i > 0)
    resumed = trained(tmp_path, resume=True)
    assert choice(resumed) == choice(whole)
    assert equal(whole, resumed)
    assert equal(whole, Run.load(tmp_path))
    steps = [line["step"] for line in logged(tmp_path)]
    assert steps == sorted(set(steps))


def test_a_training_without_an_early_stop_is_as_before(monkeypatch):
    """It is that of a model which is too large to begin again."""
    data = gaussians(5000)
    run = trained(data=data, best=1, steps=60)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "MOST", 0)
        before = trained(data=data, best=1, steps=60)
        stopped = trained()
    assert not run.card["choice"]["stopped"]
    assert equal(run, before)
    assert choice(run) == choice(before)
    assert stopped.card["choice"]["stopped"]
    assert "trainings" not in stopped.card["choice"]


def test_a_longer_budget_lets_training_begin_again(wholes, tmp_path):
    """With less left than half of what the training took, it ends. The run is then that of the longer budget."""
    short = trained(tmp_path, steps=90)
    assert short.card["choice"]["stopped"]
    assert "trainings" not in short.card["choice"]
    assert equal(trained(tmp_path, resume=True), wholes[2].run)


def test_an_earlier_run_that_kept_no_beginning_goes_on_without_another_training(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(loop, "MOST", 0)
        with pytest.raises(Interrupted):
            trained(tmp_path, observe=lambda step: step.index == 10)
    run = trained(tmp_path, resume=True)
    assert run.card["choice"]["stopped"]
    assert "trainings" not in run.card["choice"]


def test_the_schedule_of_each_training_is_that_of_the_budget_that_is_left():
    budget = Steps(100)
    assert budget.next_fraction(Progress(steps=0)) == 0.005
    again = Progress(steps=40).again()
    assert budget.next_fraction(again) == pytest.approx(0.5 / 60)
    assert budget.next_fraction(replace(again, steps=99)) == pytest.approx(59.5 / 60)
    assert budget.fraction(replace(again, steps=99)) == 0.99
