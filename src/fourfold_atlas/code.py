"""The code reader: Python sources, parsed and never run."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from fourfold_atlas.evidence import LONGEST_QUOTE, Aspect, Claim, Evidence, Form, Reader, shortened
from fourfold_atlas.loops import drawing, handed_on
from fourfold_atlas.losses import computing, contrasting
from fourfold_atlas.rules import COMPARED, LOOP, SHIFTED, Rule, finder, hints, reason, statement_rules
from fourfold_atlas.wording import CODE
from fourfold_atlas.words import MAX_PROSE, places, read_phrases, read_wording, unblobbed

__all__ = ["Statement", "read_code", "read_definitions", "statements"]

MAX_CODE = 200_000
MAX_STATEMENTS = 3_000
MAX_LINE = 400
#: characters of a statement that is quoted with its loss
HALF = (LONGEST_QUOTE - 3) // 2
#: so much of its comments is read, and of its docstrings
MAX_REMARKS = 20_000
_SAMPLED = finder("code", "sampled")
_GROWS = finder("code", "grows")
_CRITIC = finder("code", "critic")
_IDLE = finder("code", "idle")
_COMPUTES = finder("code", "computes")
_RESCALES = reason("code", "rescales")
_GRADIENT = re.compile(r"autograd\.grad|\.grad\b|\bgrad\(|gradients?\(|backward\(")
_NOISE = re.compile(r"randn|normal_?\(|random_normal|noise|gauss", re.I)
_WITHOUT_LAST = re.compile(r"(?<![-\w.])(\w+)\[(?:\.\.\., ?|:, ?)?:-1(?:, ?:)?\]")
_WITHOUT_FIRST = re.compile(r"(?<![-\w.])(\w+)\[(?:\.\.\., ?|:, ?)?1:(?:, ?:)?\]")
#: a name that noise is drawn into; a network's answer to a name, with the name it is given to; a loop over batches
_DRAWN = re.compile(r"(\w+) = [\w.]*(?:randn|normal|rand|uniform)\(")
_CALL = re.compile(r"(?:^(?P<name>\w+) = )?(?<![\w.])(?P<net>[\w.]+)\((?P<given>\w+)(?:\.detach\(\))?\)")
_BATCH = re.compile(r"for (.*?) in .*(?:load|data|batch|iter)")
#: a squared or absolute error that is given a name
_ERROR = re.compile(r"([\w.]+) = [\w.]*(?:MSE|L1|SmoothL1|Huber)Loss\(")
#: calls that make an example of noise in many steps, and calls that make nothing
_SAMPLER = re.compile(r"langevin|sampl|chain|step|solve|ode|denois|diffus|len|range|print|float|int|str", re.I)
#: finds that tell a game without a critic's name
_JUDGED = ("code/game.held-constant", f"{COMPARED}{Claim.GAME}")
#: a statement that tells people something; a rule of this weight states, one of less only hints
_SAYS, FIRM = re.compile(r"^\w*(?:print|log|warn)\w*[.(]|add_argument\("), 1.5
#: sampling that needs no loop
_AT_ONCE = (Claim.MAP_NOISE, Claim.DECODE_LATENT, Claim.INVERT)
_QUOTES = re.compile(r"\"{3}|'{3}")
_BEGUN = finder("code", "begun")
#: from its opening quotes to its closing ones, or to the next definition where an excerpt cuts it
_DOCSTRING = finder("code", "docstring")
_TIMES = finder("code", "times")


@dataclass(frozen=True)
class Statement:
    """One statement, or the head of a compound one.

    Attributes:
        text: its text.
        line: its line.
        loop: the text of the loop that it heads, if any.
        hands: the work of that loop, by the value that it hands from one round to the next.
        contrasts: whether it takes correlations in a model's samples from those in data.
        loss: the statement that computes the loss which depends on it, if any.
        draws: whether a loop repeats it, where it stands in a function that draws examples, else ``None``.
    """

    text: str
    line: int
    loop: str = ""
    loss: str = ""
    draws: bool | None = None
    hands: Claim | None = None
    contrasts: bool = False


def read_code(source: str, where: str = "code") -> list[Evidence]:
    """Evidence in Python source: its statements, and the words in its names and comments.

    Args:
        source: whole files or excerpts, any indentation.
        where: the name that precedes line numbers.
    """
    return read_statements(source, where) + _wording(source, where)


def read_definitions(sources: Mapping[str, str], results: Collection[str] = ()) -> list[Evidence]:
    """Evidence in the definitions of several files of one system: statements of each, and the wording of them all.

    Args:
        sources: by the name of each file its source, with all but the definitions blanked.
        results: the names of functions whose results enter a loss of the system.
    """
    text = "\n".join(re.sub(r"\n{3,}", "\n\n", source) for source in sources.values())
    rows = [row for where, source in sources.items() for row in read_statements(source, where, results)]
    return rows + _wording(text, next(iter(sources), "code"))


def _wording(source: str, where: str) -> list[Evidence]:
    head = unblobbed(source[:MAX_PROSE])
    return read_wording(head, Reader.CODE, places(head, where), CODE)


def read_statements(source: str, where: str = "code", results: Collection[str] = ()) -> list[Evidence]:
    """Evidence in statements and comments alone. Fragments that do not parse are read line by line."""
    source = source[:MAX_CODE]
    bare = source if _parse(source) else _undocumented(source)
    rows = statements(bare, results)
    evidence = [*_lines(rows, where), *_loops(rows, where), *_shifted(rows, where)]
    evidence += [*_judged(rows, where), *_regressed(rows, where), *_contrasted(rows, where)]
    if not _CRITIC.search(source) and not any(row.rule in _JUDGED for row in evidence):
        evidence = [replace(row, weight=row.weight * 0.3) if row.claim is Claim.GAME else row for row in evidence]
    weight = sum(row.weight for row in evidence if row.claim.cell is not None)
    return evidence + _comments(source, where, 0.3 if weight >= 2 else 0.6)


def _undocumented(source: str) -> str:
    """Excerpts without their docstrings, which are words and no statements. Lines stay where they are."""

    def gap(match: re.Match[str]) -> str:
        return f"{match['indent']}pass" + "\n" * match.group().count("\n")

    first = _QUOTES.search(source)
    if first and len(_QUOTES.findall(source)) % 2 and not _BEGUN.search(source, 0, first.start()):
        source = "\n" * source.count("\n", 0, first.end()) + source[first.end() :]  # it begins within a docstring
    return _DOCSTRING.sub(gap, source)


def _shifted(rows: list[Statement], where: str) -> Iterator[Evidence]:
    """A sequence without its last piece, then without its first: inputs and targets of a next-piece loss."""
    line_of: dict[str, int] = {}
    for index, row in enumerate(rows):
        for match in _WITHOUT_FIRST.finditer(row.text):
            if 0 < index - line_of.get(match.group(1), -9) <= 4:
                place = f"{where}:{row.line}"
                yield Evidence(
                    shortened(row.text), place, Claim.NEXT_PIECE, 2.5, Reader.CODE, _compared(row), rule=SHIFTED
                )
        for match in _WITHOUT_LAST.finditer(row.text):
            if not _TIMES.search(match.group(1)):
                line_of[match.group(1)] = index


def _contrasted(rows: list[Statement], where: str) -> Iterator[Evidence]:
    """Correlations of two layers in data and in samples, whose difference trains an energy by hand."""
    for row in rows:
        if row.contrasts:
            claim = Claim.ENERGY_CONTRAST
            quote, place, rule = shortened(row.text), f"{where}:{row.line}", f"{COMPARED}{claim}"
            yield Evidence(quote, place, claim, 3.0, Reader.CODE, Form.REASON, rule)


def _judged(rows: list[Statement], where: str) -> Iterator[Evidence]:
    """Evidence of a discriminator, under any name: one network that judges examples and a generator's output."""
    noise: set[str] = set()
    network_of: dict[str, str] = {}
    judged: dict[str, set[bool]] = {}
    for row in rows:
        if draw := _DRAWN.match(row.text):
            noise.add(draw[1])
        for call in _CALL.finditer(row.text):
            net, argument = call["net"], call["given"]
            if argument in noise and call["name"] and not _SAMPLER.search(net):
                network_of[call["name"]] = net
            elif argument not in noise and network_of and network_of.get(argument) != net:
                judged.setdefault(net, set()).add(argument in network_of)
        if twice := next((net for net, of in judged.items() if len(of) == 2), None):
            del judged[twice]
            place, rule = f"{where}:{row.line}", f"{COMPARED}{Claim.GAME}"
            yield Evidence(shortened(row.text), place, Claim.GAME, 2.5, Reader.CODE, _compared(row), rule=rule)


def _regressed(rows: list[Statement], where: str) -> Iterator[Evidence]:
    """A squared or absolute error between a network's output for one member of a batch, and that member or another."""
    errors = [match[1] for row in rows if (match := _ERROR.match(row.text))]
    error = re.compile(
        rf"\b(?:(?:mse|l1|smooth_l1|huber)_loss|{'|'.join(errors) or '(?!)'})\((\w+)(?:\((\w+)\))?, (\w+)\)"
    )
    batch: set[str] = set()
    of: dict[str, str] = {}
    for row in rows:
        if loop := _BATCH.match(row.text):
            batch = set(re.findall(r"\w+", loop[1]))
        of |= {call["name"]: call["given"] for call in _CALL.finditer(row.text) if call["name"]}
        for match in error.finditer(row.text):
            argument, target = match[2] or of.get(match[1]), match[3]
            if argument in batch and target in batch:
                claim = Claim.REBUILD if argument == target else Claim.REGRESSION
                place, rule = f"{where}:{row.line}", f"{COMPARED}{claim}"
                yield Evidence(shortened(row.text), place, claim, 2.0, Reader.CODE, _compared(row), rule=rule)


def _compared(row: Statement) -> Form:
    return Form.REASON if row.loss else Form.PASSAGE


def statements(source: str, results: Collection[str] = ()) -> list[Statement]:
    """The statements of a source or of excerpts of one."""
    rows: list[Statement] = []
    for offset, block in _blocks(source):
        tree = _parse(block)
        rows += list(_walk(tree, offset, results)) if tree else _raw(block, offset)
        if len(rows) > MAX_STATEMENTS:
            break
    return rows[:MAX_STATEMENTS]


def _blocks(source: str) -> Iterator[tuple[int, str]]:
    """The whole source if it parses, else stretches between gaps and changes of indentation."""
    if _parse(source):
        yield 0, source
        return
    lines = source.split("\n")
    start = 0
    for index in range(1, len(lines) + 1):
        if (
            index == len(lines)
            or (not lines[index - 1].strip() and _indent(lines[index]) < _indent(lines[start] or " "))
            or lines[index - 1].strip() in ("...", "# ...")
        ):
            block = "\n".join(lines[start:index])
            if block.strip():
                yield start, block
            start = index


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else 10**6


def _parse(source: str) -> ast.Module | None:
    text = textwrap.dedent(source.expandtabs())
    for candidate in (text, "if True:\n" + textwrap.indent(text, " "), "def f():\n" + textwrap.indent(text, " ")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(candidate)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def _raw(block: str, offset: int) -> list[Statement]:
    """Logical lines by brackets, where no parser helps. Loops take the indented lines below them."""
    lines = [line[:MAX_LINE].split("  # ")[0] for line in block.split("\n")]
    rows: list[Statement] = []
    for index, line in enumerate(lines):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        loop = ""
        if re.match(r"(for|while)\b", text):
            body = []
            for below in lines[index + 1 : index + 60]:
                if below.strip() and _indent(below) <= _indent(line):
                    break
                body.append(below.strip())
            loop = "\n".join(body)
        statement = (
            " ".join(part.strip() for part in lines[index : index + 4]) if text.count("(") > text.count(")") else text
        )
        rows.append(Statement(statement[:MAX_LINE], offset + index + 1, loop))
    return rows


def _walk(tree: ast.Module, offset: int, results: Collection[str]) -> Iterator[Statement]:
    """Statements in order, iteratively deep. Docstrings are left to the comments."""
    losses, draws, contrasts = computing(tree, results), drawing(tree), contrasting(tree)
    stack: list[ast.stmt] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        inner: list[ast.stmt] = []
        for name in ("body", "orelse", "finalbody"):
            inner += [child for child in getattr(node, name, []) if isinstance(child, ast.stmt)]
        for handler in getattr(node, "handlers", []):
            inner += handler.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            hands, loop = None, ""
            if isinstance(node, ast.For | ast.While):
                hands, loop = handed_on(node), "\n".join(_text(child) for child in inner)
            line = node.lineno
            loss = losses.get(line, "")
            head, apart = _head(node, bool(inner)), line in contrasts
            yield Statement(head, line + offset, loop, loss, draws.get(line), hands, apart)
        stack += reversed(inner)


def _text(node: ast.AST) -> str:
    try:
        return ast.unparse(node)[:4000]
    except (RecursionError, ValueError):
        return ""


def _head(node: ast.stmt, compound: bool) -> str:
    if not compound:
        return _text(node)[:MAX_LINE]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"def {node.name}({_text(node.args)})"[:MAX_LINE]
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}({', '.join(_text(base) for base in node.bases)})"[:MAX_LINE]
    return _text(node).split("\n")[0][:MAX_LINE]


def _lines(rows: list[Statement], where: str) -> Iterator[Evidence]:
    for row in rows:
        if row.text.startswith(("import ", "from ", "print(", "logger.", "logging.", "assert ", "raise ", "parser.")):
            continue
        factor = 0.5 if row.text.startswith(("def ", "class ")) else 1.0
        for rule in statement_rules():
            if rule.pattern.search(row.text):
                place, weight = f"{where}:{row.line}", rule.weight * factor
                form = _form(row, rule)
                quote = _with_loss(row) if form is Form.REASON else shortened(row.text)
                yield Evidence(quote, place, rule.claim, weight, Reader.CODE, form, rule.id)


def _form(row: Statement, rule: Rule) -> Form:
    """A passage where the line computes something and its rule states a mechanism by itself.

    It is a reason where a loss depends on the line, or where the line draws examples.
    """
    if _SAYS.search(row.text):
        return Form.SCRAP
    if rule.weight < FIRM or rule.id in hints() or _IDLE.search(row.text):
        return Form.HINT
    if _RESCALES.search(row.text):
        return Form.PASSAGE
    once = row.draws is not None and rule.claim in _AT_ONCE
    draws = rule.claim.aspect is Aspect.SAMPLING and (row.draws or once)
    return Form.REASON if draws or (row.loss and rule.claim.aspect is Aspect.OBJECTIVE) else Form.PASSAGE


def _with_loss(row: Statement) -> str:
    """A statement, and the loss that depends on it where that is another."""
    if not row.loss or row.loss == row.text or _COMPUTES.search(row.text):
        return shortened(row.text)
    return " … ".join(text if len(text) <= HALF else f"{text[: HALF - 1]}…" for text in (row.text, row.loss))


def _loops(rows: list[Statement], where: str) -> list[Evidence]:
    evidence: list[Evidence] = []
    for row in rows:
        if not row.loop:
            continue
        quote = shortened(f"{row.text} … {_core(row.loop)}")
        for claim, weight in _loop_claims(row):
            place, rule = f"{where}:{row.line}", f"{LOOP}{claim}"
            evidence.append(Evidence(quote, place, claim, weight, Reader.CODE, Form.LOOP, rule))
    return evidence


def _core(loop: str) -> str:
    lines = [
        line.strip()
        for line in loop.split("\n")
        if _GROWS.search(line) or _GRADIENT.search(line) or _NOISE.search(line)
    ]
    return "; ".join(lines[:2])


def _loop_claims(row: Statement) -> Iterator[tuple[Claim, float]]:
    """The work of a loop by what it hands on, and by its words where that says nothing."""
    named = list(_named_claims(row))
    chain = any(claim is Claim.CHAIN for claim, _ in named)
    if row.hands is None or chain:
        yield from named
    else:
        yield row.hands, 2.0 if row.hands is Claim.ITERATE else 2.5


def _named_claims(row: Statement) -> Iterator[tuple[Claim, float]]:
    """The work of a loop: append a piece, step from t to s, or follow a gradient with noise."""
    trains = re.search(r"\.backward\(|optimi[sz]er|\.step\(\)|loader|epoch|enumerate\(", row.text + row.loop)
    gradient, noise = bool(_GRADIENT.search(row.loop)), bool(_NOISE.search(row.loop))
    if gradient and noise and not re.search(r"zero_grad|\.step\(\)|loader|epoch", row.loop + row.text):
        yield Claim.CHAIN, 2.5
        return
    if trains or re.search(r"loss|cross_entropy", row.loop):
        return
    if _feeds_back(row.loop) and _SAMPLED.search(row.loop) and not _TIMES.search(row.text.replace("max_steps", "")):
        yield Claim.ONE_BY_ONE, 2.5
    elif (
        _TIMES.search(row.text)
        and re.search(r"(?m)^\s*(\w+)(?:\.data|(?:, ?\w+)+)? ?(?:=|\+=|-=) ?.*", row.loop)
        and re.search(r"model|net|denois|score|unet|velocity|predict|self\(|fn\(|flow", row.loop)
    ):
        yield Claim.ITERATE, 2.0


def _feeds_back(loop: str) -> bool:
    """True if the loop reads again the value that it grows, or the piece that it adds."""
    growths = re.findall(
        r"(?m)^\s*([\w.]+)(?:\.(?:append|extend)\((\w+)|"
        r" ?= ?[\w.]*(?:cat|concat\w*|append|hstack)\(|\[[^\]=]+\] ?= ?(\w+)?)",
        loop,
    )
    for name, added, stored in growths:
        piece = added or stored
        rest = [
            line
            for line in loop.split("\n")
            if not re.match(rf"\s*{re.escape(name)}(?:\.append|\.extend)?\b ?[\[(]?", line)
        ]
        if any(re.search(rf"[(\[=,] ?{re.escape(name)}\b", line) for line in rest):
            return True
        if piece and any(re.match(rf"\s*(?!{piece}\b)[\w.]+ ?= ?.*\b{piece}\b", line) for line in rest):
            return True
    return False


def _comments(source: str, where: str, factor: float) -> list[Evidence]:
    """Comments and docstrings, read as words at a part of their weight: more where the code itself says nothing."""
    remarks = re.sub(r"(?m)^.*?#(?!!)|^(?!.*#).*$", lambda match: " " * len(match.group()), source)[:MAX_REMARKS]
    documents = list(re.finditer(r"(?s)(\"\"\"|''')(.*?)\1", source))
    text, begins = f"{remarks}\n\n", [(0, 0)]
    for match in documents:
        begins.append((len(text), match.start(2)))
        text += f"{match.group(2)}\n"
    if not text.strip():
        return []

    def place(at: int) -> str:
        start, true = begins[bisect_right(begins, (at, len(source))) - 1]
        return f"{where}:{source.count(chr(10), 0, true + at - start) + 1}"

    return [
        Evidence(row.quote, row.where, row.claim, round(row.weight * factor, 3), Reader.CODE, Form.COMMENT)
        for row in read_phrases(unblobbed(text[: len(remarks) + 2 + MAX_REMARKS]), place)
    ]
