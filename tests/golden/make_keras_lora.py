"""Writes tests/golden/keras_lora/: adapters of the models of make_keras.py, saved by KerasHub, and
what KerasHub computes with them.

    KERAS_BACKEND=jax python tests/golden/make_keras_lora.py        (keras 3.15.1, keras-hub 0.32.0)

    NAME.lora.h5    as save_lora_weights() leaves it
    NAME.npz        logits float32 [B, L, V] of the ids (and images) of keras_NAME/golden.npz
"""
import jax
import numpy as np

from tests.golden import make_keras

RANK = 3
CLASSES = {"gemma": make_keras.M.GemmaBackbone, "paligemma2": make_keras.M.PaliGemmaBackbone,
           "gemma3": make_keras.M.Gemma3Backbone}


def main():
  folder = make_keras.HERE / "keras_lora"
  folder.mkdir(exist_ok=True)
  for name, kind in CLASSES.items():
    preset, rng = make_keras.HERE / f"keras_{name}", np.random.default_rng(0)
    backbone = kind.from_preset(str(preset))
    backbone.enable_lora(RANK)
    for v in backbone.variables:
      if v.path.rsplit("/", 1)[-1].startswith("lora_kernel"):
        v.assign(rng.normal(size=v.shape) * 0.3)
    backbone.save_lora_weights(str(folder / f"{name}.lora.h5"))
    data = np.load(preset / "golden.npz")
    of = lambda key, data=data: data[key] if key in data else None
    logits = make_keras.logits_of(backbone)(of("ids"), of("padding"), of("response"), of("image"))
    change = np.abs(np.asarray(logits) - data["logits"])[data["padding"] > 0].max()
    np.savez_compressed(folder / f"{name}.npz", logits=np.asarray(logits, np.float32))
    print(name, "largest change of a logit", change)


if __name__ == "__main__":
  with jax.numpy_rank_promotion("allow"):
    main()
