"""Cards: torch-free declarations whose recipes are imported when they are called."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable

import pytest

import fourfold.recipes
from fourfold.core import GenerativeModel
from fourfold.paradigms import build, cards
from fourfold.spaces import Vectors
from fourfold.vocabulary import Card, Paradigm, Recipe

ADDRESSES = [
    recipe.address for card in cards().values() for recipe in card.recipes.values() if isinstance(recipe, Recipe)
]


def test_listing_the_paradigms_loads_no_torch():
    code = "import sys; from fourfold.paradigms import cards, recipes; assert recipes(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_names_a_public_function_of_its_module(address):
    module, _, name = address.partition(":")
    functions_of = importlib.import_module(module)
    assert name in functions_of.__all__
    assert isinstance(getattr(functions_of, name), Callable)


def test_every_recipe_is_on_a_card():
    """A public function from a space and a size to a model that no card named could never be built by name."""
    names = set()
    for info in pkgutil.iter_modules(fourfold.recipes.__path__):
        module = importlib.import_module(f"fourfold.recipes.{info.name}")
        public = {name: getattr(module, name) for name in module.__all__}
        functions = {name: inspect.signature(value) for name, value in public.items() if inspect.isfunction(value)}
        models = [
            name
            for name, signature in functions.items()
            if signature.return_annotation == "GenerativeModel" and [*signature.parameters] == ["space", "size"]
        ]
        names |= {f"{module.__name__}:{name}" for name in models}
    assert names == {address for address in ADDRESSES if address.startswith("fourfold.")}  # wings have their own


def test_a_card_takes_functions_as_well_as_addresses():
    def mine(space, size):
        return build("flow/maf", space, size)

    recipes = {"mine": mine, **Recipe.of("fourfold.recipes.few_step", "mean-flow")}
    card = Card(name="some", paradigm=Paradigm.FLOW, recipes=recipes)
    assert recipes["mean-flow"].address == "fourfold.recipes.few_step:mean_flow"
    for recipe in card.recipes.values():
        assert isinstance(recipe(Vectors(2), "xs"), GenerativeModel)
