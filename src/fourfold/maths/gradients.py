"""Gradients that are differentiated again: convolutions and activations with fast second derivatives.

A penalty on a gradient, and the matching of a score that is an energy's gradient, differentiate twice. torch takes the
second derivative of a convolution's weights by a convolution in an unsuitable layout, at a fifth of the rate of its own
kernel for weights, and takes activations apart into a dozen passes over memory. Inside :func:`twice_differentiable`
the same derivatives are computed by the kernels of first derivatives.

A convolution, its gradient by the input and its gradient by the weights are three linear forms of one trilinear
function, so the derivatives of each are the other two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

__all__ = ["twice_differentiable"]

LARGE = 2**18
"""The fewest numbers of a tensor for which faster kernels gain more than calls from Python cost."""


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Inside, second derivatives of ``F.conv2d``, ``F.silu`` and ``F.leaky_relu`` are fast. Values stay.

    It is for forward passes whose gradient is taken with ``create_graph``. Compiled steps and autocast keep torch's own
    derivatives.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        yield
        return
    with _Twice():
        yield


@final
class _Twice(TorchFunctionMode):
    """Replaces functions of tensors whose gradients are recorded."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        ours = _OURS.get(func)
        if ours is None or not (torch.is_grad_enabled() and args[0].requires_grad and args[0].numel() >= LARGE):
            return func(*args, **kwargs or {})
        return ours(*args, **kwargs or {})


def _applied(function: type[Function], *args: object) -> Any:
    return function.apply(*args)  # type: ignore[no-untyped-call]


# --- convolutions -----------------------------------------------------------------------------------------------------


Form = tuple[list[int], list[int], list[int], int]
"""Stride, padding, dilation and groups."""


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """``F.conv2d``."""
    if isinstance(padding, str) or input.ndim != 4:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    form = (_pair(stride), _pair(padding), _pair(dilation), groups)
    # Autograd knows whether a gradient is needed only for nodes that are not leaves.
    inner = None if bias is None else bias.view_as(bias)
    y: Tensor = _applied(_Convolution, input, weight.view_as(weight), inner, form)
    return y


def _needs_gradient(ctx: Any, i: int) -> bool:
    """True if the gradient by the i-th argument is needed. In the first of two derivatives, that of weights is not."""
    if not ctx.needs_input_grad[i]:
        return False
    node = ctx.next_functions[i][0]
    return node.name() == "torch::autograd::AccumulateGrad" or torch._C._will_engine_execute_node(node)


def _gradients(g: Tensor, x: Tensor, weight: Tensor, form: Form, mask: Sequence[bool]) -> list[Tensor]:
    """The gradients by input, weights and bias. ``x`` gives shape and memory format where only the first is wanted."""
    stride, padding, dilation, groups = form
    gradients: list[Tensor] = torch.ops.aten.convolution_backward(
        g, x, weight, [weight.shape[0]], stride, padding, dilation, False, [0, 0], groups, list(mask)
    )
    return gradients


class _Convolution(Function):
    """``y = x * w + b``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.form = form
        stride, padding, dilation, groups = form
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        mask = [_needs_gradient(ctx, i) for i in range(3)]
        if not torch.is_grad_enabled():
            return (*_gradients(g, x, weight, ctx.form, mask), None)
        dx = _applied(_ByInput, g, weight, x.detach(), ctx.form) if mask[0] else None
        dw = _applied(_ByWeight, g, x, weight.detach(), ctx.form) if mask[1] else None
        return dx, dw, g.sum((0, 2, 3)) if mask[2] else None, None


class _ByInput(Function):
    """``dx``, the gradient by the input, as a function of ``g`` and ``w``."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, like: Tensor, form: Form) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.form = form
        return _gradients(g, like, weight, form, (True, False, False))[0]

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        g, weight = ctx.saved_tensors
        by_g = _applied(_Convolution, v, weight, None, ctx.form) if ctx.needs_input_grad[0] else None
        by_weight = _applied(_ByWeight, g, v, weight.detach(), ctx.form) if ctx.needs_input_grad[1] else None
        return by_g, by_weight, None, None


class _ByWeight(Function):
    """``dw``, the gradient by the weights, as a function of ``g`` and ``x``."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, like: Tensor, form: Form) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.form = form
        return _gradients(g, x, like, form, (False, True, False))[1]

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        g, x = ctx.saved_tensors
        by_g = _applied(_Convolution, x, v, None, ctx.form) if ctx.needs_input_grad[0] else None
        by_x = _applied(_ByInput, g, v, x.detach(), ctx.form) if ctx.needs_input_grad[1] else None
        return by_g, by_x, None, None


# --- activations ------------------------------------------------------------------------------------------------------


def _silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``F.silu``."""
    y: Tensor = F.silu(input, inplace) if inplace else _applied(_SiLU, input)
    return y


class _SiLU(Function):
    """``phi(x) = x s(x)`` with the logistic function ``s``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.silu(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return _applied(_SiLUGradient, g, *ctx.saved_tensors)


class _SiLUGradient(Function):
    """``g phi'(x)``. Its derivative by ``x`` is ``g phi''(x) = g s (1 - s) (2 + x (1 - 2 s))``."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(g, x)
        return torch.ops.aten.silu_backward(g, x)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor]:
        g, x = ctx.saved_tensors
        by_g: Tensor = _applied(_SiLUGradient, v, x)
        s = x.sigmoid()
        curvature = torch.addcmul(x, x, s, value=-2) + 2
        if torch.is_grad_enabled():
            return by_g, v * g * s * (1 - s) * curvature
        return by_g, torch.ops.aten.sigmoid_backward(g, s).mul_(curvature).mul_(v)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``F.leaky_relu``."""
    if inplace:
        return F.leaky_relu(input, negative_slope, inplace)
    y: Tensor = _applied(_LeakyReLU, input, negative_slope)
    return y


class _LeakyReLU(Function):
    """``x`` where it is positive, else ``slope x``: its second derivative is 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return F.leaky_relu(x, slope)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, None]:
        return _applied(_LeakyGradient, g, *ctx.saved_tensors, ctx.slope), None


class _LeakyGradient(Function):
    """``g`` where ``x`` is positive, else ``slope g``."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return torch.ops.aten.leaky_relu_backward(g, x, slope, False)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, None, None]:
        return _applied(_LeakyGradient, v, *ctx.saved_tensors, ctx.slope), None, None


_OURS: Mapping[Callable[..., Any], Callable[..., Tensor]] = {
    F.conv2d: _conv2d,
    F.silu: _silu,
    F.leaky_relu: _leaky_relu,
}
