"""Elements escape whatever they are given, and only elements pass as they are."""

from html.parser import HTMLParser

from fourfold.pictures.markup import element, svg

HOSTILE = '"><script>x()</script>&lt;'


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.values = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)


def test_texts_and_attributes_come_back_as_they_were():
    reader = Reader()
    reader.feed(element("g", element("text", HOSTILE, css=HOSTILE), HOSTILE, aria_label=HOSTILE))
    reader.close()
    assert reader.tags == ["g", "text"]
    assert "".join(reader.texts) == 2 * HOSTILE
    assert reader.values == [HOSTILE, HOSTILE]


def test_attributes_have_their_names_and_digits():
    assert (
        element("path", d="M0 0", stroke_width=1.25, fill=None, css="a")
        == '<path d="M0 0" stroke-width="1.2" class="a"/>'
    )
    assert svg(20.4, 10, css="b") == '<svg viewBox="0 0 20 10" width="20" height="10" class="b"/>'
