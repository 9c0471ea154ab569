"""Hooks of the documentation site: what a page's HTML needs before it is written.

Formulas become MathML, so a reader's browser loads no script. Roles of docstrings (``:class:`Denoiser```) become links.
A page that would load anything from a server fails the build: the site works offline and tells nobody who reads it.
"""

from __future__ import annotations

import html
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_FUNCTION = re.compile(r"<mi>(log|exp|det|tr)</mi>")
_OPERATOR = r'<mo form="prefix" stretchy="false" lspace="0.17em" rspace="0.17em">\1</mo>'
_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data):<code>(~?)([\w.]+)(\(\))?</code>")
_FOREIGN = re.compile(r'<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="(?:https?:)?//[^>]*>')


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse what a browser would fetch from elsewhere.

    Raises:
        PluginError: naming the page and the tag.
    """
    from mkdocs.exceptions import PluginError

    foreign = _FOREIGN.search(output)
    if foreign:
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {foreign[0]}")
    return output


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the exported page on the front page, where the wing that writes it is installed."""
    if page.file.src_uri != "index.md" or find_spec("fourfold_web") is None:
        return markdown
    title, _, rest = markdown.partition("\n")
    title_of_frame = "The paradigms at work, and the map"
    frame = f'<iframe class="front" src="page/index.html" title="{title_of_frame}" loading="lazy"></iframe>'
    return f'{title}\n\n{frame}\n\n<a href="page/index.html">Open it alone</a>\n{rest}'


def on_post_build(config: Any, **_: Any) -> None:
    """Write the exported page beside the site."""
    if find_spec("fourfold_web") is not None:
        from fourfold_web.export import export_page

        export_page(Path(config["site_dir"]) / "page")


def on_page_content(content: str, **_: Any) -> str:
    """Replace every formula by MathML and every role by a link."""
    return _ROLE.sub(_link, _FORMULA.sub(_mathml, content))


def _mathml(match: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    display = "block" if match[2] == "[" else "inline"
    return _FUNCTION.sub(_OPERATOR, convert(html.unescape(match[3]).strip(), display=display))  # "log p", not "logp"


def _link(match: re.Match[str]) -> str:
    """A reference that autorefs resolves; where no page has the name, it stays plain code."""
    name = match[2].rpartition(".")[2] if match[1] else match[2]
    return f'<autoref identifier="{match[2]}" optional><code>{name}</code></autoref>'
