"""What the config of another framework cannot say is refused before anything is written."""
import numpy as np
import pytest

from big_vlm.checkpoints import hf, keras
from big_vlm.checkpoints.checkpoint import Checkpoint
from big_vlm.families import paligemma
from big_vlm.formats.lazy_array import from_array


@pytest.mark.parametrize("module", [hf, keras])
def test_a_window_that_is_lost_is_refused(module, tmp_path):
  config = paligemma.config({"variant": "tiny"}, {"variant": "tiny2", "window": 5})
  source = Checkpoint("a", config, {"x": from_array(np.zeros(1, np.float32))}, None)
  with pytest.raises(ValueError, match="cannot say llm.window=5 of this model"):
    module.write(tmp_path / "out", source, lambda done, total: None)
  assert not (tmp_path / "out").exists()
