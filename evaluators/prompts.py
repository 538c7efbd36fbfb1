"""Sets of prompts for zero-shot classification: {name: (template, ...)}, "{}" is the class.

clip_paper: OpenAI's 80 for ImageNet (arXiv 2103.00020) and the name alone, as big_vision takes
them; clip_best: the 8 of them that serve nearly as well. Their order does not matter: the vectors
of a class's prompts are averaged.
"""
# * is an article, "a" and "the" in turn.
_PHOTOS = ("*", *(f"* {kind}" for kind in (
    "hard to see", "clean", "dirty", "cool", "nice", "weird", "large", "small")))
_OF = ("a bad photo", "a bright photo", "a blurry photo", "a close-up photo", "a cropped photo",
       "a dark photo", "a good photo", "a black and white photo", "a jpeg corrupted photo",
       "a low resolution photo", "a pixelated photo", "a doodle", "a drawing", "a painting",
       "a rendering", "a rendition", "a sculpture", "a sketch", "a tattoo", "art", "graffiti",
       "itap")
_KINDS = ("cartoon", "embroidered", "origami", "plastic", "plushie", "toy")
_CLIP = (*(f"a photo of {what} {{}}." for what in _PHOTOS), *(f"{what} of * {{}}." for what in _OF),
         *(f"* {kind} {{}}." for kind in _KINDS), "* {} in a video game.")
TEMPLATES = {
    "clip_paper": (
        *(text.replace("*", article) for text in _CLIP for article in ("a", "the")),
        "a photo of my {}.", "a photo of one {}.", "a photo of many {}.", "itap of my {}.", "{}"),
    "clip_best": (
        "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.",
        "a {} in a video game.", "art of the {}.", "a photo of the small {}.", "{}"),
    "class_name_only": ("{}",),
}
