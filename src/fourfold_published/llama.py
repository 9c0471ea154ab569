"""GGUF files computed by llama.cpp: the network in the file's own quantisation, in the seat of a transformer.

llama.cpp holds weights, keys and values. It hands out the logits, and everything else (rules of drawing, scores,
dialogues) is what every text model has here. The package ``llama-cpp-python`` binds it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import math
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn

from fourfold.adapters.reading import imported
from fourfold.nn.transformer import NextToken

__all__ = ["NOTE", "LlamaTransformer", "is_installed", "opened"]

NOTE = "computed by llama.cpp with the file's own weights"
"""A remark on a figure, for the end of a sentence."""
LEAST = 512
"""The positions for which a fresh cache has room. It grows by factors of two."""
TOGETHER = 512
"""The most tokens of one call."""
SEQUENCES = 64
"""The most sequences of one cache of llama.cpp."""


def is_installed() -> bool:
    """Whether the package that binds llama.cpp is there."""
    return importlib.util.find_spec("llama_cpp") is not None


@final
class Weights:
    """The weights of a GGUF file, mapped into memory.

    Attributes:
        tokens: number of tokens.
        context: the longest input that the model was trained on.
        ids: the ids that begin and end a text. Negative where there are none.

    Raises:
        ValueError: for a file that llama.cpp does not open.
    """

    def __init__(self, path: str) -> None:
        self.library = _library()
        self.pointer = None
        settings = self.library.llama_model_default_params()
        self.pointer = self.library.llama_model_load_from_file(path.encode(), settings)
        if not self.pointer:
            raise ValueError(
                f"{path}: must be a file that llama.cpp reads, got one damaged or of a newer kind; get it again"
            )
        self.vocabulary = self.library.llama_model_get_vocab(self.pointer)
        self.tokens = int(self.library.llama_vocab_n_tokens(self.vocabulary))
        self.context = int(self.library.llama_model_n_ctx_train(self.pointer))
        self.ids = (self.library.llama_vocab_bos(self.vocabulary), self.library.llama_vocab_eos(self.vocabulary))

    def __del__(self) -> None:
        if self.pointer:
            self.library.llama_model_free(self.pointer)


@functools.lru_cache(maxsize=1)
def opened(path: str) -> Weights:
    """The weights of a GGUF file. Those that were asked for last stay open."""
    return Weights(path)


@functools.cache
def _library() -> Any:
    """The binding, which writes nothing of its own to the terminal."""
    library = imported("llama_cpp")
    library.llama_log_set(_silence(library), ctypes.c_void_p())
    library.llama_backend_init()
    return library


@functools.cache
def _silence(library: Any) -> Any:
    """A logger that drops every message. It is kept, since llama.cpp holds its address."""
    return library.llama_log_callback(lambda level, text, data: None)


@final
class _Context:
    """Keys and values of some sequences in llama.cpp, with room for a number of positions in each.

    Raises:
        MemoryError: where llama.cpp gets no memory for them.
    """

    def __init__(self, weights: Weights, sequences: int, room: int) -> None:
        self.weights, self.library, self.sequences, self.room = weights, weights.library, sequences, room
        settings = self.library.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = sequences * room, sequences
        settings.n_batch = settings.n_ubatch = TOGETHER
        settings.n_threads = settings.n_threads_batch = torch.get_num_threads()
        settings.no_perf = True
        if hasattr(settings, "swa_full"):
            settings.swa_full = True  # so that positions can be forgotten behind a sliding window
        self.pointer = self.library.llama_init_from_model(weights.pointer, settings)
        if not self.pointer:
            raise MemoryError(
                f"sequences must fit into memory, got {sequences} of {room:,} tokens; ask for fewer or shorter ones"
            )
        self.memory = self.library.llama_get_memory(self.pointer)
        self.batch = self.library.llama_batch_init(TOGETHER, 0, 1)

    def logits(self, ids: np.ndarray, start: int) -> np.ndarray:
        """Logits after each of ``(B, T)`` ids at the positions from ``start`` on, ``(B, T, tokens)`` float32."""
        rows, columns = ids.shape
        flat, result = ids.ravel(), np.empty((ids.size, self.weights.tokens), dtype=np.float32)
        for begin in range(0, ids.size, TOGETHER):
            part = flat[begin : begin + TOGETHER]
            self._fill(part, begin, columns, start)
            if self.library.llama_decode(self.pointer, self.batch):
                raise RuntimeError(
                    f"llama.cpp failed at {len(part)} tokens of {rows} sequences from position {start} on"
                )
            values = np.ctypeslib.as_array(
                self.library.llama_get_logits(self.pointer), shape=(len(part), self.weights.tokens)
            )
            result[begin : begin + len(part)] = values
        return result.reshape(rows, columns, -1)

    def _fill(self, part: np.ndarray, begin: int, columns: int, start: int) -> None:
        """Put tokens with their sequences and positions into the batch."""
        batch = self.batch
        batch.n_tokens = len(part)
        for i, token in enumerate(part.tolist()):
            row, column = divmod(begin + i, columns)
            batch.token[i], batch.pos[i], batch.logits[i] = token, start + column, True
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, row

    def forget_from(self, position: int) -> None:
        """Forget all positions from ``position`` on."""
        for sequence in range(self.sequences):
            self.library.llama_memory_seq_rm(self.memory, sequence, position, -1)

    def __del__(self) -> None:
        if getattr(self, "pointer", None):
            self.library.llama_free(self.pointer)
        if getattr(self, "batch", None) is not None:
            self.library.llama_batch_free(self.batch)


@final
class _Past:
    """The positions of some sequences seen so far. What does not fit any more is computed again with more room."""

    def __init__(self, weights: Weights, batch: int, length: int) -> None:
        self._weights, self._batch, self._length = weights, batch, length
        self._ids = np.zeros((batch, 0), dtype=np.int32)
        self._contexts = list[_Context]()

    @property
    def position(self) -> int:
        """The number of positions."""
        return int(self._ids.shape[1])

    def clear(self) -> None:
        """Forget every position."""
        self.forget(self.position)

    def forget(self, count: int) -> None:
        """Forget the newest positions."""
        if count:
            self._ids = self._ids[:, : self.position - count]
            for context in self._contexts:
                context.forget_from(self.position)

    def select(self, rows: Tensor) -> _Past:
        """A copy of some rows ``(B',)``, in that order. Its positions are computed again when they are needed."""
        past = _Past(self._weights, len(rows), self._length)
        past._ids = self._ids[rows.cpu().numpy()]
        return past

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Logits after each of ``(B, T)`` further ids."""
        start, skipped, self._ids = self.position, 0, np.concatenate([self._ids, ids.astype(np.int32)], 1)
        if not self._contexts or self.position > self._contexts[0].room:
            self._contexts, ids, start, skipped = self._roomy(), self._ids, 0, start
        parts = np.array_split(ids, len(self._contexts))
        results = [context.logits(part, start) for context, part in zip(self._contexts, parts, strict=True)]
        whole = results[0] if len(results) == 1 else np.concatenate(results)  # many gigabytes, for a large vocabulary
        return whole[:, skipped:]

    def _roomy(self) -> list[_Context]:
        """Empty contexts with room for all positions."""
        room = min(max(LEAST, 2 ** math.ceil(math.log2(self.position))), max(self._length, self.position))
        parts = np.array_split(np.arange(self._batch), math.ceil(self._batch / SEQUENCES))
        self._contexts = []  # frees their memory first
        return [_Context(self._weights, len(part), room) for part in parts]


@final
class LlamaTransformer(NextToken):
    """Next-token logits of a GGUF file by llama.cpp, in the quantisation of the file.

    Ids from ``tokens`` on stand for the symbol that begins a text. There are no parameters to train.

    Args:
        path: the file.
        length: the longest input, start symbol included.
        start: id of the symbol that begins a text.

    Raises:
        ValueError: for a file that llama.cpp does not open.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ()
    remark = f", {NOTE}"

    def __init__(self, path: str, length: int, start: int) -> None:
        super().__init__()
        self.opened = opened(path)
        self.tokens, self.length, self.start = self.opened.tokens, length, start
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # says on which device this is

    def cache(self, batch: int) -> _Past:
        """An empty cache."""
        return _Past(self.opened, batch, self.length)

    def forward(self, ids: Tensor, cache: _Past | None = None) -> Tensor:
        """Logits of the token after each of ``(B, T)`` ids, ``(B, T, tokens)``, float32.

        Raises:
            ValueError: if the positions do not fit into ``length``.
        """
        start = 0 if cache is None else cache.position
        if start + ids.shape[1] > self.length:
            raise ValueError(f"positions must fit into a context of {self.length}, got {start} + {ids.shape[1]}")
        past = self.cache(len(ids)) if cache is None else cache
        plain = ids.masked_fill(ids >= self.tokens, self.start).cpu().numpy()
        return torch.from_numpy(past.logits(plain)).to(ids.device)
