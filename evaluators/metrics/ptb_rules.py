"""What is a token to the tokenizer of COCO's caption evaluation: the rules behind `ptb`.

Each rule is (pattern, follow, act): two expressions of `lexer` and what becomes of a match, one of
the functions below. The longest match wins and of equally long ones the earlier rule, so the
order of the families matters in few places, which are said there.

The language the rules describe, with its lists of abbreviations and of characters, is that of the
Java program, since its tokens are wanted; so are its quirks, e.g. that "[A-Z]*\\$" takes capitals
only while "mr." is read in any case.
"""
import re
import unicodedata

# Characters that are letters or digits today, but were not in the Unicode of 2012.
_NEWER = """
  037F 0528-052F 0560 0588 05EF 0860-088E 08A1 08AD-08C9 0978 0980 09FC 0AF9 0C34 0C5A-0C5D 0C80
  0CDD 0D04 0D54-0D5F 0DE6-0DEF 0E86 0E89 0E8C 0E8E-0E93 0E98 0EA0 0EA8-0EA9 0EAC 13F5-13FD
  16F1-16F8 170D 171F 1878 191D-191E 19B0-19C0 19C8-19C9 1B4C 1C80-1CBF 1CF2-1CF3 1CFA 2C2F 2C5F
  312E-312F 31BB-31BF 4DB6-4DBF 9FCD-9FFF A698-A69D A78F A794-A79F A7AB-A7F7 A8FD-A8FE A9E0-A9FE
  AA7E-AA7F AB30-ABBF"""
# Accents, vowel signs and more that a word may hold beside letters.
_MARKS = """
  00AD 02C2-02C5 02D2-02DF 02E5-0379 0384-0385 03F6 0483-0487 055A-055F 0591-05BD 05BF 05C1-05C2
  05C4-05C5 05C7 0615-061A 064B-065E 0670 06D6-06ED 06FD-06FE 070F 0711 0730-074C 07A6-07B0
  07C0-07C9 07EB-07F3 07FA 0900-0903 093C 093E-094E 0951-0955 0962-0963 0981-0983 09BC-09C4
  09C7-09C8 09CB-09CD 09D7 09E2-09E3 0A01-0A03 0A3C 0A3E-0A4F 0A81-0A83 0ABC-0ACF 0B82 0BBE-0BC2
  0BC6-0BC8 0BCA-0BCD 0C01-0C03 0C3E-0C56 0D3E-0D44 0D46-0D48 0E31 0E34-0E3A 0E47-0E4E 0EB1
  0EB4-0EBC 0EC8-0ECD"""
# Characters that are a token each, whatever stands beside them.
_SYMBOLS = """
  0025-0026 002B 003D 005C 005E 007C 007E 00A1 00A6-00A9 00AC 00AE-00B4 00B6-00B9 00BF 00D7 00F7
  037E 0387 0589 05BE 05C0 05C3 05C6 05F3-05F4 0600-0603 0606-060A 060C 0614 061B 061E-061F 066A
  066D 06D4 0700-070D 07F6-07F8 07FA 0964-0965 0E4F 1FBD 2016-2017 2020-2023 2030-2038 203B
  203E-2042 2044 207A-207E 208A-208E 2100-214F 2190-21FF 2200-2BFF 3001-3002 3012 30FB
  FF01-FF0F FF1A-FF20 FF3B-FF40 FF5B-FF65"""


def _ranges(table):
  """Words like "0980" and "0E86-0E89" -> a set of code points."""
  points = set()
  for word in table.split():
    first, _, last = word.partition("-")
    points.update(range(int(first, 16), int(last or first, 16) + 1))
  return points


def _inside(points):
  """Code points -> what stands between the brackets of an expression."""
  out, points = [], sorted(points)
  for i, point in enumerate(points):
    if not i or point != points[i - 1] + 1:
      out.append([point, point])
    out[-1][1] = point
  return "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in out)


def _categories(*wanted):
  newer = _ranges(_NEWER)
  return _inside({c for c in range(0x10000) if c not in newer
                  and unicodedata.category(chr(c)) in wanted})


# What becomes of a match.

def keep(token):
  return token


def skip(token):
  del token
  return ""


def dropped(token):
  """A token, but one on COCO's list, whatever it is spelled like."""
  del token
  return "."


def soft(token):
  """Without soft hyphens; of those alone a hyphen is left, which COCO's list drops."""
  return token.replace("\xad", "") or "-"


def joined(token):
  """One token has no spaces in it."""
  return token.replace(" ", "\xa0")


def bracketed(token):
  return joined(token).replace("(", "-lrb-").replace(")", "-rrb-")


def ampersand(token):
  return re.sub("&amp;", "&", token, flags=re.IGNORECASE)


def dashes(token):
  return "--" if len(token) in (3, 4) else token


def spelled(token):
  return _SPELLED.get(token.lower(), token)


def quotes(token):
  for found, put in _QUOTES:
    token = token.replace(found, put)
  return token


def but_one(token):
  """The last character is read again."""
  return token[:-1]


def but_two(token):
  return token[:-2]


def but_three(token):
  return token[:-3]


SHORTENED = {but_one: 1, but_two: 2, but_three: 3}

_QUOTES = [("&apos;", "'"), *[(c, "`") for c in "\x91\u2018\u201b\u2039"],
           *[(c, "'") for c in "\x92\u2019\u203a"], *[(c, "``") for c in "\x93\u201c\xab"],
           *[(c, "''") for c in "\x94\u201d\xbb"]]
_SPELLED = {"{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-", "&lt;": "<", "&gt;": ">",
            "\xa2": "cents", "\xa3": "#", "\x80": "$", "\xa4": "$", "\u20a0": "$", "\u20ac": "$",
            "\xbc": "1/4", "\xbd": "1/2", "\xbe": "3/4", "\u2153": "1/3", "\u2154": "2/3"}


# Sets and words that several families use.

# The last two were letters in 2012.
_PLAIN_LETTER = _categories("Lu", "Ll", "Lt", "Lm", "Lo") + "\u1885\u1886"
_DIGITS = _categories("Nd")
_DIGIT = f"[{_DIGITS}\u07c0-\u07c9]"
_LETTER = f"([{_PLAIN_LETTER}{_inside(_ranges(_MARKS))}]|&[aeiouAEIOU](acute|grave|uml);)"
_SPACE = "[ \t\xa0\u2000-\u200a\u3000]"
_BLANK = "[ \t\xa0\u2000-\u200a\u3000\n\r\v\f\x85\u2028\u2029]"
_APOSTROPHE = "(['\x92\u2019]|&apos;)"
_TICK = "(['\x92\u2019`\x91\u2018\u201b]|&apos;)"
_STOP = "[,;:\u3001]"
_CLITIC = f"{_APOSTROPHE}([msdMSD]|re|ve|ll)"
_NEGATION = f"n{_TICK}t"
_RUN = f"{_LETTER}({_LETTER}|{_DIGIT})*"
_WORD = f"{_RUN}([.!?]{_RUN})*"
_COUNTRY = "(canada|sino|korean|eu|japan|non)-u\\.s|u\\.s\\.-(u\\.k|u\\.s\\.s\\.r)"
_NAME = "[A-Za-z][A-Za-z0-9_:.\\-]*"
_VALUE = "('[^']*'|\"[^\"]*\")"
_TAG = (f"<([!?][A-Za-z\\-][^>\r\n]*|/{_NAME}|{_NAME}([ ]+{_NAME}([ ]*=[ ]*{_VALUE})?)*[ ]*/?)"
        "[ ]*>")


def words():
  """Words and contractions; first, so that "cannot" and "we're" are cut."""
  letters = f"[{_PLAIN_LETTER}]"
  with_apostrophe = [
      f"{_APOSTROPHE}n{_APOSTROPHE}?", f"[lLdDjJ]{_APOSTROPHE}",  # rock 'n' roll, l' eau
      f"(dunkin|ol|somethin){_APOSTROPHE}", f"{_APOSTROPHE}([2-9]0s|cause|em|till?)",
      f"[A-HJ-XZn]{_TICK}{letters}{{2}}{letters}*",                       # O'Brien
      f"{letters}+[aeiouyAEIOUY]{_TICK}[aeiouA-Z]{letters}*",               # Shi'ite
      "c'mon|cont'd\\.?|e'er|ev'ry|li'l|nat'l|nor'easter|s'mores", f"o{_TICK}o",
      f"(cap{_APOSTROPHE}n|c{_APOSTROPHE}est)"]
  return [
      ("gimme|gonna|gotta|lemme|wanna|'tis", "", but_two), ("cannot|'twas", "", but_three),
      (_WORD, _CLITIC, soft),                                   # it 's
      ("[A-Za-z\xad]*[A-MO-Za-mo-z]\xad*", _NEGATION, soft),     # do n't
      (_WORD, "", soft),                                        # wow!cool is one, too
      ("|".join(with_apostrophe), "", keep),
      (f"y{_APOSTROPHE}", letters, keep),                       # y' all
      ("c\\+\\+|(c|f)#", "", keep),
  ]


def addresses():
  end = "[^ \t\n\f\r\"<>|.!?(){},\\-]"
  # The second host has neither capitals nor digits: the program's set runs from "," to "_".
  hosts = ("www\\.([^ \t\n\f\r\"<>|.!?(){},]+\\.)+[a-zA-Z]{2,4}"
           "|([^ \t\n\f\r\"'`|!(){}$,-_]+\\.)+(com|edu|net|org)")
  mail_part = "[^ \t\n\f\r\"<>|(){}.\xa0]+"
  return [
      (f"https?://[^ \t\n\f\r\"<>|(){{}}]+{end}", "", keep),
      (f"({hosts})(/[^ \t\n\f\r\"<>|()]+{end})?", "", keep),
      (f"(<|&lt;)?[a-zA-Z0-9][^ \t\n\f\r\"<>|()\xa0{{}}]*@({mail_part}\\.)*{mail_part}(>|&gt;)?",
       "", keep),
      (f"@[a-zA-Z_][a-zA-Z_0-9]*|#{_LETTER}+", "", keep),
  ]


# A word without a capital is read in any case, [T] only as a capital. A sentence may end in one
# of the first: "jan.x y" is cut after the full stop, while "mr.x" is one word.
_FINAL = """
  [A]rk [A]z al ala apr ariz assn aug bancorp bhd bldg blvd bros calif colo conn corp cos? ct
  [D]el dak dec (ed|ph)\\.d esq est etc ext feb fla fri ga [I]ll inc ind intl jan jr jul jun
  kans? ky [L]a ltd [M]ass [M]iss mar md mich minn mo mon mont neb nev nov [O]re oct okla [P]a
  penn plc pp?t[ye]s? rd rt sept? seq sq sr sys [T]ex tel tenn thu(rs)? tues? univ va vt [W]ash
  wed wisc? wyo"""
_INNER = """
  adj adm adv alex assoc asst attys? ave brig capt cf cie co?mdr col cpl dept det drs? elec ens
  ft gen govs? hon insp invt jos lieut lt m[ft]g [M]iss maj messrs mlle mme mr mrs ms msgr mt
  natl pfc ph pres profs? pvt reps? rev sens? sfc sgt spc ste? supts? treas vs wm"""
_BEFORE_NUMBERS = "art bldg ca figs? nos? op pp prop"
# Before one of these "x." is a letter and a full stop.
_STARTERS = """
  [A]bout [A]ccording [A]dditionally [A]fter [A]n? [A]s [A]t [B]ut [E]arlier [H]e [H]er [H]ere
  [H]owever [I]f [I]n [I]t [L]ast [M]any [M]ore [M]r\\. [M]s\\. [N]ow [O]nce [O]ne [O]ther [O]ur
  [S]he [S]ince [S]o [S]ome [S]uch [T]hat [T]he [T]heir [T]hen [T]here [T]hese [T]hey [T]his
  [W]e [W]hat [W]hen [W]hile [Y]et [Y]ou"""


def abbreviations():
  """Words that keep their full stop, and names of files; after words and addresses."""
  def any_of(text):
    return "(" + "|".join(text.split()) + ")"
  initials = f"([A-Za-z](\\.[A-Za-z])*|{_COUNTRY})"
  extensions = ("bat|bmp|c|cgi|class|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp3|pdf"
                "|php|pl|png|ppt|ps|py|sql|tar|txt|wav|x|xml|zip")
  file = f"({_LETTER}|{_DIGIT})+"
  return [
      (f"{any_of(_FINAL)}\\.", "..?", keep),
      (f"({any_of(_INNER)}|a\\.k\\.a|{initials})\\.", "", keep),
      (f"{any_of(_BEFORE_NUMBERS)}\\.", f"{_BLANK}?[{_DIGITS}]", keep),
      ("[A-Za-z]\\.", f"{_BLANK}+({any_of(_STARTERS)}|{_TAG}){_BLANK}", but_one),
      (initials, _BLANK, keep),
      (f"{file}(\\.{file})*\\.({extensions})", f"({_BLANK}|[.?!,])", keep),
      (f"{_WORD}\\.", _STOP, soft),                             # "word.," keeps its stop
  ]


def compounds():
  """Words with hyphens, slashes and ampersands; after abbreviations."""
  plain = f"[{_PLAIN_LETTER}{_DIGITS}]"
  part = f"([dDoOlL]{_TICK}{plain})?{plain}+"
  joint = f"{part}([-_\u058a\u2010\u2011]{part})*"
  hyphened = ("[A-Za-z0-9][A-Za-z0-9.,\xad]*"
              f"(-([A-Za-z0-9\xad]+|([A-Za-z](\\.[A-Za-z])+|{_COUNTRY})\\.))+")
  side = "[A-Za-z0-9]+(-[A-Za-z]+){0,2}"
  capitals = "[A-Z]+(([+&]|&amp;)[A-Z]+)+"
  return [
      (hyphened, "", soft), (f"{hyphened}\\.", _STOP, soft),
      (joint, "", keep), (f"{joint}\\.", _STOP, keep),
      (capitals, "", ampersand), (f"{capitals}\\.", _STOP, ampersand),
      (f"{side}(\\\\?/{side}){{1,2}}", "", keep),
      ("anti-|pro-|c\\.d\\.s|s(&|&amp;)(ls|p-500)|-[lr][rcs]b-", "", ampersand),
  ]


def numbers():
  gap = "[\\- \xa0]"
  few = f"{_DIGIT}{{1,4}}"
  area = f"(\\([0-9]{{2,3}}\\)[ \xa0]?|(\\+\\+?)?([0-9]{{2,4}}{gap})?[0-9]{{2,4}}{gap})"
  return [
      (f"[\\-+]?({_DIGIT}+|{_DIGIT}*([.:,\xad\u066b\u066c]{_DIGIT}+)+)", "", soft),
      (f"({few}{gap})?{few}(\\\\?/|\u2044){few}", "", joined),        # 1 1/2
      ("[\xbc-\xbe\u2153-\u215e]", "", spelled),
      (f"{_DIGIT}{{1,2}}[\\-/]{_DIGIT}{{1,2}}[\\-/]{_DIGIT}{{2,4}}", "", keep),
      (f"{area}[0-9]{{3,4}}{gap}?[0-9]{{3,5}}", "", bracketed),       # (555) 123-4567
      ("((\\+\\+?)?[0-9]{2,4}\\.)?[0-9]{2,4}\\.[0-9]{3,4}\\.[0-9]{3,5}", "", keep),
      ("[\u207a\u207b\u208a\u208b]?([\u2070\xb9\xb2\xb3\u2074-\u2079]+|[\u2080-\u2089]+)", "",
       keep),
      ("[A-Z]*\\$|#", "", keep),
      ("[\xa2-\xa5\x80\u20a0\u20a4\u20ac\u060b\u0e3f\uffe0\uffe1\uffe5\uffe6]", "", spelled),
  ]


def marks():
  """Quotes, brackets and what stands alone; last, as any character is matched by the end."""
  face = "[\\-^x=~<>']"
  return [
      (_TAG, "", joined),
      ("&(cdq|ht|lr|odq|qc|ql|qr|tl|ur|#[0-9]+);", "", keep), ("&amp;", "", ampersand),
      # A tail whose word is gone; an apostrophe that opens a quote; the tail all the same.
      (f"{_CLITIC}|{_NEGATION}", "[^A-Za-z]", quotes),
      ("'", "[A-Za-z][^ \t\n\r\xa0]", dropped),
      (f"{_CLITIC}|{_NEGATION}|{_APOSTROPHE}|''", "", quotes),
      (f"{_APOSTROPHE}[0-9][0-9]", _BLANK, keep),                        # the '90 season
      ("[`\u2018-\u201f\x91-\x94\u2039\u203a\xab\xbb]{1,2}", "", quotes),
      ("\"|&quot;", "", dropped),
      ("[<>]?[:;=][\\-o*']?[()DPdpO\\\\{@|[\\]]", "[^A-Za-z0-9]", bracketed),   # :-)
      (f"{face}_{face}|\\({face}[_.]?{face}\\)|\\([\\^x=~<>']-[\\^x=~<>'`]\\)", "",
       bracketed),                                                            # (^_^)
      ("[()]", "", bracketed), ("[{}[\\]]|<|>|&lt;|&gt;", "", spelled), ("<<|>>", "", keep),
      ("-+", "", dashes), ("&(md|mdash|ndash);|[\x96\x97\u2013-\u2015]", "", dropped),
      ("\\.{3,5}|(\\.[ \xa0]){2,4}\\.|[\x85\u2026]", "", dropped),
      (f"[./]|[?!]+|@+|#+|_+|\\*+|(\\\\\\*){{1,3}}|{_STOP}", "", keep),
      (f"[{_inside(_ranges(_SYMBOLS))}]", "", keep),
      (f"{_SPACE}+|&nbsp;|.", "", skip),
  ]


FAMILIES = (words, addresses, abbreviations, compounds, numbers, marks)
