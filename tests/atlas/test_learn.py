"""The learned weights: rebuilt to the byte from the lessons, keyed by rules that exist, without names."""

import json
import lzma
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from fourfold.atlas.catalogue import systems
from fourfold.atlas.evidence import Cell
from fourfold.atlas.rules import rule_ids
from fourfold.atlas.wording import CELLS, LINE, UNIT, weights

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import collect_lessons as collect
import learn_atlas as learn


def test_the_weights_are_rebuilt_to_the_byte_from_the_lessons(tmp_path):
    learn_to = tmp_path / "weights.tsv"
    examples = learn.read_lessons()
    learn.write(learn.Model(learn.Options()).fit(examples, learn.read_ratings()), examples, learn_to)
    assert learn_to.read_bytes() == learn.WEIGHTS.read_bytes(), "run python tools/learn_atlas.py"


def test_the_fit_ends_at_the_minimum_wherever_it_starts(monkeypatch):
    """So rounded weights do not depend on how far scikit-learn came, nor on the last bits of its sums."""
    rng = np.random.default_rng(0)
    x, target = sp.csr_matrix(rng.normal(size=(140, 9))), np.arange(140) % 7
    weight = rng.uniform(0.5, 2.0, 140)
    found = learn._exact(x, target, weight)
    fit = learn.LogisticRegression
    monkeypatch.setattr(learn, "LogisticRegression", lambda **given: fit(**{**given, "tol": 1.0}))
    np.testing.assert_allclose(learn._exact(x, target, weight), found, atol=1e-9)
    logits = x @ found[:, :-1].T + found[:, -1]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gradient = (weight[:, None] * (p - np.eye(7)[target])).T @ x.toarray() + found[:, :-1]
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


def test_every_weight_is_of_a_rule_a_cell_or_a_word_that_exists():
    rows = [line.split("\t")[0] for line in learn.WEIGHTS.read_text("utf-8").splitlines() if line[0] != "#"]
    assert len(rows) == len(set(rows)) == len(weights())
    known = {"rule": set(rule_ids()), "cell": set(Cell), "kind": {"card", "line", "code"}}
    for row in rows:
        head, colon, name = row.partition(":")
        assert not colon or name in known[head], row
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
        assert re.match(r"https://github\.com/[^/]+/[^/]+/blob/[0-9a-f]{40}/|catalogue:", row["source"])
        assert all(
            set(text) == {"stems", "votes"} and all(gap > 0 for gap in text["stems"][1:]) for text in row["texts"]
        )
    sources = {f"https://github.com/{s.repository}/blob/{s.commit}/{s.path}" for s in collect.read_sources()}
    assert sources <= {json.loads(row)["source"] for row in rows}


def test_no_lesson_is_of_a_repository_that_is_a_test():
    cases = (Path(__file__).parents[2] / "benchmarks" / "atlas_folders.jsonl").read_text().splitlines()
    tests = {json.loads(case)["repository"].lower() for case in cases}
    assert not tests & {source.repository.lower() for source in collect.read_sources()}


def test_what_is_collected_of_a_line_is_what_the_lessons_hold():
    """The catalogue's lines need no clone, so a few are read again."""
    first, *rows = lzma.decompress(learn.LESSONS.read_bytes()).decode().splitlines()
    stems = json.loads(first)["stems"]
    kept = {row["source"]: row for row in map(json.loads, rows) if row["kind"] == "line"}
    for system in systems()[::200]:
        if (row := kept.get(f"catalogue:{system.id}")) is None:
            continue
        again = collect.read_line(
            (system.id, system.paradigm.value, system.name, f"{system.objective}; {system.sampling}")
        )
        assert (row["digest"], row["texts"][0]["votes"]) == (again["digest"], again["texts"][0]["votes"])
        assert [stems[i] for i in np.cumsum(row["texts"][0]["stems"])] == sorted(
            {*again["texts"][0]["stems"]} & set(stems)
        )


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
    found = learn.held_out(twice, options, {})
    right = np.mean([CELLS[p.argmax()] is e.cell for p, e in zip(found, twice, strict=True)])
    known = learn.Model(options).fit(twice, {}).probabilities(twice)
    assert np.mean([CELLS[p.argmax()] is e.cell for p, e in zip(known, twice, strict=True)]) == 1.0
    assert right < 0.4
