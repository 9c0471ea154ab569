"""Causal convolutions: what a position sees, and the cached step against the whole plane."""

import pytest
import torch

from fourfold.core import configuration, construct
from fourfold.nn.causal import CausalConvNet, Displacement, PixelConv, PlaneReader, RowConv
from fourfold.nn.reading.labels import LabelReading


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


@pytest.mark.parametrize(("other", "moved", "overall"), [(0, 0, False), (8, 0, True), (8, 2, True)])
def test_steps_equal_the_whole_plane(other: int, moved: int, overall: bool) -> None:
    torch.manual_seed(0)
    net = CausalConvNet(7, 5, 6, 8, 12, 2, 6, 2, 1, 3, 2, 6, other, 2, moved, overall, LabelReading(2))
    for p in net.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    x, kind = torch.randint(0, 7, (3, 5, 6)), torch.tensor([0, 1, 2])
    c = net.condition(torch.tensor([-1, 1, 0]), 3)
    planes = torch.stack([torch.randint(0, 7, (3, 5, 6)), torch.full((3, 5, 6), -1)], 1)
    with torch.no_grad():
        whole = net(x, kind, planes, before=planes[:, 0], c=c).flatten(1, 2)
        cache = net.cache(kind, planes, planes[:, 0], c)
        previous = [torch.zeros(3, dtype=torch.long), *x.flatten(1)[:, :-1].unbind(1)]
        steps = torch.stack([net(value, kind, None, cache) for value in previous], 1)
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


@torch.no_grad()
def test_a_pixel_is_told_of_all_rows_above_and_of_none_below() -> None:
    torch.manual_seed(0)
    net = CausalConvNet(3, 40, 5, 8, 8, 1, 8, 1, overall=True)
    torch.nn.init.normal_(net.head.weight)
    x, label = torch.zeros(1, 40, 5, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    other = x.clone()
    other[:, 5, 4] = 2
    apart = (net(x, label) != net(other, label)).any(-1)[0]
    assert not apart[:5].any()
    assert not apart[5].any()
    assert apart[6:].all()
    net.down_overall = None
    assert not (net(x, label) != net(other, label)).any(-1)[0, 20:].any()


@torch.no_grad()
def test_displaced_copies_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    n_values, reach, (height, width) = 5, 1, (4, 5)
    mixture = Displacement(n_values, 3, reach, rows=1, columns=2)
    for p in mixture.parameters():
        torch.nn.init.normal_(p, std=0.5)
    x, before = torch.randint(0, n_values, (2, 2, height, width))
    logits, h = torch.randn(2, height, width, n_values), torch.randn(2, height, width, 3)
    given = mixture(logits, h, x, before).exp()
    g, a = mixture.head(h.relu()).split([1, 9], -1)
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]

    def source(n, i, j, s):  # None beyond an edge
        i, j = i + s[0], j + s[1]
        return before[n, i, j] if 0 <= i < height and 0 <= j < width else None

    def apart(n, i, j, s):
        value = source(n, i, j, s)
        return 0.5 if value is None else 4 * float((x[n, i, j] - value).abs())

    for n, i, j in [(0, 0, 0), (0, 0, 4), (1, 2, 2), (1, 3, 4), (0, 3, 1)]:
        seen = [(i + r - 1, j + c - 2, mixture.w[r, c]) for r in (0, 1) for c in range(5) if r == 0 or c < 2]
        neighbours = [(p, q, w) for p, q, w in seen if p >= 0 and 0 <= q < width]
        e = [sum(float(w) * apart(n, p, q, s) for p, q, w in neighbours) for s in shifts]
        m = (a[n, i, j] - torch.tensor(e)).softmax(0) * g[n, i, j].sigmoid()
        inside = [k for k in range(9) if source(n, i, j, shifts[k]) is not None]
        law = logits[n, i, j].softmax(0) * (1 - m[inside].sum())
        for k in inside:
            law[source(n, i, j, shifts[k])] += m[k]
        torch.testing.assert_close(given[n, i, j], law, atol=1e-5, rtol=1e-5)


def test_a_texture_that_moved_is_found_before_any_training() -> None:
    torch.manual_seed(0)
    before = torch.randint(0, 17, (1, 16, 16))
    x = before.roll((2, -1), (1, 2))
    net = CausalConvNet(17, 16, 16, 8, 8, 1, 8, 1, planes=1, reader=8, reader_depth=1, moved=3)
    nats = net(x, torch.zeros(1, dtype=torch.long), before[:, None], before=before).log_softmax(-1)
    inside = nats.gather(-1, x[..., None])[0, 4:, 1:-1]
    assert (inside.exp() > 0.5).all()  # the gate is open by half
