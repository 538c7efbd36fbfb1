import pytest
from PIL import Image

from big_vlm import metric_writer, plot


@pytest.mark.parametrize("metrics", [
    {"loss": 2.0}, {"loss": 2.0, "lr": 1e-3, "answer/acc": 0.5, "examples_per_s": 9}, {"val/x": 1},
    {"loss": 2.0, "v/nll": 1.9, "v/perplexity": 7.}])
def test_the_plot_is_a_png_with_a_panel_for_each_kind_of_metric(tmp_path, metrics):
  with metric_writer.MetricWriter(tmp_path, 0) as writer:
    for step in (1, 2, 3):
      writer.write(step, metrics)
  with Image.open(plot.plot(tmp_path)) as image:
    panels = len([k for k in metrics if k not in ("examples_per_s", "v/nll", "v/perplexity")])
    assert image.format == "PNG" and round(image.width / image.height * 3.4 / 4.5) == panels
