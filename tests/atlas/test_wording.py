"""The wording as a whole: its features, its probabilities, what it may decide; and the names that a text is about."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from fourfold_atlas import Cell, Placement, place, place_code, place_words, show
from fourfold_atlas.catalogue import systems
from fourfold_atlas.code import read_code, read_statements
from fourfold_atlas.decision import AGAINST_VOTES, BY_WORDING, LEANT, decide, lean
from fourfold_atlas.evidence import LEANS, Aspect, Claim, Evidence, Reader
from fourfold_atlas.names import mentioned
from fourfold_atlas.prose import TITLED, UNSURE, _or_mention
from fourfold_atlas.votes import by_claim, by_rule, weigh
from fourfold_atlas.wording import (
    CARD,
    CELLS,
    CODE,
    LINE,
    LINE_WORDS,
    leaning,
    mechanism,
    probabilities,
    stems,
    weights,
)
from fourfold_atlas.words import read_phrases, read_words

#: written for this test: no phrase of these states a loss, a sampler or the name of a paradigm
SPATIAL = (
    "# Adding spatial control to text-to-image models\n\n"
    "A small network steers large pretrained models with edge maps and key points. Training is robust when the "
    "data set is small, "
    "and large text-to-image models gain conditional inputs such as edge maps. Checkpoints, prompts, seeds and "
    "example images are in the "
    "repository, together with a pipeline for image editing and high-resolution image generation from a text prompt."
)
CHAT = (
    "# An open assistant\n\n"
    "The weights come in two sizes, a base and an instruct version, and were pretrained on a large corpus of web "
    "text and code before "
    "fine-tuning on instructions and human preferences. Use the chat template with the tokenizer; the context is "
    "long, tool use "
    "and reasoning are supported, and the model answers questions, writes code and follows instructions in many "
    "languages."
)

CELLS_OF_TISSUE = (
    "# Latent space of cells\n\n"
    "Deep models of single-cell counts. The package corrects batch effects, imputes missing counts and gives a "
    "low-dimensional "
    "representation of each cell, from which interpolation and differential expression follow. It works on "
    "AnnData objects, scales to a "
    "million cells on a GPU, and handles dropout, library size and covariates of each sample."
)

#: a phrase or two, and code, as no test or lesson has them
PHRASED = (
    "Two nets in turn: a judge scores true and made-up rows, and the maker is updated so that the judge "
    "errs; a single call on a random vector gives a row."
)
CODED = """
def train_epoch(model, loader, optimizer, scheduler, device, vocab_size, clip=1.0):
    model.train()
    total, count = 0.0, 0
    for batch in loader:
        tokens = batch["ids"].to(device)
        hidden = model.embed(tokens[:, :-1])
        for block in model.blocks:
            hidden = block(hidden, causal=True)
        logits = model.head(model.norm(hidden))
        loss = F.cross_entropy(logits.reshape(-1, vocab_size), tokens[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)
        total, count = total + loss.item(), count + 1
    return total / count
"""


def test_features_are_stems_with_true_offsets():
    text = (
        "# Molecular graphs\n\nWe generate molecular graphs, and decode them. See https://example.org/molecular_walks"
    )
    features = stems(text)
    assert {"molecular", "graph", "generate", "decode"} <= set(features)
    assert not any("walk" in word or word == "the" for word in features), "links and plain words are not wording"
    assert all(text[start:end].lower().startswith(word) for word, (start, end) in features.items())
    assert "İİİ molecular"[slice(*stems("İİİ molecular")["molecular"])] == "molecular", "a longer lower case"


def _logits(text, kind):
    """Log-odds of the words by a matrix product over the table's rows."""
    rows = [weights()[name] for name in sorted(stems(text)) if name in weights()]
    return kind.scale * np.array(rows).sum(0) / math.sqrt(max(len(rows), kind.floor))


@pytest.mark.parametrize(
    ("text", "kind", "read", "state"),
    [
        (SPATIAL, CARD, read_words, read_phrases),
        (PHRASED, LINE, read_words, read_phrases),
        (CODED, CODE, read_code, read_statements),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_log_odds_and_probabilities_against_a_matrix_product(text, kind, read, state):
    rows, expected = leaning(text, kind), _logits(text, kind)
    assert [row.cell for row in rows] == list(CELLS)
    np.testing.assert_allclose([row.logit for row in rows], expected, atol=1e-9)

    votes = by_claim(state(text))
    claims = mechanism(by_rule(state(text)), weigh(votes))
    assert {name.split(":")[0] for name in claims} == {"cell", "rule"}
    nothing = (0.0,) * 7
    stated = sum(value * np.array(weights().get(name, nothing)) for name, value in claims.items())
    logits = expected + np.array(weights()[f"kind:{kind.name}"]) + stated
    p = np.exp(logits - logits.max())
    p /= p.sum()
    got = probabilities({row.cell: row.logit for row in rows}, claims, kind)
    np.testing.assert_allclose([got[cell] for cell in CELLS], p, atol=1e-9)

    evidence = read(text)
    leant = lean(evidence, weigh(votes))
    np.testing.assert_allclose([leant[cell] for cell in CELLS], p, atol=2e-3)  # rows of evidence are rounded
    again = [row for row in evidence if row.claim in LEANS.values()]
    assert lean(evidence + again * 2, weigh(votes))[Cell.FLOW] == pytest.approx(leant[Cell.FLOW], abs=1e-9)


def test_a_line_a_card_and_code_are_told_apart():
    def spoken(rows):
        return {row.rule for row in rows if row.claim in LEANS.values()}

    assert spoken(read_words(PHRASED)) == {LINE.name}
    assert spoken(read_words(SPATIAL)) == {CARD.name}
    assert spoken(read_code(CODED)) == {CODE.name}
    line = " ".join(SPATIAL.split())
    assert len(line.split()) > LINE_WORDS
    assert spoken(read_words(line)) == {CARD.name}, "one line, but too long for a line"


def test_few_words_lean_to_nothing():
    assert leaning("An agent plans in a latent space. Its latents are small.", CARD) == ()
    assert leaning("", CARD) == ()
    assert lean([], weigh({})) == {}


def test_of_reasons_why_nothing_is_drawn_the_strongest_counts_and_little_where_something_is_made():
    refused = {Claim.LABELS: 3.0, Claim.FEATURES: 2.0}
    assert weigh(refused)[Cell.NOT_GENERATIVE] == pytest.approx(3.0 + 0.4 * 2.0)
    for claims in ({Claim.GENERATES: 1.0}, {Claim.DENOISE: 4.0}):
        assert weigh({**refused, **claims})[Cell.NOT_GENERATIVE] == pytest.approx(0.4 * 3.8)
    assert weigh({**refused, Claim.DENOISE: 3.9})[Cell.NOT_GENERATIVE] == pytest.approx(3.8)


def _pushed(cell, kind=CARD):
    """Wording that leans to a cell with all its might."""
    return [
        Evidence("w", "offset 0", claim, 40.0 if claim is LEANS[cell] else 0.0, Reader.WORDS, rule=kind.name)
        for claim in LEANS.values()
    ]


def test_wording_alone_never_overrules_an_objective_that_is_stated_outright():
    stated = Evidence("adds noise", "offset 0", Claim.DENOISE, 3.0, Reader.WORDS)
    against = _pushed(Cell.FLOW)
    placed = decide("", [stated, *against])
    assert (placed.cell, placed.notes) == (Cell.DIFFUSION, ())
    assert decide("", [replace(stated, weight=2.9), *against]).cell is Cell.FLOW, "a hint yields"
    both = Evidence("a critic", "offset 9", Claim.GAME, 2.0, Reader.WORDS)
    assert decide("", [stated, both, *_pushed(Cell.ADVERSARIAL)]).cell is Cell.ADVERSARIAL, "both are stated"


def test_a_refusal_stands_in_a_line_and_yields_in_a_card():
    refused = Evidence("class labels", "offset 0", Claim.LABELS, 3.0, Reader.WORDS)
    assert decide("", [refused, *_pushed(Cell.FLOW, LINE)]).cell is Cell.NOT_GENERATIVE
    placed = decide("", [refused, *_pushed(Cell.FLOW)])
    assert placed.cell is Cell.FLOW
    assert AGAINST_VOTES.format("phrases", "not-generative") in placed.notes


@pytest.mark.parametrize(("text", "cell"), [(SPATIAL, Cell.DIFFUSION), (CHAT, Cell.AUTOREGRESSIVE)])
def test_wording_places_what_states_no_mechanism(text, cell):
    assert not re.search(r"diffusi|autoregress|language model|denois", text)
    assert place_words(text).cell is cell


def test_an_answer_by_wording_says_so_and_quotes_the_text():
    placed = place_words(CELLS_OF_TISSUE)
    assert placed.cell is Cell.LATENT_VARIABLE
    assert BY_WORDING in placed.notes
    assert placed.confidence >= LEANT
    assert placed.evidence[0].claim is LEANS[Cell.LATENT_VARIABLE]
    leans = [row for row in placed.evidence if row.claim.aspect is Aspect.WORDING]
    assert {row.claim for row in leans} == set(LEANS.values())
    flat = " ".join(CELLS_OF_TISSUE.split())
    assert all(quote in flat for row in leans for quote in row.quote.split(", "))


def test_stated_mechanisms_are_not_outvoted_by_a_topic():
    text = SPATIAL.replace(
        "A small network steers",
        "A discriminator tells real from fake images, and a generator is trained to fool it. It steers",
    )
    assert place_words(text).cell is Cell.ADVERSARIAL


def test_names_in_code_lean_where_its_statements_say_nothing():
    source = """
class PriorModule(BaseModule):
    # single-cell counts: a decoder from the latent space back to gene expression,
    # with batch effects and library size as covariates
    def configure(self, latent_dim, posterior_network, gene_dispersion, library_size, covariates):
        self.posterior_network = posterior_network
        self.latent_space = LatentSpace(latent_dim, dropout_rate=0.1)
        self.kl_weight_schedule = KLWeightSchedule(warmup_epochs=100)

    def report(self, batch, posterior_mean, posterior_std, reconstruction_loss):
        metrics = self.metrics(batch, reconstruction_loss)
        metrics["latent_traversal"] = self.traverse(posterior_mean, posterior_std)
        metrics["prior_gap"] = self.gap(posterior_mean, self.prior_mean)
        metrics["disentanglement"] = self.disentangle(posterior_mean, self.interpolation)
        return metrics
"""
    placed = place_code(source)
    assert placed.cell is Cell.LATENT_VARIABLE
    assert BY_WORDING in placed.notes
    assert re.fullmatch(r"code:\d+", placed.evidence[0].where)


def test_wording_never_overrules_what_code_does():
    loop = (
        "for step in range(n):\n    logits = model(tokens)[:, -1]\n"
        "    tokens = torch.cat([tokens, torch.multinomial(logits.softmax(-1), 1)], 1)\n"
    )
    latent = (
        "# posterior mean, latent space, decoder prior, single-cell counts, batch effects, posterior network, "
        "latent traversal\n" * 3
    )
    assert place_code(latent + loop).cell is Cell.AUTOREGRESSIVE


def test_a_title_or_a_link_is_prior_knowledge_when_the_text_says_nothing():
    bare = "# Bark\n\nInstall it with pip. Voices are listed below."
    placed = place_words(bare)
    assert placed.cell is Cell.AUTOREGRESSIVE
    assert placed.prior
    assert any("its title, 'Bark'" in note for note in placed.notes)
    assert place("# Bark\n\nInstall it with pip. Voices are listed below.").prior
    linked = place_words("Code of [a paper](https://arxiv.org/abs/1609.03499). Install it with pip.")
    assert linked.prior
    assert linked.cell is Cell.AUTOREGRESSIVE
    assert mentioned("Install it with pip.") is None


def test_a_folder_is_named_by_its_card_when_nothing_in_it_says_more(tmp_path):
    (tmp_path / "README.md").write_text("# Bark\n\nInstall it with pip. Voices are listed below.")
    placed = place(tmp_path)
    assert placed.prior
    assert placed.cell is Cell.AUTOREGRESSIVE


def test_where_words_leave_doubt_the_title_is_prior_knowledge_and_says_what_the_words_lean_to():
    row = Evidence("noise", "offset 0", Claim.DENOISE, 2.0, Reader.WORDS)
    doubtful = Placement("card", Cell.DIFFUSION, 0.5, ((Cell.DIFFUSION, 0.5),), evidence=(row,))
    card = "# Bark\n\nVoices are listed below."
    answer = _or_mention(doubtful, card)
    assert answer.prior
    assert answer.cell is Cell.AUTOREGRESSIVE
    assert "the text itself leans to diffusion, with 0.50 only" in answer.notes
    assert all(item.kind is Reader.NAME for item in answer.evidence), "prior knowledge and evidence never mix"
    assert "a hint" not in show.text(answer)
    likely = replace(doubtful, confidence=UNSURE)
    assert _or_mention(likely, card).prior, "a title outweighs words that are not certain"
    assert "the text itself leans to diffusion, with 0.75" in _or_mention(likely, card).notes
    paper = "# Voices\n\nSee https://arxiv.org/abs/1609.03499."
    assert _or_mention(doubtful, paper).cell is Cell.AUTOREGRESSIVE
    assert _or_mention(likely, paper) is likely, "a link does not"
    sure = replace(doubtful, confidence=TITLED)
    same = replace(doubtful, cell=Cell.AUTOREGRESSIVE)
    unnamed = "# Voices\n\nListed below."
    assert [_or_mention(placed, card) for placed in (sure, same)] == [sure, same]
    worded = replace(sure, evidence=(replace(row, claim=LEANS[Cell.DIFFUSION], weight=9.0),))
    assert _or_mention(worded, card).cell is Cell.AUTOREGRESSIVE, "wording alone never overrules a title"
    assert _or_mention(doubtful, unnamed) is doubtful


def test_what_authors_call_their_system_stands_against_its_topic():
    assert place_words(SPATIAL).cell is Cell.DIFFUSION
    named = "It is a normalizing flow: an invertible network, trained by exact likelihood. " + SPATIAL
    assert place_words(named).cell is Cell.FLOW


@pytest.mark.parametrize(
    ("text", "name", "by"),
    [
        ("# Official PyTorch implementation of WaveNet\n\nRun it.", "WaveNet", "title"),
        ("# Model Card: CLIP\n\nLast updated in May.", "CLIP", "title"),
        ('# Codebase for "Time-series Networks (TimeGAN)"\n\nAuthors: listed.', "TimeGAN", "title"),
        ("## Alias-Free Networks (StyleGAN3)<br><sub>Code of the paper</sub>", "StyleGAN3", "title"),
        ("*Contributed in March.*\n\n# ResNet\n\n## Overview", "ResNet", "title"),
        ("fast_align\n==========\n", "fast_align", "title"),
        ("Towards raw audio\n\nIn this work we present WaveNet, which is new.", "WaveNet", "opening"),
        ("Towards raw audio\n\nWaveNet is a network for sounds.", "WaveNet", "opening"),
    ],
)
def test_a_name_is_found_in_a_title_or_in_the_sentence_that_says_what_a_text_is_about(text, name, by):
    system, where = mentioned(text)
    assert system.name == name
    assert by in where
    assert mentioned(text, hints=False) == ((system, where) if by == "title" else None)


@pytest.mark.parametrize(
    "text",
    [
        "# A vocoder of ours\n\nIt beats WaveNet, which is slow.",
        "# A vocoder of ours\n\nUnlike what WaveNet is, ours is small. We compare with TimeGAN.",
        "# Notes on WaveNet and TimeGAN\n\nBoth are read.",
        "# The official code\n\nSee the paper.",
        "# A vocoder of ours\n\nWaveNet is slow.\nTimeGAN is fast.",
    ],
)
def test_a_name_beside_others_or_in_passing_is_not_what_a_text_is_about(text):
    assert mentioned(text) is None


def test_an_opening_does_not_outweigh_words_that_leave_little_doubt():
    likely = Placement("card", Cell.DIFFUSION, UNSURE, ((Cell.DIFFUSION, UNSURE),))
    card = "# A vocoder of ours\n\nWaveNet is a network for sounds."
    assert _or_mention(likely, card) is likely
    assert _or_mention(replace(likely, confidence=UNSURE - 0.01), card).cell is Cell.AUTOREGRESSIVE


_CITATION = (
    "# A vocoder of ours\n\nInstall it with pip.\n\n## Citation\n```\n@article{{a,\n  title={{A title}},\n"
    "  {}\n}}\n```\n"
)


@pytest.mark.parametrize(
    "line",
    [
        "journal={arXiv preprint arXiv:1609.03499},",
        "eprint = {1609.03499},\n  archivePrefix={arXiv},",
        "url = {https://arxiv.org/abs/1609.03499}",
    ],
)
def test_a_citation_is_a_hint_wherever_it_stands(line):
    text = _CITATION.format(line)
    far = text.replace("Install", "Install it. " * 300)
    for card in (text, far):
        system, where = mentioned(card)
        assert system.name == "WaveNet"
        assert "1609.03499" in where
        assert mentioned(card, hints=False) is None


def test_a_paper_cited_in_passing_or_beside_another_cell_is_no_hint():
    papers = {
        system.paradigm: papers_of_link[0]
        for system in systems()
        for link in system.source
        if (papers_of_link := re.findall(r"arxiv\.org/abs/(\d{4}\.\d{4,5})", link))
    }
    rival, other = (_CITATION.format(f"eprint={{{papers[cell]}}}") for cell in (Cell.ADVERSARIAL, Cell.DIFFUSION))
    assert mentioned(rival) is not None
    assert mentioned(rival + other) is None
    assert mentioned("# A vocoder of ours\n\n" + "It is fast. " * 300 + "See also arXiv:1609.03499.") is None


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("openai-community/gpt2-medium", "GPT-2"),
        ('"runwayml/stable-diffusion-v1-5"', "Stable Diffusion"),
        ("\n- google-bert/bert-base-uncased", "BERT"),
        ("somebody/a-model-of-ours", None),
    ],
)
def test_a_base_model_is_a_hint(base, name):
    card = f"---\nlicense: mit\nbase_model: {base}\n---\n# Ours\n\nInstall it with pip."
    mentions = mentioned(card)
    assert (mentions and mentions[0].name) == name
    assert mentioned(card, hints=False) is None


def test_links_that_disagree_name_nothing():
    papers = {system.paradigm: link for system in systems() for link in system.source if "arxiv.org/abs" in link}
    assert mentioned(f"See {papers[Cell.ADVERSARIAL]} and {papers[Cell.DIFFUSION]}.") is None


def test_a_text_that_states_its_mechanism_is_evidence_whatever_its_title():
    placed = place_words(
        "# Bark\n\nA discriminator tells real from fake recordings, and the generator tries to fool it."
    )
    assert placed.cell is Cell.ADVERSARIAL
    assert not placed.prior
