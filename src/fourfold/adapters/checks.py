"""Published models come from anybody: what a folder may hold, what its settings may ask for, and how large they are.

Nothing is built before its shapes are held against the tensors that are there.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fourfold.core.header import LARGEST, MOST_LAYERS, SPARE, TIED, Header, bounded
from fourfold.machine.regular import text_of

__all__ = ["check_folder", "check_layers", "check_size", "plain_settings", "settings_of"]

FOREIGN = frozenset({"auto_map", "custom_pipelines", "transformers_weights", "use_kernels", "kernel_config"})
"""Settings that name code, a kernel or another file."""
LAYERS = frozenset(
    {"num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "num_decoder_layers"}
)
"""Settings that are a number of layers."""
MOST = 1 << 31
"""The largest whole number among the settings of a published model."""


def check_folder(path: Path) -> None:
    """Refuse a folder that holds something else than regular files, or whose weights are to be read elsewhere.

    Raises:
        ValueError: for a pipe or a device, an index that names other files than ``.safetensors`` of this folder, or
            weights that are to be added to those of another model.
    """
    for file in sorted(path.iterdir()):
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{file}: must be a regular file, got another kind: take it out of the folder")
    if (path / "adapter_config.json").exists():
        raise ValueError(
            f"{path}: holds an adapter_config.json, whose weights are added to those of another model: merge them into "
            "that model, and save it with save_pretrained"
        )
    for index in path.glob("*.index.json"):
        names = settings_of(index).get("weight_map")
        for name in names.values() if isinstance(names, dict) else ():
            if not isinstance(name, str) or not name.endswith(".safetensors") or Path(name).name != name:
                raise ValueError(
                    f"{index}: names {str(name)[:80]!r}, which is no .safetensors of its folder, and could run code: "
                    "save the model again with save_pretrained"
                )


def settings_of(path: Path) -> dict[str, Any]:
    """The content of a file of settings.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        content = json.loads(text_of(path))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: cannot be read ({str(reason)[:100]}): fetch it again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold settings, got none: fetch it again")
    return content


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a network without those that name code, a kernel of a hub or another file.

    The library then chooses among its own implementations.

    Raises:
        ValueError: for weights that are quantised, more layers than any model has, or another number beyond all bounds.
    """
    if settings.get("quantization_config"):
        raise ValueError(
            "weights must be plain, got quantised ones that need other code: give plain weights, or a GGUF file"
        )
    for name, number in _numbers(settings, ""):
        most = MOST_LAYERS if name in LAYERS else MOST
        if abs(number) > most:
            raise ValueError(f"{name} must be at most {most:,}, got more")
    plain: dict[str, Any] = _without_foreign(settings)
    return plain


def _without_foreign(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_foreign(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    implementation = ("_implementation", "_implementation_internal")
    return {
        name: _without_foreign(item)
        for name, item in value.items()
        if name not in FOREIGN and not name.endswith(implementation)
    }


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int]]:
    """The whole numbers of a JSON value, each with its name."""
    if isinstance(value, int):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, name)


def check_layers(count: int, header: Header) -> None:
    """Refuse more layers than there are tensors."""
    if count > len(header.shapes):
        raise ValueError(f"layers must be at most the {len(header.shapes):,} tensors of the weights, got {count:,}")


def check_size(path: Path, header: Header, build: Callable[[], nn.Module]) -> None:
    """Refuse settings that ask for more than the weights hold. Nothing is allocated.

    Args:
        path: for messages.
        header: the names and shapes of the tensors that are there.
        build: makes the network on the ``meta`` device.

    Raises:
        ValueError: for settings that cannot be built, or with both numbers.
    """
    limits = 2 * TIED * header.elements + LARGEST, 2 * TIED * len(header.shapes) + 1000
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), bounded(*limits):
            plan = build()
    except Exception as error:  # libraries raise their own kinds for settings that they do not know
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise ValueError(
            f"{path}: its settings do not fit its weights ({reason}): are config.json and weights of one model?"
        ) from None
    numbers = sum(parameter.numel() for parameter in plan.parameters())
    if numbers > TIED * header.elements:
        raise ValueError(
            f"{path}: its weights must hold the {numbers:,} numbers of its settings, got {header.elements:,}: are "
            "config.json and weights of one model?"
        )
    tables = sum(buffer.numel() * buffer.element_size() for buffer in plan.buffers())
    if tables > SPARE:
        raise ValueError(f"{path}: tables must have at most {SPARE:,} bytes, got {tables:,}")
