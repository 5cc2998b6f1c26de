"""Texts as the Attend-and-Excite protocol puts them to CLIP: 80 ImageNet templates, with repaired articles."""

from __future__ import annotations

_WITH_EITHER_ARTICLE = (
    "a bad photo of {} {{}}.",
    "a sculpture of {} {{}}.",
    "a photo of {} hard to see {{}}.",
    "a low resolution photo of {} {{}}.",
    "a rendering of {} {{}}.",
    "graffiti of {} {{}}.",
    "a cropped photo of {} {{}}.",
    "a tattoo of {} {{}}.",
    "{} embroidered {{}}.",
    "a bright photo of {} {{}}.",
    "a photo of {} clean {{}}.",
    "a photo of {} dirty {{}}.",
    "a dark photo of {} {{}}.",
    "a drawing of {} {{}}.",
    "{} plastic {{}}.",
    "a photo of {} cool {{}}.",
    "a close-up photo of {} {{}}.",
    "a black and white photo of {} {{}}.",
    "a painting of {} {{}}.",
    "a pixelated photo of {} {{}}.",
    "a jpeg corrupted photo of {} {{}}.",
    "a blurry photo of {} {{}}.",
    "a photo of {} {{}}.",
    "a good photo of {} {{}}.",
    "{} {{}} in a video game.",
    "a doodle of {} {{}}.",
    "{} origami {{}}.",
    "a sketch of {} {{}}.",
    "{} toy {{}}.",
    "a rendition of {} {{}}.",
    "a photo of {} large {{}}.",
    "a photo of {} nice {{}}.",
    "a photo of {} weird {{}}.",
    "{} cartoon {{}}.",
    "art of {} {{}}.",
    "itap of {} {{}}.",
    "{} plushie {{}}.",
    "a photo of {} small {{}}.",
)
_WITHOUT = ("a photo of many {}.", "a photo of my {}.", "a photo of one {}.", "itap of my {}.")

TEMPLATES: tuple[str, ...] = (
    *(text.format(article) for text in _WITH_EITHER_ARTICLE for article in ("a", "the")),
    *_WITHOUT,
)
"""The templates that CLIP's authors published for ImageNet; their order does not matter to a mean."""


def filled(text: str) -> list[str]:
    """`text` in each of the templates, doubled articles repaired by string replacement.

    As published, the replacement also eats the article of "a apple" after a "the"; it is kept, since the published
    scores have it.
    """
    return [template.format(text).replace("a a", "a").replace("the a", "a") for template in TEMPLATES]


def halves(prompt: str) -> tuple[str, str] | None:
    """The prompt's two objects: what stands around the first " and ", else around the first " with "; else None.

    Of a third part, as in "a and b and c", nothing is kept: so it was published.
    """
    for joint in (" and ", " with "):
        if joint in prompt:
            first, second, *_ = prompt.split(joint)
            return first, second
    return None
