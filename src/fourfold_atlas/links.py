"""Links and ids that name a system, of hubs, of arXiv, of DOIs. They are recognised, and nothing is fetched."""

from __future__ import annotations

import re

__all__ = ["hub_name", "is_link", "key"]

_HUB = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|github\.com|gitlab\.com|modelscope\.cn/models|kaggle\.com/models)"
    r"/(?P<id>[\w.-]+/[\w.-]+)(?:[/?#]\S*)?/?",
    re.I,
)
_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[\w.-]+)")
_ARXIV = re.compile(
    r"(?:https?://)?(?:www\.)?(?:arxiv\.org/(?:abs|pdf|html)/|alphaxiv\.org/abs/|huggingface\.co/papers/|arxiv:\s*)?"
    r"(?P<number>\d{4}\.\d{4,5})(?:v\d+)?(?:\.pdf)?/?",
    re.I,
)
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(?P<doi>10\.\d{4,9}/\S+)", re.I)


def key(text: str) -> str | None:
    """A link or an id in one form: ``arxiv:2006.11239``, ``doi:10.1145/3065386``, ``hub:owner/name``."""
    text = text.strip().strip("<>()")
    if match := _ARXIV.fullmatch(text):
        return f"arxiv:{match['number']}"
    if match := _DOI.fullmatch(text):
        doi = match["doi"].lower().rstrip(".")
        number = re.fullmatch(r"10\.48550/arxiv\.(\d{4}\.\d{4,5})", doi)
        return f"arxiv:{number[1]}" if number else f"doi:{doi}"
    match = _HUB.fullmatch(text) or _ID.fullmatch(text)
    return f"hub:{match['id'].lower().removesuffix('.git')}" if match else None


def hub_name(text: str) -> str:
    """The name behind the owner in an id or a link of a hub, or the empty string."""
    link = key(text) or ""
    return link.partition("/")[2] if link.startswith("hub:") else ""


def is_link(text: str) -> bool:
    """True if a text is a link and nothing else."""
    return bool(re.fullmatch(r"https?://\S+", text.strip()))
