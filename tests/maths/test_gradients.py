"""Second derivatives inside ``twice_differentiable`` against torch's own and against finite differences."""

import pytest
import torch
import torch.nn.functional as F

from fourfold.data import load
from fourfold.maths.gradients import twice_differentiable
from fourfold.paradigms import build


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small tensors count as large."""
    monkeypatch.setattr("fourfold.maths.gradients.LARGE", 0)


def conv(stride=1, padding=0, dilation=1, groups=1, bias=True):
    shape = (4, 4 // groups, 3, 2)
    inputs = [(1, 4, 5, 4), shape, *([(4,)] if bias else [])]
    return lambda x, w, b=None: F.conv2d(x, w, b, stride, padding, dilation, groups), inputs


CASES = {
    "plain": conv(),
    "padded": conv(padding=(1, 2)),
    "strided": conv(stride=2, padding=1, bias=False),
    "grouped": conv(groups=2),
    "dilated": conv(dilation=(2, 1), padding=2),
    "silu": (F.silu, [(3, 7)]),
    "leaky": (lambda x: F.leaky_relu(x, 0.2), [(3, 7)]),
}


@pytest.mark.parametrize("case", CASES)
def test_derivatives_of_every_order_are_right(case):
    function, shapes = CASES[case]

    def inside(*tensors):
        with twice_differentiable():
            return function(*tensors)

    torch.manual_seed(0)
    tensors = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    ours, torchs = inside(*tensors), function(*tensors)
    torch.testing.assert_close(ours, torchs)
    assert ours.grad_fn.name() != torchs.grad_fn.name()
    for _ in range(3):
        ours, torchs = _of_gradient(ours, tensors), _of_gradient(torchs, tensors)
        torch.testing.assert_close(ours, torchs, rtol=1e-9, atol=1e-9)
        if not torchs.requires_grad:
            break
    assert torch.autograd.gradgradcheck(inside, tensors, fast_mode=True)


def _of_gradient(value, tensors):
    """A number made of all gradients of a value."""
    torch.manual_seed(1)
    v = torch.randn_like(value)
    derivatives = torch.autograd.grad((v * value).sum(), tensors, create_graph=True, materialize_grads=True)
    return sum((g.sin().sum() for g in derivatives), torch.zeros((), dtype=torch.float64))


def test_gradients_of_weights_are_not_computed_where_nobody_asks(monkeypatch):
    x, w = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    with twice_differentiable():
        y = F.conv2d(x, w).square()
    from fourfold.maths import gradients

    asked, real = [], gradients._gradients
    monkeypatch.setattr(gradients, "_gradients", lambda *args: asked.append(args[-1]) or real(*args))
    (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert [list(which[:2]) for which in asked] == [[True, False]]
    dx.square().sum().backward()
    assert w.grad is not None


@pytest.mark.parametrize("name", ["energy", "adversarial"])
def test_a_step_has_the_gradient_that_it_has_without(monkeypatch, name):
    data = load("digits")
    torch.manual_seed(0)
    model = build(name, data.space, "xs")
    for p in model.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    batch = model.encode(data.train.x[:8])
    gradients = []
    for outside in (False, True):
        if outside:
            monkeypatch.setattr("fourfold.maths.gradients._OURS", {})
        model.zero_grad()
        for term in model.terms().values():
            torch.manual_seed(1)
            term(batch).mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
