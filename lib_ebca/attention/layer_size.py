"""Height and width of a layer, from its number of pixels and the latent's size."""

from __future__ import annotations


class UnknownSizeError(ValueError):
    """A layer's pixels are not those of a halved latent, so that a mask cannot be laid over them."""


def layer_size(pixels: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of a layer with that many pixels in a UNet that halves the latent, rounding up.

    Raises:
        UnknownSizeError: no number of halvings gives that many pixels.
    """
    latent = f"{height} x {width}"
    while height * width > max(pixels, 1):
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != pixels:
        raise UnknownSizeError(f"a layer of {pixels} pixels does not come from halving a latent of {latent}")
    return height, width
