"""The page of every paradigm is written from its card."""

import doctest
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_paradigm_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/make_pages.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_page_of_benchmarks_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/make_benchmarks.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


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
