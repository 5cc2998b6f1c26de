"""A sentence about a photograph: BLIP's, where that model is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib_ebca.studio.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

BLIP = "Salesforce/blip-image-captioning-base"
_LONGEST = 40  # tokens


def caption_of(image: Image, model: str = BLIP) -> str:
    """What a BLIP model, in the hub's cache or in a folder, sees in the picture.

    Raises UserError where it is not at hand: nothing is downloaded for it.
    """
    try:
        processor, blip = _loaded(model)
    except (OSError, ValueError, ImportError):
        raise UserError(
            "the photograph needs a caption: say what is in it with --caption, such as --caption 'a cat on a sofa' "
            f"(captions of its own take the model {model}, which is not on this machine)"
        ) from None
    import torch

    with torch.no_grad():
        tokens = blip.generate(**processor(images=image, return_tensors="pt"), max_new_tokens=_LONGEST)
    caption = str(processor.decode(tokens[0], skip_special_tokens=True)).strip()
    if not caption:
        raise UserError("the captioning model has nothing to say of the photograph: say what is in it with --caption")
    return caption


def _loaded(model: str) -> tuple[Any, Any]:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    processor = BlipProcessor.from_pretrained(model, local_files_only=True)
    return processor, BlipForConditionalGeneration.from_pretrained(model, local_files_only=True).eval()
