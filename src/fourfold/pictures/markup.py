"""Elements of HTML and SVG that escape by themselves: texts and attributes may come from anywhere."""

from __future__ import annotations

from markupsafe import Markup, escape

__all__ = ["element", "svg"]


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """An element with its children, each escaped unless it is an element itself.

    Args:
        tag: name of the element.
        children: elements, texts and numbers. An element without any is closed at once (``<path .../>``).
        attributes: values by name. ``css`` stands for ``class``, ``_`` for ``-``, and ``viewBox`` keeps its letters. A
            float is written with one digit behind the point, and ``None`` leaves the attribute out.
    """
    start = "".join(
        f' {"class" if name == "css" else name.replace("_", "-")}="{escape(_attribute(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup(f"<{tag}{start}/>")
    return Markup(f"<{tag}{start}>{''.join(escape(child) for child in children)}</{tag}>")


def svg(width: float, height: float, *children: object, **attributes: object) -> Markup:
    """A picture of ``width`` by ``height`` pixels."""
    box = f"0 0 {width:.0f} {height:.0f}"
    return element("svg", *children, viewBox=box, width=f"{width:.0f}", height=f"{height:.0f}", **attributes)


def _attribute(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
