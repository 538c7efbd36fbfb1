"""The first table of an HTML document as tag events, read as forgivingly as libxml2 reads HTML.

  <html><body><table><tr><td>a<td>b   ->   [("open", "table", {}), ("open", "tr", {}),
      ("open", "td", {}), ("text", "a", None), ("close", "td", None), ("open", "td", {}), ...]

PubTabNet's official score parses with lxml, that is with libxml2's HTML parser, and what a model
writes is often cut off or badly nested, so the repairs belong to the metric. They were found by
giving lxml 6.1.3 (libxml2 2.14.6) every pair of the tags below:

  * some start tags end the element before them (CLOSED_BY): <td> ends an open td, b, p, not a sup;
  * an end tag closes all down to its own start tag, unless an element of a higher rank (RANK) lies
    between: </b> does not leave a table, </tr> leaves a td;
  * void elements (<br>) have no end, "<sup/>" ends at once, what is open at the end is closed;
  * no <tbody> is put in, and text between cells stays where it is.

The contents of <script>, <style>, <title> and <textarea>, which no table needs, are read as markup.
"""
import html
import re

VOID = frozenset("area base basefont br col frame hr img input isindex link meta param".split())
RANK = {"div": 1, "td": 2, "th": 2, "tr": 3, "thead": 4, "tbody": 4, "tfoot": 4, "table": 5,
        "head": 6, "body": 6, "html": 7}  # any other: 0
FRAME = frozenset(("html", "head", "body"))
IN_HEAD = frozenset("script style meta link title base".split())  # these alone make no body
CLOSED_BY = {old: frozenset(new.split()) for olds, new in (
    ("a", "a table th td fieldset"),
    ("b i", "th td p center"),
    ("u", "th td p"),
    ("s small big tt strike", "p"),
    ("span", "th td"),
    ("font", "th td center"),
    ("p", "table caption colgroup col tbody tfoot tr th td p div center hr ul ol li dl dt dd "
          "h1 h2 h3 h4 h5 h6 pre form fieldset address blockquote title head body"),
    ("h1 h2 h3 h4 h5 h6", "table p li form fieldset"),
    ("li", "li"), ("dl", "li form"), ("dt", "dl dd"), ("dd", "dt"), ("ul", "pre form address"),
    ("ol form", "form"), ("option", "option"), ("address", "ul li dl dt dd form"),
    ("pre", "table ul li dl dt dd form fieldset"),
    ("caption", "colgroup col thead tbody tfoot tr"),
    ("colgroup", "colgroup thead tbody tfoot tr"),
    ("thead tbody", "tbody tfoot"), ("tfoot", "tbody"),
    ("tr", "tbody tfoot tr"),
    ("th td", "tbody tfoot tr th td")) for old in olds.split()}
DOCUMENT = re.compile(r"\s*<(?:html|!doctype)", re.IGNORECASE)
# In the order of trial. A tag that does not end swallows the rest, as does a comment; "<" before
# anything but a letter, "/", "!" or "?" is text. A quote opens a value after "=" only.
TOKEN = re.compile(r"""
    <!--(?:-?>|.*?(?:--!?>|\Z)) | <[!?][^>]*(?:>|\Z) | </(?![a-zA-Z])[^>]+(?:>|\Z) | </>
  | <(?P<end>/?)(?P<tag>[a-zA-Z][^\s/>]*)
     (?P<attributes>(?:[^>=]|=\s*"[^"]*"|=\s*'[^']*'|=(?!\s*["']))*+)(?:>|(?P<cut>.*))
  | (?P<text>(?:[^<]|<(?![a-zA-Z/!?])|</\Z)+)
""", re.VERBOSE | re.DOTALL)
ATTRIBUTE = re.compile(r"""([^\s/=>][^\s/=>]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*)))?""")


def table_events(document):
  """Events of the first table that is a child of the document's body.

  Args:
    document: str, a whole document: it begins with <html> or <!DOCTYPE>; <body> may be missing.

  Returns:
    list of ("open", tag, {"colspan": .., "rowspan": ..} as written), ("text", str, None) and
    ("close", tag, None), from the opening to the closing of the table; every "open" has its
    "close". [] where the document has no such table.
  """
  events, stack, had_body, misplaced = [], [], False, 0
  for kind, value, attributes in _tokens(document) if DOCUMENT.match(document) else ():
    if kind == "close":
      if value in FRAME and misplaced:  # ends the one that was passed over
        misplaced -= 1
        continue
      _close(events, stack, _depth(stack, value))
      if value == "html" or events and len(stack) <= 2:
        break
      continue
    if kind == "text":
      if not had_body and value.strip() and stack[-1:] in ([], ["html"], ["head"]):
        stack, had_body = ["html", "body"], True
      if events:
        events.append((kind, value, None))
      continue
    if not stack:
      stack.append("html")
      if value == "html":
        continue
    while value in CLOSED_BY.get(stack[-1], ()) or stack[-1] == "head" and value not in IN_HEAD:
      _close(events, stack, len(stack) - 1)
    if value in stack and value in FRAME or value == "head" and had_body:
      misplaced += 1
      continue
    if not had_body and value not in IN_HEAD and value != "head":
      had_body = True
      if value != "body":
        stack.append("body")
    if events or (value == "table" and stack == ["html", "body"]):
      events.append(("open", value, attributes))
    stack.append(value)
    if kind == "empty":
      _close(events, stack, len(stack) - 1)
      if events and len(stack) == 2:
        break
  _close(events, stack, 2)
  return events


def _depth(stack, tag):
  """How many elements stay open after </tag>: all of them where it ends nothing."""
  for depth in range(len(stack) - 1, -1, -1):
    if stack[depth] == tag:
      return depth
    if RANK.get(stack[depth], 0) > RANK.get(tag, 0):
      break
  return len(stack)


def _close(events, stack, depth):
  while len(stack) > depth:
    tag = stack.pop()
    if events and len(stack) >= 2:
      events.append(("close", tag, None))


def _tokens(document):
  """Yields ("open" | "empty" | "close", tag, {"colspan", "rowspan"}) and ("text", str, None)."""
  document = document.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
  for match in TOKEN.finditer(document):
    if match["text"]:
      yield "text", html.unescape(match["text"]), None
    elif match["tag"] and match["cut"] is None:
      tag, attributes = match["tag"].lower(), match["attributes"]
      if match["end"]:
        yield "close", tag, None
        continue
      spans = {}
      for name, *values in ATTRIBUTE.findall(attributes):
        if name.lower() in ("colspan", "rowspan"):
          spans.setdefault(name.lower(), html.unescape("".join(values)))
      slash = attributes.endswith("/") and ATTRIBUTE.sub("", attributes).endswith("/")
      yield "empty" if slash or tag in VOID else "open", tag, spans
