"""Conversations with Gemma's instruction-tuned models, as transformers' apply_chat_template lays
them out:

  <start_of_turn>user
  Who are you?<end_of_turn>
  <start_of_turn>model
"""
import dataclasses

from big_vlm.decode.session import GenerationConfig
from big_vlm.families import gemma, gemma3
from pp.names import check_names, pick

ROLES = {"user": "user", "assistant": "model", "model": "model"}
END = "<end_of_turn>"


def expand(prompts, config, model_config, tokenizer):
  """(prompts, GenerationConfig) where prompts may be a conversation, or a list of such; else both
  as they are. A stop that is left at its default gets the end of a turn.

  A conversation is [{"role": "user", "content": "hi"}, ...], from the user, in turns, to the user.
  Raises ValueError for another one, and for a model that follows none.
  """
  conversations = [prompts] if _is_conversation(prompts) else prompts
  if not (isinstance(conversations, (list, tuple)) and any(map(_is_conversation, conversations))):
    return prompts, config
  end = tokenizer.to_int(END) if tokenizer else ()
  if model_config.img or type(model_config.llm) not in (gemma.Config, gemma3.Config) or (
      len(end) != 1):
    raise ValueError("The prompts are a conversation, which Gemma's instruction-tuned models "
                     f"follow (their tokenizer has {END}); this model answers a prompt: give a "
                     "string.")
  if isinstance(config.stop, tuple) and config.stop == GenerationConfig.stop:
    config = dataclasses.replace(config, stop=(*config.stop, *end))
  system = type(model_config.llm) is gemma3.Config
  return [text(messages, system) if _is_conversation(messages) else messages
          for messages in conversations], config


def text(messages, system=False):
  """The prompt of a conversation; system: whether it may begin with a message of that role, which
  stands in front of the user's first one, as in Gemma 3."""
  messages, first = list(messages), ""
  if messages[0]["role"] == "system":
    if not system:
      raise ValueError("Gemma 1 and 2 know no role 'system': put it into the user's first message.")
    first = _content(messages.pop(0)) + "\n\n"
  out = []
  for i, message in enumerate(messages):
    role = pick(ROLES, message["role"], "role of a message")
    if (role == "user") != (i % 2 == 0):
      raise ValueError(f"Message {i} of the conversation is of {message['role']!r}: the user "
                       "begins, and user and assistant take turns.")
    content = first * (i == 0) + _content(message).strip()
    out.append(f"<start_of_turn>{role}\n{content}{END}\n")
  if len(messages) % 2 == 0:
    raise ValueError("The conversation does not end with a message of the user. To continue an "
                     "answer, give its begin as answer_start=.")
  return "".join(out) + "<start_of_turn>model\n"


def _is_conversation(x):
  return isinstance(x, (list, tuple)) and len(x) > 0 and all(
      isinstance(message, dict) and "role" in message for message in x)


def _content(message):
  check_names(message, ("role", "content"), "A message")
  content = message.get("content")
  if isinstance(content, (list, tuple)) and all(
      isinstance(part, dict) and part.get("type") == "text" for part in content):
    content = "".join(str(part.get("text", "")) for part in content)
  if not isinstance(content, str):
    raise ValueError(f"The content of a message is a text, not {content!r:.80}.")
  return content
