"""Adapters share this: files of settings, errors of other libraries as one line, and libraries that keep silent."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fourfold.machine.regular import text_of

__all__ = ["check_tensors", "file_of_tokenizer", "imported", "naming", "quiet"]

TOKENIZER = 1 << 28
"""The most bytes of a tokenizer's file."""


def file_of_tokenizer(folder: Path) -> str:
    """The content of the ``tokenizer.json`` of a folder.

    Raises:
        OSError: if it is not there, is not a regular file, or is too large.
    """
    return text_of(folder / "tokenizer.json", TOKENIZER)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
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
    import transformers  # an optional library

    logging: Any = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(before)


def imported(name: str) -> Any:
    """A library of the extra ``hf``, imported where it is used.

    Raises:
        ValueError: where it is not installed, with the way out.
    """
    os.environ.setdefault("USE_HUB_KERNELS", "NO")  # a kernel of a hub is code: none is fetched unless the user says so
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError(f"{name} must be installed for published models: pip install '.[hf]' in its clone") from None


def check_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Refuse weights that do not fit their configuration, by what a library says of loading them.

    Raises:
        ValueError: naming the first tensor that is missing, misshapen or unknown.
    """
    for kind, words in (("missing_keys", "lacks"), ("mismatched_keys", "has another shape of")):
        names = sorted(str(key[0] if isinstance(key, tuple) else key) for key in tensors.get(kind, ()))
        if names:
            first, more = names[0], f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(f"{path}: {words} the tensor {first}{more}: fetch its weights again")
    if tensors.get("unexpected_keys"):
        raise ValueError(
            f"{path}: holds the tensor {min(map(str, tensors['unexpected_keys']))}, which its configuration does not "
            "know: are config.json and weights of one model?"
        )
