"""Run the pages of the course: every Python block of a page, top to bottom, in one namespace.

``python docs/run_course.py`` writes the pictures that the pages show to ``docs/course/pictures``; ``make docs`` calls it.
The tests run every page through :func:`run` and throw its pictures away. A page states its figures as assertions, so a
page whose text has become untrue fails.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

COURSE = Path(__file__).with_name("course")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"^!\[[^\]]*\]\(pictures/([^)]+)\)", re.MULTILINE)
_STYLE = {
    "figure.figsize": (7.2, 2.7),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "font.size": 9,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


def pages() -> list[Path]:
    """The pages that hold Python blocks, in order."""
    return [page for page in sorted(COURSE.glob("*.md")) if _BLOCK.search(page.read_text(encoding="utf-8"))]


def run(page: Path, folder: Path) -> list[Path]:
    """Run a page's Python in ``folder`` and return the pictures it made there.

    Raises:
        AssertionError: if a figure that the page states does not hold, or a picture that it shows was not made.
        Exception: whatever the page's code raises.
    """
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    text = page.read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    names: dict[str, Any] = {"__name__": page.stem}
    os.chdir(folder)
    try:
        with mpl.rc_context(_STYLE):
            for block in _BLOCK.finditer(text):
                line = text.count("\n", 0, block.start()) + 1  # errors then name the page's own line
                exec(compile("\n" * line + block[1], str(page), "exec"), names)  # noqa: S102 - our own pages
    finally:
        plt.close("all")
        os.chdir(before)
    shown = [folder / name for name in _PICTURE.findall(text)]
    missing = [picture.name for picture in shown if not picture.exists()]
    assert not missing, f"{page.name} shows {', '.join(missing)}, which its code did not make"
    return shown


if __name__ == "__main__":
    wanted = set(sys.argv[1:])
    for found in pages():
        if not wanted or found.stem in wanted:
            print(f"{found.stem}: {', '.join(picture.name for picture in run(found, COURSE / 'pictures'))}", flush=True)
