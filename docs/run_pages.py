"""Run the pages of the course and the how-to pages: what a page shows is what its code does.

A page is run top to bottom. Every ``python`` block runs in one namespace; of a ``sh`` block the lines that begin with
``fourfold`` run. A ``text`` block after either states what it prints, and a picture must be one that the code has
saved.

``python docs/run_pages.py [PAGE ...]`` runs the pages and writes their pictures to ``docs/pictures/course``. The tests
run every page in a folder that they throw away.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PICTURES = DOCS / "pictures" / "course"
LARGEST = 60_000
"""Bytes of a picture."""

_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"^!\[[^\]]*\]\(\.\./pictures/course/([^)]+)\)", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_STYLE = {
    "figure.figsize": (7.2, 2.6),
    "figure.dpi": 130,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "font.size": 9,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


def pages() -> list[Path]:
    """The pages that hold code, in order."""
    paths = [*sorted((DOCS / "course").glob("*.md")), *sorted((DOCS / "how-to").glob("*.md"))]
    return [page for page in paths if _BLOCK.search(page.read_text(encoding="utf-8"))]


def pictures(page: Path) -> list[str]:
    """The names of the pictures of a page's own code."""
    return _PICTURE.findall(page.read_text(encoding="utf-8"))


def run(page: Path, folder: Path) -> list[Path]:
    """Run a page in ``folder`` and return the pictures that it shows, which its code saved there.

    Raises:
        AssertionError: if a block prints something else than the page states, or a picture is missing.
        Exception: whatever the page's code raises; the traceback names the line of the page.
    """
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(folder), mpl.rc_context(_STYLE):
        try:
            for block in _BLOCK.finditer(text):
                line = text.count("\n", 0, block.start()) + 1
                printed = _python(block[2], page, line, names) if block[1] == "python" else _shell(block[2])
                if block[3] is not None:
                    compare(block[3], printed, f"{page}:{line}")
        finally:
            plt.close("all")
    paths = [folder / name for name in pictures(page)]
    missing = [picture.name for picture in paths if not picture.exists()]
    assert not missing, f"{page} shows {', '.join(missing)}, which its code does not save"
    return paths


def _python(source: str, page: Path, line: int, names: dict[str, Any]) -> str:
    """Run a block whose first line follows ``line`` of the page; return what it prints."""
    out = io.StringIO()
    code = compile("\n" * line + source, str(page), "exec", dont_inherit=True)  # as a reader would run it
    with contextlib.redirect_stdout(out):
        exec(code, names)
    return out.getvalue()


def _shell(source: str) -> str:
    """Run the lines that call fourfold, in this process; return what they print."""
    from fourfold.__main__ import main

    out = io.StringIO()
    for line in source.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["fourfold"]:
            continue
        code: Any = 0
        try:
            with contextlib.redirect_stdout(out):
                main(words[1:])
        except SystemExit as end:
            code = end.code
        assert not code, f"{line!r} ends with {code}"
    return out.getvalue()


def compare(stated: str, printed: str, where: str) -> None:
    """Words must be equal, and so must whole numbers; numbers with a point may differ as machines round differently.

    ``...`` on a line of its own stands for any lines.
    """
    expected, rest = stated.split("\n...\n"), printed
    for part in expected:
        lines, output = _lines(part), _lines(rest)
        starts = range(len(output) - len(lines) + 1) if len(expected) > 1 else range(len(output) == len(lines))
        at = next((i for i in starts if all(map(_same, lines, output[i:]))), None)
        assert at is not None, f"{where} states\n{stated}\nand prints\n{printed}"
        rest = "\n".join(output[at + len(lines) :])


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def _same(stated: str, printed: str) -> bool:
    numbers, other_numbers = _NUMBER.findall(stated), _NUMBER.findall(printed)
    words, other_words = (" ".join(_NUMBER.sub("#", line).split()) for line in (stated, printed))
    return words == other_words and len(numbers) == len(other_numbers) and all(map(_near, numbers, other_numbers))


def _near(stated: str, printed: str) -> bool:
    """Whether two numbers are equal, or, where both have a point, within a fifth of each other."""
    if "." not in stated or "." not in printed:
        return stated == printed
    mantissa, _, exponent = stated.partition("e")
    last = int(exponent or 0) - len(mantissa.partition(".")[2])  # the power of ten of the last digit
    return math.isclose(float(stated), float(printed), rel_tol=0.2, abs_tol=2 * 10.0**last)


def save(picture: Path, target: Path) -> None:
    """Copy a picture with as many colours as it needs, in less space.

    Raises:
        AssertionError: if it is still larger than a page should load.
    """
    from PIL import Image

    if picture.suffix == ".png":
        with Image.open(picture) as image:
            image.convert("RGB").quantize(96).save(target, optimize=True)
    else:
        target.write_bytes(picture.read_bytes())
    assert target.stat().st_size <= LARGEST, f"{target} has {target.stat().st_size} bytes: draw less"


if __name__ == "__main__":
    import time

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = set(sys.argv[1:])
    PICTURES.mkdir(parents=True, exist_ok=True)
    for page in pages():
        if not names or page.stem in names:
            began = time.process_time()
            with tempfile.TemporaryDirectory() as scratch:
                paths = run(page, Path(scratch))
                for path in paths:
                    save(path, PICTURES / path.name)
            print(
                f"{page.stem}: {time.process_time() - began:.1f} s of CPU; {', '.join(p.name for p in paths)}",
                flush=True,
            )
