"""The text of a PDF. A process of its own reads it: ``python -m fourfold_atlas.pdf`` turns standard input into text."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import subprocess
import sys

from fourfold_atlas.bounded import UnreadableError

__all__ = ["PDF_BYTES", "opening", "text_of_pdf"]

PAGES, MEMORY, SECONDS, PDF_BYTES = 40, 2 << 30, 20.0, 100_000_000
"""The most pages that are read, bytes of memory, seconds, and bytes of a file."""
_HYPHEN = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
#: a paper says on its first pages what its system is, and of other people's systems afterwards
OPENING = 9_000
_RELATED = re.compile(
    r"(?m)^\s*(?:\d+\.?|[IVX]+\.)?\s*(?:related works?|background|references|preliminaries)\s*$", re.I
)


def text_of_pdf(content: bytes, name: str = "the PDF") -> str:
    """The text of the first pages of a PDF, with a limit on the time and the memory of its reader.

    Raises:
        UnreadableError: there is no text, reading takes too long, or pypdf is not installed.
    """
    if importlib.util.find_spec("pypdf") is None:
        raise UnreadableError(f"{name}: needs pypdf: pip install 'fourfold[pdf]', or give its abstract as a text")
    command = [sys.executable, "-m", "fourfold_atlas.pdf"]
    try:
        process = subprocess.run(command, input=content, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UnreadableError(f"{name}: must be read within {SECONDS:g} s; give its abstract as a text") from None
    text = process.stdout.decode("utf-8", "replace").strip()
    if process.returncode or not text:
        raise UnreadableError(f"{name}: must hold text, got none that can be read; give its abstract as a text")
    return _HYPHEN.sub("", text)


def opening(text: str) -> str:
    """The title, the abstract and the introduction of a paper: up to its related work."""
    related = _RELATED.search(text, 600)
    return text[: min(OPENING, related.start() if related else OPENING)]


def main() -> int:
    """Print the text of the first pages."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # there are systems without limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from pypdf import PdfReader

    pages = PdfReader(io.BytesIO(sys.stdin.buffer.read())).pages
    for i in range(min(len(pages), PAGES)):
        sys.stdout.write(pages[i].extract_text() + "\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
