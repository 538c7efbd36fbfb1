"""How long grammars take with a vocabulary of Gemma's size: .venv/bin/python -m benchmarks.grammars

The vocabulary is synthetic (benchmarks/vocabulary.py). A mask is one new state's, in the
middle of a string, where nearly all tokens are allowed, "near the limit" one that counts the way to
the end.
"""
import pathlib
import tempfile
import time

from benchmarks import vocabulary
from big_vlm.decode import structured
from pp.tokenizer import get_tokenizer

SCHEMA = {"type": "object", "properties": {
    "name": {"type": "string"}, "kind": {"enum": ["invoice", "receipt", "letter"]},
    "total": {"type": "number"}, "paid": {"type": "boolean"},
    "lines": {"type": "array", "items": {"type": "object", "properties": {
        "text": {"type": "string"}, "count": {"type": "integer"}}, "required": ["text"]}},
    "date": {"type": "string", "pattern": "[0-9]{4}-[0-9]{2}-[0-9]{2}"}}, "required": ["name"]}


def timed(what, f):
  began, busy = time.perf_counter(), time.process_time()
  found = f()
  print(f"{what:34} {(time.perf_counter() - began) * 1e3:8.1f} ms, of a processor "
        f"{(time.process_time() - busy) * 1e3:8.1f}")
  return found


def main():
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "large.model"
    vocabulary.write(path)
    tok = get_tokenizer(f"sp('{path}', tokensets=('loc', 'seg'))")
  compiled = lambda grammar: structured.compile(structured.normalized(grammar), tok, tok.eos_token,
                                                tok.vocab_size)
  print(f"{tok.vocab_size:,} tokens")
  timed("the tables of the vocabulary", lambda: structured.vocabulary(tok))
  rules = timed("a schema of 8 fields", lambda: compiled({"json_schema": SCHEMA}))
  timed("the same, cached", lambda: compiled({"json_schema": SCHEMA}))
  timed("any JSON object", lambda: compiled("json"))
  timed("a regex", lambda: compiled({"regex": r"[A-Z]\w+( \w+){0,5}\."}))
  row = structured.Matcher(rules, 500)
  row.take(tok.to_int('{"name":"ab'))
  timed("a mask", row.mask)
  timed("the same, cached", row.mask)
  row = structured.Matcher(rules, 20)
  row.take(tok.to_int('{"name":"ab'))
  timed("a mask near the limit", row.mask)


if __name__ == "__main__":
  main()
