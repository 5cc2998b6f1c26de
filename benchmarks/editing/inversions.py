"""Inversions side by side: how well a picture comes back, and what that costs."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.editing.edits import EditingError, pictures, scene_edits
from lib_ebca.hosts.diffusers import encoded
from lib_ebca.hosts.inversion import edit_scheduler, invert, latents_of, pictures_of
from lib_ebca.inversion import EXACT, FixedPoint
from lib_ebca.regularisation import PUBLISHED, Regularisation

DRAWN, PHOTOGRAPHS = "drawn", "photographs"
# Photographs that lie in the wheels of scikit-image and scikit-learn: nothing is downloaded.
SHIPPED = {
    "astronaut": "a woman in an orange suit",
    "chelsea": "a cat",
    "coffee": "a cup of coffee",
    "china.jpg": "a temple",
    "flower.jpg": "a red flower",
}


@dataclass(frozen=True)
class Way:
    """One inversion with its numbers: the arguments of :func:`lib_ebca.hosts.inversion.invert`."""

    name: str
    arguments: dict[str, Any]


def _fixed(iterations: int, memory: int) -> Way:
    settings = FixedPoint(iterations, 0.0, memory)
    kind = f"memory {memory}" if memory else "no acceleration"
    return Way(f"fixed-point, {iterations} a step, {kind}", {"method": "fixed-point", "fixed_point": settings})


WAYS = (
    Way("plain DDIM", {"method": "published", "regularisation": Regularisation(rounds=0)}),
    Way("published (regularised)", {"method": "published", "regularisation": PUBLISHED}),
    *(_fixed(iterations, memory) for iterations in (1, 2, 4, 8) for memory in ((0,) if iterations == 1 else (0, 2))),
    Way("fixed-point, default", {"method": "fixed-point", "fixed_point": EXACT}),
)


@dataclass(frozen=True)
class Sample:
    """A picture, (3, H, W) in [0, 1], and what is in it."""

    picture: Tensor
    caption: str


@dataclass(frozen=True)
class Row:
    """One inversion on one set of pictures, means over them.

    Attributes:
        way: the inversion's name.
        pictures: the set's name.
        psnr: of the picture that comes back against the picture, in dB.
        vae: of the picture through the VAE alone, in dB: what no inversion can pass.
        latents: root mean square error of the latents that come back.
        evaluations: of the UNet for each picture, inverting only.
    """

    way: str
    pictures: str
    psnr: float
    vae: float
    latents: float
    evaluations: int


def drawn(count: int, seed: int) -> list[Sample]:
    """Scenes of the embedded model's world."""
    edits = scene_edits("remove", count, seed)
    return [Sample(picture, edit.caption) for picture, edit in zip(pictures(edits), edits, strict=True)]


def photographs(width: int, height: int) -> Iterator[Sample]:
    """The photographs of scikit-image and scikit-learn, cut to shape and scaled down.

    Raises:
        EditingError: neither package is installed.
    """
    found = list(_shipped())
    if not found:
        raise EditingError("no photographs are at hand: install scikit-image or scikit-learn")
    for name, values in found:
        image = Image.fromarray(values).convert("RGB")
        scale = max(width / image.width, height / image.height)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        left, upper = (image.width - width) // 2, (image.height - height) // 2
        cut = np.asarray(image.crop((left, upper, left + width, upper + height)))
        yield Sample(torch.from_numpy(cut.copy()).movedim(-1, 0).float() / 255, SHIPPED[name])


def compare(
    pipe: Any,
    samples: Sequence[Sample],
    name: str,
    *,
    steps: int = 50,
    batch: int = 16,
    ways: Sequence[Way] = WAYS,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Every inversion on a set of pictures of one size, sampled again by the pipeline itself."""
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = edit_scheduler(pipe)
    rows = []
    for number, way in enumerate(ways):
        found: list[tuple[float, float, float]] = []
        evaluations: list[int] = []
        for first in range(0, len(samples), batch):
            part = samples[first : first + batch]
            numbers, spent = _returned(pipe, part, way, steps)
            found += numbers
            evaluations.append(spent)
        psnr, vae, error = (fmean(column) for column in zip(*found, strict=True))
        rows.append(Row(way.name, name, round(psnr, 2), round(vae, 2), error, round(fmean(evaluations))))
        advance(number + 1, len(ways))
    return rows


def to_dict(rows: Sequence[Row], **about: Any) -> dict[str, Any]:
    """Plain JSON types."""
    return {**about, "rows": [asdict(each) for each in rows]}


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Heading and lines."""
    lines = [["pictures", "inversion", "evaluations", "PSNR", "VAE alone", "error of the latents"]]
    for each in rows:
        numbers = [str(each.evaluations), f"{each.psnr:.2f} dB", f"{each.vae:.2f} dB", f"{each.latents:.2e}"]
        lines.append([each.pictures, each.way, *numbers])
    return lines


def _returned(
    pipe: Any, samples: Sequence[Sample], way: Way, steps: int
) -> tuple[list[tuple[float, float, float]], int]:
    wanted = torch.stack([sample.picture for sample in samples])
    captions = [sample.caption for sample in samples]
    latents = latents_of(pipe, wanted)
    found = invert(pipe, latents, captions, steps=steps, seeds=tuple(range(len(samples))), **way.arguments)
    with encoded(pipe):
        back = pipe(
            captions,
            latents=found.latents.to(pipe.unet.dtype),
            height=wanted.shape[-2],
            width=wanted.shape[-1],
            num_inference_steps=steps,
            guidance_scale=1.0,
            output_type="latent",
        ).images
    error = (back.float() - latents.to(back.device).float()).square().mean((1, 2, 3)).sqrt()
    shown, through = (pictures_of(pipe, each).float().cpu() for each in (back, latents))
    columns = zip(_psnr(shown, wanted), _psnr(through, wanted), error.tolist(), strict=True)
    return list(columns), found.evaluations


def _psnr(first: Tensor, second: Tensor) -> list[float]:
    errors = (first - second).square().mean((1, 2, 3)).clamp(min=1e-10)
    return [10 * math.log10(1 / error) for error in errors.tolist()]


def _shipped() -> Iterator[tuple[str, Any]]:
    for name in SHIPPED:
        if name.endswith(".jpg"):
            module, call = "sklearn.datasets", ["load_sample_image", name]
        else:
            module, call = "skimage.data", [name]
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        yield name, getattr(found, call[0])(*call[1:])
