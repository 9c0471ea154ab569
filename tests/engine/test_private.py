"""Training under a guarantee of privacy: clipping against autograd, noise, batches, resumption, refusals."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

pytest.importorskip("dp_accounting")

import fourfold
from fourfold.core import Batch, GenerativeModel, Term
from fourfold.data import DataError, Split, load
from fourfold.engine import private
from fourfold.engine.private import NoisyRule, PoissonLoader, clipped_sum
from fourfold.engine.training import begin
from fourfold.paradigms import build_recipe
from fourfold.paradigms.any_order import AnyOrderLikelihood
from fourfold.privacy import Guarantee, Protection, guarantee_words
from fourfold.privacy.accounting import Spending
from fourfold.runs.checkpoint import BrokenRun


def frame(rows: int = 400) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    group = draw.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2])
    age = np.clip(draw.normal(40, 12, rows), 18, 90).round().astype(int)
    return pd.DataFrame({"group": group, "age": age, "member": draw.choice(["yes", "no"], rows)})


def protection(epsilon: float = 8.0) -> Protection:
    return Protection(Guarantee(epsilon), secret=b"a secret of test")


class Tied(Term):
    """A loss whose weight stands in two places, beside one that is not trained."""

    separate = True

    def __init__(self) -> None:
        first, second, fixed = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False)
        second.weight = first.weight
        super().__init__([first, second, fixed])
        self.first, self.second, self.fixed = first, second, fixed

    def forward(self, batch: Batch) -> torch.Tensor:
        return (self.fixed(self.second(torch.tanh(self.first(batch.x)))) ** 2).sum(1)


def by_loops(term: Term, batch: Batch, norm: float) -> dict[nn.Parameter, torch.Tensor]:
    """The sum of clipped gradients, one example after the other."""
    trained = term.trainable()
    total = {p: torch.zeros_like(p) for p in trained}
    for i in range(len(batch.x)):
        loss = term(Batch(batch.x[i : i + 1])).sum()
        gradients = torch.autograd.grad(loss, trained)
        size = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        for p, g in zip(trained, gradients, strict=True):
            total[p] += g * min(1.0, norm / size)
    return total


@pytest.fixture(scope="module")
def table_term() -> tuple[Term, Batch]:
    dataset = load(frame())
    model = build_recipe("autoregressive/any-order", dataset.space, "xs")[1]
    model.fit_statistics(dataset.train.x)
    term = model.terms()["likelihood"]
    with torch.no_grad():
        for p in term.trainable():
            p.add_(0.3 * torch.randn_like(p))
    return term.eval(), model.encode(dataset.train.x[:150])


@pytest.mark.parametrize("norm", [0.2, 1.0, 100.0])
def test_clipped_gradients_are_those_of_single_examples(table_term, norm):
    class InOrder(Term):
        """The term of a table in the order of its columns, which draws nothing."""

        def forward(self, batch: Batch) -> torch.Tensor:
            return -table_term[0].estimand(batch.x).mean(1)

    term = InOrder([table_term[0].estimand])
    batch = table_term[1]
    fast, slow = clipped_sum(term, batch, norm), by_loops(term, Batch(batch.x[:20]), norm)
    part = clipped_sum(term, Batch(batch.x[:20]), norm)
    assert sum(float(g.square().sum()) for g in fast.values()) > 0
    for p, expected in slow.items():
        torch.testing.assert_close(part[p], expected, rtol=1e-3, atol=1e-5)
    rest = clipped_sum(term, Batch(batch.x[20:]), norm)  # more than one chunk is the sum of its parts
    for p in slow:
        torch.testing.assert_close(fast[p], part[p] + rest[p], rtol=1e-3, atol=1e-5)


def test_tied_weights_have_one_gradient_and_frozen_ones_none():
    torch.manual_seed(0)
    term, batch = Tied(), Batch(torch.randn(5, 3))
    fast, slow = clipped_sum(term, batch, 0.5), by_loops(term, batch, 0.5)
    assert set(fast) == set(slow)
    assert term.fixed.weight not in fast
    for p, expected in slow.items():
        torch.testing.assert_close(fast[p], expected)
    assert all(p.grad is None and type(p) is nn.Parameter for p in term.parameters())


def test_one_example_changes_a_sum_by_at_most_the_norm(table_term):
    term, batch = table_term
    torch.manual_seed(1)
    whole = clipped_sum(term, batch, 0.7)
    torch.manual_seed(1)
    rest = clipped_sum(term, Batch(batch.x[:-1]), 0.7)
    square = sum(float((whole[p] - rest[p]).square().sum()) for p in whole)
    assert math.sqrt(square) <= 0.7 * (1 + 1e-4)


def test_batches_hold_each_example_independently():
    data = Split(torch.arange(200)[:, None])
    loader = PoissonLoader(data, 30, protection())
    counts, sizes = np.zeros(200), []
    for step in range(600):
        rows = loader(step).x[:, 0]
        assert len(rows.unique()) == len(rows)
        counts[rows.numpy()] += 1
        sizes.append(len(rows))
    assert loader.rate == 0.15
    expected, deviation = 600 * 0.15, math.sqrt(600 * 0.15 * 0.85)
    assert np.abs(counts - expected).max() < 4.5 * deviation
    assert np.var(sizes) == pytest.approx(200 * 0.15 * 0.85, rel=0.2)  # that of independent draws
    assert torch.equal(loader(7).x, PoissonLoader(data, 30, protection())(7).x)
    assert not torch.equal(loader(7).x, PoissonLoader(data, 30, Protection(Guarantee(8.0)))(7).x)


def made_loop(accumulate: int = 1) -> tuple[NoisyRule, fourfold.engine.Loop]:
    torch.manual_seed(0)
    dataset = load(frame(), private=protection())
    model = build_recipe("autoregressive/any-order", dataset.space, "xs")[1]
    model = GenerativeModel(**model.arguments() | {"objective": AnyOrderLikelihood(shuffled=0.0)})
    rule = NoisyRule(protection(), 400, Spending(9.0, 0.1, 3.0, 20))
    return rule, begin(model, dataset, model.training_defaults, rule=rule, parts=accumulate)


def test_noise_has_its_deviation_and_follows_the_step():
    rule, loop = made_loop()
    term = loop.terms["likelihood"]
    rule.complete(loop, "likelihood")  # nothing was added: what remains is the noise
    noise = torch.cat([p.grad.flatten() for p in term.trainable()]) * rule.loader_made.batch_size
    assert float(noise.std()) == pytest.approx(3.0, rel=4 / math.sqrt(2 * len(noise)))
    assert abs(float(noise.mean())) < 4 * 3.0 / math.sqrt(len(noise))
    loop.step(1.0)
    loop.model.zero_grad()
    rule.complete(loop, "likelihood")
    later = torch.cat([p.grad.flatten() for p in term.trainable()]) * rule.loader_made.batch_size
    assert abs(float(torch.corrcoef(torch.stack([noise, later]))[0, 1])) < 4 / math.sqrt(len(noise))


def test_parts_of_a_batch_give_the_step_of_the_whole():
    whole, parts = made_loop()[1], made_loop(3)[1]
    for loop in (whole, parts):
        loop.terms["likelihood"].eval()  # the draws of dropout differ by part
        loop.step(1.0)
    torch.testing.assert_close(whole.gradients()[0], parts.gradients()[0], rtol=1e-3, atol=1e-6)


def test_a_run_goes_on_with_its_secret_and_never_spends_twice(tmp_path):
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(step: fourfold.engine.Step) -> None:
        if step.index == 3:
            raise Stopped

    data, first, second = tmp_path / "t.csv", tmp_path / "a", tmp_path / "b"
    frame().to_csv(data, index=False)
    settings = {"private": "epsilon=3", "budget": "5 steps", "size": "xs", "batch_size": 40, "checkpoint_every": 0.0}
    with pytest.raises(Stopped):
        fourfold.fit("autoregressive", data, out=first, observe=stop, **settings)
    shutil.copytree(first, second)
    runs = [fourfold.fit(out=folder, resume=True) for folder in (first, second)]
    weights = [torch.cat([p.flatten() for p in run.model.parameters()]) for run in runs]
    assert torch.equal(*weights)  # steps that are taken twice give the same, so nothing more is released
    spent = runs[0].card["privacy"]
    assert (spent["steps"], runs[0].card["steps"]) == (5, 5)
    assert 2.9 < spent["spent"] <= 3.0
    again = fourfold.fit(out=first, resume=True, budget="50 steps")
    assert again.card["steps"] == 5
    with pytest.raises(ValueError, match="private"):
        fourfold.fit(out=first, resume=True, private="epsilon=9")
    shutil.rmtree(second / "resume")
    with pytest.raises(BrokenRun, match="resume"):
        fourfold.fit(out=second, resume=True)


def test_a_clock_that_ends_early_spends_less_and_shows_no_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(NoisyRule, "_seconds", staticmethod(lambda loop: 1e-3))  # the plan expects far more steps
    settings = {"private": 2, "budget": "0.5s", "size": "xs", "batch_size": 40, "out": tmp_path / "run"}
    run = fourfold.fit("autoregressive", frame(), **settings, say=lambda line: None)
    privacy = run.card["privacy"]
    assert run.card["steps"] < privacy["steps"]
    assert privacy["spent"] < 2
    assert privacy["unit"] == "one row"
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert not any("loss" in key or "held_out" in key for line in log for key in line)
    assert run.card["data"]["digest"] != load(frame()).digest
    loaded = fourfold.Run.load(tmp_path / "run")
    assert len(loaded.sample(20)) == 20
    words = guarantee_words(loaded.card)
    assert "of epsilon 2 is spent at delta 1e-05" in words
    assert "one row" in words
    assert words in loaded._repr_html_()


@pytest.mark.parametrize(
    ("recipe", "noun"),
    [("autoregressive/trees", "autoregressive/trees"), ("adversarial", "adversarial"), ("diffusion", "diffusion")],
)
def test_a_recipe_that_cannot_promise_it_is_refused_by_name(recipe, noun):
    with pytest.raises(ValueError, match=f"private .*{noun}"):
        fourfold.fit(recipe, frame(), private="epsilon=3", budget="1 steps")


@pytest.mark.parametrize(
    "options",
    [{"given": "group"}, {"labels": "group"}, {"deduplicate": True}, {"schema": "x.toml"}],
)
def test_settings_that_look_at_rows_are_refused(options):
    with pytest.raises(DataError, match=next(iter(options))):
        fourfold.fit("autoregressive", frame(), private="epsilon=3", budget="1 steps", data_options=options)


def test_other_data_and_public_alone_are_refused():
    with pytest.raises(DataError, match=r"private must be left out for digits.*got private='epsilon=3'"):
        fourfold.fit("autoregressive", "digits", private="epsilon=3", budget="1 steps")
    with pytest.raises(ValueError, match="public"):
        fourfold.fit("autoregressive", frame(), public={}, budget="1 steps")
    with pytest.raises(ValueError, match="private"):
        fourfold.fit("autoregressive", load(frame()), private="epsilon=3", budget="1 steps")


def test_a_race_makes_no_promise(tmp_path):
    with pytest.raises(ValueError, match=r"private .* best"):
        fourfold.fit_best(frame(), out=tmp_path / "best", private="epsilon=3")


def test_an_attack_on_a_step_is_right_no_more_often_than_epsilon_allows(monkeypatch):
    """The strongest attack on one noised sum: the canary's own gradient, of the largest norm, is looked for in it."""
    guarantee = Guarantee(1.0, 1e-5)
    multiplier = private.multiplier_for(guarantee, 0.0, 1.0, 1)
    draws = 20_000
    noise = multiplier * protection().stream("attack").standard_normal((2, draws))
    scores = np.stack([noise[0], 1.0 + noise[1]])  # without and with a canary, along its gradient
    for threshold in np.linspace(-1, 6, 15):
        false, true = (scores > threshold).mean(1)
        assert true <= math.exp(1.0) * false + 1e-5 + 3 * math.sqrt(true / draws + math.e**2 * false / draws)
    assert (scores[1] > 0.5).mean() > (scores[0] > 0.5).mean() + 0.05  # an attack does gain something
