"""The adapter of Whisper. Torch-free until a model is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from fourfold.adapters import Adapter, Opening
from fourfold.adapters.reading import file_of_tokenizer, read_settings

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel

__all__ = ["Whispers"]


@final
class Whispers(Adapter):
    """Models that write what they hear: a Whisper of ``transformers`` or of CTranslate2."""

    noun = "a Whisper model"
    options: ClassVar[frozenset[str]] = frozenset({"language"})

    def recognises(self, path: Path) -> bool:
        settings = read_settings(path / "config.json")
        if (path / "model_index.json").is_file() or (path / "model.json").exists():
            return False
        return settings.get("model_type") == "whisper" or ("alignment_heads" in settings and "lang_ids" in settings)

    def load(self, path: Path, opening: Opening) -> GenerativeModel:
        from fourfold_speech.whisper import open_whisper

        return open_whisper(path, opening.language or "en")

    def tokenizer(self, path: Path) -> str:
        return file_of_tokenizer(path)
