"""The verdict on a synthetic database says what its scores say."""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from test_keys_and_links import shop

from fourfold.metrics import Floor, Measurement
from fourfold_databases.database import read_database
from fourfold_databases.findings import LIKENESS, conclusion, findings, score_of, screen
from fourfold_databases.inference import inferred_schema
from fourfold_databases.judging import DatabaseJudgement, LinkCheck, judge_database
from fourfold_databases.page import schema_picture, write_page
from fourfold_databases.reading import frames_of
from fourfold_databases.rules import RuleCheck

SCHEMA = inferred_schema(*frames_of(shop()))[0]


class View(NamedTuple):
    """The scores of a judgement, which are all that the verdict reads."""

    scores: tuple[Measurement, ...]


def score(name, value, floor, half=0.02, better="lower"):
    measured = Measurement(name, value, value - half, value + half, n=500, better=better)
    return measured.beside(Floor(floor, floor - half, floor + half))


def judgement(copies=0.1, nearer=0.5, attack=0.5, auc=0.5, broken=0, rules=()):
    scores = (
        score("two_sample_auc[trees]", auc, 0.5),
        score("copies[training rows]", copies, 0.1),
        score("closer_to_training[rows]", nearer, 0.5),
        score("membership[distance]", attack, 0.5),
    )
    view = View(scores)
    checks = (LinkCheck("link orders.customer_id -> customers", 10, broken),)
    return DatabaseJudgement("new", checks, {"orders": view, "siblings in orders": view}, rules=rules)


def bad(**changes):
    return [item.subject for item in findings(judgement(**changes), SCHEMA) if item.bad]


def test_a_database_like_real_rows_has_no_finding_against_it():
    assert bad() == []
    assert "looks like the real one" in conclusion(judgement(), SCHEMA)


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"broken": 3}, "keys"),
        ({"copies": 0.2}, "exact copies"),
        ({"nearer": 0.7}, "nearness to training rows"),
        ({"attack": 0.6}, "membership attack"),
    ],
)
def test_each_fault_is_one_finding(changes, subject):
    assert bad(**changes) == [subject]
    private = subject != "keys"
    assert conclusion(judgement(**changes), SCHEMA).startswith("Do not share") == private


def test_rows_and_links_that_trees_tell_apart_are_named():
    assert bad(auc=0.8) == ["tables", "links"]
    texts = [item.text for item in findings(judgement(auc=0.8), SCHEMA) if item.bad]
    assert "orders (AUC 0.80)" in texts[0]
    assert "siblings in orders (AUC 0.80)" in texts[1]


def test_a_rule_that_fewer_rows_keep_is_a_finding():
    assert bad(rules=(RuleCheck("a not before b", 1.0, 0.7, SCHEMA.owner("orders")),)) == ["rules"]
    assert bad(rules=(RuleCheck("a not before b", 0.99, 0.99, SCHEMA.owner("orders")),)) == []


def test_the_picture_of_a_schema_names_each_table_with_its_rows():
    picture = str(schema_picture(SCHEMA, dict.fromkeys(SCHEMA.keys, (10, 12))))
    assert all(f">{table}<" in picture for table in SCHEMA.keys)
    assert picture.count("12 rows, real 10") == len(SCHEMA.keys)
    assert picture.count("<path") == len(SCHEMA.links)


def test_a_score_that_could_not_be_measured_says_nothing():
    unmeasured = judgement(auc=float("nan"))
    (tables,) = [item for item in findings(unmeasured, SCHEMA) if item.subject == "tables"]
    assert tables.text == "No rows could be measured."
    assert not tables.bad
    assert score_of(unmeasured, "orders", LIKENESS) is None


def test_a_table_without_parents_stands_beside_its_nearest_child():
    """So its line crosses no box: products are named by items, three links below the customers."""
    picture = str(schema_picture(SCHEMA, {}))
    place = {name: int(x) for x, name in re.findall(r'<text x="(\d+)"[^>]*>(\w+)<', picture)}
    assert place["customers"] < place["orders"] < place["order_items"]
    assert place["products"] == place["orders"]


def test_wide_parts_of_the_page_scroll_by_themselves(tmp_path):
    data = {name: pd.DataFrame({"id": range(60), "n": np.arange(60) % 7}) for name in ("a", "b")}
    real = read_database(data)
    page = write_page(judge_database(real, data, n=40, out=tmp_path / "judged"), real.schema, tmp_path / "judged")
    text = page.read_text()
    assert text.count("<table>") == 3  # the first screen and two tables
    assert text.count('<div class="wide"><table>') == text.count("<table>")
    assert text.count('<div class="wide"><svg') == 1
    assert 'class="conclusion' in text


def test_rows_of_short_tables_that_are_real_ones_are_looked_at_first():
    """They are too few for a measure of copies, and a table of nine employees is copied whole."""
    rng = np.random.default_rng(0)

    def visits():
        return pd.DataFrame({"staff_id": rng.integers(0, 9, 200), "minutes": rng.integers(5, 60, 200)})

    staff = pd.DataFrame({"staff_id": range(9), "name": [*"abcdefghi"], "born": [1980.0, None, *range(1990, 1997)]})
    real = {"staff": staff, "visits": visits()}
    other = staff.assign(name=[*"jklmnopqr"])
    for drawn, count, private in ((staff.assign(staff_id=staff["staff_id"] + 9), 9, True), (other, 0, False)):
        visit = visits().assign(staff_id=rng.choice(drawn["staff_id"], 200))
        judgement = judge_database(real, {"staff": drawn, "visits": visit}, n=60)
        assert judgement.repeats["staff"] == (count, 9)
        text = screen(judgement, read_database(real).schema)
        assert text.startswith("Do not share this database before you have looked at its short") == private
        assert ("staff (9 of 9)" in text) == private
        reference = dataclasses.replace(read_database(real).schema, real=("staff",))
        text = screen(judgement, reference)
        assert "staff (9 of 9)" not in text
        assert "hold real rows: staff" in " ".join(text.split())
