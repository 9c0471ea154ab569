"""The recipes: sizes and presets, one file for each card.

A recipe is a function ``(space, size) -> GenerativeModel`` with the name that its card gives it. The parts that depend
on the space (networks, codec, training) come from a function that dispatches on the type of the space
(:func:`~fourfold.recipes.by_space.by_space`), so another space joins by registering a function of its own::

    @fourfold.recipes.diffusion.parts.register
    def _(space: Torus, size: str, times: int = 1) -> Parts: ...

A space that is not registered is refused with a ``TypeError`` that names the known ones.
"""

from fourfold.recipes.sizes import Size, Sizes

__all__ = ["Size", "Sizes"]
