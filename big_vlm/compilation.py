"""Compiled programs kept on disk: a command that was run before starts without compiling again."""
import collections
import os

import jax

from big_vlm import cpu

FOLDER = "~/.cache/big_vlm/compiled"
SECONDS = 1.0  # programs that compile faster than this are not kept
EVENTS = {"/jax/compilation_cache/cache_hits": "hits",
          "/jax/compilation_cache/cache_misses": "misses"}

_counts = collections.Counter()


def cache():
  """Turns the cache on, in $JAX_COMPILATION_CACHE_DIR or else in FOLDER.

  JAX_ENABLE_COMPILATION_CACHE=0 keeps it off.
  """
  if jax.config.jax_compilation_cache_dir is None:
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(FOLDER))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
  if not _counts:
    _counts.update(dict.fromkeys(EVENTS.values(), 0))
    jax.monitoring.register_event_listener(_count)


def _count(event, **_):
  if event in EVENTS:
    _counts[EVENTS[event]] += 1


def cache_stats():
  """Hits and misses of the cache so far, in a few words."""
  return (f"{_counts['hits']} cache hits, {_counts['misses']} misses, in "
          f"{jax.config.jax_compilation_cache_dir}")


def compile_ahead(jitted, *args):
  """Compiles a jitted function for such arguments; a call finds it compiled."""
  jitted.lower(*args).compile()
  cpu.return_freed_memory()
