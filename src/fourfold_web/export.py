"""The page as static files: the views that need no server, for any host or straight from a disk.

A browser loads no module and no JSON from ``file://``. So the modules are inlined as data URLs under an import map,
and data is in scripts that a view adds when it needs them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from fourfold_web import map as map_data
from fourfold_web.recorded import sets, trace_of

__all__ = ["STATIC", "export_page", "files", "page"]

STATIC = Path(__file__).parent / "static"
LIVE = frozenset({"place.js", "run.js", "compare.js"})
"""Modules of views that need the server."""
_IMPORT = re.compile(r"""(\bfrom\s*|\bimport\s*\(?\s*)(["'])(?:\./|\.\./)*([\w./-]+\.js)\2""")


def export_page(out: Path) -> Path:
    """Write the page into a folder, which may exist. Returns its first file."""
    (out / "api").mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(page(), encoding="utf-8")
    for name, value in files():
        path = out / "api" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"(globalThis.recorded ??= {{}})[{json.dumps(name)}] = {value};\n", encoding="utf-8")
    return out / "index.html"


def files() -> Iterator[tuple[str, str]]:
    """The name and the JSON of everything that the views ask for."""
    if map_data.is_there():
        yield "map", map_data.dots().decode()
        yield "systems", map_data.cards().decode()
    yield "traces", json.dumps({"sets": sets()})
    for data, names in sets().items():
        for name in names:
            yield f"traces/{data}/{name}", json.dumps(trace_of(data, name), ensure_ascii=False)


def page(static: Path = STATIC) -> str:
    """``index.html`` with style and modules inside."""
    text = (static / "index.html").read_text(encoding="utf-8")
    modules = {path.relative_to(static).as_posix(): path.read_text(encoding="utf-8") for path in static.rglob("*.js")}
    kept = {name: source for name, source in modules.items() if name not in LIVE}
    text = re.sub(r'<link rel="stylesheet" href="([\w.-]+)">', lambda m: f"<style>{_read(static, m[1])}</style>", text)
    text = re.sub(r'<link rel="icon" href="([\w.-]+)" type="([^"]+)">', lambda m: _icon(static, m[1], m[2]), text)
    names = f'<script type="importmap">{json.dumps(import_map(kept))}</script>'
    start = f'{names}\n<script type="module">import "fourfold/shell.js";</script>'
    text = re.sub(r'<script type="module" src="shell.js"></script>', lambda _: start, text)
    return text.replace('data-live="true"', 'data-live="false"')


def _read(static: Path, name: str) -> str:
    return (static / name).read_text(encoding="utf-8")


def _icon(static: Path, name: str, kind: str) -> str:
    return f'<link rel="icon" href="{_url(kind, _read(static, name))}">'


def _url(kind: str, text: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def import_map(modules: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Names of modules to data URLs of their text, in which they import each other by these names."""
    names = {name.rpartition("/")[2]: name for name in modules}

    def renamed(match: re.Match[str]) -> str:
        name = match[3].rpartition("/")[2]
        return f"{match[1]}{match[2]}fourfold/{names.get(name, match[3])}{match[2]}"

    urls = {name: _url("text/javascript", _IMPORT.sub(renamed, text)) for name, text in modules.items()}
    return {"imports": {f"fourfold/{name}": url for name, url in urls.items()}}
