"""The names reader: the catalogue, by name or by version. The catalogue is prior knowledge, not evidence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile

from fourfold.vocabulary import Cost, Kind
from fourfold_atlas.catalogue import MODALITIES, CatalogueEntry, System, entries, plain
from fourfold_atlas.decision import describe
from fourfold_atlas.evidence import DEFAULTS, OBJECTIVE_OF, SAMPLING_OF, Cell, Claim, Evidence, Reader
from fourfold_atlas.links import hub_name, is_link, key
from fourfold_atlas.parts import Part, catalogued, ordered
from fourfold_atlas.placement import Placement
from fourfold_atlas.products import Product, products
from fourfold_atlas.rules import naming
from fourfold_atlas.tradeoffs import cost_note, failures
from fourfold_atlas.variants import variant
from fourfold_atlas.votes import by_claim
from fourfold_atlas.words import MAX_PROSE, preamble, read_phrases

__all__ = ["described", "find", "mentioned", "near", "place_mention", "place_name", "unknown", "unversioned"]

#: links to the system's own paper count within so many characters
HEAD = 2_000
_PAPER = re.compile(r"arxiv\.org/(?:abs|pdf|html)/(\d{4}\.\d{4,5})", re.I)
#: the model that a card's YAML says it was made from
_BASE = re.compile(r"(?m)^base_model:[ \t]*(?:\r?\n[ \t]*-[ \t]*)?[\"']?(?:[\w.-]+/)?([\w.-]+)")
#: a BibTeX entry, how many tell of the text itself, and the arXiv number in one
_ENTRY = re.compile(r"@[A-Za-z]{4,20}\s?\{[^@]{0,1500}")
MOST_ENTRIES = 2
_CITED = re.compile(r"(?i)(?:arxiv[\w\s.:/]{0,20}|eprint\s*=\s*[{\"])(\d{4}\.\d{4,5})")
_MARKUP = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|<[^>]*>|[#*`>]+|(?<!\w)_+|_+(?!\w)")
_SUBTITLE = re.compile(r":|\(|,|\s[-–—|]\s")
_BREAK = re.compile(r"<br|</h\d")
_HEADING = re.compile(r"(?m)^\s*(?:#{1,3}\s+|<h[1-3][^>]*>\s*)(.+)$")
_LAST = re.compile(r"\(([^()]+)\)\W*$")
_QUOTED = re.compile(r"[\"“`]([^\"”`]{2,60})[\"”`]")
_BEFORE = naming("before")
_AFTER = naming("after")
_ABOUT = naming("about")
#: that sentence counts within so many characters
OPENING = 1_000
_VERSION = naming("version")
#: letters of a family's name, that fewer would name anything
SHORTEST_FAMILY = 2
#: letters and digits that name a system without its spaces and hyphens
SHORTEST_JOINED = 4
#: the confidence in a version of a known family
BY_VERSION = 0.9
#: the confidence in a relative of a known system
BY_KIN = 0.9
#: a version is absurd so far behind the latest of its family, or where the family has none
LATER, FIRST = 3.0, 9.0
#: from here on the number in a name is a year, or a year and a month
DATE = 1_000
LATE = "later than the versions known"
#: similarity from which a name is suggested, and how many are
ALIKE, MOST_NEAR = 0.8, 3


def find(name: str) -> tuple[System, float] | None:
    """The system of that name, alias, link or id, with 1, or by its version or size, with ``BY_VERSION``.

    ``GPT-4o mini`` and ``Stable Diffusion 3.5`` are versions of systems in the catalogue. Where the versions that it
    has stand in different places, as those of DALL-E do, a version that it does not have is unknown.
    """
    if (link := key(name)) and link in _by_link():
        return _by_link()[link].system, 1.0
    aliases = _aliases(name)
    for alias in (*aliases, _joined().get(_letters(name), "")):
        if alias in _by_alias():
            return _by_alias()[alias].system, 1.0
    versions = (_version(alias) for alias in aliases)
    return next(((system, BY_VERSION) for system in versions if system), None)


@lru_cache(maxsize=1)
def _joined() -> Mapping[str, str]:
    """The plain names of the catalogue by their letters and digits alone."""
    return {alias.replace("-", ""): alias for alias in _by_alias()}


def _letters(name: str) -> str:
    """The letters and digits of a name, so that ``dalle3`` is ``DALL-E 3``. Too few are none."""
    joined = plain(name).replace("-", "")
    return joined if len(joined) >= SHORTEST_JOINED else ""


def _aliases(name: str) -> tuple[str, ...]:
    """The plain forms of a name: whole, and behind the owner of an id."""
    return tuple(filter(None, dict.fromkeys((plain(name), plain(hub_name(name))))))


def _version(alias: str) -> System | None:
    """The system of which a plain name is a version: the latest for a later one, else that spelled most alike."""
    family = _families().get(_family(alias), ())
    if len({entry.paradigm for _, entry in family}) != 1:
        return None
    late = _number(alias) > max(_number(row) for row, _ in family)
    return max(family, key=lambda row: (_number(row[0]) * late, _shared(alias, row[0])))[1].system


@lru_cache(maxsize=1)
def _by_link() -> Mapping[str, CatalogueEntry]:
    """Entries by their own links: those that no other entry gives."""
    owners: dict[str, list[CatalogueEntry]] = {}
    for entry in entries():
        for link in {key(source) or "" for source in entry.source}:
            owners.setdefault(link, []).append(entry)
    return {link: rows[0] for link, rows in owners.items() if link and len(rows) == 1}


def _number(alias: str) -> float:
    """The version in a plain name: the number behind its family and edition that is no size.

    ``llama-3-8-b`` is the third, and ``claude-opus-4.6`` has 4.6.
    """
    pattern = r"(?:-[a-z]{3,})*-(?:v-)?(\d+(?:\.\d+)?)(?!-[bmkt](?:-|$))(?=-|$)"
    match = re.match(pattern, alias[len(unversioned(alias)) :])
    return float(match[1]) if match else 0.0


def _caveat(name: str, system: System, score: float) -> tuple[str, bool]:
    """The words that a version adds to the verdict, and whether nobody can mean it."""
    if score == 1:
        return "", False
    alias = next(alias for alias in _aliases(name) if _family(alias) in _families())
    latest = max(_number(row) for row, _ in _families()[_family(alias)])
    number = _number(alias)
    if number <= latest:
        return f"as a version of the catalogue's {system.name}", False
    own = f"the catalogue's {system.name}"
    return f"as {own}, an earlier version" if latest else f"as a version of {own}", _absurd(number, latest)


def _absurd(number: float, latest: float) -> bool:
    """True for a version so far above the catalogue's latest one that nobody can mean it. No date is."""
    return number < DATE and number > latest + (LATER if latest else FIRST)


def _shared(first: str, second: str) -> int:
    """The number of characters with which two names begin alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def near(name: str) -> list[str]:
    """Names of systems that are spelled alike, or begin alike, the likeliest first: to ask with, never to answer.

    A version at the end of a name does not hide its spelling.
    """
    query = plain(name)
    bare = unversioned(query)
    systems = {alias: (entry.system.year, entry.names[0]) for alias, entry in _by_alias().items()}
    scores: dict[tuple[int, str], float] = {}
    for alias, system in ({alias: (row.year, row.name) for alias, row in products().items()} | systems).items():
        score = _alike(query, alias) or _alike(bare, alias)
        if score >= ALIKE:
            scores[system] = max(score, scores.get(system, 0.0))
    order = sorted(scores, key=lambda system: (-scores[system], *system))
    return [name for _, name in order[:MOST_NEAR]]


def _alike(query: str, alias: str) -> float:
    if min(len(query), len(alias)) < 4:
        return 0.0
    if query.startswith(f"{alias}-") or alias.startswith(f"{query}-"):
        return ALIKE
    return _spelling(query, alias)


def _spelling(query: str, alias: str) -> float:
    """The similarity of two spellings, or nothing below ``ALIKE``."""
    pair = difflib.SequenceMatcher(None, query, alias)
    return pair.ratio() if pair.real_quick_ratio() >= ALIKE and pair.quick_ratio() >= ALIKE else 0.0


def unversioned(name: str) -> str:
    """A plain name without the versions and sizes at its end. Whole where too little would be left."""
    match = _VERSION.search(name)
    return name[: match.start()] if match and match.start() >= SHORTEST_FAMILY else name


def _family(alias: str) -> str:
    """The letters and digits of a plain name without its versions: of ``hunyuan-video-2`` too ``hunyuanvideo``."""
    return unversioned(alias).replace("-", "")


@lru_cache(maxsize=1)
def _families() -> Mapping[str, tuple[tuple[str, CatalogueEntry], ...]]:
    """Aliases and their entries, by the letters of the aliases without their versions."""
    families: dict[str, list[tuple[str, CatalogueEntry]]] = {}
    for alias, entry in _by_alias().items():
        families.setdefault(_family(alias), []).append((alias, entry))
    return {family: tuple(rows) for family, rows in families.items()}


@lru_cache(maxsize=1)
def _product_families() -> Mapping[str, tuple[tuple[float, Product], ...]]:
    """Products and their versions, by their names without versions. ``video-01`` is no family of that name.

    A relative counts by its own name alone: ``DALL-E mini`` tells nothing of a later DALL-E.
    """
    families: dict[str, list[tuple[float, Product]]] = {}
    for alias, product in products().items():
        own = not product.like or alias == plain(product.name)
        if own and _family(alias) not in MODALITIES:
            families.setdefault(_family(alias), []).append((_number(alias), product))
    return {family: tuple(rows) for family, rows in families.items()}


@lru_cache(maxsize=1)
def _by_alias() -> Mapping[str, CatalogueEntry]:
    return {alias: entry for entry in entries() for alias in {entry.id, *map(plain, entry.names)}}


@lru_cache(maxsize=1)
def _by_paper() -> Mapping[str, CatalogueEntry]:
    """Entries by the arXiv number of their papers."""
    return {match.group(1): entry for entry in entries() for link in entry.source if (match := _PAPER.search(link))}


def mentioned(text: str, hints: bool = True) -> tuple[System, str] | None:
    """The catalogued system that a text is about, and where that stands.

    A title counts when it is a catalogued name: whole, up to its subtitle, in its last brackets or quotes, or but for
    words such as "official implementation of". Hints count when all that are known lead to one cell: "NAME is" or "we
    present NAME" in the opening, else links to papers, else the papers whose BibTeX it gives, else the base model of
    its YAML.

    Args:
        text: a card. Its first ``HEAD`` characters are read, and BibTeX in its first ``MAX_PROSE``.
        hints: whether hints count beside the title.
    """
    begins = preamble(text)
    head, text = text[:begins], text[begins:]
    for part in _titles(text[:HEAD]):
        if entry := _entry_of(part):
            return entry.system, f"its title, {part!r}"
    if not hints:
        return None
    systems = (
        [(entry.system, f"its opening, {part!r}") for part, entry in _subjects(text[:OPENING])]
        or [(entry.system, f"its link to arXiv {number}") for entry, number in _papers(_PAPER.findall(text[:HEAD]))]
        or [(entry.system, f"its citation of arXiv {number}") for entry, number in _papers(_cited(text[:MAX_PROSE]))]
        or [(base[0], f"its base model, {name!r}") for name in _BASE.findall(head) if (base := find(name))]
    )
    return systems[0] if len({system.paradigm for system, _ in systems}) == 1 else None


def _papers(numbers: Iterable[str]) -> Iterator[tuple[CatalogueEntry, str]]:
    return ((_by_paper()[number], number) for number in numbers if number in _by_paper())


def _cited(text: str) -> Iterator[str]:
    """The arXiv numbers of a text's BibTeX. A long list is of papers that it builds on."""
    citations = _ENTRY.findall(text)
    if len(citations) <= MOST_ENTRIES:
        yield from (number for entry in citations for number in _CITED.findall(entry)[:1])


def _entry_of(part: str) -> CatalogueEntry | None:
    """The entry of exactly that name, or of its plural. Two letters are none unless one is a digit."""
    if len(part) < 2 or (len(part) == 2 and not part[1].isdigit()):
        return None
    return _by_alias().get(plain(part)) or _by_alias().get(plain(part.removesuffix("s")))


def _titles(head: str) -> Iterator[str]:
    """Candidates for a name in the first line and in the first heading."""
    first = next((line for line in head.splitlines() if _MARKUP.sub(r"\1", line).strip()), "")
    heading = _HEADING.search(head, 0, OPENING)
    for line in dict.fromkeys((first, heading.group(1) if heading else "")):
        title = _MARKUP.sub(r"\1", _BREAK.split(line)[0]).strip()
        for part in (title, _SUBTITLE.split(title)[0], *_LAST.findall(title), *_QUOTED.findall(title)[:1]):
            bare = _BEFORE.sub("", _AFTER.sub("", part))
            yield from dict.fromkeys(text.strip(" .:-") for text in (part, bare, _SUBTITLE.split(bare)[0]))


def _subjects(opening: str) -> Iterator[tuple[str, CatalogueEntry]]:
    """Names that the opening says the text is about, of each the longest that is known."""
    for match in _ABOUT.finditer(opening):
        words = (match.group(1) or match.group(2)).split()
        parts = (" ".join(words[:n]).strip(" .") for n in range(len(words), 0, -1))
        yield from [(part, entry) for part in parts if len(part) > 3 and (entry := _entry_of(part))][:1]


def place_mention(text: str, placed: Placement, doubtful: bool = True) -> Placement | None:
    """The catalogued system that a text is about: prior knowledge, and labelled so.

    Args:
        text: a card.
        placed: where its words place it, which is noted beside the answer.
        doubtful: whether they leave so much doubt that hints of a name count as well as a title.
    """
    mention = mentioned(text, hints=doubtful)
    if mention is None:
        return None
    system, by = mention
    placement = _placed(placed.subject, system, 1.0, f"by {by}: the catalogue's entry {system.name!r} ({system.year})")
    more = "its configuration files or code: they are evidence, a name is not"
    note = (
        f"the text itself leans to {placed.cell.value}, with {placed.confidence:.2f}{' only' if doubtful else ''}"
        if placed.cell
        else f"the text itself does not say {placed.missing}"
    )
    return replace(placement, notes=(*placement.notes, note), would_change=(more,))


def described(name: str) -> CatalogueEntry | Product | None:
    """The entry or the product that ``place_name`` answers by."""
    match = find(name)
    return _product(name, match)[0] or (_by_alias()[match[0].id] if match else None)


def place_name(name: str) -> Placement | None:
    """Placement by a catalogued name, exact or by version, labelled as prior knowledge. ``None`` if there is none.

    A product whose mechanism is not published is left open, with what is known of it.
    """
    match = find(name)
    product, caveat, absurd = _product(name, match)
    if product and absurd:
        return _open(name, f"which version is meant: this one is far from those known of {product.name}")
    if product:
        return _relative(name, product) if product.like else _unpublished(name, product, caveat)
    if match is None:
        return None
    system, score = match
    caveat, absurd = _caveat(name, system, score)
    if absurd:
        latest = f"the catalogue's latest is {system.name} ({system.year})"
        return _open(name, f"which version is meant: {latest}, and this one is far from it")
    by = "the name alone" if score == 1 else "the name alone, as a version of a known system"
    note = f"from {by}: the catalogue's entry {system.name!r} ({system.year})"
    return replace(_placed(name, system, score, note), caveat=caveat)


def _product(name: str, match: tuple[System, float] | None) -> tuple[Product | None, str, bool]:
    """The product of that name, the words that a later version adds, and whether nobody can mean that version.

    A version is the product's where the catalogue has none, or a version that is further behind.
    """
    aliases = (*_aliases(name), _joined_products().get(_letters(name), ""))
    exact = next((products()[alias] for alias in aliases if alias in products()), None)
    if exact or (match and match[1] == 1):
        return exact, "", False
    alias = next((alias for alias in aliases if _family(alias) in _product_families()), "")
    if alias:
        number, rows = _number(alias), _product_families()[_family(alias)]
        nearest, product = max(rows, key=lambda row: (row[0] <= number, row[0] * (row[0] <= number)))
        latest = max(version for version, _ in rows)
        catalogued = [version for row, _ in _families().get(_family(alias), ()) if (version := _number(row)) <= number]
        later = not product.like and max(catalogued, default=0.0) < nearest <= number
        if match is None or later:
            return product, LATE if 0 < latest < number else "", _absurd(number, latest)
    if match:
        return None, "", False
    by_name = next((products()[row] for row in map(unversioned, aliases) if row in products()), None)
    return _product_links().get(key(name) or "") or by_name, "", False


@lru_cache(maxsize=1)
def _joined_products() -> Mapping[str, str]:
    """The plain names of products by their letters and digits alone."""
    return {alias.replace("-", ""): alias for alias in products()}


@lru_cache(maxsize=1)
def _product_links() -> Mapping[str, Product]:
    """Products by the links that they give."""
    return {link: row for row in products().values() if (link := key(row.source))}


def _relative(name: str, product: Product) -> Placement:
    """A product by the catalogued system that it was made from, or that is of the same kind.

    The words on its objective are those on the product, since the system's own may not hold of it.
    """
    system = _by_alias()[plain(product.like)].system
    note = f"{product.name}, {product.organisation}, {product.year}, as the catalogue's entry {system.name!r}"
    placement = _placed(name, system, BY_KIN, note)
    own = replace(placement.evidence[0], quote=product.known, where=product.source)
    caveat = f"as a relative of the catalogue's {system.name}"
    return replace(placement, evidence=(own, placement.evidence[1]), caveat=caveat)


def _unpublished(name: str, product: Product, caveat: str) -> Placement:
    missing = f"its mechanism is not published; what is known is: {product.known}"
    note = f"{product.name}, {product.organisation}, {product.year}: {product.source}"
    return replace(_open(name, missing), system=product.name, notes=(note,), caveat=caveat)


def _open(name: str, missing: str) -> Placement:
    return Placement(name, None, 0.0, (), missing=missing, prior=True)


def unknown(name: str) -> str:
    """The missing fact where a name is unknown: which of the names spelled alike is meant, or more than a name."""
    if is_link(name):
        return "more than a link, which is not opened: give the text behind it, or clone it and give the folder"
    alike = near(name)
    if alike:
        return f"which system is meant: did you mean {' or '.join(filter(None, (', '.join(alike[:-1]), alike[-1])))}?"
    return (
        f"more than a name: it is not among the {_count():,} systems and products known; give its card, files or code, "
        "or say what its training loss compares and how an example is drawn"
    )


def _count() -> int:
    """The number of systems and products."""
    return len(entries()) + len({row.name for row in products().values()})


@lru_cache(maxsize=256)
def _votes(text: str) -> Mapping[Claim, float]:
    """The votes of a catalogued system's two answers."""
    return by_claim(read_phrases(text))


def _placed(name: str, system: System, score: float, note: str) -> Placement:
    where, cell = system.source[0], system.paradigm
    rows = (
        Evidence(system.objective, where, OBJECTIVE_OF[cell], 1.0, Reader.NAME),
        Evidence(system.sampling, where, SAMPLING_OF[cell], 1.0, Reader.NAME),
    )
    votes = _votes(f"{system.objective} {system.sampling}")
    placement = describe(name, cell, ((cell, round(score, 3)),), votes, [])
    cost = None if system.cost == "not_applicable" else Cost(system.cost)
    kind = _kind(system, votes, cost)
    parts = ordered(_settled(catalogued(text, where) for text in system.inherited if text not in _NO_PARTS))
    parts = tuple(_continuous(part, kind) for part in parts)
    return replace(
        placement,
        also=None,
        parts=parts,
        likelihood=Kind(system.likelihood),
        likelihood_of=_variable(system, kind),
        sampling=_OF_CONDITION if cell is Cell.ADVERSARIAL and _maps_a_condition(system) else None,
        cost=cost,
        cost_note=cost_note(cost, parts),
        variant=kind,
        failure_modes=failures(cell, kind, parts),
        evidence=rows,
        would_change=("its model card, files or code: they are evidence, a name is not",),
        prior=True,
        system=system.name,
        notes=(note,),
    )


#: an objective that is the exact likelihood of dequantised data
_EXACT = re.compile(r"(?i)change of variables|determinant")


#: a velocity of the variance-preserving path: noise and data in changing shares
_MIXED = re.compile(r"(?i)mix(?:es|ture)? of (?:the )?(?:noise and|data and|clean)|v-prediction")


#: tokens whose order is drawn anew
_ANY_ORDER = re.compile(r"(?i)random(?:ly)? (?:\w+ )?order|any order|orders? (?:\w+ ){0,4}drawn")


def _kind(system: System, votes: Mapping[Claim, float], cost: Cost | None) -> str:
    """The variant by both answers, where an objective that regresses a velocity outranks talk of denoising."""
    kind = variant(system.paradigm, votes, cost)
    if system.paradigm is Cell.AUTOREGRESSIVE and "diffusion_token_head" in system.inherited:
        return "an inner sampler for each token"
    if kind == "token by token" and _ANY_ORDER.search(f"{system.objective} {system.sampling}"):
        return "any order"
    if kind in ("Gaussian noise", "velocity"):
        straight = variant(system.paradigm, _votes(system.objective), cost) == "velocity" or kind == "velocity"
        return "velocity" if straight and not _MIXED.search(system.objective) else "Gaussian noise"
    return kind


#: no parts beside the step: features that a critic alone sees, and the generator itself, which writes token after token
_NO_PARTS = ("pretrained_features", "autoregressive_generator")
#: what a generator without noise does
_OF_CONDITION = ("map the condition to an example, once, without noise", "x = G(c)")
_DRAWS = re.compile(r"(?i)nois|latent|code|random|draw|sampl|vector|style|token|step")


def _maps_a_condition(system: System) -> bool:
    """True where the entry's sampling is one pass that draws nothing."""
    whole = bool(system.conditioning) and not {"class", "text"} & set(system.conditioning)
    return whole and system.cost == "constant" and not _DRAWS.search(system.sampling)


def _settled(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, but a tokenizer whose decoder another part replaces: it gives the tokens of data alone."""
    parts = tuple(parts)
    replaced = any(part.role == "decoder" and part.cell is Cell.DIFFUSION for part in parts)
    for part in parts:
        behind = part.role == "tokenizer" and replaced
        yield replace(part, stage="training", sampling="its decoder is replaced") if behind else part


def _continuous(part: Part, kind: str) -> Part:
    """A part as it stands, or the autoencoder that a tokenizer is where its latents are noised before rounding."""
    if part.quote == "vq tokenizer" and kind in ("Gaussian noise", "velocity"):
        return replace(catalogued("autoencoder", part.where), quote=part.quote)
    return part


def _variable(system: System, kind: str) -> str:
    if system.paradigm is Cell.NOT_GENERATIVE or DEFAULTS[system.paradigm][0] is Kind.NONE:
        return ""
    text = " ".join((*system.inherited, *(part.role for part in system.components))).lower()
    behind = (
        "the tokens behind its tokenizer"
        if re.search(r"tokeni[sz]er|codec|vq", text) and kind not in ("Gaussian noise", "velocity")
        else "the latents of its autoencoder, so a bound for the data"
        if re.search(r"autoencoder|vae|latent|vq", text) and system.paradigm is not Cell.LATENT_VARIABLE
        else "the tokens of its text"
        if system.modality == "text" and system.likelihood == "exact"
        else "its tokens"
        if system.likelihood == "exact"
        and kind in ("token by token", "any order")
        and "token" in system.sampling.lower()
        else "values in whole numbers; exact for dequantised ones"
        if system.paradigm is Cell.FLOW and system.likelihood == "lower_bound" and _EXACT.search(system.objective)
        else "the data"
    )
    condition = ", given " + ", ".join(system.conditioning) if system.conditioning else ""
    return behind + condition
