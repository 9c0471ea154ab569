"""Reads the HTML of a result: well-formed, without scripts, with pictures inside."""

from html.parser import HTMLParser

VOID = {"img", "path"}


class _Reader(HTMLParser):
    """Collects texts and tags, and refuses tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.tags, self.urls = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.urls += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read(html):
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    assert "script" not in reader.tags
    assert all(url.startswith("data:") for url in reader.urls)
    return reader
