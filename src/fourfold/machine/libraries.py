"""Libraries that take long to load and that few runs need: each is loaded when it is first used."""

from __future__ import annotations

import contextlib
import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["checkpoint", "fsdp", "pandas", "pyarrow", "scipy", "sklearn"]


class _Deferred(ModuleType):
    """A library whose attributes and modules are looked up when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        library = importlib.import_module(self.__name__)
        if not hasattr(library, name):  # a module of the library that nobody has loaded yet, such as pyarrow.csv
            with contextlib.suppress(ModuleNotFoundError):
                return importlib.import_module(f"{self.__name__}.{name}")
        return getattr(library, name)


if TYPE_CHECKING:
    import pandas
    import pyarrow
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.ipc
    import pyarrow.parquet
    import scipy
    import sklearn
    from torch.distributed import checkpoint, fsdp
else:
    pandas, pyarrow, scipy, sklearn = map(_Deferred, ("pandas", "pyarrow", "scipy", "sklearn"))
    checkpoint, fsdp = map(_Deferred, ("torch.distributed.checkpoint", "torch.distributed.fsdp"))
