"""Words: the claim each wording supports, foils and negations, conditioners, offsets."""

import pytest

from fourfold.vocabulary import Cost, Kind
from fourfold_atlas import Cell, place_words
from fourfold_atlas.decision import decide
from fourfold_atlas.evidence import Aspect, Claim
from fourfold_atlas.rules import hints, part_rules, rule_ids, statement_rules, word_rules
from fourfold_atlas.votes import by_claim as tally
from fourfold_atlas.votes import weigh
from fourfold_atlas.words import preamble, read_phrases, read_words, unfoiled

PLACED = [
    (
        "softmax over the next character given the earlier ones; feed each draw back in",
        Cell.AUTOREGRESSIVE,
        Kind.EXACT,
        Cost.LENGTH,
    ),
    (
        "count word pairs, back off when unseen; draw one word after another",
        Cell.AUTOREGRESSIVE,
        Kind.EXACT,
        Cost.LENGTH,
    ),
    (
        "reconstruction plus a KL to a standard normal; push a normal draw through the decoder",
        Cell.LATENT_VARIABLE,
        Kind.LOWER_BOUND,
        Cost.CONSTANT,
    ),
    (
        "mixture of Gaussians fitted by EM; pick a component, then draw from it",
        Cell.LATENT_VARIABLE,
        Kind.EXACT,
        Cost.CONSTANT,
    ),
    (
        "assign points softly to clusters: soft-assign, re-estimate the means, until it stalls; draw a cluster, "
        "then a point",
        Cell.LATENT_VARIABLE,
        Kind.EXACT,
        Cost.CONSTANT,
    ),
    (
        "linear map of a normal latent plus isotropic noise, fitted in closed form by eigenvectors; draw the "
        "latent, map it",
        Cell.LATENT_VARIABLE,
        Kind.EXACT,
        Cost.CONSTANT,
    ),
    (
        "a discriminator tells real from fake rows, the generator tries to fool it; one generator pass from noise",
        Cell.ADVERSARIAL,
        Kind.NONE,
        Cost.CONSTANT,
    ),
    (
        "regress the noise that was added at a random level; remove it in fifty steps",
        Cell.DIFFUSION,
        Kind.ESTIMATE,
        Cost.STEPS,
    ),
    (
        "regress the straight-line velocity between noise and data; integrate the ODE from noise",
        Cell.DIFFUSION,
        Kind.ESTIMATE,
        Cost.STEPS,
    ),
    (
        "consistency distillation from a diffusion teacher; a single network call from noise",
        Cell.DIFFUSION,
        Kind.NONE,
        Cost.CONSTANT,
    ),
    (
        "cross-entropy on tokens masked at a random rate; unmask the most confident tokens over several rounds",
        Cell.DIFFUSION,
        Kind.LOWER_BOUND,
        Cost.STEPS,
    ),
    (
        "change of variables with the log-determinant of coupling layers; invert the map on a normal draw",
        Cell.FLOW,
        Kind.EXACT,
        Cost.CONSTANT,
    ),
    (
        "log-determinant of masked autoregressive layers; the inverse needs one pass per dimension",
        Cell.FLOW,
        Kind.EXACT,
        Cost.LENGTH,
    ),
    (
        "lower the energy of data, raise it for negatives drawn by Langevin steps",
        Cell.ENERGY,
        Kind.UNNORMALISED,
        Cost.CHAIN,
    ),
    (
        "cross-entropy of the class label given the image; report a probability per class",
        Cell.NOT_GENERATIVE,
        Kind.NONE,
        None,
    ),
    ("pull two augmented views of an image together; embeddings for retrieval", Cell.NOT_GENERATIVE, Kind.NONE, None),
]


@pytest.mark.parametrize(("text", "cell", "kind", "cost"), PLACED)
def test_objective_and_sampling_decide(text, cell, kind, cost):
    placed = place_words(text)
    assert (placed.cell, placed.likelihood, placed.cost) == (cell, kind, cost)


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        (
            "Unlike GANs and VAEs, we learn to denoise the image step by step with a diffusion model.",
            {Claim.CALLED_ADVERSARIAL, Claim.CALLED_LATENT},
        ),
        ("A non-autoregressive model that needs no discriminator.", {Claim.CALLED_AUTOREGRESSIVE, Claim.GAME}),
        ("It outperforms normalizing flows.", {Claim.CALLED_FLOW}),
        ("Synthesis without the need for auto-regression.", {Claim.CALLED_AUTOREGRESSIVE}),
    ],
)
def test_foils_and_negations_do_not_count(text, absent):
    votes = {row.claim: row.weight for row in read_words(text) if row.weight > 0}
    assert not absent & set(votes)


def test_conditioners_never_vote():
    rows = read_phrases("Prompts go through a frozen T5 text encoder and CLIP embeddings.")
    assert {row.claim for row in rows if row.weight > 0} == {Claim.PART_TEXT_ENCODER}


def test_a_hybrid_is_placed_by_its_generative_step():
    placed = place_words(
        "Predict the added noise in the latent space of a frozen VAE, given T5 text embeddings; 50 sampling "
        "steps, then decode."
    )
    assert placed.cell is Cell.DIFFUSION
    assert {part.role for part in placed.parts} >= {"autoencoder", "text_encoder"}
    assert "latents" in placed.likelihood_of
    assert any(mode.name == "reconstruction ceiling" for mode in placed.failure_modes)


def test_a_missing_fact_is_named():
    placed = place_words("A nice model for pictures of cats.")
    assert placed.cell is None
    assert "loss" in placed.missing


def test_quotes_stand_where_they_say():
    text = "# A model\n\n<!-- hidden -->\nIt predicts the next token, one token at a time."
    for row in read_words(text):
        place, first = int(row.where.rsplit(" ", 1)[1]), text.index(row.quote)
        assert first <= place < first + len(row.quote)
    hit = next(row for row in read_words(text) if row.claim is Claim.NEXT_PIECE)
    assert text[int(hit.where.split()[1]) :].startswith("next token")


def test_comments_links_and_references_are_not_prose():
    text = (
        "<!-- a GAN -->\nhttps://example.org/diffusion-model\n\n```bibtex\n"
        "@article{a, title={Normalizing flows}}\n```\n"
    )
    assert not [row for row in read_words(text) if row.weight > 0]


def test_every_rule_has_an_id_of_its_own_and_a_sane_weight():
    ids = rule_ids()
    assert len(ids) == len(set(ids))
    assert {claim for claim in Claim if claim.aspect is Aspect.PART} - {Claim.PART_NETWORK} == set(part_rules())
    assert hints() <= set(ids)
    assert all(0 < rule.weight <= 4 for rule in (*word_rules(), *statement_rules()))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        (
            "Series values are tokenized into a fixed vocabulary and a transformer is trained on the tokens with "
            "a cross-entropy loss.",
            Cell.AUTOREGRESSIVE,
        ),
        (
            "The tracks are trained to be restored at variable mask rates; it generates by iteratively sampling "
            "masked positions.",
            Cell.DIFFUSION,
        ),
        (
            "We improve sample quality with classifier guidance, trading diversity for fidelity by gradients "
            "from a classifier.",
            Cell.DIFFUSION,
        ),
        ("A model that learns to transform noise into pictures with few neural network passes.", Cell.DIFFUSION),
        (
            "Real-valued non-volume preserving transformations give exact log-likelihood computation and exact "
            "sampling.",
            Cell.FLOW,
        ),
        ("Data-dependent expectations are approximated with persistent Markov chains over visible units.", Cell.ENERGY),
        (
            "An image-to-image translation model whose generator and discriminators see unpaired pictures.",
            Cell.ADVERSARIAL,
        ),
        ("Its error on the ImageNet test set won the ILSVRC classification task.", Cell.NOT_GENERATIVE),
        (
            "Representations of raw audio, optimized by a noise contrastive binary classification task.",
            Cell.NOT_GENERATIVE,
        ),
    ],
)
def test_a_mechanism_decides_where_no_paradigm_is_named(text, cell):
    assert place_words(text).cell is cell


def test_background_sentences_about_others_do_not_decide():
    text = (
        "Autoregressive models (ARMs) are widely regarded as the standard. We train a network to predict masked "
        "tokens at random mask ratios."
    )
    assert place_words(text).cell is Cell.DIFFUSION


def test_a_hint_that_is_repeated_is_still_one_hint():
    once = "The agent plans in a latent space."
    for text in (once, f"{once} Its latents are small. Each latent is cheap. Latent planning is fast."):
        assert decide("", read_phrases(text)).cell is None


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        (
            "Model-based clustering and classification with finite normal mixtures, fitted by the EM algorithm.",
            Cell.LATENT_VARIABLE,
        ),
        ("We predict corners and sides sequentially with a transformer.", Cell.AUTOREGRESSIVE),
        (
            "Clips become short grids of codes, and a transformer is used to model the discrete latents.",
            Cell.AUTOREGRESSIVE,
        ),
        (
            "Its vocabulary is widened by visual tokens; it generates a draft of about 256 tokens. Later, "
            "reinforcement learning sharpens this image generation model.",
            Cell.AUTOREGRESSIVE,
        ),
    ],
)
def test_pieces_and_mixtures_without_their_names(text, cell):
    assert place_words(text).cell is cell


def test_a_title_says_what_a_system_is_for():
    topic = "It handles segmentation maps, key points and image features. Embeddings of the input guide it."
    assert place_words(f"# Tracking\n\n{topic}").cell is Cell.NOT_GENERATIVE
    assert place_words(f"# Generating scenes\n\n{topic}").cell is not Cell.NOT_GENERATIVE


def test_a_chain_alone_is_no_energy_and_restoration_is_no_denoising_model():
    assert weigh({Claim.CHAIN: 3.0, Claim.ENERGY_CONTRAST: 2.0})[Cell.ENERGY] == 5.0
    text = "Image restoration: denoising, deblurring and deraining, scored by PSNR and SSIM."
    assert place_words(text).cell is Cell.NOT_GENERATIVE


def _votes(text: str) -> dict[Claim, float]:
    return tally(read_phrases(text))


def test_a_diffusion_language_model_is_called_diffusion_and_no_language_model():
    for text in (
        "A diffusion language model.",
        "Diffusion large language models are scaled.",
        "We train diffusion LMs.",
    ):
        votes = _votes(text)
        assert votes.get(Claim.CALLED_DIFFUSION, 0) > 0, text
        assert votes.get(Claim.CALLED_AUTOREGRESSIVE, 0) <= 0, text
    assert _votes("A large language model.")[Claim.CALLED_AUTOREGRESSIVE] > 0


def test_gan_is_a_word_or_the_end_of_a_name_in_capitals():
    for text in ("StyleGAN2 is fast.", "A cGAN.", "Train the gan.", "WGAN-GP here."):
        assert _votes(text).get(Claim.CALLED_ADVERSARIAL, 0) > 0, text
    for text in ("By Rangan Majumder.", "Morgan wrote it.", "It began in March."):
        assert Claim.CALLED_ADVERSARIAL not in _votes(text), text


def test_samplernn_draws_no_code_and_boltzmann_generators_play_no_game():
    assert Claim.DECODE_LATENT not in _votes("SampleRNN Code accompanying the paper on audio generation.")
    assert _votes("We sample a code and decode it by generating words.")[Claim.DECODE_LATENT] > 0
    assert Claim.GAME not in _votes("Boltzmann generators for peptides.")
    assert _votes("Generators for peptides.")[Claim.GAME] > 0


def test_residual_quantisers_are_parts():
    for name in ("VQ-VAE", "RQ-VAE", "RVQ-VAE", "VQGAN"):
        votes = _votes(f"Codes come from a frozen {name} tokenizer.")
        assert votes.get(Claim.PART_TOKENIZER, 0) > 0, name
        assert Claim.CALLED_LATENT not in votes, name


def test_a_block_of_code_without_an_end_is_still_code():
    code = "```python\nvae = get_vae()\n"
    open_, closed = (
        max(
            row.weight
            for row in read_phrases(f"# Images\n\nText here.\n\n{code}{end}")
            if row.claim is Claim.CALLED_LATENT
        )
        for end in ("", "```\n")
    )
    assert open_ == closed < 2.5


LICENCE = '<!-- # Copyright of nobody\n#\n# Licensed under a licence. Unless required by law, "AS IS".\n-->\n'
YAML = "---\nlicense: mit\nlanguage:\n- en\n" + "".join(f"metrics-{k}: accuracy\n" for k in range(120)) + "---\n"
BODY = "# Faces\n\nA discriminator tells real from fake faces; the generator is trained to fool it."


@pytest.mark.parametrize(
    "head", [LICENCE, YAML, YAML + LICENCE, "\ufeff" + YAML.replace("\n", "\r\n"), LICENCE + "\n" + LICENCE]
)
def test_a_licence_and_yaml_before_a_card_change_nothing_but_offsets(head):
    def read(text, shift=0):
        return {
            (row.claim, row.weight, row.quote, int(row.where.removeprefix("offset ")) + shift)
            for row in read_words(text)
        }

    assert preamble(head + BODY) == len(head)
    assert read(head + BODY) == read(BODY, len(head))


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nA rule above, not YAML.\n---\nMore.",
        "# Title\n---\nlicense: mit\n---\n",
        "<!-- never closed",
        "---\na: b\nnever closed",
        "",
    ],
)
def test_what_is_no_preamble_is_read(text):
    assert preamble(text) == 0


@pytest.mark.parametrize(
    ("yaml", "cell"),
    [
        ("pipeline_tag: text-generation", Cell.AUTOREGRESSIVE),
        ("pipeline_tag: token-classification", Cell.NOT_GENERATIVE),
        ("library_name: diffusers\ntags:\n- text-to-image", Cell.DIFFUSION),
        ("tags: [gan, image-generation]", Cell.ADVERSARIAL),
    ],
)
def test_a_cards_yaml_says_what_it_is_for(yaml, cell):
    text = f"---\nlicense: mit\n{yaml}\n---\n# My model\n\nEnjoy it."
    placed = place_words(text)
    assert placed.cell is cell
    evidence = next(row for row in placed.evidence if row.claim.cell is cell and not row.rule)
    assert int(evidence.where.removeprefix("offset ")) < text.index("# My")
    assert place_words("# My model\n\nEnjoy it.").cell is None


def test_a_card_that_is_yaml_alone_is_read_too():
    placed = place_words("---\nlicense: mit\npipeline_tag: summarization\n---\n")
    assert placed.cell is Cell.AUTOREGRESSIVE
    assert [row.quote for row in placed.evidence] == ["pipeline_tag: summarization"]
    assert place_words("---\nlicense: mit\n---\n").cell is None


def test_what_yaml_says_of_something_else_is_no_tag():
    text = "---\nlicense: mit\nwidget:\n- text: a diffusion model drew this\n---\n# My model\n\nEnjoy it."
    assert place_words(text).cell is None


@pytest.mark.parametrize(
    "text",
    [
        "A U-Net segments white matter in diffusion MRI volumes; Dice loss against expert masks",
        "anisotropic diffusion smooths a photograph while its edges stay",
        "a graph network regresses how far information diffusion carries each story, mean squared error",
        "adversarial training of an image classifier: perturb inputs by projected gradient ascent, minimise "
        "cross-entropy on them",
        "gradient boosting predicts household energy consumption of the next day, squared error",
    ],
)
def test_a_paradigms_name_in_another_sense_names_no_paradigm(text):
    assert place_words(text).cell in (Cell.NOT_GENERATIVE, None)
    named = {Claim.CALLED_DIFFUSION, Claim.CALLED_ADVERSARIAL, Claim.CALLED_ENERGY}
    assert not named & {row.claim for row in read_words(text)}


def test_what_is_set_aside_is_quoted_all_the_same():
    text = (
        "A classifier under adversarial attacks: a U-Net segments diffusion MRI volumes, labels by experts, and "
        "a text encoder reads notes."
    )
    quotes = [row.quote for row in read_words(text) if row.rule.startswith("words/")]
    assert quotes
    assert all(quote in text for quote in quotes)
    assert any("diffusion" in quote or "adversarial" in quote for quote in quotes)


def test_a_mask_in_the_title_is_a_name_taken_out():
    card = (
        "# [MASK]: faces from [MASK]\n\n[MASK] is trained on faces. Run [MASK] with a seed to draw new ones from noise."
    )
    for text in (card, YAML + card):
        masked, blank = read_words(text), read_words(text.replace("[MASK]", "______"))
        assert [(row.claim, row.weight) for row in masked] == [(row.claim, row.weight) for row in blank]
    drawn = "# A model of ours\n\nStart from all [MASK] tokens and unmask the most confident over several rounds."
    assert Claim.DISCRETE in {row.claim for row in read_words(drawn)}
    assert read_words(drawn) != read_words(drawn.replace("[MASK]", "______"))


def test_adversarial_training_beside_a_generator_is_a_game():
    text = (
        "adversarial training of a generator and a discriminator; robust against perturbed images; one pass from noise"
    )
    assert place_words(text).cell is Cell.ADVERSARIAL


@pytest.mark.parametrize(
    "foil",
    [
        "faster and sharper than any {}",
        "unlike {}",
        "in contrast to every {}",
        "instead of a {}",
        "contrary to a {}",
        "a tool that does away with the {}",
        "ahead of the best {}",
        "in place of a {}",
        "an improvement over the {}",
    ],
)
@pytest.mark.parametrize("other", ["diffusion model", "GAN", "normalizing flow", "VAE"])
def test_a_comparison_counts_for_nothing_whatever_it_names(foil, other):
    rows = read_phrases(f"A model for beautiful pictures, {foil.format(other)}.")
    assert not [row for row in rows if row.weight > 0 and row.claim.cell is not None]
    assert [row for row in rows if row.weight == 0], "it is quoted as set aside"


@pytest.mark.parametrize(
    "text",
    [
        "A diffusion model with fewer than 10 steps",
        "trained on more than a million molecules with a diffusion model",
        "in less than a second by a diffusion model",
    ],
)
def test_a_number_behind_than_is_no_foil(text):
    assert Claim.CALLED_DIFFUSION in {row.claim for row in read_phrases(text) if row.weight > 0}


def test_the_words_of_a_foil_do_not_lean():
    text = "Ours draws a picture in one call, unlike models that denoise in steps; it is fast."
    blank = unfoiled(text)
    assert len(blank) == len(text)
    assert " ".join(blank.split()) == "Ours draws a picture in one call, unlike ; it is fast."
    assert unfoiled("Nothing is compared.") == "Nothing is compared."
    assert unfoiled("It beats") == "It beats"


def test_a_model_that_only_compares_itself_is_not_placed_among_the_others():
    placed = place_words("A model for beautiful pictures, faster and sharper than any diffusion model or GAN.")
    assert placed.cell is None or placed.confidence < 0.5


def test_a_text_of_one_endless_sentence_is_read_in_parts():
    rows = read_words("gan discriminator " * 3000)
    assert {row.claim.cell for row in rows if row.claim.cell} == {Cell.ADVERSARIAL}
    assert len(rows) < 1000


def test_a_loss_of_consistent_latents_is_no_consistency_model():
    dynamics = "A latent dynamics model is trained with a consistency loss on future latents, and a reward loss."
    assert Claim.CONSISTENCY not in {row.claim for row in read_words(dynamics)}
    assert Claim.CONSISTENCY in {row.claim for row in read_words("We distill it with a consistency loss.")}


@pytest.mark.parametrize(
    "text",
    [
        "A transformer forecaster is trained with the pinball loss on nine quantiles of the next 24 hours.",
        "A forecaster is trained by quantile loss. Given the past 168 hours, it predicts the next 24 hours.",
        "We train an agent with a world model of latent states. A consistency loss keeps the predicted latent close to "
        "the encoding of the next observation, and the reward and value heads are trained by regression. Actions are "
        "planned by model predictive control in latent space.",
    ],
)
def test_quantiles_and_planned_actions_are_refused(text):
    assert place_words(text).cell is Cell.NOT_GENERATIVE


def test_next_tokens_are_pieces_however_many_at_once():
    assert Claim.NEXT_PIECE in {row.claim for row in read_words("The heads predict the next 4 tokens.")}


@pytest.mark.parametrize(
    "text",
    [
        "A discriminator on the codes matches them to the prior.",
        "The encoder is trained against a discriminator on the codes that tells them from draws of the prior, and the "
        "decoder reconstructs the input.",
    ],
)
def test_a_discriminator_on_codes_leaves_neither_a_bound_nor_a_game_on_data(text):
    placed = place_words(text)
    claims = {row.claim for row in placed.evidence if row.weight > 0}
    assert placed.cell is Cell.LATENT_VARIABLE
    assert placed.variant == "codes matched to the prior"
    assert placed.likelihood is Kind.NONE
    assert not claims & {Claim.BOUND, Claim.GAME}
