import dataclasses
import os
import platform
import re
import subprocess
import sys

import pytest
import torch

from fourfold.core import Batch, GenerativeModel
from fourfold.data import Split, load
from fourfold.engine import Diverged, train
from fourfold.engine.choice import choose, inference
from fourfold.engine.kernels import bf16_gains, multiplies_bf16
from fourfold.engine.training import begin
from fourfold.engine.weights import Weights
from fourfold.runs.budget import Progress
from fourfold.runs.precision import PRECISIONS, parse_precision
from fourfold.spaces import Images

from .toys import TRAINING, Net, ToyVelocity, game_model, image_model, velocity_model

MUON = dataclasses.replace(TRAINING, muon_rate=0.02, weight_decay=0.01)
MOONS = load("two-moons", limit=2000)
MODELS = {
    "one term": velocity_model,
    "two terms": game_model,
    "muon": lambda: game_model(training=MUON),
}


def weights(model):
    return torch.cat([v.flatten() for v in model.state_dict().values()])


def losses(model, budget="300 steps", **settings):
    return [next(iter(step.losses.values())) for step in train(model, MOONS, budget=budget, **settings)]


def test_training_lowers_the_loss():
    values = losses(velocity_model())
    assert sum(values[-30:]) < 0.9 * sum(values[:30])


def test_one_adamw_term_is_plain_pytorch():
    """The same draws through torch's own AdamW, schedule and clipping, written out."""
    ours, theirs = velocity_model(), velocity_model()
    training = dataclasses.replace(TRAINING, ema=0.0, weight_decay=0.1)
    loop = begin(ours, MOONS, training)
    theirs.codec.fit(MOONS.train.x)
    term = theirs.terms()["matching"]
    decayed = [p for p in term.trainable() if p.ndim >= 2]
    plain = [p for p in term.trainable() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=training.betas)
    from fourfold.engine.batch_parts import _mix

    for i in range(10):
        rate = training.schedule((i + 0.5) / 10)
        loop.step(rate)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(0, i, 0))
            raw = loop.batches(i)
            loss = term(theirs.encode(raw.x)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(term.trainable(), training.clip)
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * rate
        optimizer.step()
    loop.finish()
    torch.testing.assert_close(weights(ours), weights(theirs), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_resume_is_exact_to_the_bit(name, precision):
    whole, first = MODELS[name](), MODELS[name]()
    for _ in train(whole, MOONS, budget="20 steps", precision=precision):
        pass
    loop = begin(first, MOONS, first.training_defaults, 0, parse_precision(precision))
    for step in train(first, MOONS, budget="20 steps", loop=loop):
        if step.index == 7:
            break
    state, progress = loop.state(), loop.progress
    second = MODELS[name]()
    resumed = begin(second, MOONS, second.training_defaults, 0, parse_precision(precision))
    resumed.load(state, progress)
    for _ in train(second, MOONS, budget="20 steps", loop=resumed):
        pass
    assert torch.equal(weights(whole), weights(second))
    assert resumed.progress.steps == 20


def test_stopping_and_going_on_changes_nothing():
    whole, parts = velocity_model(), velocity_model()
    for _ in train(whole, MOONS, budget="12 steps"):
        pass
    loop = begin(parts, MOONS, parts.training_defaults)
    for _ in range(3):
        for step in train(parts, MOONS, budget="12 steps", loop=loop):
            if step.index % 5 == 0:
                break
    assert torch.equal(weights(whole), weights(parts))


def test_the_callers_random_stream_is_untouched():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    losses(velocity_model(), "3 steps")
    assert torch.equal(torch.get_rng_state(), before)


def test_each_term_updates_only_its_own():
    model = game_model()
    loop = begin(model, MOONS, dataclasses.replace(TRAINING, ema=0.0))
    critic, generator = loop.optimizers["critic"], loop.optimizers["generator"]
    assert not {s.name for s in critic.slots} & {s.name for s in generator.slots}
    seen = {}
    original = loop._update
    flat = loop.weights.flat

    def update(name, loss, rate):
        before = flat.clone()
        norm = original(name, loss, rate)
        seen[name] = (flat != before).nonzero().flatten()
        frozen = [p.grad for p in loop._frozen[name]]
        assert all(g is None for g in frozen)
        return norm

    loop._update = update
    loop.step(1.0)
    for name, optimizer in loop.optimizers.items():
        inside = torch.cat([torch.arange(run.start, run.stop) for run in optimizer.runs])
        assert set(seen[name].tolist()) <= set(inside.tolist())
    assert all(p.requires_grad for p in model.parameters())


def test_the_average_has_its_half_life():
    model = velocity_model()
    loop = begin(model, MOONS, dataclasses.replace(TRAINING, ema=0.1))
    loop.weights.average.zero_()
    loop.weights.flat.fill_(1.0)
    loop.weights.average.zero_()
    for _ in range(10):
        loop.weights.update_average(100, 0.1)
    assert torch.allclose(loop.weights.average, torch.tensor(0.5), atol=1e-5)


def test_muon_leaves_outer_layers_and_marked_ones_to_adamw():
    model = velocity_model()
    slots = {
        s.name.removeprefix("estimand.net."): s.update.name for s in Weights(model, model.terms(), muon=True).slots
    }
    assert slots["hidden.weight"] == "MUON"
    assert slots["first.weight"] == slots["last.weight"] == "DECAYED"
    assert slots["hidden.bias"] == "PLAIN"


def test_divergence_names_step_and_term_and_spares_the_weights():
    model = game_model()
    loop = begin(model, MOONS, TRAINING)
    loop.step(1.0)
    with torch.no_grad():
        next(iter(loop.model.objective.critic.parameters())).fill_(float("nan"))
    flat = loop.weights.flat.clone()
    with pytest.raises(Diverged, match=r"step 2: the loss of term 'critic' is nan.*lower the learning rate"):
        loop.step(1.0)
    assert torch.equal(loop.weights.flat.isnan(), flat.isnan())


def test_bf16_keeps_float32_masters():
    model = velocity_model()
    loop = begin(model, MOONS, TRAINING, precision=PRECISIONS["bf16"])
    p = next(model.estimand.net.parameters())
    assert p.dtype == torch.bfloat16
    loop.step(1e-4)
    assert loop.weights.flat.dtype == torch.float32
    assert torch.equal(p.data, loop.weights.slots[0].view(loop.weights.flat).bfloat16()) or p.ndim
    loop.finish()
    assert {q.dtype for q in model.parameters()} == {torch.float32}


@pytest.fixture
def bf16_kernels(monkeypatch):
    """The gradients decide, whatever this processor multiplies fast."""
    monkeypatch.setattr("fourfold.engine.choice.multiplies_bf16", lambda device: True)


def test_kernels_are_timed_once_and_leave_the_threads_alone():
    before = torch.get_num_threads()
    gains = bf16_gains()
    assert set(gains) == {"product", "batched product", "convolution"}
    assert all(gain > 0 for gain in gains.values())
    assert bf16_gains() is gains
    assert torch.get_num_threads() == before
    assert multiplies_bf16(torch.device("cpu")) == (min(gains.values()) > 1)


def test_emulated_products_are_slow_whatever_the_processor_lists():
    """oneDNN is told to take the instructions of an older processor; the list of features stays as it is."""
    code = (
        "import torch; from fourfold.engine.kernels import bf16_gains, multiplies_bf16; "
        "from fourfold.engine.muon import MatrixPlace, Muon; "
        "assert max(bf16_gains().values()) < 0.8, bf16_gains(); assert not multiplies_bf16(torch.device('cpu')); "
        "assert Muon(torch.zeros(4), torch.zeros(4), [MatrixPlace(0, 4, 2, 2)]).dtype == torch.float32"
    )
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        pytest.skip("the variable is of x86 processors")
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("bf16_kernels")
def test_choosing_leaves_the_loop_alone():
    model = image_model(Images(1, 8, 8, n_values=17))
    data = Split(torch.randint(17, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8))
    loop = begin(model, data, TRAINING)
    before, state = loop.weights.flat.clone(), torch.get_rng_state()
    choice = choose(loop)
    assert choice.precision.name == "bf16"
    assert "gradient cosine" in str(choice)
    assert torch.equal(loop.weights.flat, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert loop.progress.steps == 0


def test_without_fast_bf16_products_float32_is_taken(monkeypatch):
    monkeypatch.setattr("fourfold.engine.choice.multiplies_bf16", lambda device: False)
    choice = choose(begin(velocity_model(), MOONS, TRAINING))
    assert choice.precision.name == "float32"
    assert re.fullmatch(r"precision float32: bf16 is \S+, \S+, \S+ times as fast", str(choice))


@pytest.mark.usefixtures("bf16_kernels")
def test_an_unstable_precision_is_not_chosen():
    class Coarse(Net):
        """A network that bf16 breaks: it multiplies by a large number and takes it back."""

        def forward(self, x):
            low = self.first.weight.dtype
            big = x.to(low) + 3e4
            return super().forward((big - 3e4).float())

    model = velocity_model()
    parts = model.arguments() | {"estimand": ToyVelocity(Coarse(3, 2), (2,))}
    model = GenerativeModel(**parts)
    choice = choose(begin(model, MOONS, TRAINING))
    assert choice.precision.name == "autocast"
    assert "in bf16: too coarse" in str(choice)


def test_a_gradient_pass_keeps_nothing():
    loop = begin(velocity_model(), MOONS, TRAINING)
    first, second = loop.gradient_pass(), loop.gradient_pass()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(slot.parameter.grad is None for slot in loop.weights.slots)
    few = loop.trial(4)
    assert len(few.batches(0).x) == 4
    assert loop.progress.steps == 0


def test_inference_in_bf16_is_near_and_reversible():
    model = velocity_model()
    model.codec.fit(MOONS.train.x)
    exact = model.sample(8)
    with inference(model, "bf16"):
        assert next(model.estimand.net.parameters()).dtype == torch.bfloat16
        low = model.sample(8)
    assert torch.equal(model.sample(8), exact)
    assert (low - exact).abs().max() < 0.1
    assert not torch.equal(low, exact)


def test_unknown_precisions_are_refused():
    with pytest.raises(ValueError, match="precision must be one of float32, bf16, autocast"):
        parse_precision("float16")


@pytest.mark.parametrize("batches", [MOONS.train.x, lambda step: Batch(MOONS.train.x[:16] + step)])
def test_own_batches_and_tensors_train_too(batches):
    model = velocity_model()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    assert len(list(train(model, batches, budget="2 steps"))) == 2
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_images_are_channels_last():
    model = image_model(Images(3, 8, 8))
    data = Split(torch.randint(256, (64, 3, 8, 8)).to(torch.uint8))
    loop = begin(model, data, TRAINING)
    assert loop._next_parts()[0].batch.x.is_contiguous(memory_format=torch.channels_last)
    assert model.estimand.net.hidden.weight.is_contiguous(memory_format=torch.channels_last)
    loop.step(1.0)
    assert model.estimand.net.hidden.weight.is_contiguous(memory_format=torch.channels_last)


def test_seconds_stop_near_the_budget():
    model = velocity_model()
    loop = begin(model, MOONS, TRAINING)
    loop.progress = Progress(steps=5, seconds=0.95, last=0.2, per_epoch=10)
    assert list(train(model, MOONS, budget="1s", loop=loop)) == []


def test_warming_up_changes_nothing():
    whole, warmed = game_model(), game_model()
    for _ in train(whole, MOONS, budget="5 steps"):
        pass
    loop = begin(warmed, MOONS, warmed.training_defaults)
    state = torch.get_rng_state()
    loop.warm_up()
    assert torch.equal(torch.get_rng_state(), state)
    for _ in train(warmed, MOONS, budget="5 steps", loop=loop):
        pass
    assert torch.equal(weights(whole), weights(warmed))
