"""The adapters share this: errors of other libraries become one line, and the libraries keep silent."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["quiet", "told"]


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn any error of a library into one line that names the file and the way out."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: cannot be opened ({_line(error)}): is it of a kind that is read here?") from None
    except Exception as error:  # readers raise their own kinds for damaged files
        way = "fetch it again"
        raise ValueError(f"{path}: is damaged, or of a kind that is not read ({_line(error)}): {way}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' progress bars and advice on standard error."""
    import transformers

    logging: Any = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(before)
