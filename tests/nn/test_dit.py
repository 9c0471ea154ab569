"""The transformer of patches: sizes, precision, labels, start."""

import pytest
import torch
import torch.nn.functional as F

from fourfold.core import configuration, construct
from fourfold.nn.attending import attention
from fourfold.nn.dit import DiT
from fourfold.nn.layers import patches
from fourfold.nn.reading.labels import LabelReading


def shaken(net):
    torch.manual_seed(0)
    for p in net.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return net


def test_sizes_that_the_patches_do_not_divide_are_extended_by_edge_values():
    x = torch.randn(2, 3, 1, 10)
    net, wide = DiT((3, 1, 10), 16, 1, 2, 4), DiT((3, 4, 12), 16, 1, 2, 4)
    wide.load_state_dict(shaken(net).state_dict())
    extended = F.pad(x, (0, 2, 0, 3), mode="replicate")
    torch.testing.assert_close(net(x, torch.zeros(2)), wide(extended, torch.zeros(2))[:, :, :1, :10])


def test_cutting_and_joining_are_inverse():
    net = DiT((3, 7, 10), 16, 1, 2, 4)
    x = torch.randn(2, 3, 7, 10)
    tokens = patches(x, net.patch).flatten(2).transpose(1, 2)
    assert torch.equal(net._images(tokens), x)


def test_it_starts_at_zero_and_depends_on_everything_after_a_step():
    x, tau, cond = torch.randn(4, 1, 8, 8), torch.tensor([0.0, 0.3, -0.4, 1.0]), torch.tensor([0, 1, 2, -1])
    net = DiT((1, 8, 8), 16, 2, 2, 4, reading=LabelReading(3))
    assert net(x, tau, cond).abs().max() == 0
    net = shaken(net)
    base = net(x, tau, cond)
    assert not torch.allclose(base, net(x, tau + 0.1, cond))
    assert not torch.allclose(base[:3], net(x, tau, None)[:3])
    assert torch.allclose(base[3], net(x, tau, None)[3], atol=1e-6)
    corner = torch.zeros_like(x)
    corner[..., 0, 0] = 1.0
    assert (net(x + corner, tau, cond) - base)[..., -1, -1].abs().min() > 0


def test_bf16_weights_take_and_return_float32():
    net = shaken(DiT((1, 8, 8), 16, 1, 2, 2, reading=LabelReading(3)))
    x, tau, cond = torch.randn(4, 1, 8, 8), torch.linspace(-1, 1, 4), torch.tensor([0, 1, 2, -1])
    exact = net(x, tau, cond)
    rounded = net.bfloat16()(x, tau, cond)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.1 * exact.abs().max() + 0.02


def test_configuration_rebuilds_the_network():
    net = DiT((1, 8, 9), 16, 2, 2, 4, reading=LabelReading(3))
    again = construct(configuration(net))
    assert configuration(again) == configuration(net)
    again.load_state_dict(net.state_dict())


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiple of heads"):
        DiT((1, 8, 8), 16, 1, 3)


@pytest.mark.parametrize("trained", [False, True])
def test_short_attention_is_that_of_the_fused_kernel(trained):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, requires_grad=trained) for _ in range(3))
    assert torch.allclose(attention(q, k, v, None), F.scaled_dot_product_attention(q, k, v), atol=1e-6)
