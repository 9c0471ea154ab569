"""Dialogues: what the model is asked, what is kept of an answer, and what it scores."""

from __future__ import annotations

import json
import time

import pytest
import torch

from fourfold import build
from fourfold.spaces import Text, Tokenizer
from fourfold.tasks.language import Shaping
from fourfold_published import rendering
from fourfold_published.dialogue import Dialogue, chat_template

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    import tokenizers

    tokenizer_file = tokenizers.Tokenizer.from_str(
        Tokenizer.learn("user assistant how are you? fine.\n" * 50, 290).file
    )
    tokenizer_file.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return Tokenizer(tokenizer_file.to_str())


def _model(space):
    torch.manual_seed(0)
    model = build("autoregressive", space, size="xs").eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_words_of_a_turn_are_never_special_tokens(tokenizer):
    talk = Dialogue(_model(Text("", 200, tokenizer=tokenizer)), (TEMPLATE, {"bos_token": "<s>"}), length=20)
    talk.ask("how <|im_end|> are you?")
    ids, dropped = talk.context()
    start, end = tokenizer.marked_ids("<|im_start|><|im_end|>")
    assert dropped == 0
    assert (ids.count(start), ids.count(end)) == (2, 1)
    assert ids[-len(tokenizer.ids("assistant\n")) - 1] == start
    assert "how <|im_end|> are you?" in tokenizer.text(ids)


def test_a_template_that_loses_words_is_refused(tokenizer):
    talk = Dialogue(_model(Text("", 200, tokenizer=tokenizer)), ("{{ messages[-1]['content'] }}", {}), length=20)
    talk.turns += [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    talk.ask("c")
    with pytest.raises(ValueError, match="leaves out turn 1: begin anew"):
        talk.context()


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "has not ended after 2 s"),
        ("{{ 10 ** (10 ** 9) }}", "has not ended after 2 s|fails"),
        ("{{ ('a' * 9999999999) | length }}", "takes too much memory"),
        ("{% for a in range(99999) %}{{ 'a' * 99999 }}{% endfor %}", "writes more than 4,194,304 characters"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{% for a in %}", "fails"),
        ("{{ raise_exception('roles must alternate') }}", "refuses this dialogue: roles must alternate"),
    ],
)
def test_a_template_has_limits(tokenizer, monkeypatch, template, words):
    """Two nested ranges never ended."""
    monkeypatch.setattr(rendering, "SECONDS", 2)
    talk = Dialogue(_model(Text("", 200, tokenizer=tokenizer)), (template, {}), length=20)
    talk.ask("how are you?")
    start = time.monotonic()
    with pytest.raises(ValueError, match=words) as caught:
        talk.context()
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 20


def test_an_answer_scores_as_the_network_says():
    model = _model(Text("abYouMdel: \n?", 64))
    talk = Dialogue(model, length=10)
    talk.ask("a b?")
    answer = "".join(talk.answer())
    assert talk.turns[-1] == {"role": "assistant", "content": answer}
    nats, tokens = talk.score()
    ids = model.space.parse("You: a b?\nModel:" + answer)
    with torch.no_grad():
        expected = model.estimand(ids[None])[0, len(ids) - len(answer) :].sum().item()
    assert tokens == len(answer)
    assert nats == pytest.approx(expected, abs=1e-3)


def test_what_was_said_before_a_stop_is_kept():
    talk = Dialogue(_model(Text("abYouMdel: \n?", 64)), length=30)
    talk.ask("a?")
    answer = talk.answer()
    said = next(answer) + next(answer)
    answer.close()
    assert talk.turns[-1]["content"] == said


def test_old_turns_leave_when_the_context_is_full():
    talk = Dialogue(_model(Text("abYouMdel: \n?", 64)), length=10)
    for _ in range(3):
        talk.ask("a b a b a b?")
        talk.turns.append({"role": "assistant", "content": "b"})
    talk.ask("b?")
    ids, dropped = talk.context()
    assert dropped in (2, 4, 6)
    assert len(ids) <= 54
    talk.turns.clear()
    talk.ask("a" * 100)
    with pytest.raises(ValueError, match="context of 64 tokens"):
        talk.context()


def test_text_that_may_still_change_is_held_back():
    model = _model(Text("", 64))  # bytes
    talk = Dialogue(model, shaping=Shaping(), length=40)
    talk.ask("é?")
    answer = "".join(talk.answer())
    assert answer == talk.turns[-1]["content"]


def test_a_template_is_found_where_models_keep_it(tmp_path):
    assert chat_template(tmp_path) is None
    about = {"chat_template": TEMPLATE, "bos_token": {"content": "<s>"}, "eos_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
    assert chat_template(tmp_path) == (TEMPLATE, {"bos_token": "<s>", "eos_token": ""})
    (tmp_path / "chat_template.jinja").write_text("alone")
    assert chat_template(tmp_path)[0] == "alone"
