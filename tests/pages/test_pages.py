"""Every page of the course and every how-to page runs, prints what it states, and shows what its code saves.

These tests take minutes, so they run with the documentation: ``make docs``, or ``pytest -m pages``.
"""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import run_pages  # noqa: E402


@pytest.mark.pages
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch, numpy and matplotlib about each other
@pytest.mark.parametrize("page", run_pages.pages(), ids=lambda page: page.stem)
def test_a_page_runs_and_prints_what_it_states(page, tmp_path):
    run_pages.run(page, tmp_path)


def test_every_picture_is_shown_and_small():
    shown = {name for page in run_pages.pages() for name in run_pages.pictures(page)}
    assert shown == {path.name for path in run_pages.PICTURES.iterdir()}
    assert all(path.stat().st_size <= run_pages.LARGEST for path in run_pages.PICTURES.iterdir())


def test_every_page_of_the_course_shows_a_picture_a_failure_and_its_sources():
    for page in sorted((ROOT / "docs/course").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        assert run_pages.pictures(page), page
        assert re.search(r"^## How it fails", text, re.MULTILINE), page
        assert "](../reference/" in text, page


@pytest.mark.parametrize(
    ("stated", "printed"),
    [
        ("2 rows", "3 rows"),
        ("error 0.10", "error 0.20"),
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("a\n...\nc", "a\nb"),
        ("exact 1.00", "estimate 1.00"),
        ("1e-05", "2e-05"),
        ("1.0e-05", "2.0e-05"),
    ],
)
def test_another_output_than_the_stated_one_is_noticed(stated, printed):
    with pytest.raises(AssertionError, match="states"):
        run_pages.compare(stated, printed, "page:1")


@pytest.mark.parametrize(
    ("stated", "printed"),
    [
        ("2 rows", "2 rows\n"),
        ("error 0.10", "error   0.11"),
        ("loss -3.4", "loss -3.1"),
        ("0.00", "-0.01"),
        ("a\n...\nc", "a\nb\nb\nc"),
        ("a\n...\nc\n...\ne", "a\nb\nc\nd\ne"),
    ],
)
def test_rounding_is_forgiven_and_dots_stand_for_lines(stated, printed):
    run_pages.compare(stated, printed, "page:1")


def test_a_page_that_lies_fails(tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match="1 states"):
        run_pages.run(page, tmp_path)
    page.write_text("![x](../pictures/course/none.png)\n```python\npass\n```\n")
    with pytest.raises(AssertionError, match="none"):
        run_pages.run(page, tmp_path)
    page.write_text("text\n\n```sh\nfourfold data no-such-set\n```\n")
    with pytest.raises(AssertionError, match="no-such-set"):
        run_pages.run(page, tmp_path)
