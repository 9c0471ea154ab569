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
from typing import Any

from fourfold import Run
from fourfold.cli.printing import print_line
from fourfold.data import DataError
from fourfold_web import map as map_data
from fourfold_web.cli import ExportPage
from fourfold_web.recorded import sets, trace_of
from fourfold_web.traces import answers_of, trace

__all__ = ["STATIC", "export", "export_page", "files", "import_map", "page"]

STATIC = Path(__file__).parent / "static"
LIVE = frozenset({"place.js", "run.js", "compare.js", "forms.js", "services.js"})
"""Modules of views that need the server."""
_IMPORT = re.compile(r"""(\bfrom\s*|\bimport\s*\(?\s*)(["'])(?:\./|\.\./)*([\w./-]+\.js)\2""")


def export(command: ExportPage) -> None:
    """Write the page, and print its address."""
    run = None if command.run is None else Run.load(command.run, command.device)
    path = export_page(command.out, run, command.seed)
    print_line(json.dumps({"written": str(path)}) if command.as_json else path)


def export_page(out: Path, run: Run | None = None, seed: int = 0) -> Path:
    """Write the page into a folder, which may exist. Returns its first file.

    Args:
        out: the folder.
        run: a run that the page shows as well.
        seed: of its samples.

    Raises:
        ValueError: for a folder that holds a run, whose files would be mixed with those of the page.
    """
    if (out / "model.json").exists() or out.is_file():
        raise ValueError(f"--out must be a folder for a page, got {out}: name another")
    report = None if run is None else report_of(run)
    for name, value in [*files(), *(() if run is None else files_of_run(run, seed, report is not None))]:
        path = out / "api" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"(globalThis.recorded ??= {{}})[{json.dumps(name)}] = {_script(value)};\n", encoding="utf-8")
    if report is not None:
        (out / "report.html").write_bytes(report.read_bytes())
    (out / "index.html").write_text(page(has_run=run is not None), encoding="utf-8")
    return out / "index.html"


def _script(value: str) -> str:
    """JSON as a part of a script: two characters end lines in some, and a comment may not begin."""
    return value.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("<!--", "<\\u0021--")


def files() -> Iterator[tuple[str, str]]:
    """The name and the JSON of everything that the views ask for."""
    if map_data.is_there():
        yield "map", map_data.dots().decode()
        yield "systems", map_data.cards().decode()
    yield "traces", json.dumps({"sets": sets()})
    for data, names in sets().items():
        for name in names:
            yield f"traces/{data}/{name}", trace_of(data, name)


SHOWN = 64
"""Samples of a run, at most."""


def files_of_run(run: Run, seed: int, reported: bool) -> Iterator[tuple[str, str]]:
    """The card, the two answers and samples of a run, and its trace where a plane or a wall of images can show it."""
    model, card = run.model, run.card
    x = run.sample(SHOWN, seed=seed)
    record = trace_of_run(run, seed)
    value = {
        "name": run.folder.name if run.folder is not None else card.get("paradigm", "run"),
        "data": card.get("data", {}).get("name", ""),
        "space": str(model.space),
        "parameters": card.get("parameters"),
        "steps": card.get("steps"),
        "answers": answers_of(model),
        "picture": model.space.picture(x)._repr_html_(),
        "report": reported,
        "trace": record,
    }
    yield "run", json.dumps(value, ensure_ascii=False)


def trace_of_run(run: Run, seed: int) -> dict[str, Any] | None:
    """The record of the trace of a run. ``None`` for samples that neither a plane nor a wall of images shows."""
    shape = run.model.space.shape
    if shape != (2,) and not (len(shape) == 3 and max(shape) <= 64):
        return None
    try:
        data = run.dataset().test.x
    except (DataError, ValueError):  # the data is not at hand: samples stand behind samples
        data = run.sample(256, seed=seed + 1)
    return trace(run.model, data, 240 if shape == (2,) else 16, seed, scored=0).record()


def report_of(run: Run) -> Path | None:
    """The report of the comparison that a run is from, in its folder or up to two above."""
    above = () if run.folder is None else (run.folder, *run.folder.absolute().parents[:2])
    return next((path for folder in above if (path := folder / "report.html").is_file()), None)


def page(static: Path = STATIC, has_run: bool = False) -> str:
    """``index.html`` with style and modules inside."""
    text = (static / "index.html").read_text(encoding="utf-8")
    modules = {path.relative_to(static).as_posix(): path.read_text(encoding="utf-8") for path in static.rglob("*.js")}
    recorded = {name: source for name, source in modules.items() if name not in LIVE}
    text = re.sub(r'<link rel="stylesheet" href="([\w.-]+)">', lambda m: f"<style>{_read(static, m[1])}</style>", text)
    text = re.sub(r'<link rel="modulepreload" [^>]*>\n', "", text)
    text = re.sub(r'<link rel="icon" href="([\w.-]+)" type="([^"]+)">', lambda m: _icon(static, m[1], m[2]), text)
    names = f'<script type="importmap">{json.dumps(import_map(recorded))}</script>'
    start = f'{names}\n<script type="module">import "fourfold/shell.js";</script>'
    text = re.sub(r'<script type="module" src="shell.js"></script>', lambda _: start, text)
    return text.replace('data-live="true"', f'data-live="false" data-run="{str(has_run).lower()}"')


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
