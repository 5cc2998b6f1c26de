"""The "parameters" text, ours and the WebUI's."""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib_ebca import ContextUpdate, Edit, Plan
from lib_ebca.studio import infotext, photographs, recipe
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.infotext import Infotext
from lib_ebca.studio.pictures import open_picture
from lib_ebca.studio.recipe import Lora, Recipe, Settings, Source

# As A1111 1.9 writes it.
WEBUI = """a (cat:1.2) on a sofa, <lora:fur:0.8>
masterpiece
Negative prompt: blurry, low quality
text
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 3234, Size: 512x768, Model hash: 6ce0161689, \
Model: v1-5-pruned, Clip skip: 2, Lora hashes: "fur: 0123456789ab", Version: v1.9.4"""

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
COMPLETE = Settings(model="shapes", sampler="PLMS", width=64, height=64, dtype="float32", device="cpu")
SOURCE = Source("shapes", "0123456789")


def test_the_webuis_own_text_is_read() -> None:
    info = infotext.read(WEBUI)
    assert info.prompt == "a (cat:1.2) on a sofa, <lora:fur:0.8>\nmasterpiece"
    assert info.negative == "blurry, low quality\ntext"
    assert info.fields["Lora hashes"] == "fur: 0123456789ab"
    assert info.fields["Size"] == "512x768"

    made, source = recipe.from_text(WEBUI)
    assert made.settings == Settings(
        model="",
        negative="blurry, low quality\ntext",
        sampler="DPM++ 2M",
        sampling="webui",
        schedule="Karras",
        steps=20,
        guidance=7.0,
        width=512,
        height=768,
        clip_skip=2,
        noise="nv",
    )
    assert (made.seed, source) == (3234, Source("v1-5-pruned", "6ce0161689", noise_assumed=True))


def test_a_prompt_without_settings_is_all_prompt() -> None:
    assert infotext.read("a cat, a dog: a fox") == Infotext("a cat, a dog: a fox")


def test_our_text_is_readable_and_complete() -> None:
    plan = Plan(ContextUpdate(0.01, 0.02), (Edit("a dog: big, red", 0.75, start=0.5),))
    text = recipe.to_text(Recipe(COMPLETE, "a cat", plan, 7), SOURCE)
    assert text.startswith(
        "a cat\nSteps: 50, Sampler: PLMS, CFG scale: 7.5, Seed: 7, Size: 64x64, Model hash: 0123456789, "
    )
    assert 'EBCA: "<bcu:0.01:0.02> <edit:a dog: big, red:0.75:from=0.5>"' in text
    assert text.endswith("Version: EBCA 0.1.0")


@given(
    prompt=TEXTS,
    negative=TEXTS,
    edit=TEXTS.filter(str.strip),
    strength=st.floats(0, 3),
    guidance=st.floats(1, 30),
    seed=st.integers(0, 2**63 - 1),
    batch=st.integers(1, 9),
    lora=st.tuples(TEXTS.filter(bool), st.floats(-2, 2)),
    drift=st.booleans(),
    clip_skip=st.integers(1, 12),
    model=TEXTS.filter(bool),
)
def test_every_recipe_comes_back(
    prompt: str,
    negative: str,
    edit: str,
    strength: float,
    guidance: float,
    seed: int,
    batch: int,
    lora: tuple[str, float],
    drift: bool,
    clip_skip: int,
    model: str,
) -> None:
    settings = Settings(
        model=model,
        loras=(Lora(*lora), Lora("second.safetensors")),
        negative=negative,
        sampler="Euler a",
        guidance=guidance,
        width=64,
        height=32,
        dtype="bfloat16",
        device="cuda",
        clip_skip=clip_skip,
        drift=drift,
    )
    made = Recipe(settings, prompt, Plan(edits=(Edit(edit, strength),)), seed, batch, batch - 1)
    source = Source("some: model, v2", "0123456789", ("abcdef", "012345"))
    assert recipe.from_text(recipe.to_text(made, source)) == (made, source)


@pytest.mark.parametrize(
    ("field", "value"),
    [("Steps", "many"), ("CFG scale", "x"), ("Size", "64"), ("EBCA batch", "3/2")],
)
def test_a_field_that_cannot_be_read_is_named(field: str, value: str) -> None:
    fields = {"Steps": "1", "Seed": "2", "Version": "EBCA 0.1.0", field: value}
    with pytest.raises(UserError, match=value):
        recipe.from_text(infotext.write(Infotext("a cat", "", fields)))


def test_the_user_comment_of_a_jpeg_is_read(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8))
    exif = picture.getexif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + WEBUI.encode("utf-16-be")
    picture.save(tmp_path / "webui.jpg", exif=exif)
    with Image.open(tmp_path / "webui.jpg") as opened:
        assert infotext.from_picture(opened) == WEBUI


OLD_FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""A1111's own pattern, which takes time quadratic in the length of a name."""


@given(st.lists(st.sampled_from([*'ab -/:,"\\\téx_', '\\"', "Steps: 3, ", 'x: "q, r", '])).map("".join))
def test_fields_are_those_of_the_webui(line: str) -> None:
    assert infotext._FIELD.findall(line) == OLD_FIELD.findall(line)


@pytest.mark.parametrize(
    "unit", ["n", " ", "a ", 'aa: "\\",', 'aa:"x,', "aa:", "-a", ",a", "\t", ": ", 'aa:"b"c,', "\n"]
)
def test_reading_takes_linear_time(unit: str) -> None:
    started = time.process_time()
    infotext.read("a cat\n" + unit * (infotext.LONGEST // len(unit)))
    assert time.process_time() - started < 20  # a quadratic reader takes hours


def test_a_text_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8))
    exif = picture.getexif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + ("n" * (infotext.LONGEST + 1)).encode("utf-16-be")
    picture.save(tmp_path / "long.webp", exif=exif)
    with Image.open(tmp_path / "long.webp") as opened, pytest.raises(UserError, match="1000001 characters"):
        infotext.from_picture(opened)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"\0" * 30,
        b"Exif\0\0x",
    ],
)
def test_a_broken_exif_header_is_no_text(tmp_path: Path, exif: bytes) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "broken.jpg", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert infotext.from_picture(open_picture(tmp_path / "broken.jpg")) is None
        photographs.read(tmp_path / "broken.jpg")


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 5_000)).save(tmp_path / "bomb.png")
    with pytest.raises(UserError, match=r"bomb.png has more than 89478485 pixels"):
        open_picture(tmp_path / "bomb.png")


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
def test_comments_of_both_byte_orders_are_read(tmp_path: Path, encoding: str) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x9286: b"UNICODE\0" + WEBUI.encode(encoding)}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert infotext.from_picture(open_picture(tmp_path / "a.jpg")) == WEBUI


@pytest.mark.parametrize("field", ["prompt", "negative", "EBCA prompt", "EBCA negative"])
def test_a_prompt_of_absurd_length_is_refused(field: str) -> None:
    fields = {"Steps": "2", "Seed": "1", "Size": "8x8", "Version": "EBCA 1"}
    long = "a " * 20_000
    info = {
        "prompt": Infotext(long, "", fields),
        "negative": Infotext("a cat", long, fields),
    }.get(field, Infotext("a cat", "", {**fields, field: long}))
    with pytest.raises(UserError, match=r"has (39999|40000) characters: 20000 are the most"):
        recipe.from_text(infotext.write(info))
