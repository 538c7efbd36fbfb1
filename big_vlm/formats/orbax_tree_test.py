"""Folders of Orbax that were changed by hand: refused before tensorstore reads an array."""
import json

import numpy as np
import pytest
import tensorstore

from big_vlm.formats import orbax_tree
from big_vlm.formats.lazy_array import from_array

ZARR = {"zarr_format": 2, "shape": [3, 4], "chunks": [3, 4], "dtype": "<f4", "compressor": None,
        "fill_value": None, "filters": None, "order": "C", "dimension_separator": "."}


@pytest.fixture
def folder(tmp_path):
  orbax_tree.write_folder(tmp_path / "params", {"a": from_array(np.ones((3, 4), np.float32))})
  return tmp_path / "params"


@pytest.mark.parametrize("changed", [{"shape": [10**12, 4]}, {"chunks": [10**12, 4]},
                                     {"shape": [10**9, 4], "chunks": [1, 4]}])
def test_what_would_take_all_memory_is_refused(folder, changed):
  store = tensorstore.KvStore.open({
      "driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}}).result()
  store["a/.zarray"] = json.dumps(ZARR).encode()
  assert orbax_tree.read_folder(folder)["a"].shape == (3, 4)
  store["a/.zarray"] = json.dumps(ZARR | changed).encode()
  with pytest.raises(ValueError, match="params is refused: it would grow from [0-9,]+ to [0-9,]+"):
    orbax_tree.read_folder(folder)


def test_notes_that_have_no_end_are_not_read(folder):
  with open(folder / "_METADATA", "ab") as file:
    file.truncate(5 << 30)
  with pytest.raises(ValueError, match="params is not .*: _METADATA has 5,368,709,120 bytes"):
    orbax_tree.read_folder(folder)


def test_names_lead_nowhere_else(folder):
  described = json.loads((folder / "_METADATA").read_text())
  [entry] = described["tree_metadata"].values()
  for key in ("../../x", "/etc/passwd", "", "x" * 10**6, "\ud800"):
    entry["key_metadata"] = [{"key": key, "key_type": 2}]
    (folder / "_METADATA").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="params is not a complete item of Orbax") as e:
      orbax_tree.read_folder(folder)
    assert len(str(e.value)) < 500
