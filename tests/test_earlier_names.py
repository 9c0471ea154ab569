"""A name that moved is found at its earlier place, with a warning that says what to write instead."""

import importlib
import subprocess
import sys

import pytest

import fourfold
from fourfold import renamed


@pytest.mark.parametrize("earlier", [name for name in renamed._NAMES if not name.endswith(":NoDensity")])
def test_an_earlier_name_warns_and_is_the_present_one(earlier):
    module, _, name = earlier.partition(":")
    home, _, present = renamed.renamed_class(earlier).partition(":")
    if name in vars(importlib.import_module(module)):  # the module uses it, and so still has it
        assert getattr(importlib.import_module(module), name) is getattr(importlib.import_module(home), present)
        return
    with pytest.warns(DeprecationWarning, match=f"write {home}.{present}") as seen:
        found = getattr(importlib.import_module(module), name)
    assert found is getattr(importlib.import_module(home), present)
    assert seen[0].filename == __file__  # the line to change, not one of fourfold
    assert found.__module__ == home


def test_no_present_name_points_to_a_further_one():
    for present in renamed._NAMES.values():
        assert renamed.renamed_class(present) == present


@pytest.mark.parametrize("module", ["fourfold", *sorted({name.partition(":")[0] for name in renamed._NAMES})])
def test_a_name_that_never_was_is_refused_as_any_module_does(module):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Nothing'"):
        importlib.import_module(module).Nothing  # noqa: B018


def test_public_names_of_the_package_can_be_renamed_too(monkeypatch):
    monkeypatch.setitem(renamed._NAMES, "fourfold:Minibatch", "fourfold.core:Batch")
    with pytest.warns(DeprecationWarning, match=r"fourfold.Minibatch .*: write fourfold.core.Batch"):
        assert fourfold.Minibatch is fourfold.Batch


def test_looking_for_a_name_loads_no_torch():
    program = "import sys, fourfold; assert not hasattr(fourfold, 'Nothing'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_earlier_argument_is_refused_with_its_present_name(tmp_path):
    with pytest.raises(TypeError, match="fit has no argument run_dir: write out="):
        fourfold.fit("flow", "two-moons", budget="1 steps", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
