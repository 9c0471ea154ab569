"""The learned weights: rebuilt to the byte from the lessons, keyed by rules that exist, without names."""

import hashlib
import json
import lzma
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from fourfold_atlas.catalogue import systems
from fourfold_atlas.evidence import CLAIMS, Cell
from fourfold_atlas.rules import rule_ids
from fourfold_atlas.votes import weighs
from fourfold_atlas.wording import CELLS, LINE, UNIT, weights

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import collect_lessons as collect
import learn_atlas as learn


def test_the_weights_are_rebuilt_to_the_byte_from_the_lessons(tmp_path):
    learn_to = tmp_path / "weights.tsv"
    examples = learn.read_lessons()
    learn.write(learn.Model(learn.Options()).fit(examples, learn.read_ratings()), examples, learn_to)
    assert learn_to.read_bytes() == learn.WEIGHTS.read_bytes(), "run python tools/learn_atlas.py"


def test_the_lessons_are_not_stale():
    first, *rows = lzma.decompress(learn.LESSONS.read_bytes()).decode().splitlines()
    way_out = "stale: run tools/collect_lessons.py --clones DIR --keep, then tools/learn_atlas.py"
    assert json.loads(first)["rules"] == collect.rules_digest(), way_out
    assert {json.loads(row)["rules"] for row in rows} <= {"", collect.rules_digest()}, "lessons of two rule sets"


def test_old_votes_are_kept_for_absent_sources_and_what_to_get_is_listed(tmp_path):
    before = collect.read_before()
    source = next(source for source in collect.read_sources() if source.kind == "card")
    lesson = collect.read_or_keep(source, tmp_path, before)
    assert lesson["system"] == source.system
    assert all(isinstance(stem, str) for text in lesson["texts"] for stem in text["stems"])
    with pytest.raises(SystemExit):
        collect.read_or_keep(source, tmp_path, {})
    commands = collect.missing([source, source], tmp_path)
    assert len(commands) == 2
    assert commands[1].endswith(f"https://github.com/{source.repository} {source.commit}")


def test_the_fit_ends_at_the_minimum_wherever_it_starts(monkeypatch):
    """So rounded weights do not depend on how far scikit-learn came, nor on the last bits of its sums."""
    rng = np.random.default_rng(0)
    x, target = sp.csr_matrix(rng.normal(size=(140, 9))), np.arange(140) % 7
    weight = rng.uniform(0.5, 2.0, 140)
    minimum = learn._exact(x, target, weight)
    fit = learn.LogisticRegression
    monkeypatch.setattr(learn, "LogisticRegression", lambda **given: fit(**{**given, "tol": 1.0}))
    np.testing.assert_allclose(learn._exact(x, target, weight), minimum, atol=1e-9)
    logits = x @ minimum[:, :-1].T + minimum[:, -1]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gradient = (weight[:, None] * (p - np.eye(7)[target])).T @ x.toarray() + minimum[:, :-1]
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


def test_every_weight_is_of_a_rule_a_cell_or_a_word_that_exists():
    rows = [line.split("\t")[0] for line in learn.WEIGHTS.read_text("utf-8").splitlines() if line[0] != "#"]
    assert len(rows) == len(set(rows)) == len(weights())
    names = {"rule": set(rule_ids()), "cell": set(Cell), "kind": {"card", "line", "code", "settings"}}
    for row in rows:
        head, colon, name = row.partition(":")
        assert not colon or name in names[head], row
    assert all(len(row) == len(CELLS) for row in weights().values())
    assert max(abs(sum(row)) for row in weights().values()) <= 7 * UNIT / 2 + 1e-9, "only differences matter"


def test_no_row_names_a_system_a_person_or_a_paradigm():
    words = [name for name in weights() if ":" not in name]
    assert len(words) > 5000
    hidden = collect.hidden_stems()
    assert not [word for word in words if word in hidden or collect.names_paradigm(word)]
    assert {"kingma", "tulyakov"} <= hidden
    assert collect.names_paradigm("diffusion")
    assert not collect.names_paradigm("gibbs")


def test_a_lesson_holds_no_sentence_and_is_of_no_system_that_is_kept_apart():
    first, *rows = lzma.decompress(learn.LESSONS.read_bytes()).decode().splitlines()
    stems = json.loads(first)["stems"]
    assert all(" " not in stem for stem in stems)
    apart = set(collect.APART.read_text().split())
    assert apart <= {system.id for system in systems()}
    for row in map(json.loads, rows):
        assert row["system"] not in apart
        assert re.fullmatch(r"[0-9a-f]{64}", row["digest"])
        assert re.match(r"https://github\.com/[^/]+/[^/]+/blob/[0-9a-f]{40}/|catalogue:|lines:", row["source"])
        assert all(
            set(text) == {"stems", "votes"} and all(gap > 0 for gap in text["stems"][1:]) for text in row["texts"]
        )
    sources = {f"https://github.com/{s.repository}/blob/{s.commit}/{s.path}" for s in collect.read_sources()}
    assert sources <= {json.loads(row)["source"] for row in rows}


def test_no_lesson_is_of_a_repository_that_is_a_test():
    folder = Path(__file__).parents[2] / "benchmarks"
    cases = {name: (folder / f"atlas_{name}.jsonl").read_text().splitlines() for name in ("folders", "configurations")}
    tests = {json.loads(case)["repository"].lower() for case in cases["folders"]}
    assert not tests & {source.repository.lower() for source in collect.read_sources()}
    repositories = {case["repository"] for case in map(json.loads, cases["configurations"]) if case["part"] == "kept"}
    assert not repositories & {source.repository for source in collect.read_sources() if source.kind == "settings"}


def test_what_is_collected_of_a_line_is_what_the_lessons_hold():
    """Lines need no clone, so a few are read again; a reworded entry becomes a lesson with the next collection."""
    first, *rows = lzma.decompress(learn.LESSONS.read_bytes()).decode().splitlines()
    stems = json.loads(first)["stems"]
    collected = {row["source"]: row for row in map(json.loads, rows) if row["kind"] == "line"}
    lines = {line.source: line for line in collect.lines(frozenset(collect.APART.read_text().split()))}
    same = [
        line
        for line in lines.values()
        if line.source in collected
        and hashlib.sha256(line.text.encode()).hexdigest() == collected[line.source]["digest"]
    ]
    assert len(same) > 0.9 * len(lines)
    assert {source for source in lines if source.startswith("lines:")} <= {line.source for line in same}
    for line in same[::150]:
        row, again = collected[line.source], collect.read_line(line)
        (before,), (now,) = row["texts"][0]["votes"], again["texts"][0]["votes"]
        weighed = {claim: vote for claim, vote in before["claims"].items() if weighs(CLAIMS[claim])}
        assert (weighed, before["rules"]) == (now["claims"], now["rules"])
        assert [stems[i] for i in np.cumsum(row["texts"][0]["stems"])] == sorted(
            {*again["texts"][0]["stems"]} & set(stems)
        )


def test_no_lesson_of_our_own_shares_five_words_in_a_row_with_a_test():
    def runs(text):
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    benchmarks = Path(__file__).parents[2] / "benchmarks"
    files = ("atlas_phrases.jsonl", "atlas_lines.jsonl", "atlas_foils.jsonl")
    cases = [json.loads(case)["text"] for file in files for case in (benchmarks / file).read_text().splitlines()]
    tests = set().union(*map(runs, cases))
    rows = [row.split("\t") for row in collect.LINES.read_text("utf-8").splitlines()[1:]]
    assert len(rows) == len({text for _, _, text in rows}) > 900
    assert {cell for cell, _, _ in rows} == set(Cell)
    assert not [text for _, _, text in rows if runs(text) & tests]


def test_a_line_about_a_system_that_is_a_test_is_refused(monkeypatch, tmp_path):
    (tmp_path / "lines.tsv").write_text("cell\tsystem\ttext\nflow\tglow\tlog-determinants add up\n")
    monkeypatch.setattr(collect, "LINES", tmp_path / "lines.tsv")
    with pytest.raises(SystemExit, match="glow is kept apart as a test"):
        collect.lines(frozenset({"glow"}))


def test_a_source_is_read_from_a_clone_or_refused(tmp_path):
    source = collect.Source("a", "flow", "card", "someone/thing", "0" * 40, "README.md", ())
    with pytest.raises(SystemExit, match=r"no clone of https://github\.com/someone/thing"):
        collect.content(source, tmp_path)


def test_an_abstract_is_read_from_its_page():
    page = "---\ntitle: 'A thing: of ours'\nabstract: We draw\n  things, one\n  by one.\nlayout: paper\n---\n"
    assert collect.abstract(page) == "A thing: of ours\n\nWe draw things, one by one."


def test_held_out_systems_are_not_learned_from():
    """Words of a system's own foretell its cell only where its texts are among the lessons."""
    examples = [
        learn.Example(f"s{i}", LINE, cell, frozenset({f"word{i}"}), {})
        for i, cell in enumerate(cell for cell in CELLS for _ in range(12))
    ]
    twice = [*examples, *(replace(example, head=True) for example in examples)]
    options = learn.Options(rated=0.0)
    names = learn.held_out(twice, options, {})
    right = np.mean([CELLS[p.argmax()] is e.cell for p, e in zip(names, twice, strict=True)])
    probabilities = learn.Model(options).fit(twice, {}).probabilities(twice)
    assert np.mean([CELLS[p.argmax()] is e.cell for p, e in zip(probabilities, twice, strict=True)]) == 1.0
    assert right < 0.4
