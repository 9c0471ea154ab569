"""Text: characters where few are distinct, bytes otherwise."""

from __future__ import annotations

from fourfold.data.dataset import DataError, Options, Source
from fourfold.spaces import Text

__all__ = ["text_source"]

MOST_CHARACTERS = 256
"""With more distinct characters than this a text is read as bytes."""


def text_source(name: str, content: bytes, options: Options, where: str) -> Source:
    """The ids of a text: of its characters, or of its bytes where they are too many or bytes are asked for.

    Raises:
        DataError: if it is empty, or not UTF-8 where characters are needed.
    """
    if options.length < 2:
        raise DataError(f"length {options.length} is no window: give at least 2")
    if not content.strip():
        raise DataError(f"{name}: holds no text: give a file with some")
    text = "" if options.as_bytes else _decoded(name, content)
    vocabulary = "".join(sorted(set(text)))
    if options.as_bytes is None and len(vocabulary) > MOST_CHARACTERS:
        vocabulary = ""
    space = Text(vocabulary, options.length)
    ids = space.parse(text) if vocabulary else Text().parse_bytes(content)
    return Source(ids, space, where, hint="a text has none, load it without conditional")


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}, byte {error.start}: is no UTF-8 (0x{content[error.start]:02x}): convert it "
            "(iconv -f latin1 -t utf-8), or read it as bytes (as_bytes=True)"
        ) from None
