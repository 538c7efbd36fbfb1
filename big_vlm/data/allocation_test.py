import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import numpy as np
from big_vlm.data import allocation
from pp.ops_image import resize_image
changed = allocation.keep_freed_memory()
image = np.zeros((480, 640, 3), np.uint8)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for n in range(60):
  if n == 10:
    before = faults()
  resize_image(image.copy(), (224, 224), antialias=True)
print((faults() - before) / 50, changed)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_an_image_takes_the_memory_of_the_one_before():
  def pages(**environment):
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True,
                          env={**os.environ, **environment}, check=True)
    count, changed = done.stdout.split()
    return float(count), changed
  count, changed = pages()
  assert count < 20 and changed == "True"  # of 4 kB; an image has 225, its parts many more
  assert pages(MALLOC_TRIM_THRESHOLD_="131072")[1] == "False"  # the user's own setting
