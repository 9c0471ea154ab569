"""The floating-point operations of a training step, counted as torch dispatches them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fourfold.runs.precision import FLOAT32

if TYPE_CHECKING:
    from fourfold.engine.loop import Loop

__all__ = ["Counter", "count_flops"]


@final
class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up PyTorch's formulas without the module hooks of ``FlopCounterMode``, which second derivatives break."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def count_flops(loop: Loop) -> float:
    """The operations of one step: matrix products and convolutions, forward and backward. A multiply-add counts as two.

    They are counted on a throw-away copy. Those of the optimizers are left out.
    """
    trial = loop.copy(FLOAT32)
    with Counter() as counter:
        trial.gradient_pass()
    return counter.total
