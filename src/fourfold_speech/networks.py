"""Networks of speech recognition: an encoder of sound, and a decoder of tokens that attends to it.

Sounds are samples, int16 ``(B, L)``, where zeros at the end are padding. The encoder takes the logarithm of mel bands
every 10 ms, two convolutions that keep one of four frames, and layers of convolution and attention (Gulati et al. 2020,
Conformer, https://arxiv.org/abs/2005.08100). The decoder is a causal transformer that attends to the frames in every
layer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762). Nothing that is computed for one sound depends on the
padding or on other sounds.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, States
from fourfold.nn.attending import CrossAttention, Memory, matrix, positions
from fourfold.nn.transformer import Block, Cache, self_attention
from fourfold_speech.spectra import log_mel

__all__ = ["SpeechNetwork", "SpeechTransformer", "sound_lengths"]

RANGE = 12.0
"""Nats of power below the loudest band of a sound at which everything counts as silence: 52 dB."""
STRIDE = 4
"""Frames of 10 ms in one frame of the encoder."""
GRID = 8
"""Frames of the encoder, to a multiple of which sounds are padded: a processor makes kernels for each new shape."""


def sound_lengths(sound: Tensor) -> Tensor:
    """Samples of each sound ``(B, L)`` before the zeros at its end, ``(B,)`` int64, at least 1."""
    place = torch.arange(1, sound.shape[1] + 1, device=sound.device)
    return (place * (sound != 0)).amax(1).clamp(min=1)


class SpeechNetwork(Part, nn.Module, ABC):
    """A network of next-token logits given a sound.

    Attributes:
        tokens: number of ids that have a probability, the end included.
        width: number of features of a frame.
        never: ids that no text holds.
        not_first: ids that no text begins with.
    """

    tokens: int
    width: int
    never: tuple[int, ...] = ()
    not_first: tuple[int, ...] = ()

    @abstractmethod
    def encode(self, sound: Tensor) -> States:
        """The states that an encoder gives for sounds ``(B, L)`` int16."""

    @abstractmethod
    def start(self, batch: int) -> Tensor:
        """The ids that stand before every text, ``(batch, S)``."""

    @abstractmethod
    def cache(self, sound: States) -> Any:
        """An empty cache. It copies rows by ``select(rows)``."""

    @abstractmethod
    def forward(self, ids: Tensor, sound: States, cache: Any = None) -> Tensor:
        """Logits of the token after each of ``(B, T)`` ids, ``(B, T, tokens)``, float32.

        With a cache the ids follow those that it holds.
        """

    @property
    def remark(self) -> str:
        """A remark on its numbers for the reader. Empty where there is none."""
        return ""

    def likely_texts(self, sound: States, beams: int, length: int) -> list[tuple[int, ...]] | None:
        """For each sound the likeliest text of at most ``length`` ids that a search meets, without its end.

        None for a network without a search of its own.
        """
        return None


@final
class SpeechTransformer(SpeechNetwork):
    """Logits of tokens given a sound, by an encoder and a decoder that are trained together.

    Args:
        tokens: number of ids, the end included. One more is the start symbol.
        length: the most ids of a text, start symbol included.
        rate: sampling rate in Hz.
        width: width of every layer.
        encoder, decoder: numbers of layers.
        heads: number of attention heads. ``width / heads`` is even.
        bands: number of mel bands.
        masked: the largest share of bands, and of frames, that training hides at once. Twice each (Park et al. 2019,
            SpecAugment, https://arxiv.org/abs/1904.08779). Scores never hide any.

    Raises:
        ValueError: for a share of masks outside [0, 1].
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "head")

    def __init__(
        self,
        tokens: int,
        length: int,
        rate: int,
        width: int,
        encoder: int,
        decoder: int,
        heads: int,
        bands: int = 40,
        masked: float = 0.15,
    ) -> None:
        super().__init__()
        if not 0 <= masked <= 1:
            raise ValueError(f"masked must lie in [0, 1], got {masked}")
        self.tokens, self.length, self.rate, self.width = tokens, length, rate, width
        self.bands, self.masked, self.heads = bands, masked, heads
        self.entry = nn.Conv1d(bands, width, 3, 2, 1)
        self.narrow = nn.Conv1d(width, width, 3, 2, 1)
        self.listening = nn.ModuleList(_Listening(width, heads) for _ in range(encoder))
        self.embedding = nn.Embedding(tokens + 1, width)
        self.writing = nn.ModuleList(_Writing(width, heads) for _ in range(decoder))
        self.head = nn.Linear(width, tokens)
        nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    # --- the encoder --------------------------------------------------------------------------------------------------

    def encode(self, sound: Tensor) -> States:
        """As :meth:`SpeechNetwork.encode`. Sounds of about one length are encoded together, to save padding."""
        lengths = sound_lengths(sound)
        order = lengths.argsort()
        parts = [self._encoded(sound[rows], lengths[rows]) for rows in torch.split(order, max(len(sound) // 4, 4))]
        most = max(part.mask.shape[1] for part in parts)
        features = torch.cat([F.pad(h, (0, 0, 0, most - h.shape[1])) for h, _ in parts])
        mask = torch.cat([F.pad(mask, (0, most - mask.shape[1])) for _, mask in parts])
        return States(features, mask).select(order.argsort())

    def _encoded(self, sound: Tensor, lengths: Tensor) -> States:
        counts = -(-lengths // (self.rate // 100))
        sound = sound[:, : int(lengths.max())]
        x = self._bands(F.pad(sound, (0, -sound.shape[1] % (GRID * STRIDE * self.rate // 100))), counts)
        x = self._hidden(x, counts) if self.training and self.masked else x
        h = F.gelu(self.entry(x.to(self.entry.weight.dtype)))
        h = h * _mask(-(-counts // 2), h.shape[2])[:, None]
        h = F.gelu(self.narrow(h)).transpose(1, 2)
        mask = _mask(-(-counts // STRIDE), h.shape[1])
        h = (h + positions(h.shape[1], self.width, h)) * mask[..., None]
        for layer in self.listening:
            h = layer(h, mask)
        return States(F.layer_norm(h, (self.width,)), mask)

    def _bands(self, sound: Tensor, counts: Tensor) -> Tensor:
        """Logarithms of mel bands relative to the loudest of each sound, ``(B, bands, T)``, in [-1.5, 1.5]."""
        hop = self.rate // 100
        power = log_mel(sound.float() / 32768, self.bands, 3 * hop, hop, self.rate)
        mask = _mask(counts, power.shape[2])[:, None]
        top = power.masked_fill(~mask, -math.inf).amax((1, 2), keepdim=True)
        return ((power - top).clamp(min=-RANGE) * (3 / RANGE) + 1.5) * mask

    def _hidden(self, x: Tensor, counts: Tensor) -> Tensor:
        """Set some bands and some frames of each sound to 0."""
        for axis, most in ((1, torch.full_like(counts, self.bands)), (2, counts)):
            for _ in range(2):
                width = (torch.rand(len(x), device=x.device) * self.masked * most).long()
                start = (torch.rand(len(x), device=x.device) * (most - width + 1)).long()
                at = torch.arange(x.shape[axis], device=x.device)
                hide = (at >= start[:, None]) & (at < (start + width)[:, None])
                x = x.masked_fill(hide.unsqueeze(3 - axis), 0.0)
        return x

    # --- the decoder --------------------------------------------------------------------------------------------------

    def start(self, batch: int) -> Tensor:
        return torch.full((batch, 1), self.tokens, device=self.head.weight.device)

    def cache(self, sound: States) -> _Remembered:
        layers, size = self._writers(), self.width // self.heads
        text = Cache(len(layers), len(sound.mask), self.heads, self.length, size, self.head.weight)
        return _Remembered(text, self._memory(sound))

    def forward(self, ids: Tensor, sound: States, cache: _Remembered | None = None) -> Tensor:
        """As :meth:`SpeechNetwork.forward`.

        Raises:
            ValueError: if the positions do not fit into ``length``.
        """
        length = 0 if cache is None else cache.text.position
        if length + ids.shape[1] > self.length:
            raise ValueError(f"positions must fit into a context of {self.length}, got {length} + {ids.shape[1]}")
        h = self.embedding(ids)
        h = h + positions(length + ids.shape[1], self.width, h)[length:]
        memory = self._memory(sound) if cache is None else cache.sound
        for i, layer in enumerate(self._writers()):
            h = layer(h, memory.keys[i], memory.mask)
            h = layer.block(h, None if cache is None else partial(cache.text.attend, i))
        if cache is not None:
            cache.text.position += ids.shape[1]
        logits: Tensor = self.head(F.layer_norm(h, (self.width,)))
        return logits.float()

    def _memory(self, sound: States) -> Memory:
        """Keys and values of the frames for each layer of the decoder."""
        return Memory([layer.keys(sound) for layer in self._writers()], sound.mask[:, None, None])

    def _writers(self) -> list[_Writing]:
        return [layer for layer in self.writing if isinstance(layer, _Writing)]


class _Remembered:
    """Keys and values of a text so far, and of the sound.

    Args:
        text: those of the text.
        sound: those of the sound.
    """

    def __init__(self, text: Cache, sound: Memory) -> None:
        self.text, self.sound = text, sound

    def select(self, rows: Tensor) -> _Remembered:
        """A copy of some rows ``(B',)``, in that order. A row may be there several times."""
        return _Remembered(self.text.copy(rows), self.sound.select(rows))


def _mask(counts: Tensor, length: int) -> Tensor:
    """Which of ``length`` frames are among the first ``counts`` of each sound, ``(B, length)`` bool."""
    return torch.arange(length, device=counts.device) < counts[:, None]


class _Listening(Part, nn.Module):
    """A layer of the encoder: ``h + conv(norm h)``, then attention to all frames and a perceptron (:class:`Block`)."""

    KERNEL: ClassVar[int] = 11
    for_adamw: ClassVar[tuple[str, ...]] = ("near",)

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.gated, self.out = matrix(2 * width, width, 1.0), matrix(width, width, 0.0)
        self.near = nn.Conv1d(width, width, self.KERNEL, padding=self.KERNEL // 2, groups=width)
        self.block = Block(width, heads, causal=False)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        size = h.shape[-1:]
        g = F.glu(F.linear(F.layer_norm(h, size), self.gated)) * mask[..., None]
        g = self.near(g.transpose(1, 2)).transpose(1, 2)
        h = h + F.linear(F.silu(F.layer_norm(g, size)), self.out)
        mixed: Tensor = self.block(h, partial(self_attention, causal=False, mask=mask[:, None, None]))
        return mixed


class _Writing(CrossAttention):
    """A layer of the decoder: it attends to the sound. Its ``block`` then attends to earlier tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.block = Block(width, heads)
