"""GrandStaff, laid out as the official files are."""
PIECE = "beethoven/piano-sonatas/sonata01-1"
NAMES = {"train": f"{PIECE}/maj2_down_m-0-4", "val": f"{PIECE}/original_m-5-9",
         "test": "scarlatti-d/keyboard-sonatas/L336K415/original_m-0-5"}


def test_release(release, picture):
  files = {}
  for i, (split, name) in enumerate(NAMES.items()):
    prefix = "grandstaff_dataset/" if split == "train" else ""
    files |= {f"partitions/{split}.txt": f"{prefix}{name}.bekrn\n\n",
              f"{name}.jpg": picture(i), f"{name}_distorted.jpg": picture(9),
              f"{name}.krn": "**kern\t**kern\n4C\t4e 4g\n*-\t*-\n",
              f"{name}.bekrn": "**bekern\t**bekern\n4·C\t4·e 4·g\n*-\t*-\n"}
  for i, (split, examples) in enumerate(release("grandstaff", files).items()):
    [example] = examples
    assert (example["image/id"], example["image"]) == (NAMES[split], picture(i))
    assert example["bekern"].split("\n")[1] == "4·C\t4·e 4·g" and "·" not in example["kern"]
