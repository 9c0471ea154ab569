"""The pages of ``fourfold info``: all paradigms, a paradigm, a recipe, or a run, in plain text of 80 columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from fourfold.paradigms import cards, defaults, facts, recipes
from fourfold.privacy import guarantee_words
from fourfold.vocabulary import recorded_facts

if TYPE_CHECKING:
    from fourfold.vocabulary import Card, Facts

__all__ = ["of_recipe", "of_run", "overview", "record", "text"]

WIDTH = 80


def text(subject: str | None = None) -> str:
    """The page of a run's folder, of a paradigm or of a recipe. Without a subject, the list of all paradigms.

    Raises:
        ValueError: for a subject that is none of these.
    """
    if subject is None:
        return overview()
    return of_run(Path(subject)) if Path(subject).is_dir() else of_recipe(subject)


def overview() -> str:
    """Every paradigm in two or three lines: its name, its summary, its recipes."""
    return "\n".join(_summary(card) for card in cards().values())


def _summary(card: Card) -> str:
    lines = [fill(f"{card.name:<23}{card.summary}", WIDTH, subsequent_indent=" " * 23)]
    names = ", ".join(f"{card.name}/{recipe}" for recipe in card.others)
    if names:
        margin = " " * 23
        lines.append(fill(names, WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False))
    return "\n".join(lines)


def of_recipe(name: str) -> str:
    """The page of a recipe, or that of a paradigm, with its default recipes and what all its recipes share.

    Raises:
        ValueError: for an unknown name.
    """
    card = cards().get(name.partition("/")[0])
    if card is None or ("/" in name and name.partition("/")[2] not in card.recipes):
        raise ValueError(f"subject must be the folder of a run or one of {', '.join(recipes())}, got {name!r}")
    facts_of = facts(name)
    default_of = defaults(name)
    summary = [] if "/" in name else [fill(card.summary, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    lines = [name, *summary]
    for recipe, data, entry in _alike(facts_of, default_of):
        lines += ["", f"  {recipe}: {', '.join(data)}", *_rows(_answers(entry))]
    names = [recipe for recipe in card.recipes if f"{card.name}/{recipe}" not in default_of.values()]
    rest = [("others", ", ".join(f"{card.name}/{recipe}" for recipe in names))] if names else []
    common = next(iter(facts_of.values()))
    rest += [("fails by", f"{mode.name}: {mode.meaning}; seen in: {mode.measurement}") for mode in common.failure_modes]
    rest += [("reference", f"{r.authors} {r.year}, {r.title}, {r.link}") for r in common.references]
    rest.append(
        ("note", "the settings are those of size s, for small images, 16 columns and short texts; a run shows its own")
    )
    return "\n".join([*lines, "", *_rows(rest)])


def _alike(facts_of: Mapping[str, Facts], default_of: Mapping[str, str]) -> list[tuple[str, list[str], Facts]]:
    """Triples of a recipe, its kinds of data and its facts. Kinds of data with the same recipe and facts are merged."""
    merged: list[tuple[str, list[str], Facts]] = []
    for data, answers in facts_of.items():
        same = next((entry for entry in merged if entry[0] == default_of[data] and entry[2] == answers), None)
        if same is None:
            merged.append((default_of[data], [data], answers))
        else:
            same[1].append(data)
    return merged


def _answers(facts: Facts) -> list[tuple[str, str]]:
    """The two answers, objective and sampling, and what follows from them."""
    return [
        ("represents", facts.represents),
        ("objective", facts.objective),
        ("", facts.objective_formula),
        ("sampling", facts.sampling),
        ("", facts.sampling_formula),
        ("likelihood", f"{facts.likelihood.words}: {facts.likelihood_note}"),
        ("cost", f"{facts.cost}: {facts.cost_note}"),
        *([("parts", f"trained first: {', '.join(facts.parts)}")] if facts.parts else []),
        ("gives", facts.gives),
        ("drawbacks", facts.drawbacks),
    ]


def _rows(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Rows wrapped beside their names. A row without a name is a formula, which is broken at double spaces."""
    return [_row(name, text) if name else _formula(text) for name, text in rows]


def _row(name: str, text: str) -> str:
    return fill(text, WIDTH, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14, break_on_hyphens=False)


def _formula(text: str) -> str:
    lines: list[str] = []
    for part in text.split("  "):
        if lines and len(lines[-1]) + 2 + len(part) <= WIDTH:
            lines[-1] += "  " + part
        else:
            lines += fill(part, WIDTH, initial_indent=" " * 14, subsequent_indent=" " * 16).splitlines()
    return "\n".join(lines)


LONGEST = 1 << 24
"""The most bytes of a JSON file of a run."""


MOST = 300
"""Letters of a part, at most, that is shown whole."""
ITEMS = 4
"""Items of a list in a longer one. ``--json`` shows all."""


def of_run(folder: Path) -> str:
    """The page of a run: its card and the parts of its model. It needs no torch.

    Raises:
        ValueError: if the folder does not hold a run, naming the file that is missing or is not that of a run.
    """
    card, parts = (_json_object(folder / name) for name in ("card.json", "model.json"))
    try:
        rows = _of_card(card)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{folder / 'card.json'} is not the card of a run ({type(error).__name__}: {error})") from None
    try:
        rows += [_row(name, _part(value)) for name, value in parts.items()]
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder / 'model.json'} is not a model ({type(error).__name__}: {error})") from None
    return "\n".join([str(folder), *rows])


def _json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a run folder, whose origin is not trusted."""
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= LONGEST):
            raise ValueError(f"it is not a file of at most {LONGEST:,} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it does not hold a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.parent} is not the folder of a run: {path.name}: {error}") from None
    return value


def _of_card(card: Mapping[str, Any]) -> list[str]:
    """The card as rows of text."""
    size = f", size {card['size']}" if "size" in card else ""
    rows = {
        "paradigm": f"{card.get('recipe') or card['paradigm']}{size}, {card['parameters']:,} parameters",
        "data": _data(card["data"]) if "data" in card else "not recorded",
        **({"trained": card["trained"]} if "trained" in card else _training(card)),
        **({"kept": choice["note"]} if (choice := card.get("choice", {})).get("trainings") else {}),
        **({"privacy": words} if (words := guarantee_words(card)) else {}),
        "versions": ", ".join(f"{name} {version}" for name, version in card["versions"].items()),
        "command": card["command"],
    }
    return [*(f"  {name:<12}{text}" for name, text in rows.items()), *_stated(card)]


def _data(data: Mapping[str, Any]) -> str:
    return f"{data['name']}, {data['train']:,} for training, seed {data['seed']}, sha256 {data['digest'][:16]}"


def _training(card: Mapping[str, Any]) -> dict[str, str]:
    """The record of a training, in rows."""
    precision, stopped = card.get("precision"), "" if card["done"] else " (stopped; go on with --resume)"
    return {
        "trained": f"{card['steps']} steps, {card['seconds']:.1f} s of {card['budget']}{stopped}",
        "precision": _precision(precision) if precision else "chosen when the last stage begins",
    }


def _precision(precision: Mapping[str, Any]) -> str:
    return f"{precision['name']}{', compiled' if precision['compiled'] else ''}"


def _stated(card: Mapping[str, Any]) -> list[str]:
    """The facts about the model in the card. Runs of earlier versions have none."""
    return _rows(_answers(recorded_facts(card["facts"]))) if card.get("facts") else []


def _part(value: Any) -> str:
    """A part of ``model.json`` as the call of its constructor. A long one leaves out what its arguments hold."""
    whole = _call(value)
    return whole if len(whole) <= MOST or not isinstance(value, dict) else _call(value, _outline)


def _call(value: Any, argument: Callable[[Any], str] | None = None) -> str:
    """A part as the call of its constructor, with its arguments as a function writes them, by default whole."""
    argument = argument or _call
    if isinstance(value, dict) and "type" in value:
        arguments = ", ".join(f"{key}={argument(item)}" for key, item in value["args"].items())
        return f"{value['type'].rpartition(':')[2]}({arguments})"
    return f"({', '.join(map(argument, value))})" if isinstance(value, list) else repr(value)


def _outline(value: Any) -> str:
    """The name of a part, and the first items of a list."""
    if isinstance(value, dict) and "type" in value:
        return f"{value['type'].rpartition(':')[2]}(...)"
    if isinstance(value, list):
        more = [f"and {len(value) - ITEMS:,} more"] if len(value) > ITEMS else []
        return f"({', '.join([*map(_outline, value[:ITEMS]), *more])})"
    return repr(value)


def record(subject: str | None) -> Any:
    """The content of :func:`text` as a JSON value.

    Raises:
        ValueError: for a subject that is neither a run nor a recipe.
    """
    if subject is not None and Path(subject).is_dir():
        return {name: _json_object(Path(subject) / f"{name}.json") for name in ("card", "model")}
    if subject is None:
        return [
            {"name": card.name, "paradigm": card.paradigm.value, "summary": card.summary, "recipes": list(card.recipes)}
            for card in cards().values()
        ]
    entries, paradigm = facts(subject), cards()[subject.partition("/")[0]].paradigm
    return {data: entry.record(paradigm) for data, entry in entries.items()}
