"""The words reader: a model card, an abstract, a title or a sentence as evidence."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from fourfold_atlas.evidence import LEANS, LONGEST_QUOTE, Aspect, Claim, Evidence, Form, Reader, shortened
from fourfold_atlas.rules import (
    OF,
    cues,
    file_rules,
    finder,
    hints,
    not_its_own,
    part_rules,
    promise_rules,
    reason,
    word_rules,
)
from fourfold_atlas.wording import CARD, CODE, LINE, LINE_WORDS, TextKind, leaning

__all__ = ["MAX_PROSE", "kind_of", "places", "preamble", "without_homonyms"]
__all__ += ["read_phrases", "read_wording", "read_words", "unblobbed", "unfoiled"]

MAX_PROSE = 60_000
#: titles reach so far, the paper's below the repository's included
TITLE = 250
_STATED = (Aspect.OBJECTIVE, Aspect.SAMPLING, Aspect.NAMED)
_NAMED = frozenset(claim for claim in Claim if claim.aspect is Aspect.NAMED) | {Claim.GAME}
#: words with which something else begins, and the end of a foil
_BOUNDARY = finder("words", "boundary")
_END_OF_FOIL = finder("words", "end_of_foil")
_CONTRIBUTION = finder("words", "contribution")
_OWN = finder("words", "own")
#: a clause that states training or sampling of the system itself, and the reach of its verb in characters
_ACTS, _USES, _TRAINS, _GENERAL = (reason("words", name) for name in ("acts", "uses", "training", "general"))
ACT_REACH, NAME_REACH, TITLE_SHARE = 90, 50, 0.6
#: a part that systems of every cell may have
_ANY: frozenset[str] = frozenset()
_NON = re.compile(r"\b(?:non|un)[- ]?$", re.I)
_GENERATOR = re.compile(r"\bgenerators?\b|\bGANs?\b|\bdiscriminators?\b|\bcritics?\b", re.I)
_TRAINING = re.compile(r"\badversarial(?:ly)?[- ](?:training|trained)\b", re.I)
#: the name of a system, which ends in that of its kind
_SYSTEM = re.compile(r"[\w-]+(?:GAN|VAE)s?[-\d]*")
_MASK = re.compile(r"[\[<]mask[\]>]", re.I)
_PARADIGM = re.compile(r"diffusion|adversarial(?:ly)?|energy", re.I)
#: cues, their reach in characters, and the share of its votes that a find behind one keeps
_FOILS = (("foil", 90, 0.0), ("negation", 40, 0.0), ("foil_name", 40, 0.2))
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[^a-z])|\n\s*\n|\n(?=\s*(?:[#*|-]|\d+\. ))|\n(?=.*\n[=-]{3})")
#: the weight of a tag, as a share of a sentence's
TAGGED = 0.5
_TAGS = re.compile(r"(?m)^tags:[ \t\r]*(?:\[[^\]]*\]|(?:\n[ \t]*-.*)+)")
_PREAMBLE = finder("words", "preamble")
#: data in letters, a rule of one sign: no language has words of so many signs
_BLOB = re.compile(r"[!-~]{400,}")
#: a rule of this weight states, one of less only hints; a sentence has so many words
STATEMENT, FEWEST_WORDS = 2.0, 4
#: characters of a sentence and finds of a part that are read, so that no text takes minutes
LONGEST_SENTENCE, MOST_PARTS = 4000, 400
_TAG = re.compile(r"</?[A-Za-z!][^<>]{0,1000}>")
#: tags and rules with which another block of text begins, and headings, with which one ends
_BLOCK = re.compile(
    r"</?(?:h[1-6]|p|div|br|li|ul|tr|td|th|table|center)\b[^<>]{0,1000}>|^[=-]{3,}[ \t]*$|^#{1,6} .*$", re.I | re.M
)
_CONJUNCTION = re.compile(r"^(?:and|but|which|that|while|so|because|as)\s(?=\w)", re.I)
_MARKS = re.compile(
    r"\[\[[^\[\]]*|!?\[(?=[^\]])|\](?!\w)|^\s*(?:[-*+•#>]+|\d+\.)\s|[*`]+|(?<!\w)_+|_+(?!\w)|^[#\s]+"
    r"|&\w+;|\||\bOpen in \w+"
)
#: where a long sentence may be cut
_CUT = re.compile(r"[,;:—–]\s|\s\+\s|\s(?=\(|(?:and|but|which|while|where|whose|that|so|because|although)\s)")
#: a sentence that states no mechanism: an installation, a command, a list of news, a table, a reference
_SCRAP = finder("words", "scrap")
_HEADING = re.compile(r"(?m)^(?:#{1,6}\s*(.+)|(.{3,60})\n[=-]{3,}\s*)$")


@dataclass(frozen=True)
class _Prose:
    """Text with asides and homonyms blanked in place, the text to quote at the same offsets, its sentences' weights."""

    text: str
    quotable: str
    starts: list[int]
    weights: list[float]
    asides: list[bool]
    blocks: list[int]

    def aside(self, at: int) -> bool:
        """True in code, in a table, and below a heading about something else than the system."""
        return self.asides[bisect_right(self.starts, at) - 1]

    def sentence(self, at: int) -> tuple[int, int, float]:
        index = bisect_right(self.starts, at) - 1
        end = self.starts[index + 1] if index + 1 < len(self.starts) else len(self.text)
        return self.starts[index], end, self.weights[index]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def _prose(raw: str) -> _Prose:
    text = cues("aside").sub(_blank, raw[:MAX_PROSE])
    text = re.sub(r"[*`_>]{1,3}(?=\w)|(?<=\w)[*`]{1,3}", lambda match: " " * len(match.group()), text)
    starts = [0, *(match.end() for match in _SENTENCE.finditer(text)), len(text)]
    starts = [at for start, end in pairwise(starts) for at in range(start, max(end, start + 1), LONGEST_SENTENCE)]
    quiet = _quiet_spans(text)
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    fences = [match.span() for match in re.finditer(r"(?s)```.*?(?:```|\Z)", raw[:MAX_PROSE])]
    first = _CONTRIBUTION.search(text, 0, 4000)
    begins = starts[bisect_right(starts, first.start()) - 1] if first else 0
    placed = [_place_weight(text, at, quiet, fences) for at in starts]
    weights = [weight * (0.5 if 0 < at < begins else 1.0) for at, weight in zip(starts, placed, strict=True)]
    quotable = _without_tags(text, raw)
    blocks = [tag.end() if tag.group()[0] == "#" else tag.start() for tag in _BLOCK.finditer(raw[: len(text)])]
    return _Prose(without_homonyms(text, raw), quotable, starts, weights, [weight < 0.5 for weight in placed], blocks)


def _without_tags(text: str, raw: str) -> str:
    """Text with the tags of HTML blanked in place. ``raw`` has the brackets that ``text`` may have lost."""
    for tag in _TAG.finditer(raw[: len(text)]):
        text = text[: tag.start()] + " " * (tag.end() - tag.start()) + text[tag.end() :]
    return text


def _quiet_spans(text: str) -> list[tuple[int, bool]]:
    rows = [
        (match.start(), bool(cues("quiet").search(match.group(1) or match.group(2) or "")))
        for match in _HEADING.finditer(text)
    ]
    return [(0, False), *rows]


def _place_weight(text: str, at: int, quiet: list[tuple[int, bool]], fences: list[tuple[int, int]]) -> float:
    section = quiet[bisect_right(quiet, (at, True)) - 1]
    if section[1]:
        return 0.25
    if any(start <= at < end for start, end in fences) or text[at : at + 3].lstrip().startswith("|"):
        return 0.4
    return 1.5 if not text[:at].strip("# \n\t") else 1.0 if at < 4000 else 0.6


def read_words(text: str, where: str = "") -> list[Evidence]:
    """Evidence in prose, with the place of each quote: phrases that state a mechanism, and the wording as a whole.

    Args:
        text: any length. The first ``MAX_PROSE`` characters are read.
        where: the name of the file: places are its lines, else offsets in the text.
    """
    begins = preamble(text)
    text = unblobbed(text[: begins + MAX_PROSE])
    body, place = text[begins:], places(text, where)
    kind = kind_of(body)
    wording = read_wording(body, Reader.WORDS, lambda at: place(begins + at), kind)
    phrases = read_phrases(text, place, begins)
    if kind is LINE:
        phrases = [_as_prose(row) for row in phrases]
    return _read_header(text[:begins], place) + phrases + wording


def _as_prose(row: Evidence) -> Evidence:
    """A find in a line that somebody wrote about a system: it needs no actor and no verb to state a mechanism."""
    stated = row.form is Form.PASSAGE and row.claim.aspect in (Aspect.OBJECTIVE, Aspect.SAMPLING)
    return replace(row, form=Form.REASON) if stated else row


def unblobbed(text: str) -> str:
    """Text with encoded data and rules of one sign blanked in place: no language writes them."""
    return _BLOB.sub(lambda match: " " * len(match.group()), text)


def places(text: str, where: str) -> Callable[[int], str]:
    """A function that names a place in a text: by the line of its file, else by its offset."""
    if not where:
        return lambda at: f"offset {at}"
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return lambda at: f"{where}:{bisect_right(starts, at)}"


def _read_header(head: str, place: Callable[[int], str]) -> list[Evidence]:
    """Evidence in a card's YAML: its task, its library, its tags."""
    if not head.strip():
        return []
    evidence = [
        Evidence(shortened(match.group()), place(match.start()), claim, weight, Reader.WORDS)
        for rule in (*file_rules("tags"), *file_rules("libraries"))
        for match in rule.pattern.finditer(head)
        for claim, weight in rule.claims
    ]
    tagged = [row for tags in _TAGS.finditer(head) for row in read_phrases(head[: tags.end()], place, tags.start())]
    return evidence + [replace(row, weight=round(row.weight * TAGGED, 3), rule="") for row in tagged]


def without_homonyms(text: str, whole: str = "") -> str:
    """Text without paradigm words in another sense, in place: diffusion MRI, adversarial attacks, energy prices.

    A mask in the title (the first line of ``whole``, else of the text) stands for a name that was taken out, there and
    below. Elsewhere it is a masked model's.
    """
    if _MASK.search((whole or text).lstrip().split("\n", 1)[0]):
        text = _MASK.sub(lambda match: "_" * len(match.group()), text)
    text = cues("homonyms").sub(_unnamed, text)
    attacked = cues("attacks").search(text) and not _GENERATOR.search(text)
    return _TRAINING.sub(_unnamed, text) if attacked else text


def unfoiled(text: str) -> str:
    """Text in which statements about other systems are blanked: "unlike models that denoise, ours ..."."""
    ends = [*(match.start() for match in _SENTENCE.finditer(text)), len(text)]
    for begins, stop in list(_reaches(text, "foil", 90, 0, len(text))):
        stop = min(stop, ends[min(bisect_right(ends, begins), len(ends) - 1)])
        text = text[:begins] + " " * (stop - begins) + text[stop:]
    return text


def _unnamed(match: re.Match[str]) -> str:
    return _PARADIGM.sub(_blank, match.group())


def preamble(text: str) -> int:
    """The offset at which a text itself begins, behind comments and YAML at its head."""
    match = _PREAMBLE.match(text[:MAX_PROSE])
    return match.end() if match else 0


def kind_of(text: str) -> TextKind:
    """The kind of a text, card or line: the two are worded differently."""
    line = text.strip()
    short = len(line) < 20 * LINE_WORDS and "\n" not in line and len(re.findall(r"\w+", line)) <= LINE_WORDS
    return LINE if short else CARD


def read_phrases(text: str, place: Callable[[int], str] | None = None, begins: int = 0) -> list[Evidence]:
    """Evidence in phrases alone.

    Args:
        text: prose.
        place: the name of the place at an offset.
        begins: the offset at which reading begins.
    """
    place_of = place or places(text, "")
    prose = _prose(text[begins:])
    promises = list(_read_promises(prose, lambda at: place_of(begins + at)))
    parts = list(_read_parts(prose, lambda at: place_of(begins + at)))
    masked = prose.text
    for part, (start, end) in parts:
        if part.claim is Claim.PART_TEACHER:
            continue
        masked = masked[:start] + " " * (end - start) + masked[end:]
    prose = replace(prose, text=masked)
    claims = _fade_lists(list(_read_claims(prose, lambda at: place_of(begins + at))), prose)
    return [row for row, _ in parts] + claims + promises


def read_wording(text: str, kind: Reader, place: Callable[[int], str], text_kind: TextKind) -> list[Evidence]:
    """One row per cell: its log-odds above the least likely cell's, by the words as a whole.

    Args:
        text: prose or source.
        kind: the reader that asks.
        place: how the place at an offset is named.
        text_kind: the kind of text, named in each row's ``rule``.
    """
    rows = leaning(text if text_kind is CODE else unfoiled(without_homonyms(text)), text_kind, text)
    least = min((row.logit for row in rows), default=0.0)
    return [
        Evidence(
            shortened(", ".join(row.quotes)),
            place(row.at),
            LEANS[row.cell],
            round(row.logit - least, 3),
            kind,
            rule=text_kind.name,
        )
        for row in rows
    ]


def _read_parts(prose: _Prose, place: Callable[[int], str]) -> Iterator[tuple[Evidence, tuple[int, int]]]:
    """Evidence of parts, each with the span (perhaps empty) whose words say nothing of the generative step."""
    for claim, rule in part_rules().items():
        for pattern, of in ((rule.name, _ANY), (rule.told, _ANY), *rule.told_of):
            for match in islice(pattern.finditer(prose.text) if pattern else (), MOST_PARTS):
                start, end, weight = prose.sentence(match.start())
                weight *= _foil(prose.text, start, end, match, claim)
                form = Form.SCRAP if _scrap(prose, match) else Form.PASSAGE
                quote, where = _clause(prose, match), place(match.start())
                row = Evidence(quote, where, claim, weight, Reader.WORDS, form, OF + "|".join(sorted(of)) if of else "")
                yield row, match.span() if pattern is rule.name else (match.start(), match.start())


def _read_promises(prose: _Prose, place: Callable[[int], str]) -> Iterator[Evidence]:
    """What the text says of its own system against the textbook, outside of tables, commands and comparisons."""
    before, behind = not_its_own()
    for claim, rule in promise_rules().items():
        for match in islice(rule.words.finditer(prose.text), MOST_PARTS):
            start, end, weight = prose.sentence(match.start())
            weight *= _foil(prose.text, start, end, match, claim)
            other = before.search(prose.text[start : match.start()]) or behind.search(prose.text[match.end() : end])
            if weight > 0 and not other and not _scrap(prose, match):
                yield Evidence(_clause(prose, match), place(match.start()), claim, weight, Reader.WORDS)


def _read_claims(prose: _Prose, place: Callable[[int], str]) -> Iterator[tuple[Evidence, int]]:
    for rule in word_rules():
        claim, weight = rule.claim, rule.weight
        for count, match in enumerate(rule.pattern.finditer(prose.text)):
            if count == 40:
                break
            start, end, here = prose.sentence(match.start())
            factor = here * _foil(prose.text, start, end, match, claim)
            if count and weight < 1 and claim.cell is not None:
                factor *= 0.3  # a hint that is repeated is still one hint
            if claim is Claim.GENERATES and match.start() < TITLE:
                factor *= 3  # a title states the purpose of the system
            if _OWN.search(prose.text, start, end):
                factor *= 1.35 if start < 1500 else 1.2
            system = claim in _NAMED and start > 0 and bool(_SYSTEM.fullmatch(match.group()))
            hint = weight < STATEMENT or rule.id in hints() or system
            form = Form.SCRAP if _scrap(prose, match) else Form.HINT if hint else Form.PASSAGE
            quote, votes = _clause(prose, match), round(weight * factor, 3)
            if form is Form.PASSAGE and claim.aspect in _STATED and _states(prose, match, quote, claim in _NAMED):
                form = Form.REASON
            yield Evidence(quote, place(match.start()), claim, votes, Reader.WORDS, form, rule.id), start


def _states(prose: _Prose, match: re.Match[str], quote: str, named: bool) -> bool:
    """True where an actor trains or draws something, and the find stands beside that verb in a clause of its own.

    The name of a paradigm must be what is trained or drawn with, close behind the verb. An actor with a name of its
    own must be the system that the text is about.
    """
    if _GENERAL.search(quote) or _entitled(quote) or (named and re.search(r"\d", match.group())):
        return False
    start, end, _ = prose.sentence(match.start())
    for act in _ACTS.finditer(prose.quotable, start, end):
        between = prose.quotable[min(act.end(), match.end()) : max(match.start(), act.start())]
        apart = len(between) > (NAME_REACH if named else ACT_REACH) or re.search(r"[.;:()]\s|\s[(—–]", between)
        if apart or (named and match.start() < act.end() - 1):
            continue
        if act["name"] and act["name"].lower() not in prose.quotable[:TITLE].lower():
            continue
        if not _USES.search(act.group()) or _TRAINS.search(prose.quotable, act.end(), end):
            return True
    return False


def _entitled(quote: str) -> bool:
    """True for a title: most of its longer words begin with a capital."""
    words = re.findall(r"[A-Za-z][\w-]{3,}", quote)
    return sum(word[0].isupper() for word in words) >= TITLE_SHARE * len(words)


def _clause(prose: _Prose, match: re.Match[str]) -> str:
    """The sentence of a find without markup, or as many of its clauses around the find as a quote may have."""
    start, end, _ = prose.sentence(match.start())
    start = max(start, *(at for at in prose.blocks if at <= match.start()), 0)
    end = max(match.end(), min(end, *(at for at in prose.blocks if at >= match.end()), end))
    if len(_plain(prose.quotable[start:end])) > LONGEST_QUOTE:
        cuts = [cut.start() for cut in _CUT.finditer(prose.quotable, start + 1, end)]
        start, end = _around([start, *cuts, end], match, lambda a, b: len(_plain(prose.quotable[a:b])))
    return shortened(_plain(prose.quotable[start:end]))


def _around(cuts: list[int], match: re.Match[str], length: Callable[[int, int], int]) -> tuple[int, int]:
    """The widest stretch between cuts around a find that is short enough. It grows to the left first."""
    i = bisect_right(cuts, match.start()) - 1
    j = next((k for k, cut in enumerate(cuts) if cut >= match.end()), len(cuts) - 1)
    while i > 0 and length(cuts[i - 1], cuts[j]) <= LONGEST_QUOTE:
        i -= 1
    while j < len(cuts) - 1 and length(cuts[i], cuts[j + 1]) <= LONGEST_QUOTE:
        j += 1
    if length(cuts[i], cuts[j]) <= LONGEST_QUOTE:
        return cuts[i], cuts[j]
    begins = match.string.rfind(" ", 0, max(match.start() - LONGEST_QUOTE // 3, 0)) + 1
    return max(cuts[i], begins), cuts[j]


def _plain(text: str) -> str:
    """Words without marks of Markdown, and without the conjunction that a cut left in front."""
    words = " ".join(_MARKS.sub(" ", text).split()).strip(" ,;:—–-+")
    return _CONJUNCTION.sub("", words)


def _scrap(prose: _Prose, match: re.Match[str]) -> bool:
    """True where a find stands in no sentence about the system: a table, a command, a prompt, a note, a reference."""
    start, end, _ = prose.sentence(match.start())
    if prose.aside(match.start()) or not prose.quotable[match.start() : match.end()].strip():
        return True
    sentence = prose.quotable[start : max(end, match.end())]
    title = not prose.text[:start].strip("# \n\t")
    if len(_plain(sentence).split()) < (2 if title else FEWEST_WORDS):
        return True
    return bool(_SCRAP.search(sentence)) or _quoted(prose.quotable[start : match.start()])


def _quoted(before: str) -> bool:
    """True where quotation marks were opened before and not closed."""
    return before.count("“") > before.count("”") or before.count('"') % 2 == 1


def _foil(text: str, start: int, end: int, match: re.Match[str], claim: Claim) -> float:
    """0 behind a negation or a foil, 0.3 for background, else 1."""
    if _NON.search(text[max(start, match.start() - 5) : match.start()]):
        return -0.5 if claim is Claim.CALLED_AUTOREGRESSIVE else 0.0
    is_named = claim in _NAMED
    first = 1 if claim.aspect is Aspect.PROMISE else 3 if is_named else 2
    for cue, reach, factor in _FOILS[:first]:
        behind = _reaches(text, cue, reach, max(start, match.start() - 140), match.start() + 4)
        if any(begins <= match.start() + 1 and match.start() <= stop for begins, stop in behind):
            return factor
    return 0.3 if is_named and cues("foil_after").search(text[match.end() : min(end, match.end() + 60)]) else 1.0


def _reaches(text: str, cue: str, reach: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The stretches that a cue sets aside: up to a word with which something else begins, or so far on."""
    for match in cues(cue).finditer(text, start, end):
        boundary = _END_OF_FOIL if cue == "foil" else _BOUNDARY
        stop = boundary.search(text, match.end(), match.end() + reach)
        yield match.end(), stop.start() if stop else match.end() + reach


def _fade_lists(rows: list[tuple[Evidence, int]], prose: _Prose) -> list[Evidence]:
    """A sentence that names three paradigms or more speaks of none in particular."""
    cells: dict[int, set[object]] = {}
    for evidence, start in rows:
        if evidence.claim.aspect is Aspect.NAMED:
            cells.setdefault(start, set()).add(evidence.claim.cell)
    return [
        replace(e, weight=round(e.weight * 0.3, 3)) if e.claim in _NAMED and len(cells.get(start, ())) >= 3 else e
        for e, start in rows
    ]
