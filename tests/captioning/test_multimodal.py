import itertools

import pytest
import torch

import fourfold
from captions import byte_rows, encode_captions
from fourfold import checks
from fourfold.core import Noise
from fourfold.nn.transformer import TokenTransformer
from fourfold.paradigms import build
from fourfold.spaces import Images, Lines
from fourfold_captions.captioning import caption, caption_nats
from fourfold_captions.multimodal import BothOrders, PairConditionals
from fourfold_captions.words import CaptionWords

SIZE, TOKENS, LONGEST = 2, 2, 1


@pytest.fixture
def pair() -> PairConditionals:
    torch.manual_seed(0)
    words = CaptionWords(0)
    net = TokenTransformer(SIZE + words.size, TOKENS + LONGEST + 3, 16, 1, 1, starts=2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return PairConditionals(net, words, SIZE, TOKENS, LONGEST).eval()


PICTURES = torch.tensor(list(itertools.product(range(SIZE), repeat=TOKENS)))
CAPTIONS = torch.arange(256)[:, None]


@pytest.mark.parametrize("cond", [None, CAPTIONS[65:66], -torch.ones(1, 1, dtype=torch.long)], ids=["no", "A", "empty"])
def test_masses_of_all_pictures_sum_to_one(pair, cond):
    given = None if cond is None else cond.expand(len(PICTURES), -1)
    assert pair(PICTURES, given).sum(1).exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("given_picture", [True, False])
def test_masses_of_all_captions_sum_to_one(pair, given_picture):
    nats = pair.log_caption(PICTURES[2:3].expand(256, -1), CAPTIONS, given_picture)
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_an_unknown_caption_has_no_mass_to_tell(pair):
    empty = torch.full((4, 1), -1)
    assert torch.equal(pair.log_caption(PICTURES, empty), torch.zeros(4))
    assert torch.equal(pair(PICTURES, empty), pair(PICTURES))


def test_what_is_drawn_is_of_the_masses(pair):
    n = 4000
    cond = CAPTIONS[65:66].expand(n, -1)
    state, noise, drawn = pair.begin(n, cond), Noise(0, 0, n), []
    with torch.no_grad():
        for _ in range(TOKENS):
            token, state = pair.draw(state, noise)
            drawn.append(token)
        share = torch.bincount(torch.stack(drawn, 1) @ torch.tensor([2, 1]), minlength=4) / n
        mass = pair(PICTURES, cond[:4]).sum(1).exp()
        captions = pair.describe(PICTURES[1:2].expand(n, -1), Noise(1, 0, n))
        letters = torch.bincount(captions[:, 0], minlength=256) / n
        expected = pair.log_caption(PICTURES[1:2].expand(256, -1), CAPTIONS).exp()
    assert (share - mass).abs().max() < 4 * (0.25 / n) ** 0.5
    assert (letters - expected).abs().max() < 4 * (expected.max() / n) ** 0.5


@pytest.fixture
def words_pair() -> PairConditionals:
    torch.manual_seed(0)
    words = CaptionWords(4)
    words.learn(byte_rows(["red cat", "red dog", "big cat"], 12))
    net = TokenTransformer(SIZE + words.size, TOKENS + 12 + 3, 16, 1, 1, starts=2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return PairConditionals(net, words, SIZE, TOKENS, 12).eval()


NAMES = ["red cat", "cat", "a big dog", "", "red cat cats"]


def test_a_caption_counts_the_same_beside_longer_ones(words_pair):
    cond, x = encode_captions(NAMES, 12), PICTURES[torch.tensor([0, 1, 2, 3, 1])]
    for first in (True, False):
        picture, text = words_pair.in_order(x, cond, first)
        for i in range(len(x)):
            alone = words_pair.in_order(x[i : i + 1], cond[i : i + 1], first)
            assert torch.allclose(picture[i], alone[0][0], atol=1e-5)
            assert text[i].sum().item() == pytest.approx(alone[1].sum().item(), abs=1e-4)


def test_pictures_of_captions_of_many_lengths_are_drawn_from_the_masses(words_pair):
    n = 2000
    cond = encode_captions(NAMES, 12).repeat(n, 1)
    state, noise, drawn = words_pair.begin(len(cond), cond), Noise(0, 0, len(cond)), []
    with torch.no_grad():
        for _ in range(TOKENS):
            token, state = words_pair.draw(state, noise)
            drawn.append(token)
        for i in range(len(NAMES)):
            of_caption = (torch.stack(drawn, 1) @ torch.tensor([2, 1]))[i :: len(NAMES)]
            share = torch.bincount(of_caption, minlength=4) / n
            mass = words_pair(PICTURES, cond[i : i + 1].expand(4, -1)).sum(1).exp()
            assert mass.sum().item() == pytest.approx(1, abs=1e-5)
            assert (share - mass).abs().max() < 4 * (0.25 / n) ** 0.5


def test_a_caption_that_is_drawn_spells_words(words_pair):
    """Shares of drawn captions of one token are their masses."""
    n = 4000
    with torch.no_grad():
        captions = words_pair.describe(PICTURES[1:2].expand(n, -1), Noise(1, 0, n))
        for name in ("red", "cat", "b"):
            cond = encode_captions([name], 12)
            share = (captions == cond).all(1).double().mean().item()
            mass = words_pair.log_caption(PICTURES[1:2], cond).exp().item()
            assert mass > 0
            assert abs(share - mass) < 4 * (mass / n) ** 0.5 + 1e-3


def test_the_objective_is_the_mean_of_both_orders(pair):
    from fourfold.core import Batch

    cond = torch.tensor([[65], [66], [67], [-1]])
    (term,) = BothOrders(label_dropout=0.0).terms(pair).values()
    loss = term(Batch(PICTURES, cond))
    for i, first in enumerate((True, False, True, False)):
        picture, text = pair.in_order(PICTURES[i : i + 1], cond[i : i + 1], first)
        assert loss[i].item() == pytest.approx(-(picture.sum() + text.sum()).item() / TOKENS, rel=1e-5)


@pytest.mark.agreement
def test_colours_are_named_and_names_are_drawn(tmp_path):
    """Red and blue squares with their names: each is told from the other in both directions."""
    generator = torch.Generator().manual_seed(0)
    blue = torch.randint(2, (200,), generator=generator)
    x = torch.randint(40, (200, 3, 8, 8), generator=generator).to(torch.uint8)
    x[blue == 0, 0] += 200
    x[blue == 1, 2] += 200
    names = ["red", "blue"]
    space = Images(3, 8, 8, given=Lines.of_bytes(4))
    parts = fourfold.data.Split(x, encode_captions([names[i] for i in blue.tolist()], 4))
    cut = [fourfold.data.Split(part.x, part.cond) for part in (parts, parts, parts)]
    data = fourfold.data.Dataset("squares", space, *cut, digest="0", source="made")
    run = fourfold.fit(
        "latent-autoregressive/multimodal", data, budget="500 steps", size="xs", batch_size=32, choose=False
    )
    assert isinstance(run.model.estimand, PairConditionals)
    assert run.model.estimand.words.encode(byte_rows(names, 4)).shape == (2, 1)
    shares = caption_nats(run.model, x[:50], names).softmax(1)
    assert (shares.argmax(1) == blue[:50]).double().mean() > 0.9
    captions = [answer.text for answer in caption(run.model, x[:20])]
    assert sum(a == names[i] for a, i in zip(captions, blue[:20].tolist(), strict=True)) >= 16
    drawn = run.sample(20, given=["red"] * 10 + ["blue"] * 10).double().mean((2, 3))
    assert ((drawn[:10, 0] > drawn[:10, 2]).sum() + (drawn[10:, 0] < drawn[10:, 2]).sum()) >= 16


def test_a_model_without_captions_is_told_so():
    with pytest.raises(TypeError, match="conditions must be captions for a multimodal model"):
        build("latent-autoregressive/multimodal", Images(3, 8, 8), size="xs")
    x = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(TypeError, match="--given captions"):
        caption_nats(build("flow", Images(1, 8, 8), size="xs"), x, ["red"])
    silent = build("adversarial", Images(1, 8, 8, given=Lines.of_bytes(4)), size="xs")
    with pytest.raises(ValueError, match="must have a likelihood"):
        caption_nats(silent, x, ["red"])
    with pytest.raises(TypeError, match="latent-autoregressive/multimodal"):
        caption(silent, x)


def shaken(model):
    """An untrained model whose answers depend on its conditions."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.estimand.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_a_model_of_texts_given_pictures_captions_them():
    model = shaken(build("autoregressive", Lines.of_bytes(3).conditioned_on(Images(1, 8, 8)), size="xs"))
    x = Images(1, 8, 8).examples(3, torch.Generator().manual_seed(0))
    captions = caption(model, x, draws=4)
    nats = torch.tensor([item.nats for item in captions])
    codes = model.sample(12, x.repeat_interleave(4, 0), seed=5)
    again = caption(model, x, draws=4, temperature=1.0, seed=5)
    every = model.log_prob(codes, x.repeat_interleave(4, 0)).nats.view(3, 4)
    torch.testing.assert_close(torch.tensor([item.nats for item in again]), every.amax(1))
    assert bool((nats < 0).all())
    masses = caption_nats(model, x, ["a", "bc"])
    assert masses[2, 1].item() == pytest.approx(model.log_prob(model.space.parse(["bc"]), x[2:]).nats.item(), rel=1e-5)


def test_any_model_of_pictures_given_texts_tells_one_caption_from_another():
    space = Images(1, 4, 4, 4, given=Lines.of_bytes(3))
    model = shaken(build("autoregressive", space, size="xs"))
    x = space.examples(2, torch.Generator().manual_seed(0))
    masses = caption_nats(model, x, ["a", "b"])
    for k, text in enumerate(["a", "b"]):
        torch.testing.assert_close(masses[:, k], model.log_prob(x, text).nats)
    assert float((masses[:, 0] - masses[:, 1]).abs().min()) > 0


def test_the_model_keeps_its_promises():
    checks.check_model(build("latent-autoregressive/multimodal", Images(3, 8, 8, given=Lines.of_bytes(5)), size="xs"))
