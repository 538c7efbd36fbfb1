"""The page of tools/demo.py. Streamlit runs this file again after each action of the user."""
import math
import sys

from big_vlm import attention_map
from pp import ops_image
from tools import demo, overlay, predict

MOST = 64  # tokens whose attention is drawn
SAMPLERS = ("greedy", "beam(n=4)", "temperature(0.7)", "top_p(p=0.9, t=0.7)", "top_k(k=5, t=1.)")


def page(source, decoder=None):
  st.set_page_config(page_title="big_vlm", layout="wide")
  with st.sidebar:
    arguments = settings()
    attention = st.toggle("Attention", help="shows where each token of the answer looks")
  left, right = st.columns([2, 3], gap="large")
  with left:
    st.markdown(f"#### Ask `{source}`")
    upload, prompt, asked = question(demo.examples(predict.load(source).prompts))
  with right:
    if not upload:
      st.info("Upload an image: the answer comes here.")
      return
    image = ops_image.decode_image(upload.getvalue(), exif=True)
    if asked:
      st.session_state.pop("reply", None)
      try:
        reply = respond(source, decoder, prompt, image, arguments)
        st.session_state.reply = upload.file_id, prompt, reply
      except (ValueError, OSError) as e:
        st.error(str(e))
    of, answered, reply = st.session_state.get("reply", (None, None, None))
    if of == upload.file_id:  # the answer stays until there is another image
      show(image, reply)
      if attention:
        show_attention(predict.load(source), answered, image, reply.generation)
    else:
      st.image(overlay.draw(image), alt="The image")


def settings():
  """The arguments of vlm.generate that a person may set."""
  st.header("Settings")
  return dict(
      sampler=st.selectbox("Sampler", SAMPLERS, accept_new_options=True),
      seed=st.number_input("Seed", 0, 2**31 - 1, help="of a sampler that draws"),
      max_new_tokens=st.slider("Max new tokens", 1, 512, 64),
      grammar="auto" if st.toggle(
          "Grammar", True, help="keeps answers to detect and segment well-formed") else None)


def question(examples):
  """(the uploaded file or None, the prompt, whether it is asked now)."""
  def take():
    st.session_state.prompt = st.session_state.example or st.session_state.prompt
  upload = st.file_uploader("Image", ["png", "jpg", "jpeg", "gif", "bmp", "webp"])
  with st.form("question", border=False):
    prompt = st.text_input("Prompt", key="prompt", placeholder=examples[0])
    asked = st.form_submit_button("Ask", type="primary")
  st.pills("Examples of prompts", examples, key="example", on_change=take, wrap=True)
  return upload, prompt.strip(), asked


def respond(source, decoder, prompt, image, arguments):
  """The predict.Reply; the page shows its text while the model decodes it."""
  if not prompt:
    raise ValueError("Type a prompt first.")
  pieces, place = [], st.empty()

  def show_piece(piece):
    pieces.append(piece)
    place.code("".join(pieces), language=None, wrap_lines=True)

  reply = predict.respond(predict.load(source), prompt, image, show=show_piece,
                          decoder=predict.read_vqvae(decoder), **arguments)
  place.empty()
  return reply


def show(image, reply):
  st.code(reply.generation.text or "(an empty answer)", language=None, wrap_lines=True)
  st.caption(demo.facts(reply.generation))
  names = ", ".join(map(overlay.confidence, reply.found))
  st.image(overlay.draw(image, reply.found), alt=f"The image, with {names or 'nothing'} on it")
  for note in reply.notes:
    st.caption(note)
  if reply.found:
    st.markdown("**How sure the model is**")
    st.table(demo.confidences(reply.found))


def show_attention(vlm, prompt, image, generation):
  """A picture for each token: its piece of text, its probability, and where it looks."""
  heat = attention_map.attention_map(vlm, prompt, image, generation)[:MOST]
  titles = [demo.escaped(f"{predict.spelling(vlm.tokenizer, token)} "
                         f"{overlay.percent(math.exp(logprob))}")
            for token, logprob in zip(generation.tokens[:MOST], generation.logprobs)]
  st.markdown("**Where each token looks** (brighter is more), and its probability")
  st.image(overlay.attention_pictures(image, heat), caption=titles, alt=titles, width=110)


if __name__ == "__main__":
  import streamlit as st  # here: Python without the extra can import this file

  try:
    page(*sys.argv[1:])
  except (ValueError, OSError) as e:
    st.error(str(e))
