"""The transformer against torch's attention, finite differences and its own cache."""

import pytest
import torch
import torch.nn.functional as F

from fourfold.core import configuration, construct
from fourfold.nn.reading.labels import LabelReading
from fourfold.nn.transformer import TokenTransformer, Transformer, ValueTransformer, rotary, rotated, self_attention


@pytest.mark.parametrize("causal", [True, False])
def test_attention_equals_the_reference(causal: bool) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, 7, 3, 2, 8, dtype=torch.float64, requires_grad=True)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    cos, sin = rotary(7, 8, torch.float64, torch.device("cpu"))
    q, k = rotated(q, cos, sin), rotated(k, cos, sin)
    reference = F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
    torch.testing.assert_close(self_attention(qkv, causal), reference)
    g = torch.randn_like(reference)
    expected = torch.autograd.grad((reference * g).sum(), qkv)
    torch.testing.assert_close(torch.autograd.grad((self_attention(qkv, causal) * g).sum(), qkv), expected)


def test_attention_has_the_gradient_of_finite_differences() -> None:
    torch.manual_seed(0)
    qkv = torch.randn(1, 4, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(self_attention, qkv)


def test_rotary_products_depend_on_the_distance_only() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 8, dtype=torch.float64)
    cos, sin = rotary(20, 8, torch.float64, torch.device("cpu"))
    turned = [rotated(x.expand(20, 8), cos, sin) for x in (q, k)]
    products = turned[0] @ turned[1].T
    for distance in (0, 3, 11):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_cache_equals_all_at_once() -> None:
    torch.manual_seed(0)
    net = Transformer(16, 3, 2, 10)
    for p in net.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    h, cache = torch.randn(3, 10, 16), net.cache(3)
    with torch.no_grad():
        parts = [net(h[:, :4], cache), *(net(h[:, i : i + 1], cache) for i in range(4, 10))]
        torch.testing.assert_close(torch.cat(parts, 1), net(h), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="context of 10"):
        net(h[:, :1], cache)
    with pytest.raises(ValueError, match="context of 10"):
        net(torch.randn(1, 11, 16))


def test_bfloat16_stays_near_float32() -> None:
    torch.manual_seed(0)
    net = TokenTransformer(20, 12, 32, 2, 2)
    for p in net.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    ids = torch.randint(0, 20, (4, 12))
    with torch.no_grad():
        full, low = net(ids), net.bfloat16()(ids)
    assert low.dtype == torch.float32
    assert (full - low).abs().max() < 0.05 * full.abs().max()


def test_networks_are_rebuilt_from_their_configuration() -> None:
    for net in (TokenTransformer(20, 12, 32, 2, 2), ValueTransformer(3, 6, 16, 1, 2, reading=LabelReading(4))):
        again = construct(configuration(net))
        assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}


def test_width_must_fit_the_heads() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Transformer(18, 1, 4, 8)


def test_a_network_that_was_used_in_inference_mode_can_be_trained():
    """Tables of angles and masks are kept between calls: they must not remember the mode of the first one."""
    net = TokenTransformer(5, 37, 8, 1, 2)
    with torch.inference_mode():
        net(torch.zeros(1, 9, dtype=torch.long), net.cache(1))
        net(torch.zeros(1, 37, dtype=torch.long))
    net(torch.zeros(2, 37, dtype=torch.long)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
