"""The recipes: sizes and presets, one file for each card.

A recipe is a function ``(space, size) -> GenerativeModel``, named as its card names it. The parts that differ from
space to space (networks, codec, training) is decided by :func:`functools.singledispatch` on the type of the space, so
another space joins by registering a function of its own::

    @fourfold.recipes.diffusion.parts.register
    def _(space: Torus, size: str, times: int = 1) -> Parts: ...

A space that nobody registered is refused with a ``TypeError`` that names the spaces it models.
"""

from fourfold.recipes.sizes import Size, Sizes

__all__ = ["Size", "Sizes"]
