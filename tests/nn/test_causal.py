"""Causal convolutions: what a position sees, and the cached step against the whole plane."""

import pytest
import torch

from fourfold.core import configuration, construct
from fourfold.nn.causal import CausalConvNet, PixelConv, PlaneReader, RowConv


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("rows", "reach"), [(1, 1), (2, 1), (4, 3)])
def test_pixel_convolution_sees_what_it_says(rows: int, reach: int, own: bool) -> None:
    torch.manual_seed(0)
    conv = PixelConv(1, 1, rows, reach, own)
    x = torch.zeros(1, 9, 9, 1, requires_grad=True)
    conv(x)[0, 6, 4, 0].backward()
    seen = (x.grad[0, :, :, 0] != 0).nonzero().tolist()
    above = [[6 - r, 4 + c] for r in range(rows - 1, 0, -1) for c in range(-reach, reach + 1)]
    assert seen == above + [[6, 4 + c] for c in range(-reach, int(own))]


def test_row_convolution_sees_its_row() -> None:
    x = torch.zeros(1, 9, 9, 1, requires_grad=True)
    RowConv(1, 1, 2, 2)(x)[0, 6, 4, 0].backward()
    assert (x.grad[0, :, :, 0] != 0).nonzero().tolist() == [[r, c] for r in (5, 6) for c in range(2, 7)]


@pytest.mark.parametrize("other", [0, 8])
def test_steps_equal_the_whole_plane(other: int) -> None:
    torch.manual_seed(0)
    net = CausalConvNet(7, 5, 6, 8, 12, 2, 6, 2, labels=3, known=2, other=other, other_depth=2)
    for p in net.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    x, label = torch.randint(0, 7, (3, 5, 6)), torch.tensor([0, 1, 2])
    known = torch.stack([torch.randint(0, 7, (3, 5, 6)), torch.full((3, 5, 6), -1)], 1)
    with torch.no_grad():
        whole, cache = net(x, label, known).flatten(1, 2), net.cache(label, known)
        previous = [torch.zeros(3, dtype=torch.long), *x.flatten(1)[:, :-1].unbind(1)]
        steps = torch.stack([net(value, label, None, cache) for value in previous], 1)
    torch.testing.assert_close(steps, whole, atol=1e-4, rtol=1e-4)
    assert torch.allclose(whole.softmax(-1).sum(-1), torch.ones(3, 30))


def test_configuration_round_trip() -> None:
    net = CausalConvNet(7, 5, 6, 8, 12, 2, 6, 2)
    again = construct(configuration(net))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}


def test_how_far_the_reader_of_planes_sees() -> None:
    """The entry sees one cell of 2 x 2 pixels to every side, and a block two more."""
    torch.manual_seed(0)
    reader, f = PlaneReader(1, 1, 4, 1).double(), torch.zeros(1, 1, 3, 27, dtype=torch.float64, requires_grad=True)
    torch.nn.init.normal_(reader.blocks[0].second.weight)
    reader(f)[0, 0, 1, 12].backward()
    seen = f.grad.abs().sum((0, 1, 2)) > 0
    assert seen.nonzero().flatten().tolist() == list(range(6, 20))
