"""Pascal VOC: an XML for each image in Annotations/, images in JPEGImages/, sets in ImageSets/Main.

A box is xmin, ymin, xmax, ymax in pixels that are counted from 1, both ends within the object; one
that CVAT turned keeps its outline. Without these folders the XML files and their images lie side by
side, as LabelImg leaves them.
"""
import pathlib

from tools.importers import records


def read(folder, image_set=None, encoding=None):
  """(pictures, classes) of a folder, or of the images that ImageSets/Main/SET.txt lists.

  Raises FileNotFoundError, and ValueError for an XML that is not one of VOC's.
  """
  folder = pathlib.Path(folder)
  annotations = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
  if image_set:
    path = folder / "ImageSets" / "Main" / f"{image_set}.txt"
    if not path.is_file():
      known = sorted(p.stem for p in path.parent.glob("*.txt"))
      raise FileNotFoundError(f"There is no {path}; sets: {', '.join(known[:40]) or 'none'}.")
    paths = [records.inside(annotations, f"{line.split()[0]}.xml", f"{path}, line {n}")
             for n, line in enumerate(records.read_text(path).split("\n"), 1) if line.strip()]
  else:
    paths = sorted(annotations.rglob("*.xml"))
  if not paths:
    raise FileNotFoundError(f"There are no XML files in {annotations}.")
  pictures = [_picture(path, folder, encoding) for path in paths]
  return pictures, sorted({a.label for p in pictures for a in p.annotations})


def _picture(path, folder, encoding):
  root = records.read_xml(path, encoding)
  if root.tag != "annotation":
    raise ValueError(f"{path} is a <{root.tag}>, not an <annotation> of Pascal VOC.")
  size = root.find("size")
  if size is not None:  # else that of the image, as other readers do
    size = records.image_size(size.findtext("height"), size.findtext("width"), f"{path}, <size>")
  annotations = []
  for n, element in enumerate(root.iter("object"), 1):
    where = f"{path}, object {n}"
    corners = [element.findtext(f"bndbox/{k}") for k in ("ymin", "xmin", "ymax", "xmax")]
    y0, x0, y1, x1 = records.numbers(corners, f"{where}, <bndbox>", 4)
    label = records.label_of(element.findtext("name"), f"{where}, <name>")
    box, mask = (y0 - 1, x0 - 1, y1, x1), None
    for attribute in element.iterfind("attributes/attribute[name='rotation']"):
      if any(angle := records.numbers([attribute.findtext("value")], f"{where}, rotation")):
        box, mask = records.turned(box, *angle)
    annotations.append(records.Annotation(label, box, mask))
  name = (root.findtext("filename") or "").strip()
  image = _image(path, folder, pathlib.PurePath(name.replace("\\", "/")).name)
  return records.AnnotatedImage(image, size or (), annotations, str(path))


def _image(path, folder, name):
  """The image of an XML: by its <filename>, else by the XML's own name."""
  folders = [folder / "JPEGImages", path.parent, folder / "images"]
  for place in folders:
    if name and (place / name).is_file():
      return place / name
  for place in folders:
    if found := records.image_of(place / path.stem):
      return found
  return (folders[0] if folders[0].is_dir() else path.parent) / (name or f"{path.stem}.jpg")
