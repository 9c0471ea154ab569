"""``python -m fourfold_web.pdf``: the text of a PDF from standard input, in a process of its own."""

from __future__ import annotations

import contextlib
import io
import sys

PAGES, MEMORY = 40, 2 << 30
"""The most pages that are read, and the most bytes of memory."""


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
