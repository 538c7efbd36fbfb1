"""What /metrics shows: counts of the engine, read when asked for, and times of the requests."""
import prometheus_client
from prometheus_client import core

COUNTERS = {"prefills": "Requests whose prompt was read",
            "images": "Images that were encoded; one that came before mostly was not again",
            "steps": "Tokens that all slots advanced",
            "tokens": "Tokens of finished answers", "prompt_tokens": "Tokens of prompts and images",
            "cancelled": "Requests whose client left while they ran"}
SECONDS = (.01, .03, .1, .3, 1, 3, 10, 30, 100)


class Metrics:
  """A registry of its own for each server."""

  def __init__(self, engine):
    self.registry = prometheus_client.CollectorRegistry()
    self._engine = engine
    self.registry.register(self)
    self.requests = prometheus_client.Counter(
        "big_vlm_requests", "Requests by route and status", ("route", "status"),
        registry=self.registry)
    self.first_token = prometheus_client.Histogram(
        "big_vlm_first_token_seconds", "From a request to its first token, or to the whole answer "
        "where it is not streamed", buckets=SECONDS, registry=self.registry)
    self.latency = prometheus_client.Histogram(
        "big_vlm_request_seconds", "From a request to the end of its answer", buckets=SECONDS,
        registry=self.registry)

  def collect(self):
    """Called by the registry."""
    engine = self._engine
    if engine is None:
      return
    gauge = lambda name, text, value: core.GaugeMetricFamily(f"big_vlm_{name}", text, value=value)
    yield gauge("slots", "Answers that are decoded side by side at most", engine.slots)
    yield gauge("running", "Requests in slots", engine.running)
    yield gauge("waiting", "Requests that wait for a slot", engine.waiting)
    for name, text in COUNTERS.items():
      yield core.CounterMetricFamily(f"big_vlm_{name}", text, value=engine.stats[name])

  def text(self):
    """(bytes, content type) as Prometheus reads them."""
    return prometheus_client.generate_latest(self.registry), prometheus_client.CONTENT_TYPE_LATEST
