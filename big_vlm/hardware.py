"""What accelerators this machine holds, asked of the kernel: JAX is not started for it."""
import pathlib
import re

# PCI device ids of Google's vendor id, as JAX looks for them (jax/_src/hardware_utils.py); the same
# vendor makes the network cards and disks of every Google Cloud machine.
GOOGLE = "0x1ae0"
TPUS = {"0x0027": "v3", "0x005e": "v4", "0x0062": "v5p", "0x0063": "v5e", "0x006f": "v6e",
        "0x0076": "7x"}


def tpu_chips(root="/"):
  """Generations of the TPU chips on the PCI bus, such as ["v5e", "v5e"]."""
  found = []
  for device in sorted(pathlib.Path(root, "sys/bus/pci/devices").glob("*")):
    vendor, kind = (_read(device / name) for name in ("vendor", "device"))
    if vendor == GOOGLE and kind in TPUS:
      found.append(TPUS[kind])
  return found


def gpus(root="/"):
  """Number of NVIDIA GPUs that this machine, or this container, is given."""
  return len([path for path in pathlib.Path(root, "dev").glob("nvidia*")
              if re.fullmatch(r"nvidia\d+", path.name)])


def _read(path):
  try:
    return path.read_text().strip()
  except OSError:
    return ""
