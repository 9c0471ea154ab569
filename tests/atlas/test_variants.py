"""Variants of a paradigm: told by their own statements, and shown with their own formula."""

import pytest

from fourfold.vocabulary import FACTS, VARIANTS, Cost
from fourfold_atlas import place
from fourfold_atlas.evidence import Cell
from fourfold_atlas.show import text
from fourfold_atlas.variants import _CLAIMS, variant, variant_of

TOLD = [
    (
        Cell.ADVERSARIAL,
        "hinge",
        (
            "The discriminator is trained with the hinge loss max(0, 1 - D(x)) + max(0, 1 + D(G(z))) against "
            "a generator that maps noise to images."
        ),
    ),
    (
        Cell.ADVERSARIAL,
        "Wasserstein",
        (
            "We train a critic with the Wasserstein distance and a gradient penalty, against a generator "
            "that maps noise to images."
        ),
    ),
    (
        Cell.ADVERSARIAL,
        "least squares",
        ("The discriminator regresses labels with the least-squares GAN loss; the generator maps noise to pictures."),
    ),
    (
        Cell.ADVERSARIAL,
        "a scoring rule, no critic",
        (
            "A network maps a noise vector and the weather of today to that of tomorrow in a single forward pass. It "
            "is trained by minimising the continuous ranked probability score (CRPS) of two sampled forecasts."
        ),
    ),
    (
        Cell.ADVERSARIAL,
        "a scoring rule, no critic",
        "A perceptron maps noise to pictures and minimises the maximum mean discrepancy of generated samples to data.",
    ),
    (
        Cell.ADVERSARIAL,
        "",
        "A generator is trained against a discriminator with the non-saturating loss.",
    ),
    (
        Cell.DIFFUSION,
        "masked or discrete",
        (
            "The model is trained to predict randomly masked tokens, weighted to a variational bound; at "
            "sampling all tokens start masked and are unmasked in parallel over several steps."
        ),
    ),
    (
        Cell.DIFFUSION,
        "Gaussian noise",
        (
            "We train a network to predict the Gaussian noise that was added to an image, and sample by "
            "denoising step by step."
        ),
    ),
    (
        Cell.DIFFUSION,
        "velocity",
        "We regress the velocity field with flow matching, and integrate the ODE from noise to data.",
    ),
    (
        Cell.LATENT_VARIABLE,
        "evidence lower bound",
        ("Encoder and decoder are trained by maximising the evidence lower bound with the reparameterisation trick."),
    ),
    (
        Cell.LATENT_VARIABLE,
        "latents summed out",
        "A Gaussian mixture is fitted by expectation-maximisation; we draw a component, then a point.",
    ),
    (
        Cell.FLOW,
        "continuous",
        (
            "A continuous normalizing flow trained by maximum likelihood: the change of variables integrates "
            "the trace of the Jacobian along an ODE solved by a solver."
        ),
    ),
    (
        Cell.ENERGY,
        "Gibbs sampling",
        ("A restricted Boltzmann machine trained by contrastive divergence and sampled by block Gibbs sampling."),
    ),
    (
        Cell.ENERGY,
        "noise contrast",
        "An energy-based model trained by noise-contrastive estimation.",
    ),
    (
        Cell.AUTOREGRESSIVE,
        "token by token",
        ("A transformer is trained with cross-entropy to predict the next token, and generates one token at a time."),
    ),
    (
        Cell.DIFFUSION,
        "consistency or distilled",
        "A consistency model maps any point of the trajectory to its origin, and samples in one step.",
    ),
]


@pytest.mark.parametrize(("cell", "name", "words"), TOLD, ids=lambda value: value if isinstance(value, str) else "")
def test_a_variant_is_told_by_its_own_statement(cell, name, words):
    placed = place(words)
    assert (placed.cell, placed.variant) == (cell, name)
    facts = variant_of(cell, name) or FACTS[cell.paradigm]
    shown = " ".join(text(placed).split())
    assert " ".join(facts.objective.split()) in shown
    assert " ".join(facts.objective_formula.split()) in shown


def test_every_variant_has_claims_and_no_claim_tells_two():
    """A name without facts of its own, such as "token by token", is described by its paradigm's."""
    named = {cell.paradigm: set(names) for cell, names in _CLAIMS.items()}
    assert set(VARIANTS) <= set(named)
    assert all(set(variants) <= named[paradigm] for paradigm, variants in VARIANTS.items())
    claims = [claim for names in _CLAIMS.values() for variant_claims in names.values() for claim in variant_claims]
    assert len(claims) == len(set(claims))


def test_a_hint_tells_no_variant():
    ((name, (claim, *_)), *_) = _CLAIMS[Cell.DIFFUSION].items()
    assert variant(Cell.DIFFUSION, {claim: 1.4}, Cost.STEPS) == ""
    assert variant(Cell.DIFFUSION, {claim: 1.5}, Cost.STEPS) == name
    assert variant(Cell.NOT_GENERATIVE, {claim: 9.0}, None) == ""


@pytest.mark.parametrize(
    ("name", "says", "never"),
    [
        ("SeqGAN", "piece after piece", "map it to an example, once"),
        ("VRNN", "step after step", "latents of its autoencoder"),
        ("MAF", "one part of the example after the other", "in one network evaluation"),
        ("MeanFlow", "in one step", "nearly straight"),
        ("MaskGIT", "likelihood none", "bound"),
        ("RealNVP", "exact for dequantised ones", "of the data)"),
    ],
)
def test_what_a_name_tells_agrees_with_its_cost_and_likelihood(name, says, never):
    shown = " ".join(text(place(name)).split())
    assert says in shown
    assert never not in shown


def test_a_failure_mode_is_not_told_twice():
    names = [mode.name for mode in place("Consistency Models").failure_modes]
    assert "loss of diversity" in names
    assert "loss of diversity against the teacher" not in names


@pytest.mark.parametrize("name", ["SEDD", "D3PM", "MDLM", "LLaDA", "Mercury", "Multinomial Diffusion", "VQ-Diffusion"])
def test_discrete_systems_are_of_the_discrete_variant_though_noise_is_told_of_them(name):
    assert place(name).variant == "masked or discrete"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *((name, "diffusion") for name in ("TabDDPM", "TabSyn", "WaveGrad", "MDLM", "LLaDA", "Transfusion")),
        *((name, "adversarial") for name in ("CTGAN", "HiFi-GAN")),
        *((name, "latent-variable") for name in ("TVAE", "ARF")),
        *((name, "autoregressive") for name in ("TabularARGN", "Whisper", "VALL-E", "MusicGen", "Chameleon")),
        ("EnCodec", "not-generative"),
    ],
)
def test_systems_for_tables_speech_and_text_are_catalogued(name, cell):
    placed = place(name)
    assert placed.prior
    assert placed.cell == cell


def test_an_order_that_is_drawn_is_no_fixed_order():
    for name in ("XLNet", "Coconet", "GReaT"):
        placed = place(name)
        assert placed.variant == "any order"
        assert "fixed order" not in text(placed)


def test_a_head_that_denoises_costs_its_steps_for_each_token():
    """The number of tokens sets the cost of the network, and the solver that of its head."""
    said = place("autoregressive transformer over image tokens with a small diffusion head per token")
    for placed in (said, place("MAR")):
        assert placed.variant == "an inner sampler for each token"
        assert placed.cost_note.startswith("one network evaluation per token")
        assert "the solver steps of its head for each token" in placed.cost_note


def test_a_generator_that_writes_in_sequence_is_no_part_of_itself():
    placed = place("SeqGAN")
    assert placed.parts == ()
    assert placed.cost_note == "one network evaluation per token of the example, so the cost grows with its length"


def test_a_velocity_between_noise_and_data_is_no_gaussian_noise():
    assert place("a transformer predicts the velocity between noise and latents").variant == "velocity"
