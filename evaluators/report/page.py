"""Pages from templates: one self-contained HTML file that fetches nothing and runs one script.

base.html and page.css serve every page, the evaluation report and those of tools/pages alike.
"""
import base64
import hashlib
import io
import pathlib

import jinja2
from etils import epath
from markupsafe import Markup

from big_vlm import files

FOLDER = pathlib.Path(__file__).parent


def write_page(path, template, **values):
  """Renders a template, with the .css and .js beside it, and replaces the file in one step.

  Args:
    path: the .html file, local or gs://; missing folders are created.
    template: pathlib.Path of the .html template, which extends base.html.
    **values: of its variables. Text is escaped; markupsafe.Markup is HTML already.

  Returns:
    epath.Path of the file.

  Raises:
    OSError: where the file cannot be written, naming it. An older page stays.
  """
  loader = jinja2.FileSystemLoader([template.parent, FOLDER])
  environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True,
                                   lstrip_blocks=True, undefined=jinja2.StrictUndefined)
  css = (FOLDER / "page.css").read_text() + template.with_suffix(".css").read_text()
  script = template.with_suffix(".js").read_text()
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  page = environment.get_template(template.name).render(
      **values, css=Markup(css), script=Markup(script), digest=digest)
  files.write_atomic(path, page.encode("utf-8", "replace"))  # lone surrogates become "?"
  return epath.Path(path)


def data_uri(picture, format, **settings):
  """A PIL image as "data:image/...;base64,...", in one of Pillow's formats with its settings."""
  buffer = io.BytesIO()
  picture.save(buffer, format, **settings)
  data = base64.b64encode(buffer.getvalue()).decode("ascii")
  return f"data:image/{format.lower()};base64,{data}"
