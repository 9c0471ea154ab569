"""The adapters of language models and of pipelines of images. Torch-free until a model is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from fourfold.adapters import Adapter, Opening
from fourfold.adapters.reading import read_settings
from fourfold_published.gguf import is_gguf

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel

__all__ = ["LanguageModels", "Pipelines"]


WHISPER = "whisper"
"""The type of model that writes what it hears, and is none of language."""


@final
class LanguageModels(Adapter):
    """Causal language models: a folder of Hugging Face's ``transformers``, or a GGUF file."""

    noun = "a language model"
    options: ClassVar[frozenset[str]] = frozenset({"length", "lora", "weights"})
    trains = True

    def recognises(self, path: Path) -> bool:
        if is_gguf(path):
            return path.is_file()
        if (path / "model_index.json").is_file() or (path / "model.json").exists():
            return False
        return read_settings(path / "config.json").get("model_type", WHISPER) != WHISPER

    def load(self, path: Path, opening: Opening) -> GenerativeModel:
        from fourfold_published.transformers import open_language_model

        return open_language_model(path, opening.length, opening.lora, opening.weights)

    def tokenizer(self, path: Path) -> str:
        from fourfold_published.transformers import published_tokenizer

        return published_tokenizer(path)


@final
class Pipelines(Adapter):
    """Pipelines of images of Hugging Face's ``diffusers``: a folder with a ``model_index.json``."""

    noun = "a pipeline of images"

    def recognises(self, path: Path) -> bool:
        return (path / "model_index.json").is_file()

    def load(self, path: Path, opening: Opening) -> GenerativeModel:
        from fourfold_published.diffusers import open_pipeline

        return open_pipeline(path)

    def tokenizer(self, path: Path) -> str:
        raise ValueError(f"{path}: must be a model of text, got {self.noun}: name a folder with a tokenizer.json")
