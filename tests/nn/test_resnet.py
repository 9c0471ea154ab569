"""Residual networks: what they start as, what they accept, what conditions them."""

import pytest
import torch

from fourfold.core import configuration, construct
from fourfold.nn.coupling import Couplings
from fourfold.nn.pyramid import Pyramid, Residual, ascend, descend
from fourfold.nn.reading.labels import LabelReading
from fourfold.nn.resnet import ResMLP, ResNetCritic, ResNetDecoder, ResNetEncoder


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _stirred(module):
    """Give the layers that start silent something to say."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return module


def test_sizes_that_the_patches_do_not_divide_are_extended_by_edge_values():
    shape, wide = (2, 5, 39), (2, 6, 40)
    x, z = torch.randn(3, *shape), torch.randn(3, 5)
    extended = torch.nn.functional.pad(x, (0, 1, 0, 1), mode="replicate")
    for make in (lambda s: ResNetEncoder(s, 6, 8, 1), lambda s: ResNetCritic(s, 8, 1, 16)):
        net, other = _stirred(make(shape)), make(wide)
        other.load_state_dict(net.state_dict())
        torch.testing.assert_close(net(x), other(extended))
    net, other = _stirred(ResNetDecoder(5, shape, 4, 8, 1)), ResNetDecoder(5, wide, 4, 8, 1)
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(net(z), other(z)[:, :, :5, :39])


def test_stages_halve_the_map_until_no_side_is_above_eight():
    pyramid = Pyramid.to_eight((3, 9, 70), 4)
    assert pyramid.sizes == ((5, 35), (3, 18), (2, 9), (1, 5))
    assert pyramid.widths == (4, 8, 16, 16)
    assert pyramid.features == 16 * 5
    assert Pyramid.to_codes((3, 9, 70), 8, 4).sizes == ((8, 36), (4, 18), (2, 9))


def test_the_way_up_is_the_way_down_of_constant_maps():
    """Averages and bilinear interpolation leave constants, so only the layers between the stages change them."""
    pyramid = Pyramid.to_eight((1, 1, 70), 1)
    stages, double = [torch.nn.Identity() for _ in pyramid.sizes], lambda h: 2 * h
    maps = descend(torch.ones(1, 1, *pyramid.sizes[0]), stages, [double] * 3)
    assert [m.shape[2:] for m in maps] == [torch.Size(size) for size in pyramid.sizes]
    assert [m.unique().item() for m in maps] == [1, 2, 4, 8]
    torch.testing.assert_close(ascend(maps[-1], stages, [lambda h: h / 2] * 3, pyramid.sizes[::-1]), maps[0])


@pytest.mark.parametrize("spatial", [True, False])
def test_a_block_starts_as_the_identity(spatial):
    h = torch.randn(4, 8, 6, 6) if spatial else torch.randn(4, 8)
    assert torch.equal(Residual(8, 16, 3, spatial)(h), h)


def test_scale_neither_explodes_nor_vanishes_at_the_start():
    x = torch.randn(64, 3, 32, 32)
    for depth in (1, 4):
        scale = ResNetEncoder((3, 32, 32), 32, 16, depth)(x).std().item()
        assert 0.2 < scale < 5


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: ResNetEncoder((1, 8, 8), 6, 8, 1, reading=LabelReading(3)), torch.ones(4, 1, 8, 8)),
        (lambda: ResNetCritic((1, 8, 8), 8, 1, 16, reading=LabelReading(3)), torch.ones(4, 1, 8, 8)),
        (lambda: ResNetDecoder(5, (1, 8, 8), 2, 8, 1, reading=LabelReading(3)), torch.ones(4, 5)),
        (lambda: ResMLP(5, 2, 8, 1, reading=LabelReading(3)), torch.ones(4, 5)),
    ],
)
def test_labels_condition_and_unknown_is_one_more_label(make, x):
    net = make()
    y = net(x, torch.tensor([0, 1, -1, 1]))
    assert not torch.allclose(y[0], y[1])
    torch.testing.assert_close(y[1], y[3])
    torch.testing.assert_close(y[2], net(x)[2])


@pytest.mark.parametrize(
    "net",
    [
        ResNetEncoder((3, 9, 13), 6, 8, 2, reading=LabelReading(3)),
        ResNetCritic((1, 28, 28), 8, 1, 16),
        ResNetDecoder(5, (1, 28, 28), 2, 8, 1, reading=LabelReading(4)),
        ResMLP(5, 2, 8, 3, gain=0.5),
        Couplings(5, 8, 1, 3, reading=LabelReading(2)),
    ],
)
def test_configuration_rebuilds(net):
    again = construct(configuration(net))
    again.load_state_dict(net.state_dict())
    assert repr(again) == repr(net)


def test_computes_in_the_dtype_of_its_weights_and_speaks_float32():
    x = torch.randn(4, 1, 16, 16)
    for net, value in (
        (ResNetCritic((1, 16, 16), 8, 1, 16), x),
        (ResNetDecoder(5, (1, 16, 16), 2, 8), torch.randn(4, 5)),
    ):
        exact = _stirred(net)(value)
        rough = net.bfloat16()(value)
        assert rough.dtype == torch.float32
        assert (rough - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("dim", [2, 3, 8])
@pytest.mark.parametrize("classes", [None, 2])
def test_couplings_invert_and_their_log_determinant_is_autograds(dim, classes):
    flow = _stirred(Couplings(dim, 16, 1, 3, None if classes is None else LabelReading(classes))).double()
    for net in flow.nets:
        net.register_forward_hook(lambda module, args, output: output.double())
    u = torch.randn(4, dim, dtype=torch.double)
    cond = None if classes is None else torch.tensor([0, 1, -1, 1])
    eps, log_det = flow.inverse(u, cond)
    torch.testing.assert_close(flow(eps, cond), u, atol=1e-4, rtol=1e-4)
    for i in range(4):
        label = None if cond is None else cond[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(lambda v, c=label: flow.inverse(v[None], c)[0][0], u[i])
        torch.testing.assert_close(jacobian.slogdet().logabsdet, log_det[i], atol=1e-4, rtol=1e-4)


def test_one_dimension_has_no_coupling():
    with pytest.raises(ValueError, match="at least 2"):
        Couplings(1)
