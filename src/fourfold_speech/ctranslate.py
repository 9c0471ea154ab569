"""Whisper by CTranslate2: the encoder and the search for likely texts, with weights of 8 bits.

``faster-whisper`` hears in the same way. What a text scores is computed by the decoder of ``transformers`` from these
features, so that every probability is exact given them. The package is ``ctranslate2``.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from fourfold.adapters.reading import imported

__all__ = ["NOTE", "TranslatedWhisper", "is_installed"]

NOTE = "sounds are encoded and texts are searched by CTranslate2 with weights of 8 bits; --weights float32 is exact"
"""The remark that a command prints."""


def is_installed() -> bool:
    """Whether CTranslate2 is there."""
    return importlib.util.find_spec("ctranslate2") is not None


@final
class TranslatedWhisper:
    """A folder of CTranslate2, opened when it is first needed. It has no weights to train.

    Args:
        path: the folder.
        precision: that of the weights, by CTranslate2's name for it.
    """

    def __init__(self, path: Path, precision: str = "int8") -> None:
        self.path, self.precision = path, precision

    def __deepcopy__(self, memo: dict[int, Any]) -> TranslatedWhisper:
        return self

    @functools.cached_property
    def _library(self) -> Any:
        settings = {"device": "cpu", "compute_type": self.precision, "intra_threads": torch.get_num_threads()}
        return imported("ctranslate2").models.Whisper(str(self.path), **settings)

    def encode(self, mels: Tensor) -> Tensor:
        """Features ``(B, frames, width)`` of log-mel bands ``(B, bands, 2 frames)``."""
        features = self._library.encode(self._view(mels))
        return torch.from_numpy(np.array(features))

    def likely_texts(
        self, features: Tensor, prompt: Sequence[int], beams: int, length: int, never: Sequence[int]
    ) -> list[tuple[int, ...]]:
        """The ids of the likeliest text that a search of ``beams`` prefixes meets, for each row of features."""
        results = self._library.generate(
            self._view(features),
            [list(prompt)] * len(features),
            beam_size=beams,
            length_penalty=0,
            suppress_tokens=list(never),
            max_length=len(prompt) + length,
        )
        return [tuple(result.sequences_ids[0]) for result in results]

    @staticmethod
    def _view(values: Tensor) -> Any:
        array = np.ascontiguousarray(values.detach().cpu().numpy(), dtype=np.float32)
        return imported("ctranslate2").StorageView.from_array(array)
