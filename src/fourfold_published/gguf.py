"""GGUF files: read once, and kept in the user's cache as files that are mapped into memory the next time.

The cache holds what the folder of a published model holds: ``config.json``, ``tokenizer.json``, the settings of the
tokenizer and ``model.safetensors``. Nothing in it is unpickled.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Ids", "is_gguf", "keep", "keep_tokenizer", "kept_ids", "read_once", "source", "source_of_tokenizer"]

SETTINGS, TOKENIZER, CONFIG, WEIGHTS = "tokenizer_config.json", "tokenizer.json", "config.json", "model.safetensors"
"""The files of a folder of the cache."""
VERSION = 2
"""The version of the content of the cache."""


def is_gguf(path: Path | str) -> bool:
    """Whether a path is that of a GGUF file, by its ending."""
    return Path(path).suffix.lower() == ".gguf"


def source(path: Path) -> Path:
    """The folder of the cache that belongs to a GGUF file, if it is there. Of everything else the path itself."""
    return _place(path, SETTINGS, TOKENIZER, CONFIG, WEIGHTS)


def source_of_tokenizer(path: Path) -> Path:
    """The folder of the cache with the tokenizer of a GGUF file, if it is there. Of everything else the path itself."""
    return _place(path, SETTINGS, TOKENIZER)


def _place(path: Path, *names: str) -> Path:
    """The folder of the cache that belongs to a GGUF file, if it holds some files, else the path itself."""
    folder = _folder(path) if is_gguf(path) and path.is_file() else path
    return folder if all((folder / name).is_file() for name in names) else path


def _folder(path: Path) -> Path:
    """The folder of the cache that belongs to a GGUF file as it is now, whether it exists or not.

    Its name follows from the path, the size and the time of the last change of the file, and from the version of the
    library that read it. It lies in ``$XDG_CACHE_HOME/fourfold/gguf`` or ``~/.cache/fourfold/gguf``.
    """
    about, library = path.stat(), importlib.metadata.version("transformers")
    key = json.dumps([VERSION, library, str(path.resolve()), about.st_size, about.st_mtime_ns])
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "fourfold" / "gguf" / hashlib.sha256(key.encode()).hexdigest()[:24]


def keep(path: Path, inner: Any, tokenizer: Any, config: Mapping[str, Any]) -> None:
    """Write network and tokenizer of a GGUF file into their folder of the cache, which then appears as a whole.

    Nothing is written where the disk has less than twice the room, or the cache cannot be written.
    """
    from safetensors.torch import save_file  # it loads torch, which recognising a model does not need

    def write(place: Path) -> None:
        save_file(_own_tensors(inner), place / WEIGHTS, {"format": "pt"})
        (place / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        _write_tokenizer(tokenizer, place)

    _fill(path, write, sum(p.numel() * p.element_size() for p in inner.parameters()))


def keep_tokenizer(path: Path, tokenizer: Any) -> None:
    """Write the tokenizer of a GGUF file alone into its folder of the cache."""
    _fill(path, lambda place: _write_tokenizer(tokenizer, place))


def _fill(path: Path, write: Callable[[Path], None], size: int = 0) -> None:
    """Make the folder of the cache for a GGUF file anew. It appears as a whole, or not at all."""
    folder = _folder(path)
    with contextlib.suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(folder.parent).free < 2 * size:
            return
        with tempfile.TemporaryDirectory(dir=folder.parent) as part:
            place = Path(part) / folder.name
            place.mkdir()
            write(place)
            shutil.rmtree(folder, ignore_errors=True)  # what is not complete
            place.rename(folder)


def _write_tokenizer(tokenizer: Any, place: Path) -> None:
    """Write a tokenizer of the library and its settings into a folder."""
    (place / TOKENIZER).write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    (place / SETTINGS).write_text(json.dumps(_settings(tokenizer)), encoding="utf-8")


def _own_tensors(inner: Any) -> dict[str, Any]:
    """The tensors of a network, each once: of those that share memory, one that is not named as tied to another."""
    tied = set(getattr(inner, "_tied_weights_keys", None) or ())
    tensors: dict[int, tuple[str, Any]] = {}
    for name, value in sorted(inner.state_dict().items(), key=lambda item: item[0] in tied):
        tensors.setdefault(value.data_ptr(), (name, value.contiguous()))
    return dict(tensors.values())


class Ids(NamedTuple):
    """The ids that begin and end a text."""

    bos_token_id: int | None
    eos_token_id: int | None


def kept_ids(folder: Path) -> Ids:
    """The ids that a folder of the cache holds.

    Raises:
        ValueError: for a file that :func:`keep` did not write.
    """
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    ids = [settings.get(name, "") if isinstance(settings, dict) else "" for name in Ids._fields]
    if not all(number is None or type(number) is int for number in ids):
        raise ValueError(f"{folder / SETTINGS}: is damaged: remove the folder")
    return Ids(*(None if number is None else int(number) for number in ids))


def _settings(tokenizer: Any) -> dict[str, Any]:
    """The settings of a tokenizer for :func:`fourfold_published.dialogue.chat_template` and the opening of a folder."""
    template = getattr(tokenizer, "chat_template", None)
    ids = {name: getattr(tokenizer, name) for name in Ids._fields}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        **ids,
        **({"chat_template": template} if isinstance(template, str) else {}),
    }


@contextlib.contextmanager
def read_once(path: Path) -> Iterator[None]:
    """Inside, a GGUF file is read once, and each of its values is parsed once. For any other file nothing changes.

    The library reads and parses all fields anew for configuration, tokenizer and weights, and takes each of several
    hundred thousand strings from a memory map, which costs many times as much as a plain array of the same memory.
    """
    import numpy as np  # as torch, it is not needed to recognise a model

    try:
        gguf: Any = importlib.import_module("gguf") if is_gguf(path) else None
        loading: Any = gguf and importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    except ImportError:  # the library says so
        gguf = None
    if gguf is None:
        yield
        return
    reader, parse, values = gguf.GGUFReader, loading._gguf_parse_value, dict[int, tuple[Any, Any]]()
    plain = property(lambda self: self.plain, lambda self, data: setattr(self, "plain", data.view(np.ndarray)))

    def parse_once(value: Any, kind: Any) -> Any:
        """The parsed value of an array, which is held, so that no other gets its identity."""
        if id(value) not in values:
            values[id(value)] = value, parse(value, kind)
        return values[id(value)][1]

    gguf.GGUFReader = functools.lru_cache(maxsize=1)(type("PlainReader", (reader,), {"data": plain}))
    loading._gguf_parse_value = parse_once
    try:
        yield
    finally:
        gguf.GGUFReader, loading._gguf_parse_value = reader, parse
