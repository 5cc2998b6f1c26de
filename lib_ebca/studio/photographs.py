"""Photographs of any mode and size: read as they are meant to be seen, brought to a model's grid, and back."""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import open_picture, unwarned

if TYPE_CHECKING:
    from PIL.Image import Image

GRID = 8  # pixels; the rule of every Stable Diffusion pipeline
FITS = ("resize", "crop")
MOST_OBLONG = 8
HALF_WHITE = 128
_WIDEST = 1e6  # pixels of a blur; of a wider one no photograph has more to show
SAME_SIZE = 2.0  # times the model's own area, or the inverse, up to which a photograph keeps its size


@dataclass(frozen=True)
class Photo:
    """A photograph the right way up: `image` in RGB, its `alpha` (mode L) if it has one, and the hash of its pixels."""

    image: Image
    alpha: Image | None
    digest: str

    def worn(self, image: Image) -> Image:
        """`image`, of the photograph's size, with the photograph's transparency."""
        if self.alpha is None or image.size != self.alpha.size:
            return image
        image = image.copy()
        image.putalpha(self.alpha)
        return image


@dataclass(frozen=True)
class Fitting:
    """How a photograph lies in the picture that the model works on.

    `box` is the part of the photograph that is worked on (left, upper, right, lower), `size` what it is scaled to.
    """

    photo: tuple[int, int]
    box: tuple[int, int, int, int]
    size: tuple[int, int]

    @property
    def cut(self) -> tuple[int, int, int, int] | None:
        """The part that is worked on, None if it is all of the photograph."""
        return None if self.box == (0, 0, *self.photo) else self.box

    def down(self, image: Image) -> Image:
        """What the model works on."""
        return _scaled(image.crop(self.box), self.size)

    def up(self, image: Image) -> Image:
        """The model's picture at the size of its part of the photograph."""
        return _scaled(image, (self.box[2] - self.box[0], self.box[3] - self.box[1]))

    def part(self, image: Image) -> Image:
        """The part of a picture of the photograph's size that is worked on."""
        return image.crop(self.box)


def read(path: Path) -> Photo:
    """The photograph in a file. Raises UserError where it is none."""
    from PIL import ImageOps

    opened = open_picture(path)
    try:
        with unwarned():
            turned = ImageOps.exif_transpose(opened)
    except (SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, struct.error):
        # A broken header says nothing: the picture is as it lies there.
        turned = opened
    try:
        image, alpha = _eight_bits(turned)
    except (OSError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise UserError(f"cannot read {path} as a picture: {error}") from None
    return Photo(image, alpha, digest_of(image, *([alpha] if alpha else [])))


def read_mask(path: Path, photo: Photo) -> Image:
    """The mask in a file, mode L, white where the photograph is to be painted anew.

    Of a picture with transparency the opaque part is the mask, as in the WebUI. Raises UserError where it is of another
    size than the photograph, or nowhere as much as half white, which is where painting begins.
    """
    mask = read(path)
    if mask.image.size != photo.image.size:
        raise UserError(
            f"the mask {path} is {_by(mask.image.size)} and the photograph {_by(photo.image.size)}: "
            "they should be of the same size"
        )
    white = mask.alpha or mask.image.convert("L")
    most = brightest(white)
    if most == 0:
        raise UserError(f"the mask {path} is black all over: white marks what is to be painted anew")
    if most < HALF_WHITE:
        raise UserError(f"the mask {path} is dark all over, {most} of 255 at most: it should hold white")
    return white


def fitting(size: tuple[int, int], model: tuple[int, int], fit: str, wanted: tuple[int | None, int | None]) -> Fitting:
    """How a photograph of `size` is brought to a size the model can work on.

    A photograph of up to twice or half the model's own area keeps its size, another is scaled to that area; sides are
    brought to the grid by scaling them a little ("resize", undone afterwards) or by cutting off their edges ("crop").
    `wanted` are a width and a height given outright. Raises UserError.
    """
    width, height = size
    if fit not in FITS:
        raise UserError(f"--fit is {fit!r}: it should be one of {', '.join(FITS)}")
    if max(size) > MOST_OBLONG * min(size):
        raise UserError(
            f"the photograph is {_by(size)}: its longer side should be at most {MOST_OBLONG} times the shorter"
        )
    ratio = model[0] * model[1] / (width * height)
    scale = math.sqrt(ratio) if not 1 / SAME_SIZE <= ratio <= SAME_SIZE else 1.0
    if wanted[0] and wanted[1]:
        scale = max(wanted[0] / width, wanted[1] / height)
    elif wanted[0] or wanted[1]:
        scale = wanted[0] / width if wanted[0] else (wanted[1] or height) / height
    target = wanted[0] or _on_grid(width * scale, fit), wanted[1] or _on_grid(height * scale, fit)
    if fit == "resize":
        return Fitting(size, (0, 0, width, height), target)
    # At least as large as the target on both sides, whatever the rounding.
    scale = max(scale, target[0] / width, target[1] / height)
    cut = min(width, round(target[0] / scale)), min(height, round(target[1] / scale))
    left, upper = (width - cut[0]) // 2, (height - cut[1]) // 2
    return Fitting(size, (left, upper, left + cut[0], upper + cut[1]), target)


def pasted(photo: Image, painted: Image, mask: Image, feather: float = 0.0) -> Image:
    """`painted` where the mask is white, and every pixel of `photo` as it was where the mask is black.

    Over `feather` pixels inside the white the one goes over into the other. All of one size.
    """
    from PIL import Image

    return Image.composite(painted, photo, feathered(mask, feather))


def feathered(mask: Image, feather: float) -> Image:
    """The mask with a ramp of about `feather` pixels inside its white.

    Raises UserError where that leaves less than half white everywhere.
    """
    from PIL import ImageChops, ImageFilter

    if feather <= 0:
        return mask
    # Blurred, a straight edge is half white where it was: twice the rest is a ramp that lies inside alone.
    soft = mask.filter(ImageFilter.GaussianBlur(min(feather / 2, _WIDEST))).point(
        [max(0, 2 * v - 255) for v in range(256)]
    )
    if brightest(soft) < HALF_WHITE:
        raise UserError(f"--feather is {feather:g}: that seam leaves (nearly) nothing of the mask; make it smaller")
    return ImageChops.darker(mask, soft)


def brightest(mask: Image) -> int:
    """The largest value in a picture of mode L."""
    return max(value for value, count in enumerate(mask.histogram()) if count)


def psnr(first: Image, second: Image) -> float:
    """Peak signal-to-noise ratio of two pictures of one size, in dB; infinite where they are equal."""
    import numpy as np

    one, other = (np.asarray(image.convert("RGB"), dtype=np.float64) for image in (first, second))
    error = float(np.square(one - other).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def digest_of(*images: Image) -> str:
    """The first sixteen digits of the SHA-256 of pictures' sizes, modes and pixels."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.mode} {_by(image.size)}\n".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()[:16]


def _eight_bits(image: Image) -> tuple[Image, Image | None]:
    """Any picture in RGB over white, and its transparency."""
    from PIL import Image

    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        return _deep(image).convert("RGB"), None
    if image.mode == "P" or image.mode == "1":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "CMYK":
        return _from_cmyk(image), None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return image.convert("RGB"), None
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB"), alpha
    return image.convert("RGB"), None


def _deep(image: Image) -> Image:
    """A picture of more than eight bits in mode L; floating point counts from 0 to 1 if it stays within."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode == "F":
        values = values * 255 if values.max(initial=0) <= 1 else values
    elif image.mode != "I" or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8), "L")


def _from_cmyk(image: Image) -> Image:
    import io

    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if profile:
        try:
            rgb = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            rgb = None
        if rgb is not None:
            return rgb
    return image.convert("RGB")


def _scaled(image: Image, size: tuple[int, int]) -> Image:
    from PIL.Image import Resampling

    return image if image.size == size else image.resize(size, Resampling.LANCZOS)


def _on_grid(side: float, fit: str) -> int:
    count = math.floor(side / GRID + 1e-9) if fit == "crop" else round(side / GRID)
    return max(1, count) * GRID


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
