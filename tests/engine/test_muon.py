import pytest
import torch
from torch import nn

from fourfold.core import Term, Training
from fourfold.engine.muon import MatrixPlace, Muon, orthogonalised
from fourfold.engine.weights import TermOptimizer, Weights


class Square(Term):
    def __init__(self, model):
        super().__init__([model])

    def forward(self, batch):
        return self.updates[0](batch.x).square().sum(1)


DTYPES = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 24, 40), (2, 40, 24), (1, 16, 16)])
def test_singular_values_come_near_one(shape, dtype):
    g = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    o = orthogonalised(g, dtype).float()
    s = torch.linalg.svdvals(o)
    assert s.max() < 1.35
    assert s.median() > 0.6
    assert (torch.linalg.matrix_norm(o - u @ v) / torch.linalg.matrix_norm(u @ v)).max() < 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_those_of_torch(decay, dtype):
    """Against ``torch.optim.Muon``, whose iteration is in bfloat16, on the same matrices: three steps."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(16, 24), (24, 16), (16, 24)]
    flat = torch.randn(sum(a * b for a, b in shapes), generator=generator)
    start, places = 0, []
    for a, b in shapes:
        places.append(MatrixPlace(start, start + a * b, a, b))
        start += a * b
    matrices = [flat[i:j].view(rows, -1).clone() for i, j, rows, _ in places]
    gradient = torch.zeros_like(flat)
    ours = Muon(flat, gradient, places, weight_decay=decay, dtype=dtype)
    theirs = torch.optim.Muon(matrices, lr=0.02, weight_decay=decay)
    for _ in range(3):
        gradient.copy_(torch.randn(flat.shape, generator=generator))
        for m, (i, j, *_) in zip(matrices, places, strict=True):
            m.grad = gradient[i:j].view(m.shape).clone()
        ours.step(0.02)
        theirs.step()
    for m, (i, j, *_) in zip(matrices, places, strict=True):
        torch.testing.assert_close(flat[i:j].view(m.shape), m, atol=2e-3, rtol=0)


def test_what_lies_between_matrices_is_left_alone():
    flat, gradient = torch.ones(12), torch.ones(12)
    Muon(flat, gradient, [MatrixPlace(0, 4, 2, 2), MatrixPlace(8, 12, 2, 2)], weight_decay=0.5).step(0.1)
    assert torch.equal(flat[4:8], torch.ones(4))
    assert not torch.equal(flat[:4], torch.ones(4))


def test_a_resumed_optimizer_keeps_the_dtype_it_began_with():
    """A run that moves to another processor goes on as it began."""
    model = nn.Linear(4, 4)
    term = Square(model)
    optimizer, other = (
        TermOptimizer(Weights(model, {"square": term}, muon=True), term, Training(muon_rate=0.1)) for _ in "ab"
    )
    optimizer.muon.dtype, other.muon.dtype = torch.float32, torch.bfloat16
    other.load_numbers(optimizer.numbers())
    assert other.muon.dtype is torch.float32
