import errno
import json
import os
import re
import resource
import signal
import time
import tracemalloc
from dataclasses import replace

import pytest
import torch

from fourfold import core
from fourfold.data import load
from fourfold.engine import BrokenRun, Diverged, Interrupted, Run, execution, fit, load_model, resumable
from fourfold.engine.flops import count_flops
from fourfold.engine.loop import Loop
from fourfold.engine.training import begin

from .toys import TRAINING, Rotated, game_model, velocity_model

MOONS = load("two-moons", limit=2000)


@pytest.fixture(autouse=True)
def _toys_are_third_parties(monkeypatch):
    monkeypatch.setattr("fourfold.core.parts.packages", lambda: {__name__.partition(".")[0]})


def run(folder, budget="12 steps", make=game_model, **settings):
    return fit(make(), MOONS, budget=budget, out=folder, **settings)


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_run_folder_is_enough(tmp_path):
    result = run(tmp_path / "run")
    assert files(tmp_path / "run") == {
        "card.json",
        "log.jsonl",
        "model.json",
        "resume/state.safetensors",
        "weights.safetensors",
    }
    loaded = Run.load(tmp_path / "run")
    assert torch.equal(loaded.sample(5), result.sample(5))
    assert torch.equal(loaded.log_prob(MOONS.test.x[:3]).nats, result.log_prob(MOONS.test.x[:3]).nats)
    assert loaded.card["steps"] == 12
    assert loaded.card["done"]
    assert loaded.card["data"]["digest"] == MOONS.digest
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[0]["step"] == 1
    assert {"critic/loss", "generator/loss", "critic/norm", "rate", "used", "seconds"} <= set(log[0])


@pytest.mark.parametrize("at", [1, 5, 11])
def test_interrupted_and_resumed_is_uninterrupted(tmp_path, at):
    whole = run(tmp_path / "whole")

    def stop(step):
        if step.index == at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=f"step {at} by SIGINT"):
        run(tmp_path / "parts", observe=stop)
    assert not json.loads((tmp_path / "parts" / "card.json").read_text())["done"]
    resumed = run(tmp_path / "parts", resume=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    log = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert log == sorted(set(log))


def test_a_killed_process_leaves_the_last_checkpoint(tmp_path):
    seen = []

    def kill(step):
        seen.append(step.index)
        if step.index == 6:
            raise SystemExit

    with pytest.raises(SystemExit):
        run(tmp_path, observe=kill, checkpoint_every=0.0)
    assert Run.load(tmp_path).card["steps"] == 5
    whole, resumed = run(None), run(tmp_path, resume=True)
    assert torch.equal(whole.sample(4), resumed.sample(4))


def killed(folder, at=6, make=game_model, **settings):
    """A run that ends at a step as if killed, having written what it had."""

    def kill(step):
        if step.index == at:
            raise SystemExit

    with pytest.raises(SystemExit):
        run(folder, make=make, observe=kill, **settings)


def test_a_run_is_resumable_from_its_first_moment(tmp_path):
    killed(tmp_path, at=1)
    assert resumable(tmp_path)
    with pytest.raises(BrokenRun, match=r"weights.safetensors is missing: .* go on with --resume"):
        Run.load(tmp_path)
    whole, resumed = run(None), run(tmp_path, resume=True)
    assert torch.equal(whole.sample(4), resumed.sample(4))


def test_weights_without_their_state_are_neither_resumed_nor_overwritten(tmp_path):
    run(tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "resume" / "state.safetensors").unlink()
    with pytest.raises(BrokenRun, match=r"holds weights without the state of their training .* train again in another"):
        run(tmp_path, resume=True)
    with pytest.raises(ValueError, match="holds weights of a trained model: remove it, or choose another"):
        run(tmp_path)
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_a_run_that_had_not_begun_begins_again(tmp_path):
    killed(tmp_path, at=1)
    (tmp_path / "resume" / "state.safetensors").unlink()
    said = []
    whole, again = run(None), run(tmp_path, resume=True, say=said.append)
    assert "the run was stopped before its first checkpoint; it begins again" in said
    assert torch.equal(whole.sample(4), again.sample(4))


def test_a_run_without_its_weights_goes_on_from_its_state(tmp_path):
    whole = run(None)
    killed(tmp_path, checkpoint_every=0.0)
    (tmp_path / "weights.safetensors").unlink()
    assert torch.equal(whole.sample(4), run(tmp_path, resume=True).sample(4))


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    killed(tmp_path)
    left = [tmp_path / ".weights.safetensors.123.tmp", tmp_path / "resume" / ".state.safetensors.9.tmp"]
    mine = [tmp_path / ".notes.tmp", tmp_path / "notes.12.tmp"]
    for path in left + mine:
        path.write_text("x")
    run(tmp_path, resume=True)
    assert [path.exists() for path in left + mine] == [False, False, True, True]


def test_damaged_lines_of_the_log_are_left_out(tmp_path):
    killed(tmp_path, checkpoint_every=0.0)
    log = tmp_path / "log.jsonl"
    whole = log.read_bytes().splitlines(keepends=True)
    damaged = [
        b"{\n",
        b"\x00\xff\n",
        b"[" * 10**5 + b"\n",
        b"7\n",
        b'{"step": "a"}\n',
        b"{" + b" " * 3 * 10**6 + b"}\n",
    ]
    log.write_bytes(b"".join([*damaged[:3], *whole[:3], *damaged[3:], *whole[3:]]) + b'{"step": 4, "us')
    said = []
    run(tmp_path, resume=True, checkpoint_every=60.0, say=said.append)
    assert f"{tmp_path / 'log.jsonl'}: damaged lines are left out (7)" in said
    assert [line["step"] for line in map(json.loads, log.read_text().splitlines())] == [1, 2, 3, 4, 5, 6, 12]


def test_a_long_log_is_not_read_into_memory(tmp_path):
    killed(tmp_path, checkpoint_every=0.0)
    line = json.dumps({"step": 1, "note": "x" * 2000}) + "\n"
    with (tmp_path / "log.jsonl").open("w") as file:
        file.writelines(line for _ in range(6000))
    tracemalloc.start()
    run(tmp_path, resume=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 2**20 < 10 * 2**20 < (tmp_path / "log.jsonl").stat().st_size


def test_a_full_disk_is_named_and_what_was_saved_is_whole(tmp_path):
    """The limit of a file's size stands for a full disk: the weights fit, the state does not."""
    whole = run(None)
    killed(tmp_path, at=4, checkpoint_every=0.0)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["weights.safetensors"]) + 4096, hard))
    try:
        with pytest.raises(OSError, match=r"File too large.*resume/state.safetensors") as error:
            run(tmp_path, resume=True, checkpoint_every=0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert files(tmp_path) == set(before)
    for name in ("resume/state.safetensors", "weights.safetensors"):
        assert (tmp_path / name).read_bytes() == before[name]
    assert torch.equal(whole.sample(4), run(tmp_path, resume=True).sample(4))


def test_a_closed_terminal_saves_unless_it_is_ignored(tmp_path):
    def hang_up(step):
        if step.index == 5:
            os.kill(os.getpid(), signal.SIGHUP)

    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(Interrupted, match="step 5 by SIGHUP"):
            run(tmp_path / "saved", observe=hang_up)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        assert run(tmp_path / "ignored", observe=hang_up).card["done"]
    finally:
        signal.signal(signal.SIGHUP, handler)
    assert Run.load(tmp_path / "saved").card["steps"] == 5


def test_divergence_keeps_the_state_before_it(tmp_path):
    model, seen = velocity_model(), []
    hook = model.estimand.net.register_forward_hook(
        lambda net, args, out: out * (float("nan") if len(seen) == 4 else 1)
    )
    with pytest.raises(Diverged, match=r"step 5: the loss of term 'matching' is nan.*the state before it is in"):
        fit(model, MOONS, budget="9 steps", out=tmp_path, observe=seen.append)
    hook.remove()
    assert Run.load(tmp_path).card["steps"] == 4
    assert all(v.isfinite().all() for v in load_model(tmp_path).state_dict().values())


def test_a_run_is_not_overwritten(tmp_path):
    run(tmp_path, "1 steps")
    with pytest.raises(ValueError, match="holds a run already"):
        run(tmp_path, "1 steps")


def test_other_data_or_seed_is_not_resumed(tmp_path):
    run(tmp_path, "2 steps")
    with pytest.raises(ValueError, match="data must be that of"):
        fit(game_model(), load("pinwheel", limit=500), budget="4 steps", out=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"seed must be 0, as in .*, got 3; leave it out"):
        run(tmp_path, "4 steps", resume=True, seed=3)


def test_broken_folders_get_one_clear_line(tmp_path):
    with pytest.raises(BrokenRun, match=r"model.json is missing"):
        Run.load(tmp_path)
    run(tmp_path / "run", "1 steps")
    weights = tmp_path / "run" / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(BrokenRun, match=r"weights.safetensors is damaged") as error:
        Run.load(tmp_path / "run")
    assert "\n" not in str(error.value)
    weights.write_bytes(content)
    run(tmp_path / "other", "1 steps", make=velocity_model)
    (tmp_path / "other" / "weights.safetensors").rename(weights)
    with pytest.raises(BrokenRun, match="does not fit"):
        Run.load(tmp_path / "run")
    (tmp_path / "run" / "model.json").write_text("{}")
    with pytest.raises(BrokenRun, match="does not describe a model"):
        Run.load(tmp_path / "run")
    (tmp_path / "run" / "model.json").write_text("{")
    with pytest.raises(BrokenRun, match="cannot be read"):
        Run.load(tmp_path / "run")


def test_flops_are_counted():
    loop = begin(velocity_model(), MOONS, TRAINING)
    dense = 2 * 32 * (3 * 32 + 32 * 32 + 32 * 2)
    assert 2.5 * dense < count_flops(loop) <= 3 * dense
    steps = fit(velocity_model(), MOONS, budget=f"{10 * count_flops(loop):.0f} flops", precision="float32").card[
        "steps"
    ]
    assert steps == 10


def test_a_step_longer_than_the_budget_is_said_and_recorded(tmp_path, monkeypatch):
    step, lines = Loop.step, []

    def slow(self, rate, watch=False, noise=0.0):
        taken = step(self, rate, watch, noise)
        self.progress = replace(self.progress, seconds=30.0, last=30.0)
        return taken

    monkeypatch.setattr(Loop, "step", slow)
    card = run(tmp_path, "7s", precision="float32", say=lines.append).card
    assert (card["steps"], card["seconds"]) == (1, pytest.approx(30.0, abs=1.0))
    assert "training took 30 s of a budget of 7s: its last step alone took 30 s" in lines
    assert lines[-1] == "1 step in 7s: the model is hardly trained; give a longer budget"


def test_what_takes_the_time_of_a_short_budget_is_said(tmp_path, monkeypatch):
    """The last step is blamed for what it took itself, and not for what comes before the first."""
    decided, lines = execution.decided, []

    def slow(*arguments):
        time.sleep(1.0)
        return decided(*arguments)

    monkeypatch.setattr(execution, "decided", slow)
    run(tmp_path, "0.5s", precision="float32", say=lines.append)
    notice = re.compile(r"training took [\d.]+ s of a budget of 0.5s: what comes before the first step took [\d.]+ s")
    assert list(filter(notice.fullmatch, lines))


def test_epochs_are_counted():
    per_epoch = len(MOONS.train) // TRAINING.batch_size
    assert fit(velocity_model(), MOONS, budget="1 epochs", precision="float32").card["steps"] == per_epoch


def test_the_held_out_loss_is_logged_where_a_term_judges(tmp_path):
    measurements = run(tmp_path / "diffusion", "24 steps", make=velocity_model).card["choice"]["measurements"]
    text = (tmp_path / "diffusion" / "log.jsonl").read_text()
    assert text.count("matching/gap") == text.count("matching/held_out") == measurements >= 2
    assert "matching/loss_high_noise" in text
    run(tmp_path / "game", "24 steps")
    assert "gap" not in (tmp_path / "game" / "log.jsonl").read_text()


def test_monitoring_does_not_change_training(tmp_path):
    logged, silent = run(tmp_path, make=velocity_model), run(None, make=velocity_model)
    assert torch.equal(logged.sample(4), silent.sample(4))


def test_a_learned_codec_is_kept_and_encodes_once(tmp_path):
    def make():
        model = velocity_model()
        return core.GenerativeModel(
            model.space, Rotated(2), model.estimand, model.objective, model.sampler, model.likelihood, TRAINING
        )

    whole = fit(make(), MOONS, budget="6 steps", out=tmp_path / "whole")
    assert begin(make(), MOONS, TRAINING).encoded

    def stop(step):
        if step.index == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="SIGTERM"):
        fit(make(), MOONS, budget="6 steps", out=tmp_path / "parts", observe=stop)
    resumed = fit(make(), MOONS, budget="6 steps", out=tmp_path / "parts", resume=True)
    assert torch.equal(resumed.model.codec.weight, whole.model.codec.weight)
    assert torch.equal(resumed.sample(4), whole.sample(4))
