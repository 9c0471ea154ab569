"""What a recipe's card says is what its model does: every recipe that the walk finds, built and measured."""

import dataclasses
import re

import pytest
import torch

from fourfold import checks
from fourfold.core import count_evaluations
from fourfold.paradigms import build, cards, defaults, facts
from fourfold.samplers.gibbs import BlockGibbs
from fourfold.samplers.langevin import Annealed, MarkovChain
from fourfold.spaces import Categories, Images, Text, Vectors
from fourfold.vocabulary import COSTS, FACTS, Card, Cost, Kind, Paradigm, recorded_facts
from shorter import shorter

NAMES = [f"{card.name}/{recipe}" for card in cards().values() for recipe in card.recipes]
GROWING = (
    (Images(1, 8, 8, n_values=17), Images(1, 16, 8, n_values=17)),
    (
        Images(1, 8, 8, n_values=17, given=Categories.numbered(3)),
        Images(1, 16, 8, n_values=17, given=Categories.numbered(3)),
    ),
    (Vectors(3), Vectors(6)),
    (Vectors(3, given=Categories.numbered(3)), Vectors(6, given=Categories.numbered(3))),
    (Text("abcdef", length=8), Text("abcdef", length=16)),
)
"""Pairs of spaces of one kind, the second with twice the values."""


def pairs():
    """Every (recipe, smaller model's space, larger one's) that builds; of spaces with classes only where needed."""
    rows = []
    for name in NAMES:
        for small, large in GROWING:
            try:
                build(name, small, "xs")
            except TypeError:
                continue
            if small.given is None or not any(n == name and type(s) is type(small) for n, s, _ in rows):
                rows.append((name, small, large))
    return rows


PAIRS = pairs()


def counted(model):
    """Network evaluations of one sample."""
    cond = 0 if model.space.given is not None else None
    with count_evaluations(model.estimand) as count:
        model.sample(4, cond=cond)
    return count.rows / 4


@pytest.mark.parametrize(("name", "small", "large"), PAIRS)
def test_a_card_says_what_its_model_does(name, small, large):
    model = build(name, small, "xs")
    facts = model.facts
    assert model.paradigm is cards()[name.partition("/")[0]].paradigm
    # every answer is a part's own
    assert model.objective.summary_of(model.estimand) in facts.objective
    assert model.objective.formula_of(model.estimand) in facts.objective_formula
    assert model.sampler.summary in facts.sampling
    assert model.sampler.formula in facts.sampling_formula
    assert all((model.objective.summary, model.objective.formula, model.sampler.summary, model.sampler.formula))
    assert model.estimand.summary == facts.represents != ""
    assert all(stage.model.objective.summary_of(stage.model.estimand) in facts.objective for stage in model.stages())
    assert facts.parts == tuple(stage.name for stage in model.stages())
    # kind: measured by scoring
    x, cond = checks.raw_examples(model, 2)
    assert shorter(model, likelihood=2).log_prob(x, cond).kind is facts.likelihood
    # cost law: measured by counting, on twice the values
    few, many = counted(shorter(model)), counted(shorter(build(name, large, "xs")))
    chain = isinstance(model.sampler, MarkovChain | BlockGibbs | Annealed) or getattr(model.sampler, "moves", 0) > 0
    law = Cost.LENGTH if many > few else Cost.CONSTANT if few == 1 else Cost.CHAIN if chain else Cost.STEPS
    assert facts.cost is law, f"{few:g} evaluations, {many:g} for twice the values"
    assert facts.cost_note.startswith(COSTS[law])


@pytest.mark.parametrize(("name", "small", "large"), PAIRS)
def test_the_number_of_steps_that_a_card_says_is_the_number_it_takes(name, small, large):
    model = build(name, small, "xs")
    said = re.search(r"in (\d+) steps of|, (\d+) jumps? in all|chain of (\d+) moves", model.facts.sampling)
    steps = getattr(model.sampler, "steps", None) or None  # 0: one token at a time
    assert (said is None) == (steps is None)
    if said is not None:
        assert int(next(filter(None, said.groups()))) == steps


def test_a_step_more_is_told_and_taken():
    """The check can fail: a sampler that lies about its steps would be found."""
    model = build("diffusion", Vectors(2), "xs")
    other = model.with_parts(sampler=dataclasses.replace(model.sampler, steps=7))
    assert "in 7 steps of DPMSolver" in other.facts.sampling
    assert counted(other) == 7


@pytest.mark.parametrize(
    ("name", "data", "kind", "cost"),
    [
        ("flow/spline", "vectors", Kind.EXACT, Cost.LENGTH),
        ("flow/coupling", "vectors", Kind.EXACT, Cost.CONSTANT),
        ("flow/continuous", "vectors", Kind.ESTIMATE, Cost.STEPS),
        ("flow/tarflow", "images", Kind.LOWER_BOUND, Cost.LENGTH),
        ("flow/tarflow-noised", "images", Kind.NONE, Cost.LENGTH),
        ("flow/glow", "images", Kind.LOWER_BOUND, Cost.CONSTANT),
        ("energy/denoising", "images", Kind.UNNORMALISED, Cost.STEPS),
        ("energy/noise-contrastive", "vectors", Kind.UNNORMALISED, Cost.CHAIN),
        ("few-step/mean-flow", "vectors", Kind.NONE, Cost.STEPS),
        ("latent-autoregressive/fsq", "images", Kind.LOWER_BOUND, Cost.LENGTH),
    ],
)
def test_kind_and_cost_of_recipes_that_differ_from_their_paradigm(name, data, kind, cost):
    card = facts(name, "xs")[data]
    assert (card.likelihood, card.cost) == (kind, cost)


def test_what_the_audit_missed_on_cards_is_said():
    latent = facts("latent-variable", "xs")["images"]
    assert "0.3 times KL(q ‖ N(0, I)), with 1 nat of it free" in latent.objective
    assert "fit the prior to the codes" in latent.objective
    assert "no bound on log p(x)" in latent.objective
    assert latent.likelihood_note.endswith("of the model with the fitted prior")
    assert "N(0, I)" not in facts("latent-variable", "xs")["vectors"].objective
    assert "median" in latent.sampling
    assert "not a draw" in latent.sampling
    assert "median" in facts("latent-diffusion", "xs")["images"].sampling
    energy = facts("energy", "xs")
    assert "score matching" in energy["images"].objective
    assert "ancestral" in energy["images"].sampling
    assert "log s(f_θ(x) − log 4)" in energy["vectors"].objective_formula
    assert "teacher" in facts("few-step", "xs")["vectors"].objective
    assert "without a teacher" in facts("few-step/mean-flow", "xs")["vectors"].objective
    assert "the errors of its teacher" not in facts("few-step/mean-flow", "xs")["vectors"].drawbacks
    assert not any("best" in fact.gives for fact in FACTS.values())


def test_a_card_speaks_only_where_it_has_something_of_its_own():
    common = FACTS[Paradigm.FLOW]
    assert Card(name="mine", paradigm=Paradigm.FLOW, recipes={}).facts(common) == common
    mine = Card(name="mine", paradigm=Paradigm.FLOW, recipes={}, strengths="speed").facts(common)
    assert mine.strengths == "speed"
    assert mine.weaknesses == common.weaknesses


def test_what_follows_from_kind_cost_and_parts_is_listed():
    distilled = dataclasses.replace(FACTS[Paradigm.DIFFUSION], likelihood=Kind.NONE, parts=("teacher", "autoencoder"))
    assert distilled.drawbacks.startswith("no likelihood, ")
    assert distilled.drawbacks.endswith(
        "the errors of its teacher, samples no better than what its autoencoder can reconstruct"
    )
    assert "likelihood" not in distilled.gives


def test_a_record_is_read_back_and_cannot_steer_a_terminal():
    card = build("latent-diffusion", Images(1, 8, 8), "xs").facts
    record = card.record(Paradigm.DIFFUSION)
    assert recorded_facts(record) == card
    assert recorded_facts({**record, "objective": "a\x1b[31mb"}).objective == "a[31mb"
    with pytest.raises(KeyError):
        recorded_facts({"paradigm": "diffusion"})


def test_defaults_are_named_by_kind_of_data():
    of_core = {"images": "flow/tarflow", "tables": "flow/spline", "vectors": "flow/spline"}
    assert defaults("flow").items() >= of_core.items()
    assert defaults("autoregressive")["text"] == "autoregressive/likelihood"


def test_describing_draws_no_random_number():
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    facts("energy", "xs")
    assert torch.rand(()) == expected


def test_an_unnormalised_number_is_not_called_a_bound():
    model = build("energy", Images(1, 8, 8, n_values=17), "xs")
    x, cond = checks.raw_examples(model, 2)
    assert "bound" not in model.facts.likelihood_note
    assert "bound" not in model.log_prob(x, cond).note


def test_a_recipe_is_not_described_by_the_defaults_of_its_card():
    from fourfold import info

    summary = cards()["energy"].summary
    assert summary in " ".join(info.of_recipe("energy").split())
    assert "by noise contrast for vectors" not in " ".join(info.of_recipe("energy/rbm").split())
    assert all(len(line) <= 80 for name in cards() for line in info.of_recipe(name).splitlines())
