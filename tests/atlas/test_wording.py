"""The wording as a whole: its features, its probabilities, what it may decide, and that its table knows no names."""

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fourfold.atlas import Cell, Placement, place, place_code, place_words, show
from fourfold.atlas import wording as wordings
from fourfold.atlas.api import TITLED, UNSURE, _or_known
from fourfold.atlas.catalogue import systems
from fourfold.atlas.code import read_code, read_statements
from fourfold.atlas.evidence import LEANS, MEANING, Aspect, Claim, Evidence, Reader
from fourfold.atlas.names import mentioned
from fourfold.atlas.placement import (
    AGAINST_PHRASES,
    APART,
    BY_WORDING,
    ENOUGH,
    LEANT,
    _contradicted,
    _shares,
    _speaking,
    decide,
    lean,
    tally,
    weigh,
)
from fourfold.atlas.wording import (
    BIAS,
    CELLS,
    CODE,
    FADE,
    PHRASE,
    PHRASE_WORDS,
    PROSE,
    _rows,
    features,
    leaning,
    mechanism,
    probabilities,
    wording,
)
from fourfold.atlas.words import read_phrases, read_words

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import wording as learn

#: written for this test: no phrase of these states a loss, a sampler or the name of a paradigm
SPATIAL = (
    "# Adding spatial control to text-to-image models\n\n"
    "A small network steers large pretrained models with edge maps and key points. Training is robust when the data set is small, "
    "and large text-to-image models gain conditional inputs such as edge maps. Checkpoints, prompts, seeds and example images are in the "
    "repository, together with a pipeline for image editing and high-resolution image generation from a text prompt."
)
CHAT = (
    "# An open assistant\n\n"
    "The weights come in two sizes, a base and an instruct version, and were pretrained on a large corpus of web text and code before "
    "fine-tuning on instructions and human preferences. Use the chat template with the tokenizer; the context is long, tool use "
    "and reasoning are supported, and the model answers questions, writes code and follows instructions in many languages."
)

CELLS_OF_TISSUE = (
    "# Latent space of cells\n\n"
    "Deep models of single-cell counts. The package corrects batch effects, imputes missing counts and gives a low-dimensional "
    "representation of each cell, from which interpolation and differential expression follow. It works on AnnData objects, scales to a "
    "million cells on a GPU, and handles dropout, library size and covariates of each sample."
)

#: a phrase or two, and code, as no test or lesson has them
PHRASED = "Two nets in turn: a judge scores true and made-up rows, and the maker is updated so that the judge errs; a single call on a random vector gives a row."
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


def test_features_are_stems_pairs_and_the_title_with_true_offsets():
    text = "# Molecular graphs\n\nWe generate molecular graphs, and decode the graphs. See https://example.org/molecular_walks"
    found = wording(text)
    assert {"molecular", "graph", "molecular graph", "t:molecular", "generate molecular", "decode graph"} <= set(found)
    assert not any("walk" in word or word == "the" for word in found), "links and plain words are not wording"
    assert "graph generate" not in found or "\n" not in text[slice(*found["graph generate"])], (
        "pairs stay within a sentence"
    )
    for word, (start, end) in found.items():
        first, *_, last = word.removeprefix("t:").split() * 2
        assert text[start:end].lower().startswith(first), word
        assert last in text[start:end].lower(), word


def test_a_word_counts_for_the_title_only_at_the_head():
    found = wording("alpha " * 200 + "omega")
    assert "t:alpha" in found
    assert "omega" in found
    assert "t:omega" not in found


def _expected(text, table):
    """Log-odds of the words by a matrix product over the table's file."""
    rows = _rows(table)
    known = [name for name in features(text, table) if name in rows]
    groups = [[name for name in known if name.startswith("l:") is letters] for letters in (False, True)]
    return sum(
        table.scale
        * np.array([rows[name] for name in group]).reshape(-1, 7).sum(0)
        / math.sqrt(max(len(group), table.floor))
        for group in groups
    )


@pytest.mark.parametrize(
    ("text", "table", "read", "state"),
    [
        (SPATIAL, PROSE, read_words, read_phrases),
        (PHRASED, PHRASE, read_words, read_phrases),
        (CODED, CODE, read_code, read_statements),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_log_odds_and_probabilities_against_a_matrix_product(text, table, read, state):
    rows = leaning(text, table)
    expected = _expected(text, table)
    assert [row.cell for row in rows] == list(CELLS)
    np.testing.assert_allclose([row.logit for row in rows], expected, atol=1e-9)

    stated = state(text)
    votes = tally(stated)
    scores = weigh(votes)
    found = mechanism(stated, votes, scores, ENOUGH)
    assert {name.split(":")[0] for name in found} >= {"claim", "cell", "rule"}
    logits = (
        expected
        + np.array(_rows(table)[BIAS])
        + sum(value * np.array(_rows(table).get(name, (0,) * 7)) for name, value in found.items())
    )
    p = np.exp(logits - logits.max())
    p /= p.sum()
    got = probabilities({row.cell: row.logit for row in rows}, found, table)
    np.testing.assert_allclose([got[cell] for cell in CELLS], p, atol=1e-9)

    kept = APART[table][0] if table in APART else 0.0
    shares = dict(_shares(scores))
    blended = [(1 - kept) * p[i] + kept * shares.get(cell, 0.0) for i, cell in enumerate(CELLS)]
    evidence = read(text)
    leant = lean(evidence, votes, scores)
    again = [row for row in evidence if row.claim in LEANS.values()]
    assert lean(evidence + again * 2, votes, scores) == pytest.approx(leant), "read three times, one witness"
    np.testing.assert_allclose([leant[cell] for cell in CELLS], blended, atol=2e-3)  # rows of evidence are rounded


def test_a_sentence_a_card_and_code_each_speak_by_their_own_table():
    def spoken(rows):
        return {row.rule for row in rows if row.claim in LEANS.values()}

    assert spoken(read_words(PHRASED)) == {PHRASE.name}
    assert spoken(read_words(SPATIAL)) == {PROSE.name}
    assert spoken(read_code(CODED)) == {CODE.name}
    line = " ".join(SPATIAL.split())
    assert len(line.split()) > PHRASE_WORDS
    assert spoken(read_words(line)) == {PROSE.name}, "one line, but too long for a phrase"
    mixed = read_words(SPATIAL) + read_code(CODED)
    votes = tally(mixed)
    card = [row for row in mixed if row.rule != CODE.name]
    assert lean(mixed, votes, weigh(votes)) == lean(card, votes, weigh(votes)), "a card speaks before code"


def test_letters_let_a_word_never_seen_resemble_others():
    found = features("The denoisingish network", PHRASE)
    assert {"l:deno", "l:noisi", "l:<de", "l:sh>"} <= found.keys()
    assert not any(name.startswith(("l:", "t:")) and PHRASE.letters is False for name in found)
    assert not any(name.startswith("t:") for name in found), "a phrase has no title"
    assert not any(name.startswith("l:") for name in features("The denoisingish network", PROSE))


@pytest.mark.parametrize("table", [PROSE, PHRASE, CODE], ids=lambda table: table.name)
def test_no_row_stands_twice(table):
    """The constant once bore a word's name, and the word's row replaced it."""
    path = Path(wordings.__file__).with_name(f"{table.name}.tsv")
    names = [line.split("\t")[0] for line in path.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert len(names) == len(set(names))
    assert names[0] == BIAS
    assert BIAS not in features("A bias: the :bias of an estimator", table)


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


def test_prose_and_lines_answer_from_one_probability_on():
    texts = [f"{system.objective}; {system.sampling}" for system in systems()]
    answers = [decide("a system", read_words(text)) for text in texts + [f"{text}. " * 3 for text in texts[::9]]]
    spoken = [placed for placed in answers if _speaking(placed.evidence)]
    assert {placed.cell is None for placed in spoken} == {True, False}
    assert all((placed.cell is None) == (placed.ranked[0][1] < LEANT) for placed in spoken)
    assert all(placed.missing for placed in spoken if placed.cell is None)


def test_stated_mechanisms_are_not_outvoted_by_a_topic():
    text = SPATIAL.replace(
        "A small network steers",
        "A discriminator tells real from fake images, and a generator is trained to fool it. It steers",
    )
    assert place_words(text).cell is Cell.ADVERSARIAL


def test_names_in_code_lean_where_its_statements_say_nothing():
    source = """
class PriorModule(BaseModule):
    # single-cell counts: a decoder from the latent space back to gene expression, with batch effects and library size as covariates
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
    loop = "for step in range(n):\n    logits = model(tokens)[:, -1]\n    tokens = torch.cat([tokens, torch.multinomial(logits.softmax(-1), 1)], 1)\n"
    latent = (
        "# posterior mean, latent space, decoder prior, single-cell counts, batch effects, posterior network, latent traversal\n"
        * 3
    )
    assert place_code(latent + loop).cell is Cell.AUTOREGRESSIVE


def test_few_words_lean_to_nothing():
    assert leaning("An agent plans in a latent space. Its latents are small.") == ()
    assert leaning("") == ()
    assert lean([], {}, weigh({})) == {}


@pytest.mark.parametrize("table", [PROSE, PHRASE, CODE], ids=lambda table: table.name)
def test_no_table_holds_a_catalogued_name(table):
    tokens = learn.hidden_tokens()
    rows = [name for name in _rows(table) if ":" not in name.removeprefix("t:").removeprefix("l:")]
    assert len(rows) > 1000
    assert not [name for name in rows if learn.hides(name, tokens, table)]


@pytest.mark.parametrize("table", [PROSE, PHRASE, CODE], ids=lambda table: table.name)
def test_a_table_is_well_formed(table):
    rows = _rows(table)
    assert all(len(row) == len(CELLS) for row in rows.values())
    centred = np.array(list(rows.values())).sum(1)
    assert np.abs(centred).max() <= 5 * table.unit, "weights are centred over the cells: only differences matter"


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
    known = _or_known(doubtful, card)
    assert known.prior
    assert known.cell is Cell.AUTOREGRESSIVE
    assert "the text itself leans to diffusion, with 0.50 only" in known.notes
    assert all(found.kind is Reader.NAME for found in known.evidence), "prior knowledge and evidence never mix"
    assert "a hint" not in show.text(known)
    likely = replace(doubtful, confidence=UNSURE)
    assert _or_known(likely, card).prior, "a title outweighs words that are not certain"
    assert "the text itself leans to diffusion, with 0.75" in _or_known(likely, card).notes
    paper = "# Voices\n\nSee https://arxiv.org/abs/1609.03499."
    assert _or_known(doubtful, paper).cell is Cell.AUTOREGRESSIVE
    assert _or_known(likely, paper) is likely, "a link does not"
    sure = replace(doubtful, confidence=TITLED)
    same = replace(doubtful, cell=Cell.AUTOREGRESSIVE)
    unnamed = "# Voices\n\nListed below."
    assert [_or_known(placed, card) for placed in (sure, same)] == [sure, same]
    worded = replace(sure, evidence=(replace(row, claim=LEANS[Cell.DIFFUSION], weight=9.0),))
    assert _or_known(worded, card).cell is Cell.AUTOREGRESSIVE, "wording alone never overrules a title"
    assert _or_known(doubtful, unnamed) is doubtful


def _lessons(count, rng):
    vocabulary = [f"zq{chr(97 + i)}x" for i in range(12)]
    rows = []
    for i in range(count):
        cell = CELLS[i % len(CELLS)]
        picked = {vocabulary[j] for j in rng.integers(0, 12, 4)} | {vocabulary[i % len(CELLS)]}
        rows.append(learn.Example(frozenset(picked), {"claim:bound": float(rng.random())}, cell, 1.0 + i % 3))
    return rows


def test_the_table_folds_the_ratings_in_and_predicts_as_the_fit_did(tmp_path):
    rng = np.random.default_rng(0)
    rows = _lessons(210, rng)
    ratings = {
        "zqax": np.eye(7)[0] * 3,
        "zqbx": np.eye(7)[1] * 2,
        "zqcx": np.eye(7)[2] * 3,
        "zqunseen": np.eye(7)[2] * 3 - np.eye(7)[3],
    }
    model = learn.Model(rows, ratings, keep=100)

    words = sorted(set(ratings) | {word for row in rows for word in row.words})
    assert sorted(model.words) == words
    known = np.array([[word in row.words for word in words] for row in rows], float) / math.sqrt(PROSE.floor)
    how = learn.FITS[PROSE]
    stated = how.stated * np.array([[row.mechanism["claim:bound"]] for row in rows])
    rated = known @ np.array([how.rated * ratings.get(word, np.zeros(7)) for word in words])
    x, y = np.hstack([known, stated, rated]), np.array([CELLS.index(row.cell) for row in rows])
    weight = np.array([row.weight for row in rows])  # cells are balanced here
    fit = LogisticRegression(C=how.penalty, max_iter=500).fit(x, y, sample_weight=weight)
    expected = np.exp(how.stretch * (x @ fit.coef_.T + fit.intercept_))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(model.probabilities(rows), expected, atol=2e-3)

    unseen = model.coefficients[:, model.words["zqunseen"]]
    assert unseen.argmax() == 2, "a word that no lesson held speaks as it was rated"
    model.write(tmp_path / "table.tsv", len(rows))
    table = dict(line.split("\t", 1) for line in (tmp_path / "table.tsv").read_text().splitlines() if line[0] != "#")
    written = np.array(table["zqax"].split("\t"), float) / 100
    centred = model.coefficients[:, model.words["zqax"]] - model.coefficients[:, model.words["zqax"]].mean()
    np.testing.assert_allclose(written, centred, atol=0.005)


def test_a_table_of_even_shares_forgets_how_often_lessons_had_each_cell():
    """Lessons that say nothing: the fit alone answers by their shares, the even table by none."""
    rows = [
        learn.Example(frozenset(), {"claim:bound": 0.0}, cell, 1.0)
        for i, cell in enumerate(CELLS)
        for _ in range(5 + 6 * i)
    ]
    blank = [learn.Example(frozenset(), {}, CELLS[0], 1.0)]
    assert learn.FITS[CODE].even
    assert not learn.FITS[PROSE].even
    np.testing.assert_allclose(learn.Model(rows, {}, table=CODE).probabilities(blank), 1 / 7, atol=2e-3)
    share = np.array([5 + 6 * i for i in range(7)]) ** (1 - learn.BALANCE)
    odds = np.log(share / share.mean()) * learn.FITS[PROSE].stretch
    expected = np.exp(odds) / np.exp(odds).sum()
    np.testing.assert_allclose(learn.Model(rows, {}).probabilities(blank)[0], expected, atol=2e-3)


def test_a_table_learned_onwards_moves_as_far_from_itself_as_new_lessons_are_worth(monkeypatch):
    rng = np.random.default_rng(1)
    rows = _lessons(210, rng)
    nothing = (0.0,) * 7
    monkeypatch.setattr(learn, "_rows", lambda table: {BIAS: nothing, "claim:bound": nothing, "zqax": nothing})
    model, pull = learn.Onwards(rows, CODE, 0.3), 0.3
    words = sorted({word for row in rows for word in row.words})
    assert list(model.words) == words, "words it did not know are learned too"
    known = np.array([[word in row.words for word in words] for row in rows], float)
    known *= CODE.scale / math.sqrt(CODE.floor)
    stated = np.array([[row.mechanism["claim:bound"], 1.0] for row in rows])
    x, y = np.hstack([known, stated]), np.array([CELLS.index(row.cell) for row in rows])
    fit = LogisticRegression(C=1 / pull, max_iter=2000, tol=1e-8, fit_intercept=False)
    fit.fit(x, y, sample_weight=np.array([row.weight for row in rows]))
    np.testing.assert_allclose(model.probabilities(rows), fit.predict_proba(x), atol=2e-3)

    start = {name: tuple(rng.normal(size=7)) for name in (BIAS, "claim:bound", *words)}
    monkeypatch.setattr(learn, "_rows", lambda table: start)
    still = learn.Onwards(rows, CODE, 1e9)
    np.testing.assert_allclose(still.coefficients.T, [start[name] for name in (*words, "claim:bound")], atol=1e-5)
    np.testing.assert_allclose(still.bias, start[BIAS], atol=1e-5)


def test_a_table_says_how_many_texts_it_was_learned_from(tmp_path):
    for table in (PROSE, PHRASE, CODE):
        assert learn.labelled(Path(wordings.__file__).with_name(f"{table.name}.tsv")) > 1000
    (tmp_path / "other.tsv").write_text("# made by hand\n")
    with pytest.raises(SystemExit, match="without --onwards"):
        learn.labelled(tmp_path / "other.tsv")


def test_no_row_of_a_fit_is_a_person_a_system_or_a_paradigm():
    tokens = learn.hidden_tokens()
    assert all(
        learn.hides(word, tokens) for word in ("kingma", "t:tulyakov", "diffusion model", "stylegan", "vae loss")
    )
    assert not any(learn.hides(word, tokens) for word in ("beam search", "gibbs", "top-1"))


def test_rated_words_are_well_formed_and_name_no_paradigm():
    path = Path(__file__).parents[2] / "benchmarks" / "wording_ratings.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    words = [line.split("\t")[0] for line in lines]
    assert words == sorted(set(words))
    assert all(re.fullmatch(r"[^\t]+\t(?:(?:AR|LV|AD|DI|FL|EN|NO)-?[123] ?)+", line) for line in lines)
    assert not [
        word for word in words if re.search(r"diffus|adversari|autoregress|variational|autoencod|\bgans?\b", word)
    ]
    table = _rows(PROSE)
    assert sum(word in table for word in words) > 0.9 * len(words), "what was rated is in the table"


def test_each_phrase_is_a_feature_of_its_own_and_repetition_fades():
    once, thrice = (read_phrases("The evidence lower bound is maximised. " * n + "Latents are drawn.") for n in (1, 3))
    rules = []
    for rows in (once, thrice):
        votes = tally(rows)
        found = mechanism(rows, votes, weigh(votes), ENOUGH)
        rules.append({name: value for name, value in found.items() if name.startswith("rule:bound#")})
        assert rules[-1].keys() == {f"rule:{row.rule}" for row in rows if row.claim is Claim.BOUND}
    first = max(row.weight for row in once if row.claim is Claim.BOUND)
    weights = sorted((row.weight for row in thrice if row.claim is Claim.BOUND), reverse=True)
    faded = weights[0] + FADE * weights[1] + FADE**2 * weights[2]
    assert max(rules[0].values()) == pytest.approx(min(first, 4.0) / 2)
    assert max(rules[1].values()) == pytest.approx(min(faded, 4.0) / 2)


def test_a_card_contradicts_files_only_when_it_all_but_excludes_them_and_never_code():
    leant = dict.fromkeys(Cell, 0.0) | {Cell.LATENT_VARIABLE: 0.75, Cell.DIFFUSION: 0.25}
    assert _contradicted(leant, Cell.FLOW, {Reader.FILES, Reader.WORDS})
    assert not _contradicted(leant, Cell.DIFFUSION, {Reader.FILES, Reader.WORDS})
    assert not _contradicted(leant, Cell.FLOW, {Reader.CODE, Reader.WORDS})


def test_what_authors_call_their_system_stands_against_its_topic():
    assert place_words(SPATIAL).cell is Cell.DIFFUSION
    named = "It is a normalizing flow: an invertible network, trained by exact likelihood. " + SPATIAL
    assert place_words(named).cell is Cell.FLOW


def test_an_answer_against_a_phrase_says_what_the_phrase_said():
    text = (
        CELLS_OF_TISSUE + " Cells are classified; classification is shown for each, by class labels and bounding boxes."
    )
    evidence = [row for row in read_words(text) if row.claim not in LEANS.values()]
    pushed = [
        Evidence(
            "w", "offset 0", claim, 40.0 if claim is LEANS[Cell.LATENT_VARIABLE] else 0.0, Reader.WORDS, rule=PROSE.name
        )
        for claim in LEANS.values()
    ]
    assert decide("", evidence).cell is Cell.NOT_GENERATIVE
    placed = decide("", evidence + pushed)
    assert placed.cell is Cell.LATENT_VARIABLE
    assert AGAINST_PHRASES.format("phrases", "not-generative") in placed.notes
    assert BY_WORDING not in placed.notes


def _pushed(cell):
    """Wording that leans to a cell with all its might."""
    return [
        Evidence("w", "offset 0", claim, 40.0 if claim is LEANS[cell] else 0.0, Reader.WORDS, rule=PROSE.name)
        for claim in LEANS.values()
    ]


def test_wording_alone_never_overrules_an_objective_that_is_stated_outright():
    stated = Evidence("adds noise", "offset 0", Claim.DENOISE, 3.0, Reader.WORDS)
    against = _pushed(Cell.FLOW)
    placed = decide("", [stated, *against])
    assert (placed.cell, placed.notes) == (Cell.DIFFUSION, ())
    hinted = replace(stated, weight=2.9)
    assert decide("", [hinted, *against]).cell is Cell.FLOW, "a hint yields"
    both = Evidence("a critic", "offset 9", Claim.GAME, 2.0, Reader.WORDS)
    assert decide("", [stated, both, *_pushed(Cell.ADVERSARIAL)]).cell is Cell.ADVERSARIAL, (
        "where both are stated, the wording has its say"
    )


def test_offsets_stay_true_where_lower_case_is_longer():
    text = "İİİ molecular graph"
    assert text[slice(*wording(text)["molecular graph"])] == "molecular graph"


def test_foils_cannot_count_since_no_row_names_a_paradigm():
    words = [
        "diffusion",
        "adversarial",
        "gan",
        "gans",
        "vae",
        "variational",
        "autoencoder",
        "autoregressive",
        "energy",
        "flow",
        "flows",
        "boltzmann",
        "gpt",
        "llm",
    ]
    named = {stem for word in words for stem in wording(word)}
    assert not named & set(_rows(PROSE))
    assert not [row for row in _rows(PROSE) if "language model" in row]


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
    assert _or_known(likely, card) is likely
    assert _or_known(replace(likely, confidence=UNSURE - 0.01), card).cell is Cell.AUTOREGRESSIVE


_CITATION = "# A vocoder of ours\n\nInstall it with pip.\n\n## Citation\n```\n@article{{a,\n  title={{A title}},\n  {}\n}}\n```\n"


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
    known = {
        system.paradigm: found[0]
        for system in systems()
        for link in system.source
        if (found := re.findall(r"arxiv\.org/abs/(\d{4}\.\d{4,5})", link))
    }
    one, other = (_CITATION.format(f"eprint={{{known[cell]}}}") for cell in (Cell.ADVERSARIAL, Cell.DIFFUSION))
    assert mentioned(one) is not None
    assert mentioned(one + other) is None
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
    found = mentioned(card)
    assert (found and found[0].name) == name
    assert mentioned(card, hints=False) is None


def test_links_that_disagree_name_nothing():
    known = {system.paradigm: link for system in systems() for link in system.source if "arxiv.org/abs" in link}
    assert mentioned(f"See {known[Cell.ADVERSARIAL]} and {known[Cell.DIFFUSION]}.") is None


def test_a_text_that_states_its_mechanism_is_evidence_whatever_its_title():
    placed = place_words(
        "# Bark\n\nA discriminator tells real from fake recordings, and the generator tries to fool it."
    )
    assert placed.cell is Cell.ADVERSARIAL
    assert not placed.prior


def test_lessons_read_in_other_processes_are_read_by_their_table(tmp_path):
    """A table sent to a worker is a copy; code was once read there as prose."""
    label = {"paradigm": "autoregressive", "likelihood": "exact", "sampling": "sequential"}
    cases = [
        {"id": "a", "kind": "code", "name": "", "text": CODED, "label": label},
        {"id": "b", "kind": "phrase", "name": "", "text": PHRASED, "label": label},
        {"id": "c", "kind": "card", "name": "", "text": CHAT, "label": label},
    ]
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(map(json.dumps, cases)))

    def stated(rows):
        votes = tally(rows)
        return mechanism(rows, votes, weigh(votes), ENOUGH)

    (code,) = learn.read_cases([path], CODE)
    assert code.whole.mechanism == stated(read_statements(CODED))
    assert code.whole.words == features(CODED, CODE).keys()
    (card,) = learn.read_cases([path])
    assert card.whole.mechanism == stated(read_phrases(CHAT))
    assert len(card.learned) == 2, "as it stands and blanked"
    phrase, head = learn.read_cases([path], PHRASE)
    assert phrase.whole.mechanism == stated(read_phrases(PHRASED))
    assert head.learned[0].weight == learn.HEAD_WEIGHT < phrase.learned[0].weight


def test_no_lesson_copies_a_test_or_is_of_its_system():
    tests = [{"name": "Sea-Weed 2", "text": SPATIAL}]
    copy = {
        "name": "other",
        "text": "New badge. " + " ".join(SPATIAL.split()[:40]) + " and more of its own " + "words here " * 30,
    }
    same = {"name": "seaweed2", "text": CHAT}
    free = {"name": "free", "text": CHAT}
    assert learn.apart([copy, same, free], tests) == [free]
    assert learn.apart([copy, same, free], []) == [copy, same, free]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"kind": "card"}', "cases.jsonl:2: no labelled case"),
        ("{", "cases.jsonl:2: no labelled case"),
        ('{"id": "x", "kind": "card", "text": "a", "label": {"paradigm": "foo"}}', "case 'x' cannot be learned"),
    ],
)
def test_a_broken_case_is_refused_with_its_place(tmp_path, line, says):
    path = tmp_path / "cases.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(SystemExit, match=re.escape(says)):
        learn.read_cases([path])
    with pytest.raises(SystemExit, match="cannot be read"):
        learn.read_cases([tmp_path / "absent.jsonl"])
