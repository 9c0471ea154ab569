import copy

import pytest
import torch

from captions import byte_rows, texts_of
from fourfold_captions.words import CaptionWords

LENGTH = 40
SEEN = ["red heart", "heart", "flag of Japan", "flag of Peru", "red flag, large", "großer ball", "ein großer"]
AWKWARD = [
    "",
    " red",
    "  red  heart",
    "red,heart",
    "red heart ",
    "a-red heart",
    "heartred",
    "red\theart",
    "ballgroßer",
    "…",
]


@pytest.fixture
def words() -> CaptionWords:
    encoder = CaptionWords(8)
    encoder.learn(byte_rows(SEEN, LENGTH))
    return encoder


def test_words_of_two_captions_are_learned_and_others_are_spelled(words):
    tokens = words.encode(byte_rows(["flag of Japan", "red heart"], LENGTH))
    assert [int((row >= 0).sum()) for row in tokens] == [2 + len(" Japan"), 2]
    assert tokens[0, 0] > CaptionWords.END  # "flag", the commonest
    assert words.encode(byte_rows(["heart red"], LENGTH)).tolist() == [tokens[1, :2].flip(0).tolist()]


@pytest.mark.parametrize("captions", [SEEN, AWKWARD, [" ".join(SEEN[:3])], ["x" * LENGTH]])
def test_tokens_spell_their_captions(words, captions):
    codes = byte_rows(captions, LENGTH)
    tokens = words.encode(codes)
    assert torch.equal(words.decode(tokens, LENGTH), codes)
    # what tokens spell is cut into them again, wherever it stands in a batch
    alone = [words.encode(row.unsqueeze(0))[0].tolist() for row in codes]
    assert alone == [[token for token in row if token >= 0] for row in tokens.tolist()]


def test_random_bytes_are_spelled(words):
    generator = torch.Generator().manual_seed(0)
    letters = torch.tensor(list(b" ,redhat\xc3\xff"))
    codes = letters[torch.randint(len(letters), (500, LENGTH), generator=generator)]
    codes[torch.arange(LENGTH) >= torch.randint(LENGTH + 1, (500, 1), generator=generator)] = -1
    assert torch.equal(words.decode(words.encode(codes), LENGTH), codes)


def test_more_is_drawn_than_a_caption_holds(words):
    heart = words.encode(byte_rows(["heart"], LENGTH))
    assert texts_of(words.decode(heart.expand(1, 3), 8)) == ["heart he"]


def test_weights_bring_their_words(words):
    other = CaptionWords(8)
    codes = byte_rows(["red heart"], LENGTH)
    assert other.encode(codes).shape[1] == len("red heart")
    other.load_state_dict(words.state_dict())
    assert torch.equal(other.encode(codes), words.encode(codes))
    assert torch.equal(copy.deepcopy(other).encode(codes), words.encode(codes))


def test_captions_without_common_words_are_bytes():
    words = CaptionWords(8)
    words.learn(byte_rows(["one", "two"], 3))
    assert words.encode(byte_rows(["two"], 3)).tolist() == [list(b"two")]
    assert words.encode(byte_rows(["", ""], 3)).shape == (2, 0)
    assert isinstance(texts_of(words.decode(torch.full((1, 2), -1), 3))[0], str)
