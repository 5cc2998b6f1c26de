"""A running WebUI with the embedded model `primer`, whose pictures are judged: the three tabs do what they are asked.

`python -m training --world primer --out DIR` leaves it in `DIR/compvis`: the WebUI wants `primer.safetensors` and its
yaml, whose `version` names the folder `clip`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lib_ebca.studio.locate import MODELS
from tests.webui_live.client import Made, WebUI
from world.book.eye import EYE_FILE, Eye, load_eye

SIDE, SEEDS = 128, 8
ASKED: dict[str, Any] = {"width": SIDE, "height": SIDE, "steps": 20, "cfg_scale": 3, "sampler_name": "DDIM"}


@pytest.fixture
def trained(webui: WebUI) -> Iterator[WebUI]:
    with webui.model("primer"):
        yield webui


@pytest.fixture(scope="module")
def eye() -> Eye:
    path: Path = MODELS / "primer" / "judge" / EYE_FILE
    return load_eye(path)


def tensor(made: Made) -> torch.Tensor:
    pictures = [np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 3) for pixels in made.pictures]
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255


def count(eye: Eye, made: Made, noun: str) -> int:
    """In how many pictures the eye sees a thing of that name."""
    return sum(any(sighting.noun == noun for sighting in seen) for seen in eye.read(tensor(made)))


def drawn(webui: WebUI, prompt: str) -> Made:
    return webui.make(prompt=prompt, batch_size=SEEDS, **ASKED)


def test_text_to_image_says_what_it_is_asked(trained: WebUI, eye: Eye) -> None:
    made = drawn(trained, "a cat and a dog")
    assert count(eye, made, "cat") > SEEDS / 2 and count(eye, made, "dog") > SEEDS / 2
    assert count(eye, made, "car") == 0


def test_an_edit_makes_another_animal_of_it(trained: WebUI, eye: Eye) -> None:
    plain = drawn(trained, "a cat")
    edited = drawn(trained, "a cat <edit:a dog:3>")
    assert count(eye, plain, "dog") == 0
    assert count(eye, edited, "dog") > SEEDS / 2 > count(eye, edited, "cat")


@pytest.mark.parametrize("masked", [False, True])
def test_a_picture_takes_the_edit_where_it_may(trained: WebUI, eye: Eye, masked: bool) -> None:
    cat = trained.make(prompt="a cat", **ASKED)
    with io.BytesIO() as file:
        Image.frombytes("RGB", (SIDE, SIDE), cat.pictures[0]).save(file, "PNG")
        picture = base64.b64encode(file.getvalue()).decode()
    more: dict[str, Any] = {}
    if masked:
        mask = Image.new("L", (SIDE, SIDE), 0)
        mask.paste(255, (8, 8, SIDE - 8, SIDE - 8))
        with io.BytesIO() as file:
            mask.save(file, "PNG")
            more = {"mask": base64.b64encode(file.getvalue()).decode(), "inpainting_fill": 1, "mask_blur": 0}
    made = trained.make(
        kind="img2img",
        prompt="a cat <edit:a dog:3>",
        init_images=[picture],
        denoising_strength=0.9,
        batch_size=SEEDS,
        **ASKED,
        **more,
    )
    assert count(eye, made, "dog") > SEEDS / 2
    if masked:
        edge = tensor(made)[..., 0, :] - tensor(cat)[..., 0, :]
        assert float(edge.abs().max()) <= 2 / 255
