"""A report is written where it was asked for, and never over what is not a report."""

import os
from pathlib import Path

import pytest

from fourfold.tournament.outputs import check_outputs, results_path


@pytest.mark.parametrize(
    ("report", "results"),
    [("report.html", "results.json"), ("wine.html", "wine.json"), ("a/my-report.html", "a/my-results.json")],
)
def test_each_report_has_numbers_of_its_own(report: str, results: str) -> None:
    assert results_path(Path(report)) == Path(results)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="--out must be a file, got the folder"):
        check_outputs(tmp_path)
    with pytest.raises(ValueError, match="must be a file that can be written"):
        check_outputs(tmp_path / "file" / "report.html")
    with pytest.raises(ValueError, match=r"must end in \.html"):
        check_outputs(tmp_path / "numbers.json")
    check_outputs(tmp_path / "new" / "report.html")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_is_closed_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="must be a file that can be written"):
        check_outputs(tmp_path / "report.html")


def test_what_is_not_ours_is_kept(tmp_path: Path) -> None:
    for name, content in (("results.json", '{"mine": 1}'), ("results.json", "no json"), ("report.html", "<html>")):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(ValueError, match=f"{name} must be written by a comparison"):
            check_outputs(tmp_path / "report.html")
        assert path.read_text() == content
        path.unlink()
    (tmp_path / "results.json").write_text('{"format": 1, "paradigms": [], "hardware": {}}')
    (tmp_path / "report.html").write_text('<meta name="generator" content="fourfold compare">')
    check_outputs(tmp_path / "report.html")
    check_outputs(tmp_path / "other.html")  # its numbers are other.json
