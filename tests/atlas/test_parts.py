"""Hybrids come apart into a chain, reasons are clauses, and trade-offs follow from variant and parts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fourfold.vocabulary import FACTS, VARIANTS, Cost, Kind, Paradigm
from fourfold_atlas import Cell, place, place_code, place_words, show
from fourfold_atlas.code import read_code
from fourfold_atlas.evidence import Aspect, Claim, Form
from fourfold_atlas.parts import chain
from fourfold_atlas.rules import part_rules, promise_rules
from fourfold_atlas.words import read_phrases, read_words

SPEECH = (
    "A causal transformer is trained with cross-entropy to predict the next speech token and draws one token at a "
    "time. A flow-matching decoder turns the tokens into mel spectrograms, and a neural vocoder makes the waveform."
)
LATENT = (
    "A denoiser predicts the added noise in the latent space of a pretrained VAE, given a frozen T5 text encoder; "
    "we sample in 50 denoising steps."
)


def _shown(placed):
    return " ".join(show.text(placed).split())


def test_mechanisms_of_other_paradigms_are_parts_and_no_objections():
    placed = place_words(SPEECH)
    assert placed.cell is Cell.AUTOREGRESSIVE
    assert [(part.role, part.cell) for part in placed.parts] == [
        ("decoder", Cell.DIFFUSION),
        ("vocoder", Cell.ADVERSARIAL),
    ]
    assert all(part.quote in SPEECH for part in placed.parts)
    assert placed.parts[0].objective == FACTS[Paradigm.DIFFUSION].objective
    shown = _shown(placed)
    assert "the autoregressive step → decoder → vocoder" in shown
    assert "against:" not in shown


def test_evaluations_add_up_and_the_likelihood_ends_where_a_part_has_none():
    speech, latent = place_words(SPEECH), place_words(LATENT)
    assert (speech.likelihood, speech.cost) == (Kind.EXACT, Cost.LENGTH)
    assert "the data behind" in speech.likelihood_of
    assert "the solver steps of its decoder, one of its vocoder" in speech.cost_note
    assert "a bound for the raw data" in latent.likelihood_of
    assert "one of its text encoder, one of its autoencoder" in latent.cost_note
    watched = {mode.name for mode in speech.failure_modes}
    assert {"drift", "decoder mismatch", "vocoder artefacts"} <= watched
    assert "reconstruction ceiling" in {mode.name for mode in latent.failure_modes}


@pytest.mark.parametrize(
    "text",
    [
        "We train a denoiser to predict the noise of images, without a discriminator and without an upsampler.",
        "Unlike models that rerank their samples, ours predicts the noise and denoises once.",
    ],
)
def test_parts_that_others_have_are_not_named(text):
    assert {part.role for part in place_words(text).parts} == set()


@pytest.mark.parametrize(
    ("text", "cell", "parts"),
    [
        (
            "We train a normalizing flow by maximum likelihood on the latents of a pretrained StyleGAN2. To draw an "
            "image, noise passes through the inverse flow, and the frozen generator turns the latent into an image.",
            Cell.FLOW,
            [("decoder", Cell.ADVERSARIAL)],
        ),
        (
            "A transformer is trained with cross-entropy on the next token and proposes continuations. An energy-based "
            "model, trained with noise-contrastive estimation, reranks them, and that of lowest energy is kept.",
            Cell.AUTOREGRESSIVE,
            [("reranker", Cell.ENERGY)],
        ),
        (
            "Sequences are sampled token by token from a causal transformer; a second model, trained as an "
            "autoregressive language model on the reverse direction, reranks the candidates.",
            Cell.AUTOREGRESSIVE,
            [("reranker", Cell.AUTOREGRESSIVE)],
        ),
    ],
)
def test_a_generator_whose_latents_are_modelled_and_a_scorer_are_parts(text, cell, parts):
    placed = place_words(text)
    assert placed.cell is cell
    assert [(part.role, part.cell) for part in placed.parts] == parts


def test_a_bound_with_a_flow_as_prior_and_a_critic():
    placed = place_words(
        "A variational autoencoder trained by the evidence lower bound. A normalizing flow is learned as the prior "
        "over the latents, and a patch discriminator is trained beside the decoder."
    )
    assert placed.cell is Cell.LATENT_VARIABLE
    assert [(part.role, part.stage, part.cell) for part in placed.parts] == [
        ("prior", "before", Cell.FLOW),
        ("critic", "training", Cell.ADVERSARIAL),
    ]
    assert "no part of the bound" in placed.likelihood_of
    assert "critic" not in placed.cost_note


CARD = """# Thing <span style="color: red">model</span>

pip install thing; a diffusion model needs a GPU.

| model | score |
|---|---|
| a rival diffusion model | 3.1 |

- prompt: "a diffusion model of a cat, predicted noise"

We train a network to **predict the noise** that was added to [images](https://example.org), and denoise in 30 steps.
"""


def test_a_reason_is_a_clause_of_the_text_and_no_scrap(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    placed = place(tmp_path)
    assert placed.cell is Cell.DIFFUSION
    assert placed.reason.where == "README.md:11"
    assert placed.reason.quote.startswith("We train a network to predict the noise that was added to images")
    scraps = {row.where for row in placed.evidence if row.form is Form.SCRAP}
    assert {"README.md:3", "README.md:7", "README.md:9"} <= scraps
    assert "rival" not in _shown(placed)
    assert "<" not in _shown(placed).split("objective")[0]


def test_words_that_only_tilt_the_balance_are_no_quotation():
    placed = place_words(
        "# Thing\n\nText-to-image synthesis with prompts, seeds, schedulers, inpainting, guidance and checkpoints. "
        "High-resolution image generation and editing from a prompt, with image conditioning, "
        "in a pipeline with safety checker and samplers."
    )
    assert placed.cell is Cell.DIFFUSION
    assert placed.reason is None
    first = show.text(placed).splitlines()[1:4]
    assert "its wording is near to that of diffusion systems" in " ".join(" ".join(first).split())
    assert "“" not in "".join(first)


TITLE = """# Points by diffusion models
[![deploy](badge.svg)](link) [Jane Doe](https://example.org), [John Doe](https://example.org)
"""
STEP = """
def sample(model, scheduler):
    scheduler.set_timesteps(50)

def train(model, x, optimizer, scheduler):
    t = torch.randint(0, 1000, (len(x),))
    noise = torch.randn_like(x)
    noisy = scheduler.add_noise(x, noise, t)
    predicted = model(noisy, t)
    residual = noise - predicted
    loss = (residual ** 2).mean()
    loss.backward()
"""


def test_a_title_ends_with_its_line_and_is_no_reason():
    placed = place_words(TITLE)
    assert "Points by diffusion models" in {row.quote for row in placed.evidence}
    assert placed.reason is None
    assert "no clause states its training or sampling; it is called diffusion" in _shown(placed)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("We train a network to predict the noise that was added to an image.", True),
        ("WaveNorm learns each level of the distribution with a continuous normalizing flow.", True),
        ("Trained using a generative adversarial objective, Thing makes a waveform in one pass.", True),
        ("Diffusion models generate images by denoising, and have become popular.", False),
        ("Thing: Conditional Flow Matching for Speech Synthesis of High Quality.", False),
        ("It supports samplers of diffusion models, and installation is simple.", False),
        ("You can train the diffusion model with your own data if you like.", False),
        ("The library trains diffusion models of many kinds.", False),
        ("Helix 3 was trained autoregressively on the genomes of many species.", True),
        ("We propose a framework that fine-tunes a video diffusion model on demonstrations.", True),
        ("It is the flagship, trained from a language model that others have published.", False),
        ("We first pretrain a diffusion model of codes, and then something else.", False),
    ],
)
def test_a_clause_is_a_reason_where_the_system_trains_or_draws(text, reason):
    card = f"# WaveNorm\n\nIt is a small thing of which a paper tells in more words than these.\n\n{text}\n"
    forms = {row.form for row in read_words(card) if row.claim.cell and row.weight > 0}
    assert (Form.REASON in forms) is reason


def test_a_line_is_a_reason_where_a_loss_depends_on_it_or_it_draws():
    source = """
def loss(net, x, t):
    noise = torch.randn_like(x)
    noisy = scheduler.add_noise(x, noise, t)
    target = noise
    weight = snr_weight
    loss = F.mse_loss(net(noisy, t), target)
    loss = loss * weight
    return loss

def plot(net, x, t):
    shown = scheduler.add_noise(x, torch.randn_like(x), t)
    show(shown)
"""
    reasons = {row.quote for row in read_code(source) if row.form is Form.REASON and row.claim is Claim.DENOISE}
    assert reasons == {"noisy = scheduler.add_noise(x, noise, t) … loss = F.mse_loss(net(noisy, t), target)"}


def test_a_line_of_code_is_a_reason_only_where_it_computes_something():
    evidence = {row.quote: row.form for row in read_code(STEP)}
    assert evidence["scheduler.set_timesteps(50)"] is Form.HINT
    assert evidence["t = torch.randint(0, 1000, (len(x),))"] is Form.HINT
    assert place_code(STEP).reason.quote == "residual = noise - predicted"


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("Our model P-Flow matches the quality of larger ones.", Claim.VELOCITY),
        ("We propose a graph, which in turn motivates an estimator.", Claim.ONE_BY_ONE),
        ("The predicted questions are appended to the original documents.", Claim.ONE_BY_ONE),
        ("Once the folders are there, proceed to the next step of the evaluation.", Claim.NEXT_PIECE),
        ("Run it with `python main.py --cfg configs/graph.yaml` on one card.", Claim.ITERATE),
        ("The policy is loaded by cfg, and its head by the same cfg.", Claim.ITERATE),
        ("It learns an average velocity with a v-loss reparameterisation.", Claim.BOUND),
    ],
)
def test_words_in_another_sense_state_no_mechanism(text, claim):
    assert claim not in {row.claim for row in read_phrases(text)}


def test_works_of_others_below_their_own_heading_count_little():
    text = "# A model of series\n\nWe mask patches and rebuild them.\n\n## Contemporary work\n\n"
    row = "A decoder-only foundation model for forecasting predicts the next patch.\n"
    below, beside = read_phrases(text + row), read_phrases(text.replace("## Contemporary work", "## Model") + row)
    assert max(row.weight for row in below if row.claim is Claim.NEXT_PIECE) < 1
    assert max(row.weight for row in beside if row.claim is Claim.NEXT_PIECE) >= 2


def test_a_step_that_is_predicted_is_a_next_piece():
    for text in ("The network learns to predict the next step of the walk.", "Next-step cross-entropy over the codes."):
        assert Claim.NEXT_PIECE in {row.claim for row in read_phrases(text)}


def test_failure_modes_are_those_of_the_variant():
    mixture = place_words("A Gaussian mixture fitted by expectation-maximisation; draw a component, then a point.")
    bound = place_words("We maximise the evidence lower bound with the reparameterisation trick.")
    assert "local optimum" in {mode.name for mode in mixture.failure_modes}
    assert "posterior collapse" not in _shown(mixture)
    assert "posterior collapse" in _shown(bound)


def test_what_a_text_claims_against_the_textbook_is_shown_as_its_claim():
    placed = place_words(
        "We train a generator against a discriminator with a relativistic loss. Our training is stable, and the model "
        "avoids mode collapse."
    )
    shown = _shown(placed)
    assert "mode collapse" in {mode.name for mode in placed.failure_modes}
    assert "that its training is stable, where" in shown
    assert "that it misses no modes, where mode collapse" in shown


GAME = "A generator maps noise to images and is trained against a discriminator. "
SCORE = "A network is trained to predict the noise of a noised image, which a sampler removes step after step. "
FLOW = "An invertible map is trained by the change of variables, and its inverse is applied to a normal draw. "
PIECES = "A transformer predicts the next token given the earlier ones, and draws one token after another. "


@pytest.mark.parametrize(
    ("text", "claim", "answer"),
    [
        (GAME + "It does not suffer from mode collapse.", "that it misses no modes", "mode collapse is usual"),
        (GAME + "Our loss improves training stability.", "that its training is stable", "oscillation"),
        (
            GAME + "Growing it speeds the training up and greatly stabilizes it.",
            "that its training is stable",
            "oscillation",
        ),
        (GAME + "It offers an exact likelihood.", "that its likelihood is exact", "the map's answer is none"),
        (SCORE + "It allows exact likelihood computation.", "that its likelihood is exact", "answer is indirect"),
        (SCORE + "It generates videos in as few as two steps.", "that few evaluations suffice", "per step"),
        (PIECES + "This mitigates the issue of exposure bias.", "that errors do not add up", "drift"),
    ],
)
def test_a_claim_of_the_text_stands_beside_the_answer_of_the_map(text, claim, answer):
    shown = _shown(place_words(text))
    assert f"it claims {claim}, where " in shown
    assert answer in shown.partition("it claims")[2].partition("“")[0]


@pytest.mark.parametrize(
    "text",
    [
        GAME + "There is little understanding of why mode collapse happens and how others avoid mode collapse.",
        GAME + "Existing methods avoid mode collapse by tricks.",
        GAME + "To avoid mode collapse, many prior works tune the loss.",
        GAME + "A major challenge is avoiding mode collapse.",
        GAME + "It does not have an exact likelihood.",
        SCORE + "It was extended by subsequent work that allows exact likelihood computation.",
        GAME + "It needs one forward pass.",
        FLOW + "It offers an exact likelihood.",
        SCORE + "Install it in two steps.",
    ],
)
def test_claims_of_others_denials_and_what_the_map_says_too_are_not_shown_as_claims(text):
    assert "it claims" not in show.text(place_words(text))


def test_a_claim_against_the_textbook_changes_no_answer():
    plain, claims = place_words(GAME), place_words(GAME + "It covers all modes, and its density is tractable.")
    assert claims.promises
    assert not {row.rule for row in claims.promises} - {""}
    assert (plain.cell, plain.likelihood, plain.cost) == (claims.cell, claims.likelihood, claims.cost)


def test_promises_deny_failure_modes_that_exist():
    of_paradigms = [mode for facts in FACTS.values() for mode in facts.failure_modes]
    of_variants = [mode for of in VARIANTS.values() for facts in of.values() for mode in facts.failure_modes]
    of_parts = {rule.failure[0] for rule in part_rules().values() if rule.failure}
    names = {mode.name for mode in (*of_paradigms, *of_variants)} | of_parts
    assert {claim for claim in Claim if claim.aspect is Aspect.PROMISE} == set(promise_rules())
    assert not set().union(*(rule.denies for rule in promise_rules().values())) - names


def test_a_checkout_names_its_parts_and_its_code_gives_the_reason(tmp_path):
    (tmp_path / "README.md").write_text(
        "# Thing\n\nImages from text prompts: seeds, schedulers, guidance, inpainting.\n"
    )
    (tmp_path / "model.py").write_text(
        "from diffusers import AutoencoderKL\n\n\nclass Discriminator:\n    pass\n\n\n"
        "def loss(net, x, t, noise):\n    x_t = q_sample(x, t, noise)\n    loss = F.mse_loss(net(x_t, t), noise)\n"
        "    return loss\n"
    )
    placed = place(tmp_path)
    assert placed.cell is Cell.DIFFUSION
    assert placed.reason.where.startswith("model.py")
    assert {part.role: part.where for part in placed.parts} == {
        "autoencoder": "model.py:1",
        "critic": "model.py:4",
    }


def test_the_parts_of_hybrids_in_prose():
    """A floor below the figure of ``benchmarks/atlas.py --parts``, so that a change of the rules is seen."""
    cases = Path(__file__).parents[2] / "benchmarks" / "atlas_parts.jsonl"
    named = total = 0
    for case in map(json.loads, cases.read_text().splitlines()):
        if case["kind"] == "prose" and case["part"] == "development":
            roles = {part.role for part in place_words(case["text"]).parts}
            named += len(roles & set(case["parts"]))
            total += len(case["parts"])
    assert named / total >= 0.85


GERMAN = (
    "Dieses Modell erzeugt Bilder aus Texten. Es wurde auf einer großen Menge von Bildern und Beschreibungen gelernt "
    "und läuft auf einer einzelnen Karte. Die Gewichte sind frei verfügbar und dürfen weitergegeben werden."
)
CHINESE = "本模型根据文字生成图像。" * 3 + " 训练 数据 来自 互联网 的 图片 和 文字 说明 模型 权重 公开 可 下载 使用"


@pytest.mark.parametrize("text", [GERMAN, CHINESE])
def test_another_language_is_said_to_be_one(text):
    placed = place_words(text)
    assert placed.cell is None
    assert placed.missing.startswith("an English text")


@pytest.mark.parametrize(
    "text",
    [
        "本文提出一种扩散模型，通过预测噪声来训练，并逐步去噪生成图像。",
        "このモデルは画像を生成する拡散モデルです。",
        "Модель обучается предсказывать шум, добавленный к изображению.",
        "Wir stellen ein Modell vor, das Bilder erzeugt, indem es Rauschen in vielen kleinen Schritten entfernt. "
        "Das Netz lernt, das hinzugefügte Rauschen vorherzusagen.",
    ],
)
def test_a_sentence_in_another_language_is_said_to_be_one(text):
    assert place_words(text).missing.startswith("an English text")


def test_the_next_codec_token_is_no_mere_tokenizer():
    assert place_words("A transformer predicts the next audio codec token.").cell is Cell.AUTOREGRESSIVE


def test_english_is_not_taken_for_another_language():
    for text in (SPEECH, LATENT, CARD, "text-to-image diffusion transformer, rectified flow, 12B parameters"):
        assert not any("another language" in note for note in place_words(text).notes)


def test_two_systems_side_by_side_say_where_they_differ():
    shown = " ".join(show.side_by_side([place("Stable Diffusion"), place("StyleGAN")]).split())
    assert "They differ in objective, sampling, likelihood, cost and parts." in shown
    same = " ".join(show.side_by_side([place("GPT-2"), place("GPT-2")]).split())
    assert "They differ in no answer." in same


GAN = (
    "FaceForge is a generative adversarial network: a generator maps noise to images and a discriminator tells real "
    "from generated images; both are trained by the minimax loss. Training is stable and there is no mode collapse. "
    "It computes the exact likelihood of an image."
)


def test_a_clause_of_the_step_itself_is_no_part():
    assert place(GAN).cell is Cell.ADVERSARIAL
    assert place(GAN).parts == ()


def test_claims_against_the_map_stand_side_by_side():
    shown = " ".join(show.side_by_side([place(GAN), place("DDPM")]).split())
    assert "it claims that its likelihood is exact" in shown
    assert "mode collapse is usual" in shown
    assert "it claims" not in show.side_by_side([place("DDPM"), place("StyleGAN")])


def test_systems_of_one_kind_stand_side_by_side_in_their_own_words():
    shown = " ".join(show.side_by_side([place("DDPM"), place("DDIM")]).split())
    assert "A thousand ancestral denoising" in shown
    assert "Their objective and sampling are of one kind and differ in detail." in shown
    audio = show.side_by_side([place("AudioLM"), place("MusicGen")])
    assert "2 tokenizers" in audio
    assert max(map(len, audio.splitlines())) <= 80
    assert " ".join(line[12:44].strip() for line in audio.splitlines()).count("samples no better than") == 1


def test_a_prior_is_named_by_its_kind():
    parts = {part.role: part.cell for part in place("VAE with a RealNVP prior trained jointly by the ELBO").parts}
    assert "prior" in parts


@pytest.mark.parametrize(
    ("text", "role", "cell"),
    [
        (
            "A causal transformer predicts the sequence of latents; its state and a noise vector are mapped by a small "
            "diffusion model to the next latent.",
            "head",
            Cell.DIFFUSION,
        ),
        (
            "A transformer is trained with cross-entropy on the next token of a mesh, given a latent, and draws one "
            "token after another. A diffusion model of this latent is fitted afterwards.",
            "prior",
            Cell.DIFFUSION,
        ),
        (
            "A denoiser predicts the noise in the encodings of proteins. A decoder maps the denoised encodings back to "
            "residues.",
            "autoencoder",
            None,
        ),
        (
            "Our model is trained by the evidence lower bound; its prior is a restricted Boltzmann machine.",
            "prior",
            Cell.ENERGY,
        ),
    ],
)
def test_a_part_is_told_by_what_it_does(text, role, cell):
    assert {part.role: part.cell for part in place_words(text).parts}[role] is cell


def test_what_tells_of_a_part_in_one_cell_tells_nothing_in_another():
    """A decoder that maps latents back is an autoencoder beside diffusion, and the model itself behind a bound."""
    text = "The encoder maps x into a latent code and the decoder maps the latent back; we maximise the ELBO."
    placed = place_words(text)
    assert placed.cell is Cell.LATENT_VARIABLE
    assert "autoencoder" not in {part.role for part in placed.parts}


def test_a_score_by_an_encoder_is_no_encoder():
    text = "A denoiser predicts the noise of images. It has a CLIP score of 0.3 and a CLIP similarity above others."
    assert "text_encoder" not in {part.role for part in place_words(text).parts}
    assert "text_encoder" in {part.role for part in place_words(text + " CLIP embeds the prompts.").parts}


def test_a_part_that_is_denied_is_none():
    stated = "A transformer is trained by predicting the next token of an image, "
    with_part, without = (f"{stated}{word} a CLIP text encoder." for word in ("conditioned on", "without"))
    assert "text_encoder" in {part.role for part in place_words(with_part).parts}
    assert "text_encoder" not in {part.role for part in place_words(without).parts}


def test_what_predicts_the_noise_of_a_diffusion_model_is_no_head_beside_it():
    told = "The policy is trained to predict the noise that was added to actions, by a small diffusion head."
    assert place_words(told).cell is Cell.DIFFUSION
    assert not place_words(told).parts
    tokens = f"{told} Its transformer is trained by next-token prediction, autoregressively, one token at a time."
    assert "head" in {part.role for part in chain(place_words(tokens).evidence, Cell.DIFFUSION)}


def test_a_property_is_shown_only_where_it_makes_the_variant():
    text = "We train a network to predict the noise that was added to an image. It is distilled to few steps once."
    placed = place_words(text)
    rows = tuple(row for row in placed.evidence if row.claim in (Claim.DENOISE, Claim.DISTILLED))
    gaussian, distilled = (
        replace(placed, evidence=rows, variant=name) for name in ("Gaussian noise", "consistency or distilled")
    )
    assert Claim.DISTILLED in {row.claim for row in rows}
    assert f"] {Claim.DISTILLED.says}" not in _shown(gaussian)
    assert f"] {Claim.DISTILLED.says}" in _shown(distilled)
