"""Adapters: published checkpoints of other libraries as models whose parts are those of this one.

Nothing is fetched, nothing is unpickled, and no code of a checkpoint runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel

__all__ = ["is_language_model", "is_published", "open_published", "published_tokenizer"]


def is_published(path: Path | str) -> bool:
    """Whether a path looks like a published model: a GGUF file, a folder of ``transformers``, or a pipeline's."""
    path = Path(path)
    if path.suffix.lower() == ".gguf":
        return path.is_file()
    if not is_language_model(path):
        return True
    config = path / "config.json"
    if (path / "model.json").exists() or not config.is_file() or config.stat().st_size > 1 << 24:
        return False
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "model_type" in found


def is_language_model(path: Path | str) -> bool:
    """Whether a published model is one of language; otherwise it is a pipeline of images."""
    return not (Path(path) / "model_index.json").is_file()


def open_published(path: Path | str, length: int | None = None, lora: int | None = None) -> GenerativeModel:
    """A published model as a generative model: it samples, scores, and can be trained on.

    Args:
        path: a language model, as a folder of Hugging Face's ``transformers`` or a GGUF file; or the folder of a
            pipeline of ``diffusers``.
        length: tokens in one window; by default 256, or the context of the model if that is shorter.
        lora: rank of the matrices that training adds and changes instead of the model's own; ``None``: all are trained.

    Raises:
        ValueError: naming the file and the way out, for what cannot be opened.
    """
    if not is_language_model(path):
        from fourfold.adapters.diffusers import open_pipeline

        if lora is not None or length is not None:
            raise ValueError(f"{path}: is a pipeline of images: length and lora are for language models")
        return open_pipeline(Path(path))
    from fourfold.adapters.transformers import open_language_model

    return open_language_model(Path(path), length, lora)


def published_tokenizer(path: Path | str, opened: Any = None) -> str:
    """The content of the ``tokenizer.json`` of a published model.

    Args:
        path: its folder or GGUF file.
        opened: its tokenizer, where the library has opened it already, since that takes long.

    Raises:
        ValueError: where it has none that can be read.
    """
    file = Path(path) / "tokenizer.json"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    from fourfold.adapters.transformers import open_tokenizer

    tokenizer = open_tokenizer(Path(path)) if opened is None else opened
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ValueError(f"{path}: its tokenizer is not one of the library 'tokenizers': convert it to tokenizer.json")
    return str(tokenizer.backend_tokenizer.to_str())
