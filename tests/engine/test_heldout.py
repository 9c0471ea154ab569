"""The held-out choice: it finds where overfitting begins, resumes to the bit, is cheap and never changes training."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fourfold import checks
from fourfold.core import Batch, GenerativeModel, Term, Training
from fourfold.data import Dataset, Split, load
from fourfold.engine import Interrupted, Run, fit
from fourfold.engine.heldout import HeldOut
from fourfold.engine.loop import Loop
from fourfold.engine.training import begin
from fourfold.paradigms import build
from fourfold.spaces import Vectors

from .toys import TRAINING, Linear, Push, StandardNormal, game_model, linear_model, velocity_model


@pytest.fixture(autouse=True)
def _toys_are_third_parties(monkeypatch):
    monkeypatch.setattr("fourfold.core.parts.packages", lambda: {__name__.partition(".")[0]})


def gaussians(rows: int, dim: int = 3) -> Dataset:
    """Normal numbers, the second close to the first: a fifth of the rows each for validation and test."""
    x = torch.randn(rows, dim, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 0.2 * x[:, 1] + x[:, 0]
    cut = rows // 5
    parts = (Split(x[2 * cut :]), Split(x[:cut]), Split(x[cut : 2 * cut]))
    return Dataset("gaussians", Vectors(dim), *parts, digest=f"{rows}x{dim}", source="drawn")


SMALL, LARGE = gaussians(150), gaussians(20_000)
CONSTANT = {"warmup": 0.0, "floor": 1.0, "ema": 0.05, "smoothing": 0.0}


def flow(data: Dataset) -> GenerativeModel:
    """A flow with more weights than small data can fix; there it learns at a constant rate."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build("flow/maf", data.space, "xs")
    if data is not LARGE:
        model.training_defaults = replace(model.training_defaults, batch_size=48, learning_rate=4e-3, **CONSTANT)
    return model


def trained(data: Dataset, steps: int, folder=None, **settings) -> Run:
    return fit(flow(data), data, budget=f"{steps} steps", precision="float32", out=folder, **settings)


@pytest.fixture(scope="module")
def whole() -> Run:
    """An unbroken run that ends before its budget does."""
    return trained(SMALL, 600)


def equal(model: GenerativeModel, other: GenerativeModel) -> bool:
    states = model.state_dict(), other.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def nats(run: Run, data: Dataset) -> float:
    return run.log_prob(data.test.x).nats.mean().item()


def test_training_ends_where_only_overfitting_is_left_and_the_best_weights_are_kept(tmp_path):
    lines = []
    run = trained(SMALL, 600, tmp_path / "run", say=lines.append)
    choice = run.card["choice"]
    assert choice["stopped"]
    assert choice["judged_by"] == ["likelihood"]
    assert 0 < choice["kept_step"] == choice["best_step"] <= run.card["steps"] / 2
    assert run.card["steps"] < 500
    assert run.card["done"]
    assert choice["best_loss"] < choice["last_loss"]
    assert choice["note"] in lines
    assert choice["note"].startswith(
        f"stopped at step {run.card['steps']}: the held-out loss has not fallen since step "
    )
    assert equal(run.model, Run.load(tmp_path / "run").model)
    assert equal(run.model, trained(SMALL, choice["kept_step"], choose=False).model)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["choice/kept_step"] == choice["kept_step"]
    assert log[-1]["choice/stopped"] == 1
    measured = {line["step"]: line["likelihood/held_out"] for line in log if "likelihood/held_out" in line}
    assert min(measured, key=measured.get) == choice["best_step"]
    assert len(measured) == choice["measurements"]
    assert len({line["step"] for line in log}) == len(log)


def test_the_last_weights_are_kept_where_there_is_no_overfitting():
    run = trained(LARGE, 80)
    assert run.card["choice"]["kept_step"] == run.card["steps"] == 80
    assert not run.card["choice"]["stopped"]
    assert equal(run.model, trained(LARGE, 80, choose=False).model)


def test_what_was_chosen_is_the_same_after_any_interruption(tmp_path, whole):
    best, end = whole.card["choice"]["kept_step"], whole.card["steps"]
    folder = tmp_path / "parts"
    at = sorted({best // 2, best, best + 1, (best + end) // 2, end})

    def stop(step):
        if step.index in at:
            at.remove(step.index)
            os.kill(os.getpid(), signal.SIGINT)

    for i in range(len(at)):
        with pytest.raises(Interrupted):
            trained(SMALL, 600, folder, observe=stop, resume=i > 0)
        card = json.loads((folder / "card.json").read_text())
        if card["steps"] > best + 1:  # a checkpoint in between holds the best weights so far
            assert card["choice"]["kept_step"] == best
            assert equal(whole.model, Run.load(folder).model)
    assert card["steps"] == end
    resumed = trained(SMALL, 600, folder, resume=True)
    assert equal(whole.model, resumed.model)
    assert equal(whole.model, Run.load(folder).model)
    choices = [{k: v for k, v in run.card["choice"].items() if k != "seconds"} for run in (whole, resumed)]
    assert choices[0] == choices[1]


def test_a_run_begun_before_there_was_a_choice_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(HeldOut, "live", lambda self: {})
        patch.setattr(HeldOut, "numbers", lambda self: {})
        trained(SMALL, 10, tmp_path)
    run = trained(SMALL, 20, tmp_path, resume=True)
    assert run.card["choice"]["best_step"] > 10


def test_a_run_that_kept_the_last_weights_goes_on_so_and_may_choose_from_then_on(tmp_path):
    for steps in (10, 20):
        run = trained(SMALL, steps, tmp_path, choose=None if steps > 10 else False, resume=steps > 10)
        assert run.card["choice"]["kept_step"] == run.card["steps"] == steps
        assert run.card["choice"]["note"] == "the last weights are kept, as asked"
    run = trained(SMALL, 40, tmp_path, choose=True, resume=True)
    assert run.card["choice"]["on"]
    assert run.card["choice"]["best_step"] > 20


def test_nothing_is_chosen_where_no_loss_judges():
    run = fit(game_model(3), SMALL, budget="30 steps", precision="float32")
    assert run.card["choice"]["judged_by"] == []
    assert run.card["choice"]["kept_step"] == 30
    assert run.card["choice"]["note"].startswith("nothing is chosen")


def test_every_stage_chooses_for_itself():
    data = gaussians(60, 2)
    run = fit("latent-flow", data, budget="12 steps", size="xs", precision="float32")
    assert [stage["choice"]["judged_by"] for stage in run.card["stages"][:-1]] == [["bound"]]
    assert run.card["choice"]["judged_by"] == ["likelihood"]


@pytest.mark.parametrize("name", ["adversarial", "few-step", "few-step/consistency", "few-step/mean-flow", "energy"])
def test_what_a_moving_target_says_is_not_believed(name):
    assert not any(term.judges for term in build(name, Vectors(2), "xs").terms().values())


@pytest.mark.parametrize("name", ["autoregressive", "latent-variable", "flow", "diffusion"])
def test_a_fixed_target_judges(name):
    assert any(term.judges for term in build(name, Vectors(2), "xs").terms().values())


def choice_of(data: Dataset) -> HeldOut:
    model = velocity_model(3)
    return HeldOut(begin(model, data, TRAINING), data)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("steps", [100, 1000, 100_000])
def test_measuring_costs_at_most_a_tenth_of_the_steps_and_later_a_fiftieth(data, steps):
    choice = choice_of(data)
    batch = min(TRAINING.batch_size, len(data.train))
    rows = sum(len(part.batch.x) for part in (choice._held_out, choice._train))
    at, count = choice._following(0), 0
    while at <= steps:
        at, count = choice._following(at), count + 1
    cost = rows / (3 * batch)
    assert count * cost <= min(0.1 * steps, 0.02 * steps + 5 * cost)


def compared(choice: HeldOut, losses: Tensor) -> int:
    choice.latest, choice.latest_losses = choice.latest + 1, losses.double()
    choice._compare()
    return choice.worse


def test_a_difference_within_its_noise_is_none():
    choice = choice_of(SMALL)
    losses = torch.randn(200)
    noise = torch.randn(200)
    noise -= noise.mean()
    assert compared(choice, losses) == 0
    assert compared(choice, losses + noise + 0.01) == 0
    assert not choice.keeps_best
    assert compared(choice, losses + noise + 0.2) == 1
    assert compared(choice, losses + 0.01) == 2  # small, and the same for each example
    assert choice.keeps_best
    assert compared(choice, losses + noise - 0.01) == 0
    assert choice.best == 5


@pytest.mark.parametrize(
    ("at_best", "at_end", "word"),
    [(0.0, 0.1, "learning rate"), (0.0, -0.5, "wider model"), (-0.9, -2.0, "regularisation")],
)
def test_later_steps_that_made_it_worse_say_what_would_be_better(at_best, at_end, word):
    """By training examples: they gained nothing, were not ahead at the kept step, or were ahead already."""
    choice = choice_of(SMALL)
    losses = torch.linspace(-1, 1, 101, dtype=torch.float64)
    choice.latest_train = losses + at_best
    compared(choice, losses)
    choice.latest_train = losses + at_end
    compared(choice, losses + 0.5)
    assert choice.keeps_best
    assert word in choice.note().rpartition("; try ")[2]


def test_a_loss_that_is_not_finite_is_never_the_best_but_ends_no_training():
    choice = choice_of(SMALL)
    infinite = torch.full((12,), torch.inf)
    assert [compared(choice, infinite) for _ in range(8)] == [0] * 8
    assert compared(choice, torch.zeros(12)) == 0
    assert choice.best == 9
    assert compared(choice, infinite) == 1


# --- noise for small tables -------------------------------------------------------------------------------------------


def test_noise_falls_to_a_25th_and_then_ends():
    training = Training(smoothing=0.5)
    assert training.noise(0.0) == 0.5
    assert training.noise(0.4) == pytest.approx(0.1)
    assert training.noise(0.79999) == pytest.approx(0.02, rel=1e-3)
    assert training.noise(0.8) == training.noise(1.0) == 0
    assert Training().noise(0.0) == 0


@pytest.mark.parametrize(("data", "smooths"), [(SMALL, True), (LARGE, False)], ids=["small", "large"])
def test_small_tables_get_noise_and_large_ones_do_not(data, smooths, monkeypatch):
    seen, step = [], Loop.step

    def spied(self, rate, watch=False, noise=0.0):
        seen.append(noise)
        return step(self, rate, watch, noise)

    monkeypatch.setattr(Loop, "step", spied)
    model = flow(data)
    fit(model, data, budget="10 steps", precision="float32")
    expected = [model.training_defaults.noise((i + 0.5) / 10) if smooths else 0.0 for i in range(10)]
    assert seen == pytest.approx(expected)


@pytest.mark.agreement
def test_noise_lets_a_flow_learn_more_of_a_small_table():
    """Without it a flow of 142 rows overfits from its first steps on."""
    data, scores = load("wine"), {}
    for smoothing in (0.0, 0.5):
        model = build("flow", data.space, "xs")
        training = replace(model.training_defaults, smoothing=smoothing)
        scores[smoothing] = nats(fit("flow", data, budget="120 steps", size="xs", training=training), data)
    assert scores[0.5] > scores[0.0] + 0.5


# --- watching changes nothing -----------------------------------------------------------------------------------------


class Counting(Term):
    """A regression whose target moves with the number of calls, which no buffer holds."""

    def __init__(self, generator) -> None:
        super().__init__([generator])
        self.generator, self.calls = generator, 0

    def forward(self, batch: Batch) -> Tensor:
        self.calls += 1
        return (self.generator(batch.x) - self.calls * batch.x).square().sum(1)


def test_the_check_of_watching_can_fail(monkeypatch):
    monkeypatch.setattr(Linear, "terms", lambda self, estimand: {"square": Counting(estimand)})
    model = linear_model(3)
    model = GenerativeModel(
        model.space, model.codec, model.estimand, Linear(), Push(), StandardNormal(), model.training_defaults
    )
    with pytest.raises(checks.CheckFailed, match="after looking at the losses"):
        checks.check_watching(model)


def test_few_step_trains_the_same_model_again_and_after_a_kill_in_the_students_stage(tmp_path):
    """Its counter of solved paths passes 40, where watching once moved it."""
    settings = {"budget": "100 steps", "size": "xs", "seed": 3, "precision": "float32"}
    small = replace(gaussians(600, 2), name="plane")
    run = fit("few-step", small, **settings)

    def stop(step):
        if not step.stage and step.index == 45:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        fit("few-step", small, out=tmp_path, observe=stop, **settings)
    other = fit("few-step", small, out=tmp_path, resume=True, **settings)
    assert equal(run.model, other.model)
    buffers = dict(run.model.named_buffers()), dict(other.model.named_buffers())
    assert int(buffers[0]["objective.count"]) == 50
    assert all(torch.equal(b, buffers[1][name]) for name, b in buffers[0].items())
