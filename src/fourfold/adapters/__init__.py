"""Adapters: published checkpoints of other libraries as models whose parts are those of this one.

Nothing is fetched, nothing is unpickled, and no code of a checkpoint runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourfold.adapters.gguf import is_gguf, source
from fourfold.machine.regular import text_of

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel

__all__ = [
    "is_language_model",
    "is_published",
    "is_speech_model",
    "open_published",
    "published_tokenizer",
    "read_settings",
]


TOKENIZER = 1 << 28
"""The most bytes of a tokenizer's file."""


def is_published(path: Path | str) -> bool:
    """Whether a path looks like a published model: a GGUF file, or a folder of a network or a pipeline."""
    path = Path(path)
    if is_gguf(path):
        return path.is_file()
    if (path / "model_index.json").is_file():
        return True
    if (path / "model.json").exists():
        return False
    return "model_type" in read_settings(path / "config.json") or is_speech_model(path)


def is_speech_model(path: Path | str) -> bool:
    """Whether a published model writes what it hears: a Whisper of ``transformers`` or of CTranslate2."""
    found = read_settings(Path(path) / "config.json")
    return found.get("model_type") == "whisper" or ("alignment_heads" in found and "lang_ids" in found)


def read_settings(config: Path) -> dict[str, object]:
    """The content of a ``config.json`` or the like; nothing where there is none that can be read."""
    try:
        found = json.loads(text_of(config))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_language_model(path: Path | str) -> bool:
    """Whether a published model is one of language; otherwise it is a pipeline of images, or hears sounds."""
    return not (Path(path) / "model_index.json").is_file() and not is_speech_model(path)


def open_published(
    path: Path | str,
    length: int | None = None,
    lora: int | None = None,
    language: str | None = None,
    weights: str = "float32",
) -> GenerativeModel:
    """A published model as a generative model: it samples, scores, and can be trained on.

    Args:
        path: a language model, as a folder of Hugging Face's ``transformers`` or a GGUF file; the folder of a Whisper
            model of ``transformers`` or ``faster-whisper``; or that of a pipeline of ``diffusers``.
        length: tokens in one window; by default 256, or the context of the model if that is shorter.
        lora: rank of the matrices that training adds and changes instead of the model's own; ``None``: all are trained.
        language: that of the sound, for a Whisper model of several; by default ``en``.
        weights: ``float32``; or ``int8`` for a language model that is rounded (:mod:`fourfold.adapters.rounded`).

    Raises:
        ValueError: naming the file and the way out, for what cannot be opened.
    """
    if weights != "float32" and not is_language_model(path):
        raise ValueError(f"{path}: only language models are rounded: leave the weights out")
    if is_speech_model(path):
        from fourfold.adapters.whisper import open_whisper

        if lora is not None or length is not None:
            raise ValueError(f"{path}: is a model that hears: length and lora are for language models")
        return open_whisper(Path(path), language or "en")
    if language is not None:
        raise ValueError(f"{path}: is not a Whisper model: leave the language out")
    if not is_language_model(path):
        from fourfold.adapters.diffusers import open_pipeline

        if lora is not None or length is not None:
            raise ValueError(f"{path}: is a pipeline of images: length and lora are for language models")
        return open_pipeline(Path(path))
    from fourfold.adapters.transformers import open_language_model

    return open_language_model(Path(path), length, lora, weights)


def published_tokenizer(path: Path | str, opened: Any = None) -> str:
    """The content of the ``tokenizer.json`` of a published model.

    Args:
        path: its folder or GGUF file.
        opened: its tokenizer, where the library has opened it already, since that takes long.

    Raises:
        ValueError: where it has none that can be read.
    """
    path = source(Path(path))
    file = path / "tokenizer.json"
    if file.is_file():
        return text_of(file, TOKENIZER)
    from fourfold.adapters.transformers import open_tokenizer

    tokenizer = open_tokenizer(path) if opened is None else opened
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ValueError(f"{path}: its tokenizer is not one of the library 'tokenizers': convert it to tokenizer.json")
    return str(tokenizer.backend_tokenizer.to_str())
