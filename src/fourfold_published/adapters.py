"""The adapters of language models and of pipelines of images. Torch-free until a model is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, final

from fourfold.adapters import Adapter
from fourfold.machine.regular import json_object
from fourfold.settings.declaration import TEXT_PANEL, TRAINING_PANEL, Option
from fourfold_published.gguf import is_gguf

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel
    from fourfold.spaces.texts import TextWriter

__all__ = ["LanguageModels", "Pipelines"]


WHISPER = "whisper"
"""A type of models of text given sound, which are none of language."""
WEIGHTS = Option(
    str,
    "float32, int8 (linear layers are rounded) or file (a GGUF file as it is, by llama.cpp).",
    panel=TEXT_PANEL,
    show_default="float32, or file where llama.cpp is installed",
)
LORA = Option(
    int,
    "Rank of the matrices that tune a published model.",
    panel=TRAINING_PANEL,
    min=1,
    metavar="N",
    show_default="all weights",
)


@final
class LanguageModels(Adapter):
    """Causal language models: a folder of Hugging Face's ``transformers``, or a GGUF file."""

    noun = "a language model"
    options: ClassVar[Mapping[str, Option | None]] = MappingProxyType(
        {"length": None, "lora": LORA, "weights": WEIGHTS}
    )
    tuning: ClassVar[frozenset[str]] = frozenset({"lora"})
    trains = True
    in_training: ClassVar[Mapping[str, Any]] = MappingProxyType({"weights": "float32"})

    def recognises(self, path: Path) -> bool:
        if is_gguf(path):
            return path.is_file()
        if (path / "model_index.json").is_file() or (path / "model.json").exists():
            return False
        return json_object(path / "config.json").get("model_type", WHISPER) != WHISPER

    def load(self, path: Path, options: Mapping[str, Any], device: str) -> GenerativeModel:
        from fourfold_published.transformers import open_language_model

        if options.get("weights") == "int8" and device != "cpu":
            raise ValueError(f"device must be cpu for weights in int8, got {device}; add --device cpu")
        return open_language_model(path, **options)

    def tokenizer(self, path: Path) -> str:
        from fourfold_published.transformers import published_tokenizer

        return published_tokenizer(path)

    def text_writer(self) -> type[TextWriter]:
        from fourfold_published.columns import PublishedTexts

        return PublishedTexts


@final
class Pipelines(Adapter):
    """Pipelines of images of Hugging Face's ``diffusers``: a folder with a ``model_index.json``."""

    noun = "a pipeline of images"

    def recognises(self, path: Path) -> bool:
        return (path / "model_index.json").is_file()

    def load(self, path: Path, options: Mapping[str, Any], device: str) -> GenerativeModel:
        from fourfold_published.diffusers import open_pipeline

        return open_pipeline(path)

    def tokenizer(self, path: Path) -> str:
        raise ValueError(f"{path}: must be a model of text, got {self.noun}: name a folder with a tokenizer.json")
