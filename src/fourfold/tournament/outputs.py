"""The files that a comparison writes. They are checked before training, so that no other file is overwritten."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

__all__ = ["GENERATOR", "check_outputs", "results_path"]

GENERATOR = "fourfold compare"
"""The generator that a report names, by which it is recognised."""


def results_path(report: Path) -> Path:
    """The file of a report's numbers: ``results.json`` beside ``report.html``, ``wine.json`` beside ``wine.html``."""
    return report.with_name(f"{report.stem.replace('report', 'results')}.json")


def check_outputs(report: Path) -> None:
    """Refuse a report that cannot be written, or that would overwrite another file.

    Raises:
        ValueError: naming the file and the way out.
    """
    if report.is_dir():
        raise ValueError(f"--out must be a file, got the folder {report}; give {report / 'report.html'}")
    if report.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out must end in .html, got {report}; give {report.with_suffix('.html')}")
    results = results_path(report)
    for path, ours in ((report, _is_report), (results, _is_results)):
        if path.exists() and not ours(path):
            raise ValueError(
                f"{path} must be written by a comparison, got another file; move it, or choose another --out"
            )
    folder = report.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for path in (report, results):
            if path.exists():
                with path.open("ab"):
                    pass
    except OSError as error:
        raise ValueError(
            f"--out must be a file that can be written, got {report} ({error.strerror}); choose another"
        ) from None


def _is_report(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        start = file.read(2000)
    return f'content="{GENERATOR}"' in start


def _is_results(path: Path) -> bool:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and {"format", "paradigms", "hardware"} <= set(record)
