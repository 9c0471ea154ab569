"""The U-Net and the perceptron of vectors: sizes, precision, labels, start."""

import pytest
import torch

from fourfold.core import configuration, construct
from fourfold.nn.embedding import Condition, FourierTime, with_detail
from fourfold.nn.reading.labels import LabelReading
from fourfold.nn.time_mlp import TimeMLP
from fourfold.nn.unet import UNet


def shaken(net):
    torch.manual_seed(0)
    for p in net.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return net


def test_sizes_that_the_strides_do_not_divide_are_extended_by_edge_values():
    net = shaken(UNet(3, (8, 8), (1, 1), 2, condition=8))
    x = torch.randn(2, 3, 1, 13)
    extended = torch.nn.functional.pad(x, (0, 3, 0, 3), mode="replicate")
    torch.testing.assert_close(net(x, torch.zeros(2)), net(extended, torch.zeros(2))[:, :, :1, :13])


def test_sizes_that_need_no_padding_are_not_padded():
    """Cropping a padded network's output must not shift it: a larger image agrees with itself far from the edge."""
    net = shaken(UNet(1, (8, 8), (1, 1), 2, condition=8))
    x = torch.randn(1, 1, 64, 64)
    whole, part = net(x, torch.zeros(1)), net(x[:, :, :, :61], torch.zeros(1))
    assert torch.allclose(whole[..., :32], part[..., :32], atol=1e-5)


def test_it_starts_at_zero_and_depends_on_everything_after_a_step():
    x, tau, cond = torch.randn(4, 1, 8, 8), torch.tensor([0.0, 0.3, -0.4, 1.0]), torch.tensor([0, 1, 2, -1])
    net = UNet(1, (8, 16), (1, 1), 2, reading=LabelReading(3), condition=8)
    assert net(x, tau, cond).abs().max() == 0
    net = shaken(net)
    base = net(x, tau, cond)
    assert not torch.allclose(base, net(x, tau + 0.1, cond))
    assert not torch.allclose(base[:3], net(x, tau, None)[:3])
    assert torch.allclose(base[3], net(x, tau, None)[3], atol=1e-6)
    assert not torch.allclose(base, net(x + 0.1, tau, cond))


def test_bf16_weights_take_and_return_float32():
    net = shaken(UNet(1, (16, 16), (1, 1), 2, reading=LabelReading(3), condition=16))
    x, tau, cond = torch.randn(4, 1, 9, 8), torch.linspace(-1, 1, 4), torch.tensor([0, 1, 2, -1])
    exact = net(x, tau, cond)
    net.bfloat16()
    rounded = net(x, tau, cond)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.1 * exact.abs().max() + 0.02


@pytest.mark.parametrize(
    "net",
    [
        UNet(3, (8, 8, 16), (1, 2, 1), 1, LabelReading(4), 12),
        TimeMLP(3, 16, 2, LabelReading(4)),
        Condition(8, LabelReading(3)),
        FourierTime(8),
    ],
)
def test_configuration_rebuilds_the_network(net):
    again = construct(configuration(net))
    assert configuration(again) == configuration(net)
    again.load_state_dict(net.state_dict())


def test_fourier_features_have_unit_mean_square():
    tau = torch.linspace(-1.5, 1.5, 7)
    features = FourierTime(32)(tau)
    assert torch.allclose(features.square().mean(1), torch.ones(7), atol=1e-5)


def test_waves_show_in_bfloat16_what_it_rounds_away():
    x = -2 + 1e-3 * torch.randn(512, 3)
    coarse, sine, cosine = with_detail(x).bfloat16().float().chunk(3, 1)
    assert (coarse - x).abs().max() > 2e-3
    phase = torch.atan2(sine, cosine)
    assert ((phase - phase.mean()) / 8 - (x - x.mean())).abs().max() < 1e-3


def test_the_perceptron_of_vectors():
    net = shaken(TimeMLP(3, 16, 2, reading=LabelReading(2)))
    x, tau, cond = torch.randn(5, 3), torch.rand(5), torch.tensor([0, 1, 0, 1, -1])
    base = net(x, tau, cond)
    assert not torch.allclose(base, net(x, tau + 0.2, cond))
    assert not torch.allclose(base[:4], net(x, tau, None)[:4])
    assert torch.allclose(base[4], net(x, tau, None)[4], atol=1e-6)
    assert net.bfloat16()(x, tau, cond).dtype == torch.float32


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="each of 2 widths"):
        UNet(1, (8, 8), (1,))
    with pytest.raises(ValueError, match="width must be even"):
        FourierTime(7)
