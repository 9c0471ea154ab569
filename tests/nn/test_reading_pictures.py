"""Pictures that are given: as maps of any size, in every network of images, and in the copy tasks of the paradigms."""

import math

import pytest
import torch

import fourfold
from fourfold.core import Batch, configuration, construct, unknown, unknown_like
from fourfold.data import Split
from fourfold.nn.causal import CausalConvNet
from fourfold.nn.ddpm_unet import DDPMUNet
from fourfold.nn.dit import DiT
from fourfold.nn.entry import Maps
from fourfold.nn.ladder import LadderDecoder, LadderEncoder
from fourfold.nn.prior import IndependentCodes, IndependentGaussians, Prior
from fourfold.nn.reading import reading
from fourfold.nn.reading.labels import LabelReading
from fourfold.nn.reading.pictures import PictureReading
from fourfold.nn.resnet import ResNetCritic, ResNetDecoder, ResNetEncoder
from fourfold.nn.stylegan import StyleNetwork
from fourfold.nn.unet import UNet
from fourfold.paradigms import build
from fourfold.paradigms.pixels import PixelConditionals
from fourfold.spaces import Categories, Images, Together

GIVEN = Images(1, 4, 4, n_values=17)


def shaken(net, std=0.1):
    torch.manual_seed(0)
    for p in net.parameters():
        p.data.add_(std * torch.randn_like(p))
    return net.eval()


def pictures(n=3, space=GIVEN):
    return space.examples(n, torch.Generator().manual_seed(0)).to(torch.int16)


def test_maps_average_a_larger_picture_and_interpolate_a_smaller_one():
    ramp = torch.arange(4, dtype=torch.int16).expand(1, 1, 4, 4)
    read = reading(Images(1, 4, 4, n_values=4))
    x = torch.linspace(-1, 1, 4)
    torch.testing.assert_close(read.spread(ramp, 1, (4, 4))[0, 0], x.expand(4, 4))
    torch.testing.assert_close(read.spread(ramp, 1, (2, 2))[0, 0], x.view(2, 2).mean(1).expand(2, 2))
    wide = read.spread(ramp, 1, (2, 8))[0]
    torch.testing.assert_close(wide[0, 0, 1:-1], torch.linspace(-5 / 6, 5 / 6, 6))  # a ramp stays one
    assert (wide[1] == 1).all()


def test_a_picture_beside_a_label_has_its_maps():
    both = reading(Together((GIVEN, Categories(("a", "b")))))
    c = pictures(2)
    cond = torch.cat([c.flatten(1).float(), torch.tensor([[1.0], [torch.nan]])], 1)
    torch.testing.assert_close(both.spread(cond, 2, (8, 8)), reading(GIVEN).spread(c, 2, (8, 8)))
    assert both.spread(None, 2, (8, 8)).shape == (2, 2, 8, 8)


def test_unknown_pixels_and_pictures_are_zero_with_a_channel_that_says_so():
    read = shaken(reading(Images(2, 2, 2, n_values=3)))
    x = torch.tensor([[[0, 2], [-1, 1]], [[2, 2], [-1, 0]]], dtype=torch.int16)
    cond = torch.stack([x, unknown_like(x)])
    maps = read.spread(cond, 2, (2, 2))
    assert maps[0].tolist() == [[[-1, 1], [0, 0]], [[1, 1], [0, -1]], [[1, 1], [0, 1]]]
    assert (maps[1] == 0).all()
    torch.testing.assert_close(read.spread(None, 3, (5, 1)), torch.zeros(3, 3, 5, 1))
    vectors = read(cond, 2)
    torch.testing.assert_close(vectors[1], read.unknown)
    torch.testing.assert_close(read(None, 2), vectors[1:].expand(2, -1))
    assert not torch.allclose(vectors[0], vectors[1])


def test_a_picture_may_have_holes_and_other_values_are_refused():
    x = pictures(2)
    x[0, 0, 1, 2] = -1
    assert (GIVEN.conditions(x, 2) == x).all()
    assert (GIVEN.conditions(x[0], 2) == x[:1]).all()
    with pytest.raises(ValueError, match="from 0 to 16, got a larger one in image 0"):
        GIVEN.conditions(torch.full_like(x, 17), 2)
    with pytest.raises(ValueError, match="int16"):
        GIVEN.conditions(torch.full_like(x, -2), 2)


def test_a_condition_without_maps_adds_no_weight_and_no_copy():
    h = torch.randn(2, 3, 4, 4)
    for nothing in (None, LabelReading(3)):
        maps = Maps(nothing, 3, 2)
        assert not list(maps.parameters())
        assert maps(h, torch.tensor([0, 1]), (8, 8)) is h


TIMES = torch.tensor([0.1, 0.5, 0.9])
NETWORKS = {
    "unet": lambda r: (UNet(2, (8, 8), (1, 1), 2, r, 8), (2, 7, 9), (TIMES,)),
    "dit": lambda r: (DiT((2, 7, 9), 8, 1, 1, 2, r), (2, 7, 9), (TIMES,)),
    "ddpm": lambda r: (DDPMUNet(2, (8, 8), 1, r), (2, 8, 6), (TIMES,)),
    "encoder": lambda r: (ResNetEncoder((2, 17, 9), 5, 8, 1, r), (2, 17, 9), ()),
    "critic": lambda r: (ResNetCritic((2, 17, 9), 8, 1, 16, r), (2, 17, 9), ()),
    "decoder": lambda r: (ResNetDecoder(4, (2, 17, 9), 3, 8, 1, r), (4,), ()),
    "style": lambda r: (StyleNetwork((2, 17, 9), 4, 8, 1, 8, r), None, ()),
    "ladder encoder": lambda r: (LadderEncoder((2, 17, 9), 4, 8, 1, 2, r), (2, 17, 9), ()),
    "ladder decoder": lambda r: (LadderDecoder(4, (2, 17, 9), 3, 8, 1, 2, r), (4,), ()),
    "gaussians": lambda r: (IndependentGaussians((2, 3, 5), r), (2, 3, 5), ()),
    "codes": lambda r: (IndependentCodes((3, 5), 7, r), (3, 5), ()),
}
"""Networks of images of odd sizes, the shape of their input, and their times."""


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_networks_read_the_maps_of_each_condition_alone(name):
    """With the vector put out, outputs still follow the picture. Unknown pictures are as none, and rows do not mix."""
    given = PictureReading((1, 4, 4), 17, 4, 4)
    net, event, times = NETWORKS[name](given)
    net = shaken(net, 0.3)
    given.forward = lambda cond, batch: given.unknown.repeat(batch, 1)
    x, c = torch.randn(3, *(event or (net.inputs,))), pictures()
    x = x.mul(2).long() % 7 if name == "codes" else x
    noise = [lambda rung, h: torch.ones(len(h), *net.noises[rung])] if name == "ladder decoder" else []

    def output(c):
        out = (net.log_prob if isinstance(net, Prior) else net)(x, *times, c, *noise)
        return (out[0] if isinstance(out, tuple) else out).reshape(3, -1)

    out = output(c)
    assert (out - output(c.roll(1, 0))).abs().amax(1).min() > 1e-4
    mixed = output(torch.stack([c[0], unknown_like(c[1]), c[1]]))
    torch.testing.assert_close(mixed[:2], torch.stack([out[0], output(None)[1]]), atol=1e-5, rtol=1e-4)
    again = construct(configuration(net)).state_dict()
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in net.state_dict().items()}
    tensors = [v for v in net.state_dict(keep_vars=True).values() if isinstance(v, torch.nn.Parameter)]
    assert len(tensors) == len(set(map(id, tensors)))  # the weights of the reading are saved once


def test_maps_lie_at_the_places_of_the_pixels_where_sizes_are_padded():
    given = PictureReading((1, 5, 7), 17, 4, 4)
    net = shaken(UNet(1, (8, 8), (1, 1), 2, given, 8))
    given.forward = lambda cond, batch: given.unknown.repeat(batch, 1)
    x, c, t = torch.randn(3, 1, 5, 7), pictures(3, Images(1, 5, 7, n_values=17)), TIMES
    extended = [torch.nn.functional.pad(part.float(), (0, 1, 0, 3), mode="replicate") for part in (x, c)]
    torch.testing.assert_close(net(x, t, c), net(extended[0], t, extended[1].to(torch.int16))[:, :, :5, :7])


def test_bf16_weights_read_pictures():
    given = PictureReading((1, 4, 4), 17, 8, 8)
    net, c = shaken(UNet(1, (16, 16), (1, 1), 2, given, 16), 0.05), pictures()
    x = torch.randn(3, 1, 8, 8)
    exact = net(x, TIMES, c)
    rounded = net.bfloat16()(x, TIMES, c)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.1 * exact.abs().max() + 0.02


@torch.no_grad()
def test_pixels_are_given_all_of_a_picture_and_only_earlier_pixels():
    net = CausalConvNet(5, 4, 4, 8, 8, 1, 8, 1, kinds=1, reading=PictureReading((1, 4, 4), 17, 4, 4))
    model = shaken(PixelConditionals(net, 1), 0.3)
    x, c = torch.randint(0, 5, (1, 1, 4, 4)), pictures(1)
    own = model(x, c)
    later, other = x.clone(), c.clone()
    later[..., 2, 1] = (later[..., 2, 1] + 1) % 5
    torch.testing.assert_close(model(later, c)[:, :9], own[:, :9])
    other[..., 3, 3] = (other[..., 3, 3] + 8) % 17
    assert (model(x, other) - own)[0, :9].abs().min() > 1e-6


@torch.no_grad()
def test_the_masses_of_all_images_sum_to_one_given_a_picture():
    space = Images(2, 2, 2, n_values=2, given=GIVEN)
    model = shaken(build("autoregressive", space, "xs"), 0.3)
    everything, _ = space.support(0, 0.0)
    nats = [model.log_prob(everything, cond=c).nats.double() for c in pictures(2)]
    for given in nats:
        assert given.exp().sum().item() == pytest.approx(1, abs=1e-4)
    assert (nats[0] - nats[1]).abs().max() > 0.1


@pytest.mark.parametrize("recipe", ["flow/glow", "flow/tarflow"])
def test_flows_given_a_picture_are_invertible_and_know_their_determinants(recipe):
    space = Images(1, 4, 6, n_values=17, given=GIVEN)
    flow, c = shaken(build(recipe, space, "xs"), 0.05).estimand, pictures(2)
    z = torch.randn(2, *flow.latent)
    with torch.no_grad():
        x = flow(z, c)
        back, log_det = flow.inverse(x, c)
        assert not torch.allclose(flow(z, c.roll(1, 0)), x, atol=1e-2)
    torch.testing.assert_close(back, z, atol=1e-3, rtol=1e-3)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow.inverse(v, c[:1])[0].flatten(), x[:1])
    assert jacobian.view(24, 24).slogdet()[1].item() == pytest.approx(log_det[0].item(), abs=1e-3)


def upsampled(n, seed):
    """Pictures of 4 x 4 pixels, and images of 8 x 8 that are theirs with a noise of three values in each pixel."""
    g = torch.Generator().manual_seed(seed)
    c = torch.randint(1, 16, (n, 1, 4, 4), generator=g)
    clear = c.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return (clear + torch.randint(-1, 2, clear.shape, generator=g)).to(torch.uint8), clear, c.to(torch.int16)


def test_a_model_learns_to_enlarge_pictures():
    """Samples follow the picture. The likelihood is below the truth, ``-64 log 3``, and falls for a wrong picture."""
    torch.manual_seed(0)
    model = build("autoregressive", Images(1, 8, 8, n_values=17, given=GIVEN), "xs")
    x, _, c = upsampled(512, 0)
    model.fit_statistics(x, c)
    blocks = [Batch(x[i : i + 16], c[i : i + 16]) for i in range(0, 512, 16)]
    for _ in fourfold.train(model, lambda step: blocks[step % 32], budget="60 steps"):
        pass
    x, clear, c = upsampled(16, 1)
    samples = model.sample(16, cond=c).float()
    correlation = torch.corrcoef(torch.stack([samples.flatten(), clear.flatten().float()]))[0, 1]
    assert correlation > 0.8
    given, wrong = (model.log_prob(x, cond=cond).nats.mean() for cond in (c, c.roll(1, 0)))
    assert wrong + 20 < given < -64 * math.log(3)


def test_a_student_of_few_steps_learns_the_paths_of_pictures_that_are_given(tmp_path):
    """A stack of pictures has five dimensions: training and loading lay out tensors of four with channels last."""
    torch.manual_seed(0)
    model = build("few-step", Images(1, 8, 8, n_values=17, given=GIVEN), "xs")
    x, _, c = upsampled(32, 0)
    steps = [step.losses for step in fourfold.train(model, Split(x, c), budget="2 steps")]
    assert all(math.isfinite(loss) for losses in steps for loss in losses.values())
    paths = model.objective.cond[0].flatten(1)
    assert all((path == c.flatten(1)).all(1).any() or unknown(path[None]) for path in paths)
    fourfold.Run(model).save(tmp_path / "run")
    again = fourfold.Run.load(tmp_path / "run").model
    assert torch.equal(again.sample(2, cond=c[:2]), model.sample(2, cond=c[:2]))
