"""Writes big_vision_fields.json: the fields that big_vision's PaliGemma configs set.

  python tests/golden/make_big_vision_fields.py BIG_VISION

BIG_VISION is a checkout of google-research/big_vision; this was made from its commit 0127fb6. Names
of evals and data sets are *.
"""
import json
import pathlib
import re
import sys

from big_vlm.big_vision_config import fields

root = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root))
found = {}
for file in sorted((root / "big_vision/configs/proj/paligemma/transfers").glob("*.py")):
  if file.stem == "common":
    continue
  # Those of videos raise it, since their reader is left to the user.
  source = re.sub(r"raise NotImplementedError\([^)]*\)", "pass", file.read_text())
  module = {"__name__": file.stem}
  exec(compile(source, str(file), "exec"), module)
  found[file.stem] = list(fields(module["get_config"]()))
every = sorted(set.union(*map(set, found.values())))
path = pathlib.Path(__file__).with_name("big_vision_fields.json")
path.write_text(json.dumps({"configs": len(found), "fields": every}, indent=1) + "\n")
