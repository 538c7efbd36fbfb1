"""FinTabNet and PubTabNet (:data=pubtabnet): the HTML of a table in a picture."""
from configs.transfers import common

SETTINGS = {res: dict(steps=15_000, lr=1e-4) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                          paligemma2_3b
                                    896
fintabnet/test/s_teds              99.2
fintabnet/test/teds                98.9
fintabnet/test/grits_top           99.4
fintabnet/test/grits_con           99.2
pubtabnet/val/s_teds               97.6
pubtabnet/val/teds                 97.3
pubtabnet/val/grits_top            98.0
pubtabnet/val/grits_con            97.8
""")
SPLITS = {"fintabnet": {"minitrain": "train[:512]", "val": "val", "test": "test"},
          "pubtabnet": {"minitrain": "train[:512]", "val": "val"}}  # the test set is secret
VARIANTS = ("data=fintabnet", "data=pubtabnet")


def get_config(arg=None):
  a = common.parse(arg, res=896, model="paligemma2_3b", text_len=4096, data="fintabnet")
  published = {k: v for k, v in PUBLISHED.items() if k.startswith(a.data)}
  c = common.transfer(a, SETTINGS, published, rates=None)
  # The whole table keeps its aspect ratio, on white. The report has no example of the prompt and
  # of the answer, which has the cells' boxes there; here it is the HTML alone, which is scored.
  prompt = f"decode|resize_long|pad_to_shape(pad_value=255)|{common.prompt('table')}"
  answer = f"{prompt}|copy('html', 'suffix')"
  c.input.mixture = [common.component(a, a.data, "train", answer)]
  common.evaluate(c, a, a.data, SPLITS[a.data], "tables", prompt, keep=("html", "image/id"),
                  prompt_len=16, batch_size=64, fraction=1/4)
  common.perplexity(c, a, a.data, SPLITS[a.data], answer)
  return c
