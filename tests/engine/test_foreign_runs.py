"""Run folders from elsewhere: nothing in them is executed, takes any amount of memory or time, or gives a trace."""

import dataclasses
import json
import os
import struct
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fourfold import core
from fourfold.core import GenerativeModel, Part, header
from fourfold.data import load
from fourfold.engine import BrokenRun, Run, fit
from fourfold.main import run
from fourfold.paradigms import build, recipes
from fourfold.runs.blueprint import check_loadable
from fourfold.spaces import Categorical, Categories, Identifier, Images, Numeric, Sequences, Table, Text, Vectors

from . import toys

MOONS = load("two-moons", limit=500)
SPACES = (Vectors(5), Images(1, 8, 8), Images(1, 8, 8, given=Categories.numbered(3)), Text("abcdefgh", 64))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A short run of the library's own parts."""
    folder = tmp_path_factory.mktemp("run")
    fit("energy", MOONS, budget="2 steps", size="xs", precision="float32", out=folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy to damage."""
    for path in original.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(original)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(original)).write_bytes(path.read_bytes())
    return tmp_path


def refused(folder, *words, resumed=True):
    """The run is refused in one line that names a file, when it is loaded and when it is resumed."""
    attempts = [lambda: Run.load(folder), lambda: fit("energy", MOONS, out=folder, resume=True)]
    for attempt in attempts if resumed else attempts[:1]:
        with pytest.raises(BrokenRun) as error:
            attempt()
        message = str(error.value)
        assert "\n" not in message
        assert len(message) < 400 + len(str(folder))
        assert str(folder) in message
        assert all(word in message for word in words), message


def changed(folder, name, new):
    """Set an argument of a part, such as ``estimand.net.width``, or a key of the card."""
    card = name.partition(".")[0] not in ("space", "codec", "estimand", "objective", "sampler", "likelihood")
    path = folder / ("card.json" if card else "model.json")
    value = json.loads(path.read_text())
    *parts, last = name.split(".")
    at = value
    for part in parts:
        at = at[part] if part in at else at["args"][part]
    (at if last in at or card else at["args"])[last] = new
    path.write_text(json.dumps(value))


JSON = ("[1, 2]", "null", '"x"', "7", "{}", "{", "", "[" * 100_000, '{"a": 1e999}', "1" * 5000, "\x00", '{"space": {}}')


@pytest.mark.parametrize("name", ["model.json", "card.json"])
@pytest.mark.parametrize("content", JSON)
def test_json_that_describes_nothing_is_refused(folder, name, content):
    (folder / name).write_text(content)
    refused(folder, name)


@pytest.mark.parametrize("name", ["model.json", "card.json"])
@pytest.mark.parametrize(
    "content", [*JSON, '{"space": {"type": 7, "args": {}}}', '{"space": {"type": "a:b", "args": [1]}}']
)
def test_info_of_a_run_that_is_none_is_one_line(folder, capsys, name, content):
    if name == "model.json" and content in ("{}", '{"a": 1e999}', '{"space": {}}'):
        pytest.skip("it can be shown, as what it is")
    (folder / name).write_text(content)
    capsys.readouterr()
    assert run(["info", str(folder)], False) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert name in lines[0]


@pytest.mark.parametrize("name", ["model.json", "card.json", "weights.safetensors"])
def test_files_that_are_none_or_never_end_are_refused(folder, name):
    path = folder / name
    path.unlink()
    refused(folder, f"{name} is missing", resumed=name != "weights.safetensors")
    os.mkfifo(path)
    refused(folder, name, "it is not a regular file", resumed=name != "weights.safetensors")
    path.unlink()
    path.symlink_to("/dev/zero")
    refused(folder, name, "it is not a regular file", resumed=name != "weights.safetensors")
    path.unlink()
    path.mkdir()
    refused(folder, name, "it is not a regular file", resumed=name != "weights.safetensors")


def test_a_json_file_has_a_bound(folder):
    for name in ("model.json", "card.json"):
        content = (folder / name).read_bytes()
        with (folder / name).open("ab") as file:
            file.truncate(1 << 40)  # sparse: nothing is on the disk
        refused(folder, name, "more than 16,777,216")
        (folder / name).write_bytes(content)


TYPES = (
    7,
    None,
    [],
    "",
    "os:system",
    "builtins:eval",
    "torch.nn:Linear",
    "fourfold.core:torch.nn.Linear",
    "fourfold.core:Part.__init_subclass__",
    "fourfold.tournament.comparison:Path",
    "fourfold.engine.loop:torch",
    "fourfold.engine.fitting:fit",
    "fourfold.core:Nothing",
    "fourfold.nowhere:Nothing",
    "fourfold.__main__:main",
    "fourfold..core:Part",
    "fourfold.core:nn",
    "__main__:Net",
    "../etc:passwd",
)


@pytest.mark.parametrize("kind", TYPES)
def test_only_parts_are_constructed(folder, kind):
    changed(folder, "likelihood.type", kind)
    refused(folder, "model.json")


def test_foreign_dataclasses_that_a_module_imports_are_not_constructed(folder, monkeypatch):
    """A class is that of its package, not of one that some module happens to import."""
    from torch.distributed.elastic.multiprocessing.api import RunProcsResult

    monkeypatch.setattr(core, "Foreign", RunProcsResult, raising=False)
    changed(folder, "likelihood.type", "fourfold.core:Foreign")
    refused(folder, "must be defined in its own package, got torch")


def test_a_part_is_looked_for_in_the_packages_above_its_module(folder):
    """Modules move, the public names of their packages stay."""
    before = Run.load(folder).model.space
    changed(folder, "space.type", "fourfold.spaces.a_former_module:Vectors")
    assert Run.load(folder).model.space == before
    changed(folder, "space.type", "fourfold.spaces.a_former_module:Nothing")
    refused(folder, "must be a part of the installed fourfold")


ARGUMENTS = (None, 7, [1], "x", {"unknown": 1}, {"steps": []})


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_arguments_that_a_part_does_not_know_are_refused(folder, arguments):
    changed(folder, "sampler.args", arguments)
    refused(folder, "model.json")


BOMBS = {
    "estimand.net.width": 40_000,
    "estimand.net.blocks": 1_000_000_000,
    "estimand.net.inputs": 10**9,
    "estimand.net.outputs": 900_000,
    "estimand.net.classes": 10**9,
    "estimand.reference.components": 900_000_000,
    "estimand.event": [100_000, 100_000],
    "space.dim": 10**12,
    "codec.space.dim": 900_000,
    "sampler.temperatures": 10**12,
    "sampler.chain.steps": 10**6,
    "sampler.moves": 10**400,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_anything_is_allocated(folder, monkeypatch, name):
    places, construct = [], GenerativeModel.from_configuration

    def spy(*arguments):
        places.append(torch.empty(0).device.type)
        return construct(*arguments)

    monkeypatch.setattr(GenerativeModel, "from_configuration", spy)
    changed(folder, name, BOMBS[name])
    refused(folder)
    assert set(places) <= {"meta"}


def test_layers_are_counted(folder, monkeypatch):
    """Many small layers take time, not memory."""
    monkeypatch.setattr(header, "MOST_LAYERS", 50)
    changed(folder, "estimand.net.blocks", 900_000)
    refused(folder, "model.json", "at most 50 ")


CARD = (
    ("paradigm", 7),
    ("seed", "0"),
    ("seed", True),
    ("budget", 5),
    ("steps", None),
    ("done", 1),
    ("data", []),
    ("data.digest", None),
    ("data.options", [1]),
    ("training", [1]),
    ("stages", {}),
    ("stages", [1]),
    ("precision", "float32"),
    ("precision.name", 3),
)


@pytest.mark.parametrize(("name", "value"), CARD)
def test_a_card_has_the_types_that_it_is_used_as(folder, name, value):
    changed(folder, name, value)
    refused(folder, "card.json", name.rpartition(".")[2])


def test_a_card_without_something_is_refused(folder):
    path = folder / "card.json"
    for name in ("data", "training", "done", "budget"):
        card = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in card.items() if key != name}))
        refused(folder, "card.json", f"it has no '{name}'")
        path.write_text(json.dumps(card))


@pytest.mark.parametrize("settings", [{"unknown": 1}, {"batch_size": "x"}, {"betas": [[1], 2]}])
def test_settings_of_training_that_are_none_stop_a_resumption(folder, settings):
    changed(folder, "training", {**json.loads((folder / "card.json").read_text())["training"], **settings})
    Run.load(folder)
    with pytest.raises(BrokenRun, match=r"card.json: its settings of training are of another version"):
        fit("energy", MOONS, out=folder, resume=True)


def tensors(folder, name):
    path = folder / name
    return path, load_file(path)


@pytest.mark.parametrize("shared", ["[1]", "{", '{"a": 7}', '{"a": "nowhere"}', "7"])
def test_metadata_that_is_none_is_refused(folder, shared):
    path, values = tensors(folder, "weights.safetensors")
    save_file(values, path, {"shared": shared})
    refused(folder, "weights.safetensors", resumed=False)


@pytest.mark.parametrize("progress", [None, "[1]", "{", '{"steps": 1, "unknown": 2}', "7", '{"steps": "x"}'])
def test_a_checkpoint_that_does_not_say_where_it_was_is_refused(folder, progress):
    path, values = tensors(folder, "resume/state.safetensors")
    save_file(values, path, {"fixed": "yes"} | ({} if progress is None else {"progress": progress}))
    with pytest.raises(BrokenRun, match=r"state.safetensors"):
        fit("energy", MOONS, out=folder, resume=True)


@pytest.mark.parametrize("name", ["weights.safetensors", "resume/state.safetensors"])
def test_damaged_tensors_are_refused(folder, name):
    path = folder / name
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    damaged = (
        b"",
        content[: len(content) // 2],
        content[:100],
        b"\xff" * len(content),
        struct.pack("<Q", 1 << 62) + content[8:],
        content[:8] + b"[" * length + content[8 + length :],
        content[: 8 + length].replace(b'"F32"', b'"X32"') + content[8 + length :],
    )
    for tensors in damaged:
        path.write_bytes(tensors)
        with pytest.raises(BrokenRun, match=rf"{path.name} is damaged"):
            Run.load(folder) if "/" not in name else fit("energy", MOONS, out=folder, resume=True)


def test_weights_that_are_not_numbers_are_said(folder):
    path, values = tensors(folder, "weights.safetensors")
    name = next(iter(values))
    values[name].view(-1)[0] = float("nan")
    save_file(values, path)
    refused(folder, "weights.safetensors holds NaN", name, resumed=False)


def test_a_state_of_another_model_is_refused(folder):
    path, values = tensors(folder, "resume/state.safetensors")
    for other in ({"buffer.nowhere": torch.zeros(2)}, {"fixed.nowhere": torch.zeros(2)}):
        save_file(values | other, path, {"fixed": "yes", "progress": "{}"})
        with pytest.raises(BrokenRun, match=r"state.safetensors does not fit model.json \(it holds nowhere\)"):
            fit("energy", MOONS, out=folder, resume=True)


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_is_planned_without_memory(name):
    """On the meta device a model has the names and shapes that it has elsewhere, and no setting out of bounds."""
    for space in SPACES:
        with torch.random.fork_rng(devices=[]):
            try:
                model = build(name, space, "xs")
            except TypeError:
                continue
        with torch.device("meta"):
            plan = GenerativeModel.from_configuration(json.loads(json.dumps(model.configuration())))
        assert {tensor.device.type for tensor in plan.state_dict().values()} == {"meta"}
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        assert {key: value.shape for key, value in plan.state_dict().items()} == shapes
        assert not any(value.isnan().any() for value in model.state_dict().values() if value.is_floating_point())
        assert not check_loadable(model)


def test_rows_may_be_numbered_beyond_what_is_built():
    rows = Table((Identifier("id", first=3_000_000), Categorical("colour", categories=("blue", "red"))))
    assert not check_loadable(build("autoregressive", rows, "xs"))


def test_times_and_numbers_of_a_series_may_be_greater_than_what_is_built():
    start, step = 1_700_000_000_000, 3_600_000
    rows = Numeric("milliseconds", low=start, high=start + 100 * step), Numeric("load", low=0, high=9)
    series = Sequences(rows, "milliseconds", (step, step), 4, origin=start + 99 * step, observed=100)
    assert not check_loadable(build("autoregressive/likelihood", series, "xs"))
    cents = dataclasses.replace(series, schema=(rows[0], Numeric("cents", low=0, high=10**12)), season=3, length=8)
    assert not check_loadable(build("autoregressive/trees", cents, "xs"))
    longer = dataclasses.replace(series, length=2_000_000)
    with pytest.raises(ValueError, match="length must be at most"):
        check_loadable(build("autoregressive/likelihood", longer, "xs"))


@pytest.mark.parametrize("name", ["weights.estimand", "average.estimand", "buffer", ".mean."])
def test_a_state_in_which_something_is_missing_is_refused(folder, name):
    path, values = tensors(folder, "resume/state.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for change in (lambda value: None, lambda value: value.new_zeros(7, 3)):
        state = {key: change(value) if name in key else value for key, value in values.items()}
        assert any(name in key for key in values)
        save_file({key: value for key, value in state.items() if value is not None}, path, metadata)
        with pytest.raises(BrokenRun, match=rf"{folder}.* fit .*they are of two runs"):
            fit("energy", MOONS, out=folder, resume=True)


# --- classes of one's own ---------------------------------------------------------------------------------------------


class Own(toys.Net):
    """A network of a script: its module is not registered, and it is not imported to load a run."""

    def __init__(self, inputs: int, outputs: int, width: int = 16) -> None:
        super().__init__(inputs, outputs, width)


def own_model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        estimand = toys.ToyVelocity(Own(3, 2), (2,))
    model = toys.velocity_model()
    return GenerativeModel(
        model.space, model.codec, estimand, model.objective, model.sampler, model.likelihood, toys.TRAINING
    )


CLASSES = (Own, toys.ToyVelocity, toys.Matching, toys.EulerSteps, toys.Nothing)


@pytest.mark.parametrize("module", [__name__, "__main__"])
def test_a_class_of_ones_own_is_told_before_training_and_loaded_where_it_is_trusted(tmp_path, monkeypatch, module):
    said = []
    with monkeypatch.context() as patch:
        patch.setattr(Own, "__module__", module)
        result = fit(own_model(), MOONS, budget="2 steps", out=tmp_path, precision="float32", say=said.append)
    assert f"{module}:Own is a class of your own: load this run with Run.load(folder, trust=[Own])" in said
    with pytest.raises(BrokenRun, match=r"trust=\[Net\]"):
        Run.load(tmp_path)
    with pytest.raises(BrokenRun, match=r"trust=\[Net\]"):
        Run.load(tmp_path, trust=[toys.Net, Part])
    loaded = Run.load(tmp_path, trust=CLASSES)
    assert torch.equal(loaded.sample(3), result.sample(3))
    with pytest.raises(BrokenRun, match=r"trust=\[Net\]"):
        fit(data=MOONS, budget="4 steps", out=tmp_path, resume=True)
    assert fit(data=MOONS, budget="4 steps", out=tmp_path, resume=True, trust=CLASSES).card["steps"] == 4


def test_a_run_of_ones_own_classes_goes_on_with_the_model_that_is_given(tmp_path):
    whole = fit(own_model(), MOONS, budget="4 steps", precision="float32")
    fit(own_model(), MOONS, budget="2 steps", out=tmp_path, precision="float32")
    shorter = fit(own_model(), MOONS, budget="4 steps", precision="float32")
    model = own_model()
    resumed = fit(model, MOONS, budget="4 steps", out=tmp_path, precision="float32", resume=True)
    assert resumed.model is model
    assert resumed.card["steps"] == whole.card["steps"] == shorter.card["steps"]


def test_another_model_is_not_resumed(tmp_path):
    fit(toys.velocity_model(), MOONS, budget="2 steps", out=tmp_path)
    with pytest.raises(ValueError, match=r"got another: its estimand.net.type is 'engine.toys:Net', not '.*Own'"):
        fit(own_model(), MOONS, budget="4 steps", out=tmp_path, resume=True)


def test_what_could_not_be_loaded_is_refused_before_training(tmp_path):
    model = own_model()
    large = GenerativeModel(
        model.space, model.codec, model.estimand, model.objective, toys.EulerSteps(10**6), model.likelihood
    )
    with pytest.raises(ValueError, match=r"sampler.steps must be at most 100,000"):
        fit(large, MOONS, budget="2 steps", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_plan_has_the_tensors_of_the_model_and_loads_no_compiler() -> None:
    """One recipe for each way to start weights and tables. The compiler takes seconds to load, and pandas half a
    second, which only tables need.
    """
    code = """
import sys, torch
import fourfold.cli, fourfold.engine, fourfold.tasks.evaluation, fourfold.tournament
assert not {"pandas", "pyarrow", "scipy", "sklearn"} & set(sys.modules)
from fourfold.core import GenerativeModel
from fourfold.runs.blueprint import _Shapes
from fourfold.paradigms import build
from fourfold.spaces import Categorical, Categories, Images, Numeric, Table, Text, Vectors
three, two = Categories.numbered(3), Categories.numbered(2)
images = Images(1, 8, 8, n_values=17, given=three)
table = Table((Numeric("a", high=99), Categorical("b", categories="xy")))
found = [("diffusion", images), ("adversarial", images), ("flow/maf", Vectors(3)), ("flow", images)]
found += [("energy/rbm", images), ("diffusion/joint", table), ("autoregressive", table), ("autoregressive", images)]
found += [("latent-variable", images), ("autoregressive", Text("abc", length=8))]
for name, space in [*found, ("latent-flow", Vectors(3, given=two)), ("flow/glow", images)]:
    model = build(name, space, "xs")
    with torch.device("meta"), _Shapes():
        plan = GenerativeModel.from_configuration(model.configuration())
    kinds = [[(k, v.shape, v.dtype) for k, v in (*m.named_parameters(), *m.named_buffers())] for m in (model, plan)]
    assert kinds[0] == kinds[1], name
    assert all(value.is_meta for value in plan.parameters()), name
    assert "torch._dynamo" not in sys.modules, name
    assert name == "flow/glow" or "sympy" not in sys.modules, name  # it decomposes matrices, which is left to torch
"""
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
