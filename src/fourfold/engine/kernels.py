"""The gain of bfloat16 over float32 on this machine: three small operations, timed once a process.

A processor may have instructions for bfloat16 and still be slower with them, so its list of features does not tell. A
busy machine hardly disturbs: the figure is the processor time of one thread in the fastest of several repetitions.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

__all__ = ["bf16_gains", "multiplies_bf16"]

WIDTH = 64
"""Features of the operations, as in the networks of size s."""
REPETITIONS = 8
HOPELESS = 3.0
"""bfloat16 is not timed further once it took this multiple of float32's time."""


def multiplies_bf16(device: torch.device) -> bool:
    """True if a device computes products, batched products and convolutions faster in bfloat16 than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and min(bf16_gains().values()) > 1


@functools.cache
def bf16_gains() -> Mapping[str, float]:
    """The time of each operation in float32 as a multiple of its time in bfloat16, on one thread of this processor.

    Without fast instructions bfloat16 is emulated: ten to a hundred times as slow. All of it takes 50 ms with
    them, and a quarter of a second without.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return {name: _gain(make) for name, make in _OPERATIONS.items()}
    finally:
        torch.set_num_threads(threads)


Operation = Callable[[], object]


def _gain(make: Callable[[torch.dtype], Operation]) -> float:
    """The ratio of the shortest times. The first call of each, which prepares it, does not count."""
    operations = {dtype: make(dtype) for dtype in (torch.float32, torch.bfloat16)}
    for operation in operations.values():
        operation()
    best = dict.fromkeys(operations, float("inf"))
    for _ in range(REPETITIONS):
        for dtype, operation in operations.items():
            best[dtype] = min(best[dtype], _seconds(operation))
        if best[torch.bfloat16] > HOPELESS * best[torch.float32]:
            break
    return best[torch.float32] / max(best[torch.bfloat16], 1e-9)


def _seconds(operation: Operation) -> float:
    start = time.thread_time()
    operation()
    return time.thread_time() - start


def _product(dtype: torch.dtype) -> Operation:
    a, b = torch.ones(256, 4 * WIDTH, dtype=dtype), torch.ones(4 * WIDTH, 4 * WIDTH, dtype=dtype)
    return lambda: a @ b


def _batched_product(dtype: torch.dtype) -> Operation:
    a = torch.ones(6, WIDTH, 9 * WIDTH, dtype=dtype)
    return lambda: a @ a.mT


def _convolution(dtype: torch.dtype) -> Operation:
    last = torch.channels_last
    x = torch.ones(8, WIDTH, 14, 14, dtype=dtype).contiguous(memory_format=last)
    kernel = torch.ones(WIDTH, WIDTH, 3, 3, dtype=dtype).contiguous(memory_format=last)
    return lambda: F.conv2d(x, kernel, padding=1)


_OPERATIONS = {"product": _product, "batched product": _batched_product, "convolution": _convolution}
