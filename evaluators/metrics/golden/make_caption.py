"""Makes ptb.json and caption.json: what pycocoevalcap says of captions in sixteen languages.

Needs Java and `pip install pycocoevalcap==1.2`, which ships the tokenizer
(stanford-corenlp-3.4.1.jar). Run: python evaluators/metrics/golden/make_caption.py. The texts are
made here from a fixed seed; nothing is downloaded.

  ptb.json      [[text, tokens joined by spaces], ...]; each text stood on a line of its own, with
                a line in lower case after it
  caption.json  {"candidates": {id: text}, "references": {id: [text, ...]}, "cider": [corpus,
                {id: score}], "bleu": [[4], {id: [4]}], "rouge_l": [corpus, {id: score}]}
"""
import contextlib
import io
import json
import pathlib
import random

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

HERE = pathlib.Path(__file__).parent

# Language: who, does what, where (parted by "/"), what stands between them, what ends it.
CAPTIONS = {
    "en": ("A man/Two young women/An old dog/The boy's father/A well-dressed couple/Mr. Brown",
           "is riding a bike/doesn't look at the camera/eats a half-eaten sandwich/"
           "holds an umbrella/plays with a red ball/talks (loudly) on the phone",
           "on the street/near St. Peter's/in the snow/at 5 o'clock/by the sea", " ", "."),
    "fr": ("Un homme/Deux femmes/L'enfant/Un vieux chien/Une fille qu'on aime",
           "fait du vélo/ne regarde pas l’appareil/mange une pêche/joue à la balle/"
           "lit « Le Monde »",
           "dans la rue/près de l'église/sous la neige/à la plage/aujourd'hui", " ", "."),
    "de": ("Ein Mann/Zwei Frauen/Der große Hund/Das Mädchen/Ein älteres Paar",
           "fährt Fahrrad/isst Äpfel/spielt mit dem Ball/liest „Die Zeit“/läuft z.B. Ski",
           "auf der Straße/im Schnee/am Meer/in der Küche/vor dem Haus Nr. 5", " ", "."),
    "es": ("Un hombre/Dos mujeres/¿El niño/Un perro viejo/¡Una chica",
           "monta en bicicleta/come una manzana/juega con la pelota/mira la cámara/lee",
           "en la calle/junto al mar/en la nieve/por la mañana/en la cocina", " ", "!"),
    "ru": ("Мужчина/Две женщины/Старая собака/Мальчик/Девочка",
           "едет на велосипеде/ест яблоко/играет с мячом/держит зонт/смотрит в камеру",
           "на улице/у моря/на снегу/в кухне — дома/в 10:30", " ", "."),
    "uk": ("Чоловік/Дві жінки/Старий пес/Хлопчик/Дівчинка",
           "їде на велосипеді/їсть яблуко/грає м'ячем/тримає парасольку/п’є каву",
           "на вулиці/біля моря/на снігу/у кухні/вдома", " ", "."),
    "el": ("Ένας άντρας/Δύο γυναίκες/Ο γέρικος σκύλος/Το αγόρι/ΕΝΑΣ ΦΙΛΟΣ",
           "κάνει ποδήλατο/τρώει ένα μήλο/παίζει με την μπάλα/κρατάει ομπρέλα/κοιτάζει",
           "στον δρόμο/δίπλα στη θάλασσα/στο χιόνι/στην κουζίνα/το πρωί", " ", "·"),
    "he": ("גבר/שתי נשים/כלב זקן/ילד/ילדה",
           "רוכב על אופניים/אוכלת תפוח/משחק בכדור/מחזיק מטרייה/מביט במצלמה",
           "ברחוב/ליד הים/בשלג/במטבח/בת״א", " ", "."),
    "ar": ("رجل/امرأتان/كلب عجوز/ولدٌ/بنت صغيرة",
           "يركب دراجة/تأكل تفاحة/يلعب بالكرة/يحمل مظلة/تنظر إلى الكاميرا",
           "في الشارع/قرب البحر،/في الثلج/في المطبخ/الساعة ٥", " ", "؟"),
    "hi": ("एक आदमी/दो औरतें/एक बूढ़ा कुत्ता/लड़का/लड़की",
           "साइकिल चला रहा है/सेब खा रही है/गेंद से खेल रहा है/छाता पकड़े है/देख रही है",
           "सड़क पर/समुद्र के पास/बर्फ़ में/रसोई में/५ बजे", " ", "।"),
    "bn": ("একজন লোক/দুই মহিলা/একটি বুড়ো কুকুর/ছেলেটি/মেয়েটি",
           "সাইকেল চালাচ্ছে/আপেল খাচ্ছে/বল নিয়ে খেলছে/ছাতা ধরে আছে/দেখছে",
           "রাস্তায়/সমুদ্রের ধারে/বরফে/রান্নাঘরে/সকালে", " ", "।"),
    "ta": ("ஒரு மனிதன்/இரண்டு பெண்கள்/ஒரு நாய்/சிறுவன்/சிறுமி",
           "மிதிவண்டி ஓட்டுகிறான்/ஆப்பிள் சாப்பிடுகிறாள்/விளையாடுகிறது/பார்க்கிறான்/நடக்கிறாள்",
           "தெருவில்/கடலருகே/பனியில்/சமையலறையில்/காலையில்", " ", "."),
    "th": ("ผู้ชายคนหนึ่ง/ผู้หญิงสองคน/สุนัขแก่/เด็กชาย/เด็กหญิง",
           "ขี่จักรยาน/กินแอปเปิ้ล/เล่นลูกบอล/ถือร่ม/มองกล้อง",
           "บนถนน/ริมทะเล/ในหิมะ/ในครัว ๆ/ตอนเช้า", "", ""),
    "zh": ("一个男人/两名女子/一只老狗/男孩/女孩", "骑自行车/吃苹果/玩球/打着“雨伞”/看镜头",
           "在街上/在海边/在雪地里/在厨房/、早上", "", "。"),
    "ja": ("男性が/二人の女性が/年老いた犬が/少年が/「女の子」が",
           "道路で/海辺で/雪の中で/キッチンで/朝、",
           "自転車に乗る/リンゴを食べる/遊ぶ/傘をさす/見る",
           "", "。"),
    "ko": ("한 남자가/두 여자가/늙은 개가/소년이/소녀가",
           "거리에서/바닷가에서/눈 속에서/부엌에서/아침에",
           "자전거를 탄다/사과를 먹는다/공놀이를 한다/우산을 들고 있다/카메라를 본다", " ", "."),
}

# Awkward pieces, parted by spaces, and those that hold a space or do not show.
PIECES = r"""
  a A s t U.S. u.k. e.g. cannot 'twas 'tis gonna Gotta lemme gimme wanna can't don't DON'T they're
  we've I'll he'd it's dogs' o'clock O'Brien L'eau d'un qu'il y'all rock'n'roll 'n' ol' ma'am c'mon
  cont'd. 'em '90s '90 'till 'cause n't 're 'll 's Mr. Mrs Dr. St. Jan. Sept. etc. vs. no. fig. pp.
  ca. Co. Ltd. Inc. Ph.D. Ill. ill. Az. az. Mass. Tex. a.k.a. U.S.-U.K. non-U.S Sat. The He . .. ...
  .... ...... , ; : ! ? !! ?! - -- --- ---- ----- – — ― ‐ ‑ _ __ * ** # ## @ @@ #tag @user #1 &
  &amp; AT&T S&P-500 A+B &lt; &gt; &quot; &nbsp; &mdash; &#39; &eacute; < > << >> <b> </b> <br/>
  <loc0012> ( ) [ ] { } 555-1234 123.456.7890 1 2 10 1990 3.5 1,000
  .5 -5 +5 10:30 5% 1/2 1-1/2 12/25/2012 ½ ¼ ¾ ⅓ ⅔ ⅛ ² x² H₂O ⁻¹ $ $5 US$ £ € €5 ¢ ¥ ₩ ₹ ฿
  ' " ` `` '' ’ ‘ “ ” ‚ „ ‹ › « » n’t it’s don’t o’clock don`t ´ ~ ^ | \ and/or a/b/c 24/7 = +
  :) :-( ;) =D <3 ^_^ -_- (^_^) C++ c# C.D.s pro- anti-war Cap'n c'est well-known 5-year-old e-mail
  T-shirt a-b-c- foo.txt index.html 3d.png readme.md www.google.com http://x.y/z?q=1, google.com
  foo.org/bar mail@x.com <me@x.org> no.way wow!cool what?ever émigré café Ünïcode straße Ελλάδα
  ΣΑΣ Привет שלום מה״ם العربية، ٣٤ ٣٫٥ हिन्दी दो। १२ বাংলা தமிழ் తెలుగు ไทยแมว ๑๒ ລາວ ខ្មែរ မြန်မာ
  中文。 猫が、 カタカナ・テスト ー 「犬」 한국어 １２３ ＡＢＣ！ （x） 😀 👨‍👩‍👧 ❤️ ☃ ★
  → ∞ © ™ ° 20°C № §
  • · …""".split() + [
    '<a href="x y">', "(555) 123-4567", "1 1/2", ". . .", "Ltd. Co", "e\u0301", "\xa0", "\u3000",
    "\u200b", "\u200d", "\u200c", "\ufeff", "\xad", "co\xadop"]


def caption(rng, language):
  *parts, between, end = CAPTIONS[language]
  return between.join(rng.choice(part.split("/")) for part in parts) + rng.choice([end, ""])


def awkward(rng):
  gaps = rng.choice([["", " ", " ", "  "], ["", "", " "]])
  return "".join(rng.choice(PIECES) + rng.choice(gaps) for _ in range(rng.randint(1, 6))).strip()


def stock_tokens(texts):
  """{id: [text]} -> {id: [tokens joined by spaces]} by the Java program."""
  return PTBTokenizer().tokenize({i: [{"caption": t} for t in ts] for i, ts in texts.items()})


def score(scorer, references, candidates):
  with contextlib.redirect_stdout(io.StringIO()):  # the BLEU code prints
    corpus, each = scorer.compute_score(references, candidates)
  if isinstance(scorer, Bleu):
    each = [list(four) for four in zip(*each)]
  return json.loads(json.dumps([corpus, dict(zip(references, each))], default=float))


def write(name, value):
  text = json.dumps(value, ensure_ascii=False, indent=0)
  (HERE / name).write_text(text + "\n", encoding="utf-8")


def main():
  rng = random.Random(0)
  texts = {caption(rng, language): None for language in CAPTIONS for _ in range(90)}
  texts.update(dict.fromkeys(awkward(rng) for _ in range(1500)))
  texts.pop("", None)
  # A tag that is left open would swallow the lines that follow: the second line closes it.
  lines = {i: [text, "zz' zz\" zz > zz"] for i, text in enumerate(texts)}
  tokens = stock_tokens(lines)
  write("ptb.json", [[text, tokens[i][0]] for i, text in enumerate(texts)])

  candidates, references = {}, {}
  for n in range(160):
    language = list(CAPTIONS)[n % len(CAPTIONS)]
    i = f"{language}-{n}"
    references[i] = [caption(rng, language) for _ in range(rng.randint(2, 5))]
    candidates[i] = rng.choice([caption(rng, language), references[i][0],
                                caption(rng, language) + " 1 1/2 & " + caption(rng, language)])
  candidates["en-0"], candidates["fr-1"], references["fr-1"] = "", ".", ["!", "une image"]
  gts = stock_tokens(references)
  res = stock_tokens({i: [text] for i, text in candidates.items()})
  write("caption.json", {
      "candidates": candidates, "references": references,
      "cider": score(Cider(), gts, res), "bleu": score(Bleu(), gts, res),
      "rouge_l": score(Rouge(), gts, res)})


if __name__ == "__main__":
  main()
