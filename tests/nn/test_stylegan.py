"""Modulated convolutions against kernels written out, and the augmentations against their own matrices."""

import pytest
import torch
from torch.nn import functional

from fourfold.nn.augment import Augment
from fourfold.nn.stylegan import Equalised, ModulatedConv, StyleNetwork


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_is_one_with_a_kernel_for_each_example(demodulate):
    layer = ModulatedConv(5, 4, 6, 3, demodulate)
    x, w = torch.randn(3, 5, 7, 8), torch.randn(3, 6)
    styles, outputs = layer.affine(w), layer(x, w)
    for i in range(3):
        kernel = layer.weight * layer.scale * styles[i][None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        torch.testing.assert_close(outputs[i], functional.conv2d(x[i : i + 1], kernel, padding=1)[0])


def test_a_slow_layer_starts_like_a_fast_one_and_moves_by_its_multiplier():
    x = torch.randn(20_000, 8)
    slow = Equalised(8, 16, 0.01)
    assert slow(x).var().item() == pytest.approx(1, rel=0.3)
    gradient = torch.autograd.grad(slow(x).sum(), slow.bias)[0]
    assert gradient[0].item() == pytest.approx(0.01 * len(x))


def test_styles_mix_between_neighbours_from_a_layer_on():
    net = StyleNetwork((1, 16, 16), 8, 8, 2, 4, mixing=1.0)
    z = torch.randn(6, net.inputs)
    mixed = net.train().styles(z)
    plain = net.eval().styles(z)
    assert net.layers == mixed.shape[1] == 2 * len(net.sizes)
    for i in range(6):
        own = [torch.allclose(mixed[i, j], plain[i, j]) for j in range(net.layers)]
        other = [torch.allclose(mixed[i, j], plain[i - 1, j]) for j in range(net.layers)]
        cut = own.index(False)
        assert own == [True] * cut + [False] * (net.layers - cut)
        assert all(other[cut:])


def test_noise_reaches_the_image_by_its_strength_alone():
    net = StyleNetwork((1, 16, 16), 8, 8, 2, 4).eval()
    z = torch.randn(2, net.inputs)
    other = torch.cat([z[:, :8], torch.randn(2, net.inputs - 8)], 1)
    assert torch.equal(net(z), net(other))
    net.first[0].strength.data.fill_(1.0)
    assert not torch.allclose(net(z), net(other))


def always(flip=True):
    augment = Augment(flip=flip)
    augment.p.fill_(1.0)
    return augment


def test_no_strength_no_change():
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(Augment()(x), x)


def test_a_plane_at_no_strength_is_the_identity_and_its_turns_keep_areas():
    augment = Augment()
    torch.testing.assert_close(augment._plane(2, 8, 6), torch.eye(2, 3).expand(2, 2, 3))
    plane = always()._plane(500, 8, 6)[:, :, :2]
    pixels = torch.diag(torch.tensor([3.0, 4.0]))
    composed = pixels @ plane @ torch.linalg.inv(pixels)
    values = torch.linalg.svdvals(composed)
    assert (torch.linalg.det(composed) < 0).float().mean().item() == pytest.approx(0.5, abs=0.1)  # mirrored
    assert values.log().mean().abs().item() < 0.05


def test_hues_keep_grey_and_turn_colours():
    maps = always()._hues(50)
    grey = torch.ones(3) / 3
    torch.testing.assert_close(maps @ grey, grey.expand(50, 3), atol=1e-5, rtol=0)
    assert (maps @ torch.tensor([1.0, 0.0, 0.0]) - torch.tensor([1.0, 0.0, 0.0])).norm(dim=1).mean() > 0.3


def test_gradients_reach_the_generator_through_the_augmentation():
    x = torch.rand(4, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(always()(x).square().sum(), x)
    assert (gradient != 0).float().mean() > 0.3
