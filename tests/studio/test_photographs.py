"""Photographs of any mode and size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from lib_ebca.studio import photographs as photo
from lib_ebca.studio.errors import UserError


def noise(size: tuple[int, int] = (20, 12), seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def apart(first: Image.Image, second: Image.Image) -> int:
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int)).max())


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "YCbCr"])
def test_eight_bit_modes_are_what_pillow_shows(mode: str, tmp_path: Path) -> None:
    image = noise().convert(mode)
    path = saved(image, tmp_path / ("x.tif" if mode == "YCbCr" else "x.png"))
    found = photo.read(path)
    with Image.open(path) as opened:
        assert apart(found.image, opened.convert("RGB")) == 0
    assert found.image.mode == "RGB" and found.alpha is None


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 20 * 12).astype(np.uint16).reshape(12, 20)
    path = saved(Image.fromarray(ramp), tmp_path / "x.png")
    found = np.asarray(photo.read(path).image)[..., 0]
    assert np.array_equal(found, np.rint(ramp / 257).astype(np.uint8))


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.full((12, 20), 200, dtype=np.uint16)), tmp_path / "x.png")
    assert photo.read(path).image.getextrema() == ((1, 1),) * 3


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_floating_point_counts_to_one_or_to_255(scale: float, tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 20 * 12, dtype=np.float32).reshape(12, 20)
    path = saved(Image.fromarray(ramp * scale), tmp_path / "x.tif")
    found = np.asarray(photo.read(path).image)[..., 0]
    assert np.abs(found - 255 * ramp).max() <= 0.51


def test_transparency_lies_over_white_and_is_given_back(tmp_path: Path) -> None:
    image = noise().convert("RGBA")
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 20).astype(np.uint8), (12, 1)))
    image.putalpha(alpha)
    found = photo.read(saved(image, tmp_path / "x.png"))
    assert found.alpha is not None and apart(found.alpha, alpha) == 0
    assert found.image.getpixel((0, 5)) == (255, 255, 255)
    assert found.image.getpixel((19, 5)) == image.getpixel((19, 5))[:3]  # type: ignore[index]  # a pixel of a picture in colour is a tuple
    worn = found.worn(noise(seed=1))
    assert worn.mode == "RGBA" and apart(worn.getchannel("A"), alpha) == 0
    opaque = photo.read(saved(noise().convert("RGBA"), tmp_path / "y.png"))
    assert opaque.alpha is None


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (20, 12), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (0, 0, 10, 12))
    found = photo.read(saved(image, tmp_path / "x.png", transparency=0))
    assert found.image.getpixel((0, 0)) == (200, 100, 50) and found.image.getpixel((15, 0)) == (255, 255, 255)
    assert found.alpha is not None and found.alpha.getpixel((15, 0)) == 0


def test_cmyk_with_and_without_a_profile(tmp_path: Path) -> None:
    image = Image.new("CMYK", (20, 12), (0, 255, 255, 0))
    assert photo.read(saved(image, tmp_path / "x.tif")).image.getpixel((0, 0)) == (255, 0, 0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    broken = saved(image, tmp_path / "y.tif", icc_profile=profile)
    assert photo.read(broken).image.getpixel((0, 0)) == (255, 0, 0)


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    image = noise()
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(image, tmp_path / "x.png", exif=exif)
    assert apart(photo.read(path).image, image.transpose(Image.Transpose.ROTATE_270)) == 0


def test_the_hash_is_of_the_pixels(tmp_path: Path) -> None:
    first = photo.read(saved(noise(), tmp_path / "x.png"))
    again = photo.read(saved(noise(), tmp_path / "y.bmp"))
    other = noise()
    other.putpixel((3, 3), (1, 2, 3))
    assert first.digest == again.digest != photo.read(saved(other, tmp_path / "z.png")).digest


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n0000"])
def test_a_broken_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match="as a picture"):
        photo.read(path)


def test_a_cut_off_file_is_one_sentence(tmp_path: Path) -> None:
    path = saved(noise((64, 64)), tmp_path / "x.jpg")
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match="as a picture"):
        photo.read(path)


sides = st.integers(1, 3000)


@given(sides, sides, st.sampled_from(photo.FITS))
def test_every_size_fits_on_the_grid_near_the_model_s_area(width: int, height: int, fit: str) -> None:
    if max(width, height) > photo.MOST_OBLONG * min(width, height):
        with pytest.raises(UserError, match="longer side"):
            photo.fitting((width, height), (512, 512), fit, (None, None))
        return
    found = photo.fitting((width, height), (512, 512), fit, (None, None))
    assert all(side % 8 == 0 and side >= 8 for side in found.size)
    assert 0.45 < found.size[0] * found.size[1] / 512**2 < 2.1
    left, upper, right, lower = found.box
    assert 0 <= left < right <= width and 0 <= upper < lower <= height
    if fit == "resize":
        assert found.box == (0, 0, width, height)
    # What is worked on has the shape of what it stands for, to within the grid and a pixel.
    cut = (right - left) / (lower - upper)
    slack = 1.1 * (8 / min(found.size) + 1 / min(right - left, lower - upper))
    assert abs(math.log(cut) - math.log(found.size[0] / found.size[1])) < slack


def test_a_picture_on_the_grid_is_left_alone() -> None:
    found = photo.fitting((512, 768), (512, 512), "resize", (None, None))
    image = noise((512, 768))
    assert found.size == (512, 768)
    assert apart(found.up(found.down(image)), image) == 0


def test_cropping_cuts_the_edges_and_scales_nothing() -> None:
    found = photo.fitting((517, 530), (512, 512), "crop", (None, None))
    image = noise((517, 530))
    assert found.size == (512, 528) and found.box == (2, 1, 514, 529)
    assert apart(found.down(image), image.crop(found.box)) == 0


@pytest.mark.parametrize(("asked", "size"), [((64, None), (64, 40)), ((None, 64), (104, 64)), ((64, 64), (64, 64))])
def test_sizes_given_outright(asked: tuple[int | None, int | None], size: tuple[int, int]) -> None:
    for fit in photo.FITS:
        width, height = photo.fitting((200, 120), (512, 512), fit, asked).size
        assert abs(width - size[0]) <= 8 and abs(height - size[1]) <= 8
        assert asked[0] in (None, width) and asked[1] in (None, height)


def test_an_unknown_fit() -> None:
    with pytest.raises(UserError, match="should be one of resize, crop"):
        photo.fitting((8, 8), (8, 8), "stretch", (None, None))


@pytest.mark.parametrize("feather", [0.0, 3.0, 12.0])
def test_pasted_pixels_outside_the_mask_are_the_photograph_s(feather: float) -> None:
    old, new = noise((64, 48), 1), noise((64, 48), 2)
    mask = Image.new("L", old.size, 0)
    mask.paste(255, (20, 10, 50, 40))
    found = np.asarray(photo.pasted(old, new, mask, feather))
    outside = np.asarray(mask) == 0
    assert np.array_equal(found[outside], np.asarray(old)[outside])
    assert np.array_equal(found[25, 35], np.asarray(new)[25, 35]) or feather == 12.0


def test_feathering_is_a_ramp_inside_the_white() -> None:
    old, new = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), "white")
    mask = Image.new("L", old.size, 0)
    mask.paste(255, (32, 0, 64, 64))
    line = np.asarray(photo.pasted(old, new, mask, 8))[32, :, 0].astype(int)
    assert (line[:32] == 0).all() and line[60] == 255
    assert (np.diff(line[32:48]) >= 0).all() and 60 < line[34] < 200


def test_psnr() -> None:
    image = Image.new("RGB", (8, 8), (100, 100, 100))
    assert photo.psnr(image, image) == math.inf
    assert photo.psnr(image, Image.new("RGB", (8, 8), (110, 100, 100))) == pytest.approx(
        10 * math.log10(255**2 / (100 / 3))
    )


def test_of_a_mask_with_transparency_the_opaque_part_counts(tmp_path: Path) -> None:
    source = photo.read(saved(noise(), tmp_path / "photo.png"))
    mask = Image.new("RGBA", (20, 12), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (4, 4, 8, 8))
    white = photo.read_mask(saved(mask, tmp_path / "mask.png"), source)
    assert white.getpixel((5, 5)) == 255 and white.getpixel((0, 0)) == 0


def test_masks(tmp_path: Path) -> None:
    source = photo.read(saved(noise(), tmp_path / "photo.png"))
    white = Image.new("L", (20, 12), 0)
    white.putpixel((3, 3), 255)
    assert photo.read_mask(saved(white, tmp_path / "mask.png"), source).getpixel((3, 3)) == 255
    with pytest.raises(UserError, match="is black all over"):
        photo.read_mask(saved(Image.new("L", (20, 12)), tmp_path / "black.png"), source)
    with pytest.raises(UserError, match=r"is 12 x 20 and the photograph 20 x 12"):
        photo.read_mask(saved(Image.new("L", (12, 20), 255), tmp_path / "other.png"), source)


def test_a_seam_beyond_all_bounds_is_a_sentence() -> None:
    mask = Image.new("L", (16, 16), 0)
    mask.paste(255, (4, 4, 12, 12))
    for feather in (1e9, 1e30, 1e300):
        with pytest.raises(UserError, match="make it smaller"):
            photo.feathered(mask, feather)
