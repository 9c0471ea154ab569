"""The files reader: pipelines, configurations and tensor names of a model folder. Nothing is loaded or run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from fourfold_atlas.bounded import (
    MAX_NESTING,
    Shapes,
    UnreadableError,
    gguf_header,
    load_json,
    nesting,
    read_text,
    safetensors_names,
    without_json_comments,
)
from fourfold_atlas.evidence import Claim, Evidence, Reader, shortened
from fourfold_atlas.rules import file_rules, finder
from fourfold_atlas.votes import by_claim
from fourfold_atlas.wording import SETTINGS
from fourfold_atlas.words import MAX_PROSE, places, read_wording

__all__ = ["FileSet", "is_config", "is_model_file", "read_files", "read_keys", "read_paths", "settings_words"]
__all__ += ["split_documents", "without_remarks"]

CONFIG_NAMES = re.compile(r"\.(json|ya?ml|toml|ini|cfg|gin)$", re.I)
_NOISE = finder("hub", "noise")
_MODEL_FILE = finder("hub", "model_file")
#: keys of a model library's own ``config.json``. A training script's file of the same name lacks them
_STANDARD = frozenset(
    "architectures model_type _class_name auto_map pretrained_cfg peft_type __version__ model_cfg".split()  # noqa: SIM905
)
#: a comment of YAML, TOML, INI or gin
_REMARK = re.compile(r"(?m)(?:^|(?<=\s))#.*$|^[ \t]*;.*$")
#: data in letters, not a name: patterns would look in vain for its end
_DATA = re.compile(r"[\w./+-]{400,}")
#: keys in capitals, `DISCRIMINATOR_LR`, `Affine_Coupling`, `Discriminator`: a class has two capitals and no line
_CAPITALS = re.compile(
    r"""(?m)^[ \t{,"']*(?:[A-Z][A-Z0-9]*_[A-Z0-9_]+|[A-Z][a-z0-9]*(?:_[A-Z0-9][a-z0-9]*)*)["']?[ \t]*[:=]"""
)
#: where a name in camel case begins another word
_CASES = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
MAX_WEIGHTS = 4
MAX_CONFIGS = 60
MAX_TENSORS = 20_000


def is_model_file(path: Path) -> bool:
    """True if model libraries write such a file beside their weights: by its name, a ``config.json`` by its keys."""
    if not _MODEL_FILE.search(path.name):
        return False
    if path.name != "config.json":
        return True
    try:
        value = load_json(read_text(path), str(path))
    except UnreadableError:
        return False
    return _is_standard(value)


def is_config(name: str) -> bool:
    """True if a file name is that of a configuration worth reading."""
    return bool(CONFIG_NAMES.search(name)) and not _NOISE.search(PurePosixPath(name).name)


@dataclass(frozen=True)
class FileSet:
    """Configuration files by their relative path, parsed where they are JSON; headers of weights; unreadable files."""

    texts: Mapping[str, str]
    values: Mapping[str, Any]
    tensors: Mapping[str, Shapes]
    skipped: tuple[str, ...] = ()
    metadata: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        texts: Mapping[str, str],
        tensors: Mapping[str, Shapes] | None = None,
        skipped: tuple[str, ...] = (),
        metadata: Mapping[str, Mapping[str, str | int]] | None = None,
    ) -> FileSet:
        """Parse JSON; ``skipped`` names broken files, which say nothing; comments say nothing either."""
        values: dict[str, Any] = {}
        plain: dict[str, str] = {}
        broken = list(skipped)
        for name, text in texts.items():
            try:
                if name.lower().endswith(".json"):
                    values[name] = load_json(text, name)
                plain[name] = without_json_comments(text) if name in values else without_remarks(text)
            except UnreadableError as error:
                broken.append(str(error))
        return cls(plain, values, tensors or {}, tuple(broken), metadata or {})


def read_paths(paths: Iterable[Path], folder: Path) -> FileSet:
    """The configuration files and headers of weights among these paths, by their names relative to ``folder``."""
    texts: dict[str, str] = {}
    tensors: dict[str, Shapes] = {}
    metadata: dict[str, Mapping[str, str | int]] = {}
    skipped: list[str] = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            if path.suffix == ".safetensors" and len(tensors) < MAX_WEIGHTS:
                tensors[name] = safetensors_names(path)
            elif path.suffix == ".gguf" and len(tensors) < MAX_WEIGHTS:
                metadata[name], tensors[name] = gguf_header(path)
            elif is_config(name) and len(texts) < MAX_CONFIGS:
                texts[name] = read_text(path)
        except (UnreadableError, OSError) as error:
            skipped.append(str(error)[:200])
    return FileSet.of(texts, tensors, tuple(skipped), metadata)


def split_documents(text: str) -> dict[str, str]:
    """Several files pasted into one text, apart again: JSON objects by the file name on the line before each.

    Text without any JSON object is one configuration of unknown format.
    """
    documents: dict[str, str] = {}
    decoder, at = json.JSONDecoder(parse_int=lambda digits: digits[:40]), 0
    deep = nesting(text[:2_000_000]) > MAX_NESTING
    for start in _OBJECT.finditer(text):
        if start.end() - 1 < at or len(documents) >= MAX_CONFIGS or deep:
            continue
        try:
            value, end = decoder.raw_decode(text, start.end() - 1)
        except (ValueError, RecursionError):
            continue
        heading = re.findall(r"[\w./-]+\.json\b", text[at : start.start() + 1])
        name = heading[-1].lstrip("./") if heading else _guess(value, len(documents))
        documents[name if name not in documents else f"{len(documents)}/{name}"] = text[start.end() - 1 : end]
        at = end
    return documents or {"config.yaml": text}


#: a class without a head hands out features. Chat models of their own code name themselves so too, and generate
_HEADLESS = re.compile(r"^(?!.*(?:Chat|GLM|Generat|Decoder|Diffus|GAN|VAE|Flow))\w+(?<!LMHead)(?<!Heads)Model$")
_OBJECT = re.compile(r"(?m)^[ \t]*\{")


def _guess(value: Mapping[str, Any], count: int) -> str:
    """A name for a JSON object that came without one."""
    kind = str(value.get("_class_name", ""))
    if kind.endswith("Pipeline") or isinstance(value.get("scheduler"), list):
        return "model_index.json"
    if kind.endswith("Scheduler"):
        return "scheduler/scheduler_config.json"
    if "peft_type" in value:
        return "adapter_config.json"
    return "config.json" if count == 0 else f"part{count}/config.json"


def _first(section: str, text: str, where: str, factor: float = 1.0) -> list[Evidence]:
    """The evidence of the first rule of a section that matches."""
    for rule in file_rules(section):
        if rule.pattern.search(text):
            return [_row(text, where, claim, weight * factor) for claim, weight in rule.claims]
    return []


def _row(quote: str, where: str, claim: Claim, weight: float, rule: str = "") -> Evidence:
    return Evidence(shortened(quote), where, claim, weight, Reader.FILES, rule=rule)


def read_files(files: FileSet) -> list[Evidence]:
    """Evidence in a set of model files.

    A pipeline's index speaks first; then each component's class; then `architectures`; then keys of any configuration.
    """
    index = {name: value for name, value in files.values.items() if isinstance(value, dict) and _is_index(name, value)}
    pipeline = bool(index) or any("scheduler" in name for name in files.values)
    evidence_rows: list[Evidence] = []
    for name, value in index.items():
        evidence_rows += _pipeline(name, value)
    for name, value in files.values.items():
        if name not in index and isinstance(value, dict):
            evidence_rows += _component(name, value) if pipeline else _model(name, value)
    for name in files.texts:
        evidence_rows += _first("markers", name, name)[:2]
    if any(_POOLS.search(name) for name in files.texts):
        evidence_rows = [replace(row, weight=0.2 * row.weight) if row.claim in _HEADS else row for row in evidence_rows]
    decided = any(evidence.weight >= 3 and not evidence.claim.name.startswith("PART") for evidence in evidence_rows)
    keys: list[Evidence] = []
    for name, text in files.texts.items():
        if name not in index and not (pipeline and _is_part(name)):
            keys += read_keys(name, text, 0.15 if decided else 1.0)
    evidence_rows += with_roles(keys)
    for name, tensors in files.tensors.items():
        evidence_rows += _tensors(name, tensors)
    for name, metadata in files.metadata.items():
        evidence_rows += _metadata(name, metadata)
    settings = {name: text for name, text in files.texts.items() if not _is_standard(files.values.get(name))}
    return evidence_rows if pipeline or decided or files.tensors else evidence_rows + _wording(settings)


def _is_standard(value: object) -> bool:
    """True if a model library wrote a file with this content."""
    return isinstance(value, dict) and not _STANDARD.isdisjoint(value)


def _wording(texts: Mapping[str, str]) -> list[Evidence]:
    """The wording of settings: the words of their keys, names and values."""
    text = settings_words("\n".join(texts.values())[:MAX_PROSE])
    return read_wording(text, Reader.FILES, places(text, ", ".join(texts)), SETTINGS)


def without_remarks(text: str) -> str:
    """Settings without their comments."""
    return _REMARK.sub("", text)


def settings_words(text: str) -> str:
    """Settings as words: names of classes and keys are cut where their letters change case."""
    return _DATA.sub(" ", _CASES.sub(" ", text).replace("_", " "))


def _metadata(name: str, metadata: Mapping[str, str | int]) -> list[Evidence]:
    """Evidence in a GGUF header: the kind of model, and whether its states are pooled into one vector."""
    pooled = next((key for key, value in metadata.items() if key.endswith(".pooling_type") and value), None)
    if pooled:
        return [_row(pooled, f"{name}: header", Claim.FEATURES, 4.0)]
    kind = str(metadata.get("general.architecture", ""))
    return _first("model_types", kind, f"{name}: general.architecture")


#: states are pooled into one vector: the head that the architecture is named after is not used
_POOLS = re.compile(r"(^|/)1_Pooling/config\.json$")
_HEADS = (Claim.NEXT_PIECE, Claim.ONE_BY_ONE, Claim.CALLED_AUTOREGRESSIVE)


def _is_index(name: str, value: Mapping[str, Any]) -> bool:
    """True if this is a pipeline's index: by its name, or by its content under another name."""
    is_index = PurePosixPath(name).name == "model_index.json"
    return is_index or (str(value.get("_class_name", "")).endswith("Pipeline") and any(map(_is_entry, value.values())))


def _is_entry(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] in ("diffusers", "transformers")


def _is_part(name: str) -> bool:
    return bool(
        re.search(
            r"(^|/)(text_encoder|tokenizer|vae|vqgan|vqvae|movq|image_encoder|safety_checker|feature|vocoder|language_model|projection)",
            name,
        )
    )


def _pipeline(name: str, index: Mapping[str, Any]) -> Iterator[Evidence]:
    yield from _first("pipelines", str(index.get("_class_name", "")), f"{name}: $._class_name")
    for part, value in index.items():
        if isinstance(value, list) and len(value) >= 2 and isinstance(value[1], str):
            where = f"{name}: $.{part}"
            if "scheduler" in part:
                yield from _first("schedulers", value[1], where)
            elif part != "safety_checker":
                yield from _role(part, value[1], where)


def _role(part: str, kind: str, where: str) -> list[Evidence]:
    """A component's evidence, by the role it plays in the pipeline and then by its class."""
    for rule in file_rules("roles"):
        if rule.pattern.search(part):
            return [_row(f"{part}: {kind}", where, rule.claim, rule.weight)]
    return _first("components", kind, where)


def _component(name: str, config: Mapping[str, Any]) -> list[Evidence]:
    """A component's own configuration inside a pipeline folder."""
    kind = str(config.get("_class_name", ""))
    folder = PurePosixPath(name).parent.name
    if "scheduler" in name or kind.endswith("Scheduler"):
        return _first("schedulers", kind or "Scheduler", f"{name}: $._class_name")
    architectures = config.get("architectures")
    kind = kind or (str(architectures[0]) if isinstance(architectures, list) and architectures else folder)
    return _role(folder, kind, f"{name}: $._class_name") if folder else _alone(kind, name)


def _alone(kind: str, name: str) -> list[Evidence]:
    where = f"{name}: $._class_name"
    rows = _first("components", kind, where)
    meaning = {
        Claim.PART_NETWORK: ((Claim.DENOISE, 3.0), (Claim.ITERATE, 2.0)),
        Claim.PART_CONTROL: ((Claim.DENOISE, 2.0),),
        Claim.PART_TOKENIZER: ((Claim.REBUILD, 4.0),),
        Claim.PART_AUTOENCODER: ((Claim.BOUND, 3.0), (Claim.REBUILD, 2.0))
        if re.search("KL|Oobleck|VAE", kind)
        else ((Claim.REBUILD, 4.0),),
        Claim.PART_TEXT_ENCODER: ((Claim.FEATURES, 4.0),),
        Claim.PART_VOCODER: ((Claim.GAME, 3.0), (Claim.MAP_NOISE, 1.0)),
    }
    extra = [_row(kind, where, claim, weight) for row in rows for claim, weight in meaning.get(row.claim, ())]
    return extra if rows and rows[0].claim not in (Claim.PART_NETWORK, Claim.PART_CONTROL) else rows + extra


def _model(name: str, config: Mapping[str, Any]) -> list[Evidence]:
    """A single model's configuration."""
    kind = str(config.get("_class_name", ""))
    if kind:
        where = f"{name}: $._class_name"
        return _first("schedulers", kind, where) if kind.endswith("Scheduler") else _alone(kind, name)
    if PurePosixPath(name).name == "adapter_config.json":
        return _adapter(name, config)
    architectures = config.get("architectures")
    names = [item for item in architectures if isinstance(item, str)][:4] if isinstance(architectures, list) else []
    mapped = config.get("auto_map")
    keys = [str(key) for key in mapped if key != "AutoConfig"] if isinstance(mapped, dict) else []
    candidates = [(text, "$.architectures", 1.0) for text in names]
    candidates += [(key.removeprefix("AutoModel"), "$.auto_map", 0.8) for key in keys]
    for text, where, factor in candidates:
        if rows := _first("architectures", text, f"{name}: {where}", factor):
            return rows
    if "architecture" in config and {"num_classes", "pretrained_cfg"} & set(config):
        return [_row(f"num_classes: {config.get('num_classes')}", f"{name}: $.num_classes", Claim.LABELS, 3.0)]
    return _by_type(name, config, names)


def _by_type(name: str, config: Mapping[str, Any], names: list[str]) -> list[Evidence]:
    """Evidence where no class name decides: the absence of a head, the type of the model, a decoder."""
    decodes = config.get("is_encoder_decoder") is True
    if names and all(_HEADLESS.search(item) for item in names) and not decodes:
        return [_row(names[0], f"{name}: $.architectures", Claim.FEATURES, 2.6)]
    rows = _first("model_types", str(config.get("model_type", "")), f"{name}: $.model_type")
    if not rows and decodes:
        rows = [_row("is_encoder_decoder: true", f"{name}: $.is_encoder_decoder", Claim.NEXT_PIECE, 2.0)]
    return rows


def _adapter(name: str, config: Mapping[str, Any]) -> list[Evidence]:
    """An adapter is a part: it inherits the place of the model it adapts, as far as its task says."""
    rows = [_row(f"peft_type: {config.get('peft_type')}", f"{name}: $.peft_type", Claim.PART_ADAPTER, 1.0)]
    task = _first("tasks", str(config.get("task_type", "")), f"{name}: $.task_type")
    mapping = config.get("auto_mapping")
    base = str(mapping.get("base_model_class", "")) if isinstance(mapping, dict) else ""
    rows += task or _first("architectures", base, f"{name}: $.auto_mapping.base_model_class")
    modules = str(config.get("target_modules", ""))
    if re.search(r"to_[qkv]\b|to_out|proj_in|ff\.net", modules):
        rows.append(_row(modules, f"{name}: $.target_modules", Claim.DENOISE, 2.5))
    return rows


def read_keys(name: str, text: str, factor: float = 1.0) -> Iterator[Evidence]:
    """Evidence in the keys and values of any configuration.

    Args:
        name: the name of its file, which quotes carry.
        text: the file without its comments.
        factor: the weight of each find.
    """
    text = _CAPITALS.sub(lambda match: match.group().lower(), _DATA.sub(" ", text[:100_000]))
    for rule in (*file_rules("declared"), *file_rules("keys"), *file_rules("tags")):
        words: set[str] = set()
        for match in rule.pattern.finditer(text):
            word = match.group()[:60].lower()
            if word in words or len(words) >= 6:
                continue
            words.add(word)
            line = text.count("\n", 0, match.start()) + 1
            for claim, weight in rule.claims:
                yield _row(match.group(), f"{name}:{line}", claim, round(weight * factor, 3), rule.id)


#: a mechanism is what settings are about from so many votes on
_MAIN = 2.5
#: an autoencoder is what settings are about from so many votes on, by one key of a codebook or by its class
_CODEC = 1.5


def with_roles(rows: list[Evidence]) -> list[Evidence]:
    """Settings in which one mechanism serves another, with the part that the servant plays.

    A codec's discriminator is a critic that helps to train it, and so is that of an autoencoder with a bound. A codec
    in the settings of a model of its codes is a tokenizer. Critics and replay buffers of an agent play no game.
    A codec with a critic is causal where its convolutions are, and no sequence model.
    """
    votes = by_claim(rows)
    if min(votes.get(Claim.REBUILD, 0.0), votes.get(Claim.GAME, 0.0)) >= _CODEC:
        rows = [row for row in rows if not row.quote.startswith("causal")]
        votes = by_claim(rows)

    def total(*claims: Claim) -> float:
        return sum(votes.get(claim, 0.0) for claim in claims)

    roles: dict[Claim, Claim | None] = {}
    if total(Claim.REWARD) >= _MAIN:
        roles |= {Claim.GAME: None, Claim.MAP_NOISE: None, Claim.ENERGY_CONTRAST: None}
    elif total(Claim.NEXT_PIECE, Claim.DENOISE, Claim.VELOCITY, Claim.MASKED_BOUND) >= _MAIN:
        roles |= {Claim.REBUILD: Claim.PART_TOKENIZER}
    elif total(Claim.REBUILD) >= _CODEC:
        roles |= {Claim.GAME: Claim.PART_CRITIC, Claim.MAP_NOISE: None}
        roles |= {Claim.REBUILD: None} if total(Claim.BOUND) >= _MAIN else {}
    played = [replace(row, claim=roles.get(row.claim) or row.claim, rule="") for row in rows if row.claim in roles]
    return [row for row in rows if row.claim not in roles] + [row for row in played if row.claim not in roles]


def _tensors(name: str, tensors: Mapping[str, tuple[int, ...]]) -> Iterator[Evidence]:
    names = list(tensors)[:MAX_TENSORS]
    for rule in file_rules("tensors"):
        hit = next((tensor for tensor in names if rule.pattern.search(tensor)), None)
        if hit is not None:
            for claim, weight in rule.claims:
                yield _row(f"{hit} {list(tensors[hit])}", f"{name}: header", claim, weight)
