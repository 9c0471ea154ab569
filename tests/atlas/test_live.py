"""Live objects, by class and configuration; fourfold's own models against the map."""

import dataclasses
import importlib
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import every_space
from fourfold.core import count_evaluations
from fourfold.engine import Run
from fourfold.paradigms import build, cards, recipes
from fourfold.spaces import Images, Vectors
from fourfold.vocabulary import Cost, Kind
from fourfold_atlas import Cell, place
from fourfold_atlas.show import text


def _models(name):
    """The models of a recipe, one for each space that it models."""
    return [model for (recipe, _), model in every_space.models().items() if recipe == name]


@pytest.mark.parametrize(("system", "recipe"), [("Glow", "flow/glow"), ("TarFlow", "flow/tarflow")])
def test_flows_of_pixels_have_the_kind_of_their_card(system, recipe):
    assert place(system).likelihood is build(recipe, Images(1, 8, 8), "xs").facts.likelihood is Kind.LOWER_BOUND


def test_a_latent_system_says_what_its_kind_is_of():
    placed, card = place("Stable Diffusion"), build("latent-diffusion", Images(1, 8, 8), "xs").facts
    assert placed.likelihood.bounded is card.likelihood is Kind.ESTIMATED_BOUND
    assert placed.likelihood_of.startswith("the latents of its autoencoder, so a bound for the data")
    assert place("GPT-2").likelihood_of.startswith("the tokens of its text")


def test_a_pipeline_by_its_configuration():
    class Pipeline:
        config: ClassVar = {"scheduler": ("diffusers", "DDIMScheduler"), "vae": ("diffusers", "AutoencoderKL")}

    placed = place(Pipeline())
    assert placed.cell is Cell.DIFFUSION
    assert "autoencoder" in {part.role for part in placed.parts}


def test_a_model_by_its_configuration():
    class SomeForCausalLM:
        class config:  # noqa: N801
            @staticmethod
            def to_dict():
                return {"model_type": "some"}

    assert place(SomeForCausalLM()).cell is Cell.AUTOREGRESSIVE


def test_a_module_by_its_parameters():
    module = torch.nn.Module()
    module.flows = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    assert place(module).cell is Cell.FLOW


@pytest.mark.parametrize("name", sorted(cards()))
def test_own_models_stand_where_their_cards_say(name):
    try:
        model = build(name, Vectors(2), "xs")
    except (TypeError, ValueError):
        pytest.skip(f"{name} does not model vectors")
    placed = place(model)
    assert placed.cell is not None
    assert placed.cell.paradigm is cards()[name].paradigm


def test_a_model_of_a_plain_torch_loop_is_placed_by_its_folder(tmp_path):
    folder = Run(build("diffusion", Vectors(2), "xs")).save(tmp_path / "mine").folder
    assert place(folder).cell is Cell.DIFFUSION


@pytest.mark.parametrize("name", sorted(cards()))
def test_own_models_cost_and_score_as_the_map_says(name):
    try:
        model = build(name, Vectors(2), "xs")
    except (TypeError, ValueError):
        pytest.skip(f"{name} does not model vectors")
    facts = model.facts
    with count_evaluations(model.estimand) as count:
        model.sample(3)
    least, most = {Cost.CONSTANT: (0, 1), Cost.LENGTH: (2, 2), Cost.STEPS: (2, 1e4), Cost.CHAIN: (2, 1e5)}[facts.cost]
    assert count.rows / 3 >= least
    assert count.rows / 3 <= most
    assert model.log_prob(torch.zeros(2, 2)).kind is facts.likelihood
    placed = place(model)
    assert (placed.likelihood, placed.cost, placed.facts) == (facts.likelihood, facts.cost, facts)


def test_a_paradigm_from_outside_stands_where_it_is_registered(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples" / "mixture"))
    mixture = importlib.import_module("fourfold_mixture")
    model = mixture.mixture(Vectors(2), "xs")
    placed = place(model)
    assert placed.cell is not None
    assert placed.cell.paradigm is mixture.CARD.paradigm
    assert placed.likelihood is model.facts.likelihood is model.log_prob(torch.zeros(2, 2)).kind


STAGED = [name for name in recipes() if any(model.stages() for model in _models(name))]


@pytest.mark.parametrize("name", sorted(recipes()))
def test_every_recipe_stands_where_its_card_says(name):
    placed = place(_models(name)[0])
    assert placed.cell is not None, placed.missing
    assert placed.cell.paradigm is cards()[name.partition("/")[0]].paradigm


def test_a_continuous_flow_is_solved_in_steps():
    placed = place(build("flow/continuous", Vectors(2), "xs"))
    assert (placed.cell, placed.cost) == (Cell.FLOW, Cost.STEPS)


def test_hybrids_are_found():
    hybrids = {"latent-diffusion", "latent-autoregressive", "latent-flow", "adversarial-student"}
    assert hybrids <= {name.partition("/")[0] for name in STAGED}


@pytest.mark.parametrize("name", STAGED)
def test_a_hybrid_is_on_the_map_what_its_card_says(name):
    card = cards()[name.partition("/")[0]]
    for model in _models(name):
        placed = place(model)
        assert placed.cell is not None
        assert placed.cell.paradigm is card.paradigm
        assert {part.role for part in placed.parts} == set(model.facts.parts)


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_every_kind_of_likelihood_can_be_told(kind):
    """A run of latent diffusion, whose likelihood is an estimated bound, ended in a KeyError."""
    placed = place(build("latent-diffusion", Images(1, 8, 8, n_values=17), "xs"))
    assert kind.words in text(dataclasses.replace(placed, likelihood=kind))
    assert text(dataclasses.replace(placed, likelihood=kind, facts=None))
