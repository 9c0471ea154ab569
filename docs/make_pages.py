"""Write docs/paradigms.md from the cards and the vocabulary: one page, one source. ``--check`` only compares."""

import sys
from collections.abc import Mapping
from pathlib import Path

from fourfold.core import configuration
from fourfold.paradigms import cards, defaults, facts, models
from fourfold.vocabulary import Card, Facts

PAGE = Path(__file__).with_name("paradigms.md")


def section(card: Card) -> str:
    """One card as Markdown: its default recipes in full, of the others what differs."""
    facts_of = {f"{card.name}/{recipe}": facts(f"{card.name}/{recipe}") for recipe in card.recipes}
    default_of, default_facts = defaults(card.name), facts(card.name)
    groups = [group for recipe, by_data in facts_of.items() for group in _groups(recipe, by_data)]
    groups.sort(key=lambda group: group[0] not in default_of.values())
    default_lines = {data: _lines(entry) for data, entry in default_facts.items()}
    recipes = "\n\n".join(_block(card.name, *group, default_lines, default_of) for group in groups)
    failures = dict.fromkeys(
        mode for by_data in facts_of.values() for entry in by_data.values() for mode in entry.failure_modes
    )
    modes = "\n".join(f"| {mode.name} | {mode.meaning} | {mode.measurement} |" for mode in failures)
    references = next(iter(default_facts.values())).references
    papers = "\n".join(f"- {r.authors} ({r.year}): {r.title}, <{r.link}>" for r in references)
    return f"""## {card.name}

{card.summary}

{recipes}

| failure mode | what happens | what reveals it |
| --- | --- | --- |
{modes}

{papers}
"""


def _groups(name: str, by_data: Mapping[str, Facts]) -> list[tuple[str, list[str], Facts]]:
    """A recipe's name, kinds of data and facts; kinds of data for which the same holds share an entry."""
    groups: dict[Facts, list[str]] = {}
    for data, entry in by_data.items():
        groups.setdefault(entry, []).append(data)
    return [(name, data, entry) for entry, data in groups.items()]


def _block(
    card: str,
    name: str,
    data: list[str],
    entry: Facts,
    default_lines: Mapping[str, list[str]],
    default_of: Mapping[str, str],
) -> str:
    """A heading and the lines of a recipe: all of a default, of another those that no default has."""
    lines = _lines(entry)
    of = ", ".join(kind for kind in data if default_of.get(kind) == name)
    mark = f" (the default for {of})" if of and of != ", ".join(data) else " (the default)" if of else ""
    if not of:
        lines = [line for line in lines if line not in default_lines.get(data[0], [])]
    return f"### {name}: {', '.join(data)}{mark}\n\n" + "\n".join(lines or _other_parts(card, name, data))


def _other_parts(card: str, name: str, data: list[str]) -> list[str]:
    """The classes that set a recipe apart from the default whose facts it shares, for each kind of data."""
    default_of = {kind: (recipe, model) for kind, recipe, model in models(card, "s")}
    lines = []
    for kind, _, model in models(name, "s"):
        if kind not in data:
            continue
        default, default_model = default_of[kind]
        classes, default_classes = _classes(configuration(model)), _classes(configuration(default_model))
        new, old = [c for c in classes if c not in default_classes], [c for c in default_classes if c not in classes]
        difference = f" with {', '.join(new)} in place of {', '.join(old)}" if new else ""
        lines.append(f"- For {kind}: {'' if new else 'the same as '}`{default}`{difference}.")
    return lines


def _classes(parts: object) -> list[str]:
    """The names of the classes in the configuration of a model, each once."""
    if isinstance(parts, dict):
        names = [parts["type"].rpartition(":")[2]] if "type" in parts else []
        return list(dict.fromkeys([*names, *(name for part in parts.values() for name in _classes(part))]))
    if isinstance(parts, list):
        return list(dict.fromkeys(name for part in parts for name in _classes(part)))
    return []


def _lines(facts: Facts) -> list[str]:
    """The two answers and what follows from them, a line each."""
    parts = [f"- *Trained first*: {', '.join(facts.parts)}."] if facts.parts else []
    return [
        f"- *Represents*: {facts.represents}.",
        f"- *Objective*: {facts.objective}. `{facts.objective_formula}`",
        f"- *Sampling*: {facts.sampling}. `{facts.sampling_formula}`",
        f"- *Likelihood* (`{facts.likelihood}`): {facts.likelihood_note}.",
        f"- *Cost* (`{facts.cost}`): {facts.cost_note}.",
        *parts,
        f"- *Gives*: {facts.gives}.",
        f"- *Drawbacks*: {facts.drawbacks}.",
    ]


def page() -> str:
    """The whole page."""
    head = (
        "# The paradigms of fourfold\n\nWritten by `docs/make_pages.py` from the parts of each recipe at size s; do "
        "not edit by hand. The default recipes of each paradigm are described in full, other recipes where they "
        "differ.\n"
    )
    return "\n".join([head, *(section(card) for card in cards().values())])


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit("docs/paradigms.md is out of date: run python docs/make_pages.py")
