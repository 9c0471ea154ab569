"""The map and its catalogue, names, the API, the page, and the promise to load nothing heavy."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fourfold
from fourfold.vocabulary import FACTS, Cost, Kind, Paradigm
from fourfold_atlas import Cell, UnreadableError, decide, drawing, place, show
from fourfold_atlas import systems as atlas_systems
from fourfold_atlas.bounded import files_below
from fourfold_atlas.catalogue import CatalogueError, System, check, entries, load, systems
from fourfold_atlas.evidence import DEFAULTS, LEANS, OBJECTIVE_OF, SAMPLING_OF, Claim, Evidence, Reader
from fourfold_atlas.names import find

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

ENTRY = {
    "id": "some-model",
    "name": "Some Model",
    "year": 2017,
    "organisation": "Somebody",
    "modality": "image",
    "paradigm": "flow",
    "objective": "o",
    "sampling": "s",
    "likelihood": "exact",
    "cost": "constant",
    "source": ["https://arxiv.org/abs/1605.08803"],
}


def test_every_claim_has_a_meaning_and_every_cell_defaults():
    assert all(claim.says for claim in Claim)
    for of in (DEFAULTS, LEANS, OBJECTIVE_OF, SAMPLING_OF):
        assert set(of) == set(Cell)
    assert all(of[cell].cell is cell for of in (LEANS, SAMPLING_OF) for cell in Cell)
    assert {cell.paradigm for cell in Cell} == {*Paradigm, None}


def test_defaults_agree_with_the_vocabulary():
    for cell in Cell:
        if cell.paradigm is not None:
            facts = FACTS[cell.paradigm]
            assert DEFAULTS[cell] == (facts.likelihood, facts.cost)


def test_the_catalogue_is_valid_and_large():
    rows = load()
    assert len(rows) >= 300
    assert not check(rows)
    assert {row.paradigm for row in rows} == set(Cell)


def test_the_catalogue_is_at_hand_without_a_further_import():
    code = "import fourfold_atlas, sys; print(len(fourfold_atlas.systems), 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(len(systems())), "False"]
    assert atlas_systems == systems()


def test_an_entry_that_is_found_by_its_names_is_the_one_that_the_whole_catalogue_holds():
    whole = {system.id: system for system in load()}
    assert len(entries()) == len(whole)
    for entry in entries():
        system = whole[entry.id]
        assert entry.names == (system.name, *system.aliases)
        assert (entry.paradigm, entry.source) == (system.paradigm, system.source)
    assert all(entry.system == whole[entry.id] for entry in entries()[::50])


@pytest.mark.parametrize(
    ("file", "cases", "paradigm", "together"),
    [("atlas_phrases", 120, 0.94, 0.9), ("atlas_lines", 150, 0.84, 0.7), ("atlas_foils", 30, 0.8, 0.8)],
)
def test_lines_that_no_table_has_learned_from_are_placed(file, cases, paradigm, together):
    """`tools/lessons/apart.txt` keeps these systems from the lessons."""
    from atlas import judge, place_case, read_cases

    given = read_cases(Path(__file__).parents[2] / "benchmarks" / f"{file}.jsonl")
    rows = [judge(case, place_case(case, None, False), 0.0) for case in given]
    assert len(rows) == cases
    assert sum(row["paradigm"] for row in rows) >= paradigm * len(rows)
    assert sum(row["all"] for row in rows) >= together * len(rows)


def test_who_asks_for_certainty_gets_the_missing_fact_instead():
    text = "compress and rebuild with squared error, latent held near a bell curve; draw a code and decode it"
    placed = place(text)
    assert 0 < placed.confidence < 1
    assert place(text, sure=placed.confidence) == placed
    unsure = place(text, sure=placed.confidence + 1e-6)
    assert unsure.cell is None
    assert f"{placed.cell.value} has {placed.confidence:.2f} only" in unsure.missing
    assert (unsure.ranked, unsure.evidence) == (placed.ranked, placed.evidence)
    assert place("GPT-2", sure=1.0).cell is Cell.AUTOREGRESSIVE
    assert place("GPT-4o mini", sure=0.5).cell is Cell.AUTOREGRESSIVE
    assert "a version of GPT-4" in place("GPT-4o mini", sure=0.99).missing
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        place(text, sure=1.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paradigm": "magic"}, "paradigm"),
        ({"source": []}, "source"),
        ({"year": "2020"}, "year"),
        ({"id": "Bad Id"}, "id"),
        ({"objective": ""}, "objective"),
        ({"extra": 1}, "extra"),
        ({"source": ["ftp://x"]}, "source"),
        ({"components": [{"name": "x"}]}, "component"),
        ({"weights": "yes"}, "weights"),
        ({"weights": True}, "weights"),
    ],
)
def test_a_broken_entry_is_named(change, message):
    with pytest.raises(CatalogueError, match=message):
        System.of({**ENTRY, **change}, "file.toml")


def test_broken_toml_is_named(tmp_path):
    (tmp_path / "a.toml").write_text("[[system]\n")
    with pytest.raises(CatalogueError, match=r"a\.toml"):
        load(tmp_path)


def test_two_systems_may_not_share_a_name():
    system = System.of(ENTRY, "a")
    two = System.of({**ENTRY, "id": "other", "aliases": ["Some-Model"]}, "b")
    assert not check((system,))
    assert check((system, two)) == ["'some-model' names both some-model and other"]


@pytest.mark.parametrize(("year", "right"), [(2015, True), (2016, True), (2017, True), (2014, False), (2018, False)])
def test_a_year_is_that_of_the_paper(year, right):
    problems = check((System.of({**ENTRY, "year": year}, "a"),))
    assert problems == ([] if right else [f"some-model: year {year}, but its first paper on arXiv is of 2016"])


def test_names_are_prior_knowledge():
    placed = place("stable diffusion")
    assert placed.prior
    assert placed.cell is Cell.DIFFUSION
    assert {row.kind for row in placed.evidence} == {Reader.NAME}
    assert find("GPT-2")[0].paradigm is Cell.AUTOREGRESSIVE
    assert not find("zzzz unheard of")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("Stable Diffusion 3.5", Cell.DIFFUSION),
        ("Stable Diffusion 3.5 Large Turbo", Cell.DIFFUSION),
        ("GPT-4o mini", Cell.AUTOREGRESSIVE),
        ("Llama 3.3 70B Instruct", Cell.AUTOREGRESSIVE),
        ("StyleGAN4", Cell.ADVERSARIAL),
        ("ViT-B/16", Cell.NOT_GENERATIVE),
        ("Wan2.9 14B", Cell.DIFFUSION),
    ],
)
def test_a_version_of_a_known_system_is_known(name, cell):
    placed = place(name)
    assert (placed.cell, placed.prior) == (cell, True)
    assert placed.confidence < 1
    assert "as a version of a known system" in placed.notes[0]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("audiodm", "did you mean Audio"),
        ("Parallel", "did you mean Parallel Wave"),
        ("DALL-E 4", "did you mean DALL-E"),
        ("gemeni 2.5", "did you mean Gemini"),
        ("Zorblatt", "systems and products known"),
        ("Zorblatt 7B", "systems and products known"),
    ],
)
def test_a_name_that_is_only_alike_is_asked_for_and_never_answers(name, missing):
    """Names that begin alike stand anywhere; versions of DALL-E stand in different places."""
    placed = place(name)
    assert placed.cell is None
    assert missing in placed.missing


def test_no_name_of_the_catalogue_is_answered_by_another_system():
    for system in systems():
        for name in (system.name, *system.aliases):
            assert find(name) == (system, 1.0)


def test_words_that_look_like_paths_or_nothing():
    assert place("~100M parameter diffusion model").cell is Cell.DIFFUSION
    for nothing in ("", "  \n"):
        with pytest.raises(UnreadableError, match="subject must be a name"):
            place(nothing)


def test_prior_knowledge_never_mixes_with_evidence():
    row = Evidence("x", "y", Claim.GAME, 1.0, Reader.NAME)
    with pytest.raises(ValueError, match="from a name"):
        decide("x", [row])


def test_objective_decides_and_both_cells_are_shown():
    placed = place(
        objective="a discriminator tells real from fake, the generator fools it",
        sampling="draw one token at a time, feed it back",
    )
    assert placed.cell is Cell.ADVERSARIAL
    assert placed.also is Cell.AUTOREGRESSIVE
    assert placed.cost is Cost.LENGTH


def test_json_and_text():
    placed = fourfold.place(objective="predict the added noise", sampling="remove noise in 50 steps")
    value = json.loads(placed.to_json())
    assert value["cell"] == "diffusion"
    assert value["likelihood"] == Kind.ESTIMATE
    assert value["would_change"] == [], "no rival has any support"
    assert place("a discriminator judges samples; we predict the noise that was added, in steps").would_change
    for text in (
        show.text(placed),
        show.side_by_side([placed, place("GPT-2")]),
        show.table([placed, place("a nice thing")]),
    ):
        assert max(map(len, text.splitlines())) <= 80


def test_nothing_to_place():
    with pytest.raises(UnreadableError, match="got nothing"):
        place()


def test_the_map_is_derived_and_self_contained():
    text = drawing.as_text()
    assert all(facts.objective_formula in text for facts in FACTS.values())
    page = drawing.html([place(objective="predict the added noise", sampling="remove noise in 50 steps")])
    assert page.count('class="dot"') == len(systems()) + 1
    assert "<script src" not in page
    assert "<link" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0].replace("<\\/", "</"))
    assert len(data["dots"]) == len(systems()) + 1


def test_text_lines_of_the_map_fit_a_terminal():
    assert all(len(line) <= 80 or "http" in line for line in drawing.as_text().splitlines())


def test_a_link_in_a_circle_ends(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "c.json").write_text("{}")
    assert [path.name for path in files_below(tmp_path)] == ["c.json"]


def test_mutated_inputs_end_in_a_placement_or_a_clear_error():
    from atlas import fuzz

    assert fuzz(25, seed=7) > 0


def test_nothing_heavy_is_loaded():
    code = (
        "import sys; from fourfold import place; place('GPT-2'); place('predict the next token'); "
        "assert not {'torch', 'numpy', 'rich', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_any_two_cells_are_told_apart_by_a_question_about_their_objectives():
    from itertools import combinations

    from fourfold_atlas.decision import _question

    asked = {(a, b): _question(a, b) for a, b in combinations(Cell, 2)}
    assert len(set(asked.values())) == 21
    assert all(_question(b, a) == question for (a, b), question in asked.items())
    assert all(re.fullmatch(r"whether it is trained [^:;]+, or [^:;]+", question) for question in asked.values())
    assert (
        asked[Cell.ENERGY, Cell.NOT_GENERATIVE]
        == "whether it is trained to give data a low energy, or nothing is drawn"
    )
