"""The adapter of Whisper. Torch-free until a model is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, final

from fourfold.adapters import Adapter
from fourfold.adapters.reading import file_of_tokenizer
from fourfold.machine.regular import json_object
from fourfold.settings.declaration import Option

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel

__all__ = ["Whispers"]


@final
class Whispers(Adapter):
    """Published models of speech recognition: a Whisper of ``transformers`` or of CTranslate2."""

    noun = "a Whisper model"
    options: ClassVar[Mapping[str, Option | None]] = MappingProxyType({"language": None, "weights": None})

    def recognises(self, path: Path) -> bool:
        settings = json_object(path / "config.json")
        if (path / "model_index.json").is_file() or (path / "model.json").exists():
            return False
        return settings.get("model_type") == "whisper" or ("alignment_heads" in settings and "lang_ids" in settings)

    def load(self, path: Path, options: Mapping[str, Any], device: str) -> GenerativeModel:
        from fourfold_speech.whisper import open_whisper

        return open_whisper(path, **options)

    def tokenizer(self, path: Path) -> str:
        return file_of_tokenizer(path)
