"""The pages that are written from cards, results and declarations are current, and the README runs."""

import doctest
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["make_pages.py", "make_benchmarks.py", "make_reference.py"])
def test_the_pages_that_a_program_writes_are_current(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program ends with the name of a page that is not."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    monkeypatch.setattr(sys, "argv", [name, "--check"])
    runpy.run_path(str(ROOT / "docs" / name), run_name="__main__")


def test_the_python_of_the_readme_runs() -> None:
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert tried > 4
    assert failed == 0


def test_import_and_help_load_no_torch() -> None:
    code = "import sys, fourfold; import fourfold.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_two_test_files_have_one_name():
    """Test files without a package are modules at the top: two of one name stop the whole suite."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    assert sorted(names) == sorted(set(names))
