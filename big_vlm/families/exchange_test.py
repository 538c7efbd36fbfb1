"""What the config of another framework cannot say is refused before anything is written."""
import numpy as np
import pytest

from big_vlm.checkpoints import hf, keras
from big_vlm.checkpoints.checkpoint import Checkpoint
from big_vlm.families import paligemma
from big_vlm.formats.lazy_array import from_array


@pytest.mark.parametrize("img, field, value", [
    ({"variant": "tiny"}, "window", 5), (None, "qk_norm", True), (None, "global_every", 3),
    (None, "rope_base", 5000), (None, "global_rope_base", 1e6), (None, "global_rope_scale", 8)])
@pytest.mark.parametrize("module", [hf, keras])
def test_what_is_lost_is_refused(module, img, field, value, tmp_path):
  config = paligemma.config(img, {"variant": "tiny2", field: value})
  source = Checkpoint("a", config, {"x": from_array(np.zeros(1, np.float32))}, None)
  with pytest.raises(ValueError, match=f"cannot say llm.{field}={value} of this model"):
    module.write(tmp_path / "out", source, lambda done, total: None)
  assert not (tmp_path / "out").exists()
