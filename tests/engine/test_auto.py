"""``--size auto``: the size follows the speed, the budget and the data, and a run remembers it."""

import dataclasses
import json
import math

import numpy as np
import pytest

from fourfold import fit
from fourfold.data import Split, load
from fourfold.engine import auto
from fourfold.engine.auto import ENOUGH, SIZES, TRAINED, Sizing, choose_size, needs_of
from fourfold.paradigms import build, build_recipe
from fourfold.runs.budget import parse_budget

MOONS = load("two-moons", limit=2000)
DIGITS = load("digits")
ORDER = list(SIZES)
NEEDS = needs_of("diffusion/denoising", "Images")
BATCH = build("diffusion", DIGITS.space, "s").training_defaults.batch_size


@pytest.fixture
def machine(monkeypatch):
    """A machine whose steps take a constant for each parameter and example, plus an overhead."""
    speed = {"parameter": 1e-7, "overhead": 1e-3, "timed": 0.0}

    def steps(model, dataset, seed, most):
        examples = model.training_defaults.batch_size / BATCH
        seconds = speed["overhead"] + speed["parameter"] * examples * sum(
            p.numel() for p in model.estimand.parameters()
        )
        speed["timed"] += 4 * seconds
        return [seconds] * 4

    monkeypatch.setattr(auto, "_steps", steps)
    return speed


def choice_of(budget, name="diffusion", data=DIGITS):
    return choose_size(name, data, parse_budget(budget), "cpu")


@pytest.mark.parametrize("name", ["diffusion", "latent-diffusion", "few-step", "adversarial"])
def test_more_time_or_a_faster_machine_gives_a_wider_model(machine, name):
    sizes = [ORDER.index(choice_of(budget, name).size) for budget in ("0.3s", "10s", "100s", "1000s")]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]
    machine["parameter"] *= 100
    assert ORDER.index(choice_of("100s", name).size) < sizes[2]


def test_the_chosen_size_can_take_the_steps_it_needs_and_the_next_cannot(machine):
    budget = parse_budget("60s")
    rank = ORDER.index(choice_of("60s").size)
    fits = [
        TRAINED
        * budget.seconds
        / (1e-3 + 1e-7 * sum(p.numel() for p in build("diffusion", DIGITS.space, s).parameters()))
        >= (NEEDS[s].steps if s in NEEDS else 0)
        for s in ORDER[: rank + 2]
    ]
    assert all(fits[:-1])
    assert not fits[-1]


def test_timing_takes_at_most_a_tenth_and_a_narrowest_model_more(machine):
    for speed in (1e-6, 1e-5, 1e-4):
        machine |= {"parameter": speed, "timed": 0.0}
        choice_of("15s")
        narrowest = 4 * (1e-3 + speed * sum(p.numel() for p in build("diffusion", DIGITS.space, "s/8").parameters()))
        assert machine["timed"] <= 1.5 + narrowest


def test_where_steps_are_few_the_batch_is_smaller(machine):
    machine["parameter"] = 5e-6
    choice = choice_of("15s")
    assert choice.size == "s/8"
    assert choice.part > 1
    model = build("latent-diffusion", DIGITS.space, "s")
    before = [part.training_defaults.batch_size for part, _ in auto._parts(model)]
    Sizing("s", 4).applied_to(model)
    assert [part.training_defaults.batch_size for part, _ in auto._parts(model)] == [b // 4 for b in before]


def test_halves_of_a_batch_are_taken_while_they_shorten_a_step(machine):
    parameters = sum(p.numel() for p in build("diffusion", DIGITS.space, "s/8").parameters())
    machine |= {"parameter": 0.0, "overhead": 0.1}
    assert choice_of("15s").part == 1  # a small batch takes as long as a large one
    machine |= {"parameter": 0.2 / parameters, "overhead": 0.0}
    sizing = choice_of("15s")
    assert sizing.part == 4
    assert sizing.steps == pytest.approx(TRAINED * 15 / (0.2 / 4), rel=0.05)
    assert sizing.steps >= ENOUGH


def test_a_column_may_be_constant_in_the_rows_that_steps_are_timed_on():
    x = np.random.default_rng(0).normal(size=(3000, 2))
    data = load(x)
    rows = data.train.x.clone()
    rows[:2300, 1] = 0.5
    data = dataclasses.replace(data, train=Split(rows))
    assert choice_of("10s", "flow", data).size in SIZES


def test_a_wide_model_needs_data(machine):
    machine["parameter"] = 1e-12
    assert choice_of("1000s").size == "s"  # 1,437 digits of 64 pixels are fewer numbers than size m has
    assert choice_of("1000s").why.endswith("too few data for m")


@pytest.mark.parametrize("budget", ["400 steps", "2 epochs", "1e15 flops"])
def test_without_seconds_nothing_is_timed(monkeypatch, budget):
    monkeypatch.setattr(auto, "_steps", None)
    assert choice_of(budget) == Sizing("s", why="the size for budgets without seconds")


@pytest.mark.parametrize("name", ["autoregressive/trees", "diffusion/trees"])
def test_trees_are_grown_once_and_not_to_time_a_step(monkeypatch, name):
    monkeypatch.setattr(auto, "_steps", None)
    rows = load("penguins")
    assert choice_of("60s", name, rows) == Sizing("s", why="steps only refine what was fitted")


def test_steps_beside_seconds_limit_what_is_needed(machine):
    machine["parameter"] = 1e-6
    assert ORDER.index(choice_of("50 steps or 30s").size) > ORDER.index(choice_of("30s").size)


@pytest.mark.parametrize("name", ["diffusion", "latent-flow"])
def test_a_run_remembers_its_size(tmp_path, monkeypatch, name):
    said = []
    run = fit(name, MOONS, budget="2s", out=tmp_path / "run", say=said.append)
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["size"] == card["sizing"]["size"]
    assert any(line.startswith(f"size {card['size']}") for line in said)
    assert all(len(line) <= 80 for line in said if line.startswith("size"))
    assert run.card["seconds"] >= card["sizing"]["seconds"]
    monkeypatch.setattr("fourfold.engine.execution.choose_size", None)
    again = fit(data=MOONS, out=tmp_path / "run", resume=True, size="auto", budget="3s", say=said.append)
    assert again.card["size"] == card["size"]
    assert again.card["sizing"] == card["sizing"]
    assert math.isfinite(again.card["seconds"])


@pytest.mark.parametrize(("known", "size"), [({"xs", "s", "m"}, "s"), (set(), "s")])
def test_a_recipe_with_presets_of_its_own_need_not_know_narrower_ones(machine, monkeypatch, known, size):
    def own(name, space, size):
        return {size: build_recipe(name, space, size) for size in known}[size]

    monkeypatch.setattr(auto, "build_recipe", own)
    assert choice_of("100s").size == size


def test_a_given_size_is_kept(tmp_path):
    run = fit("diffusion", MOONS, size="s/4", budget="3 steps", out=tmp_path / "run")
    assert run.card["size"] == "s/4"
    assert "sizing" not in run.card
    with pytest.raises(ValueError, match=r"size must be s/4, as in .*, got s; leave it out"):
        fit(out=tmp_path / "run", resume=True, size="s")


def test_a_recipe_that_was_not_measured_is_narrower_than_any_other():
    rows = json.loads(auto.RULE.read_text())["needs"]
    assert {row["size"] for row in rows} == set(ORDER[1:])
    for size, need in needs_of("diffusion/denoising", "Together").items():
        assert need == auto.Need(max(row["steps"] for row in rows if row["size"] == size))
    row = next(row for row in rows if row["recipe"] == "latent-variable/convolutional" and row["size"] == "s/2")
    assert needs_of("latent-variable/convolutional", "Images")["s/2"] == auto.Need(row["steps"], 1.5)


def test_text_from_left_to_right_needs_few_steps(machine):
    text = load("python-docs", limit=20_000)
    machine |= {"parameter": 0.0, "overhead": 0.4}
    assert choice_of("60s", "autoregressive", text).size == "s/2"  # 135 steps
    assert choice_of("60s", "diffusion", text).size == "s/8"


@pytest.mark.parametrize(("overhead", "parameter", "size"), [(0.0411, 1.23e-7, "s/2"), (0.0037, 4.05e-7, "s/4")])
def test_an_autoencoder_is_narrower_where_width_costs_more(machine, overhead, parameter, size):
    whole = BATCH / build("latent-variable", DIGITS.space, "s").training_defaults.batch_size
    machine |= {"overhead": overhead, "parameter": parameter * whole}  # s/2 takes 1.2 and 2 times as long as s/4
    assert choice_of("60s", "latent-variable").size == size  # about 900 and 820 steps of s/2
