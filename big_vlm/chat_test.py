import pathlib

import pytest

from big_vlm import chat
from big_vlm.vlm import VLM

TOKENIZER = pathlib.Path(__file__).parents[1] / "tests" / "golden" / "tokenizers" / "gemma"
TALK = [{"role": "user", "content": " Hi "},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "user", "content": "Who are you?"}]
SYSTEM = {"role": "system", "content": "Be short."}


def test_the_template_of_gemma():
  assert chat.text(TALK) == (
      "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
      "<start_of_turn>user\nWho are you?<end_of_turn>\n<start_of_turn>model\n")
  assert chat.text([SYSTEM, *TALK[:1]], system=True) == (
      "<start_of_turn>user\nBe short.\n\nHi<end_of_turn>\n<start_of_turn>model\n")


@pytest.mark.parametrize("messages, message", [
    ([SYSTEM, TALK[0]], "know no role 'system'"), (TALK[:2], "does not end with a message of the"),
    (TALK[1:], "Message 0 of the conversation is of 'assistant'"),
    ([{"role": "user", "content": {"type": "image"}}], "content of a message is a text"),
    ([{"role": "user", "text": "a"}], "A message has no 'text'"),
    ([{"role": "human", "content": "a"}], "Unknown role of a message 'human'")])
def test_errors(messages, message):
  with pytest.raises(ValueError, match=message):
    chat.text(messages)


def test_a_conversation_is_a_prompt(mesh1, text_only):
  model = next(TOKENIZER.glob("*.model"))
  gemma = VLM.from_config({"llm": {"variant": "tiny2"}}, f"sp({str(model)!r})", mesh=mesh1)
  ask = dict(max_new_tokens=4)
  wanted, = gemma.generate(chat.text(TALK), **ask)
  for got in (gemma.generate(TALK, **ask), gemma.generate([TALK, "a"], **ask)):
    assert got[0].tokens == wanted.tokens
  assert "".join(gemma.stream(TALK, **ask)) == wanted.text
  end, = gemma.tokenizer.to_int(chat.END)
  ended = gemma.generate(TALK, logit_bias={end: 1e4}, **ask)[0]
  assert (ended.tokens, ended.text, ended.finish_reason) == ([end], "", "stop")
  with pytest.raises(ValueError, match="this model answers a prompt: give a string"):
    text_only.generate(TALK)
