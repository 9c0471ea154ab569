import pytest
import torch

from fourfold.engine.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(3, 24, 40), (2, 40, 24), (1, 16, 16)])
def test_singular_values_come_near_one(shape):
    g = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    o = orthogonalised(g).float()
    s = torch.linalg.svdvals(o)
    assert s.max() < 1.35
    assert s.median() > 0.6
    assert (torch.linalg.matrix_norm(o - u @ v) / torch.linalg.matrix_norm(u @ v)).max() < 0.5


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_those_of_torch(decay):
    """Against ``torch.optim.Muon`` on the same matrices, three steps, to bfloat16's precision."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(16, 24), (24, 16), (16, 24)]
    flat = torch.randn(sum(a * b for a, b in shapes), generator=generator)
    start, places = 0, []
    for a, b in shapes:
        places.append((start, start + a * b, a))
        start += a * b
    matrices = [flat[i:j].view(rows, -1).clone() for i, j, rows in places]
    gradient = torch.zeros_like(flat)
    ours = Muon(flat, gradient, places, weight_decay=decay)
    theirs = torch.optim.Muon(matrices, lr=0.02, weight_decay=decay)
    for _ in range(3):
        gradient.copy_(torch.randn(flat.shape, generator=generator))
        for m, (i, j, _) in zip(matrices, places, strict=True):
            m.grad = gradient[i:j].view(m.shape).clone()
        ours.step(0.02)
        theirs.step()
    for m, (i, j, _) in zip(matrices, places, strict=True):
        torch.testing.assert_close(flat[i:j].view(m.shape), m, atol=2e-3, rtol=0)


def test_what_lies_between_matrices_is_left_alone():
    flat, gradient = torch.ones(12), torch.ones(12)
    Muon(flat, gradient, [(0, 4, 2), (8, 12, 2)], weight_decay=0.5).step(0.1)
    assert torch.equal(flat[4:8], torch.ones(4))
    assert not torch.equal(flat[:4], torch.ones(4))
