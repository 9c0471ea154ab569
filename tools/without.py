"""``python tools/without.py WING``: delete a wing with its tests and pages in a copy, and check the rest.

``[tool.fourfold.wings]`` of pyproject.toml names the files of each wing. The copy loses them, every line of
pyproject.toml that names the wing's package, and every line of mkdocs.yml and of the pages that links to a page of the
wing. It is installed into a folder of its own, so that no entry point of the wing is left, and the page of paradigms is
written anew. Then import-linter, mypy and the tests run. Without a WING, the wings take turns by the number of commits.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?:\(| )([\w./-]+\.md)(?=[)#]|$)")
"""The path of a page at the end of a line of mkdocs.yml, or in a link."""
WITHOUT_SOURCE = f"import sys\nsys.path[:] = [path for path in sys.path if path != {str(ROOT / 'src')!r}]\n"
"""Takes an editable installation of the whole project out of the path, or every wing could still be imported."""


def wings() -> Mapping[str, Sequence[str]]:
    """The patterns of the files of each wing."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["fourfold"]["wings"]


def in_turn(names: Sequence[str]) -> str:
    """The wing whose turn it is."""
    count = subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(names)[int(count.stdout) % len(names)]


def copy_without(wing: str, patterns: Sequence[str], copy: Path) -> None:
    """Copy the files that git tracks, but for those of a wing, and take the wing out of the settings."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    of_wing = {path for pattern in patterns for path in ROOT.glob(pattern)}
    for name in listed.stdout.splitlines():
        source, target = ROOT / name, copy / name
        if source.is_file() and not of_wing & {source, *source.parents}:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    settings = copy / "pyproject.toml"
    settings.write_text(without_package(settings.read_text(encoding="utf-8"), f"fourfold_{wing}"), encoding="utf-8")
    pages = {os.path.relpath(path, ROOT) for path in of_wing if path.suffix == ".md"}
    for page in (copy / "mkdocs.yml", copy / "README.md", *(copy / "docs").rglob("*.md")):
        folder = copy / "docs" if page.suffix == ".yml" else page.parent
        lines = page.read_text(encoding="utf-8").splitlines()
        others = [line for line in lines if pages.isdisjoint(linked(line, folder, copy))]
        page.write_text("\n".join(others) + "\n", encoding="utf-8")


def linked(line: str, folder: Path, copy: Path) -> list[str]:
    """The pages that a line of a page in a folder links to, as paths from the root of the copy."""
    return [os.path.relpath(folder / path, copy) for path in LINK.findall(line)]


def without_package(settings: str, package: str) -> str:
    """The text of pyproject.toml without a package: its entry points, its contracts, and its name in lists."""
    blocks = re.split(r"(?m)^(?=\[\[)", settings)
    settings = "".join(block for block in blocks if f'source_modules = ["{package}"]' not in block)
    lines = [line for line in settings.splitlines() if not re.match(rf'[\w-]+ = "{package}[.:"]', line)]
    return re.sub(rf',? ?"(?:src/)?{package}"', "", "\n".join(lines)).replace("[, ", "[") + "\n"


def check(copy: Path) -> int:
    """Install the copy beside the packages of this environment, and run its checks."""
    installed = copy / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(copy)]
    subprocess.run(command, check=True)
    (installed / "sitecustomize.py").write_text(WITHOUT_SOURCE, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "docs/make_pages.py"], cwd=copy, env=environment, check=True)  # with fewer spaces
    tests = ["-m", "pytest", "--numprocesses", "auto", "--dist", "worksteal", "tests", "docs"]
    checks = [["-m", "mypy"], ["-c", "from importlinter.cli import lint_imports_command as main; main()"], tests]
    return max(
        subprocess.run([sys.executable, *words], cwd=copy, env=environment, check=False).returncode for words in checks
    )


def main() -> int:
    """Check the project without the wing that the command line names, or the next in turn."""
    patterns = wings()
    name = sys.argv[1] if len(sys.argv) > 1 else in_turn(list(patterns))
    if name not in patterns:
        sys.exit(f"{name!r} is no wing: choose one of {', '.join(sorted(patterns))}")
    print(f"without the wing {name}:", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        copy_without(name, patterns[name], Path(folder))
        return check(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
