"""Inversions side by side: how well a picture comes back, and what that costs."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib_ebca.hosts.diffusers import encoded
from lib_ebca.hosts.inversion import edit_scheduler, invert, latents_of, pictures_of
from lib_ebca.photo.inversion import EXACT, FixedPoint
from lib_ebca.photo.regularisation import PUBLISHED, Regularisation
from world.statistics import Estimate, mean

from ..alignment.results import Line, Store, read_lines
from ..alignment.tables import Table
from .ground import EditingError, Ground

BLOCK = "inversions"
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
    *(_fixed(iterations, memory) for iterations, memory in ((1, 0), (2, 0), (4, 0), (4, 2))),
    Way("fixed-point, default", {"method": "fixed-point", "fixed_point": EXACT}),
)


@dataclass(frozen=True)
class Sample:
    """A picture, (3, H, W) in [0, 1], and what is in it."""

    picture: Tensor
    caption: str


@dataclass(frozen=True)
class Row:
    """One inversion on one set of pictures.

    Attributes:
        way: the inversion's name.
        pictures: the set's name.
        psnr: of the picture that comes back against the picture, in dB.
        vae: of the picture through the VAE alone, in dB: what no inversion can pass.
        own: of the picture that comes back against that of the VAE alone, in dB: what the inversion alone loses.
        evaluations: of the UNet for each picture, inverting only.
    """

    way: str
    pictures: str
    psnr: Estimate
    vae: Estimate
    own: Estimate
    evaluations: int


def drawn(ground: Ground, count: int, seed: int) -> list[Sample]:
    """Scenes of a model's own world, those that are edited; where its edits have scenes of their own, some of each."""
    kinds = ground.kinds[:1] if ground.shared else ground.kinds
    each = -(-count // len(kinds))
    edits = [edit for kind in kinds for edit in ground.edits(kind, each, seed)][:count]
    return [Sample(picture, edit.caption) for picture, edit in zip(ground.pictures(edits), edits, strict=True)]


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
    sets: Mapping[str, Sequence[Sample]],
    folder: Path,
    described: Mapping[str, Any],
    *,
    steps: int = 50,
    batch: int = 8,
    ways: Sequence[Way] = WAYS,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Every inversion on sets of pictures of one size, sampled again by the pipeline itself.

    Args:
        pipe: a text-to-image pipeline; its scheduler is replaced.
        sets: pictures by the set's name.
        folder: where the results lie; what is done there is not done again.
        described: what else the results depend on.
        steps: sampling steps.
        batch: pictures at once.
        ways: the inversions.
        advance: told the batches done and all of them.

    Raises:
        ResultsError: the folder holds something else.
    """
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = edit_scheduler(pipe)
    sizes = {name: len(samples) for name, samples in sets.items()}
    store = Store(folder, {**described, "pictures": sizes, "steps": steps, "batch": batch})
    parts = {
        name: [samples[first : first + batch] for first in range(0, len(samples), batch)]
        for name, samples in sets.items()
    }
    todo = [(way, name, number) for name in parts for way in ways for number in range(len(parts[name]))]
    for done, (way, name, number) in enumerate(todo):
        advance(done, len(todo))
        if (way.name, name, number) not in store.done:
            begun = time.perf_counter()
            scores, spent = _returned(pipe, parts[name][number], way, steps)
            store.append(Line(way.name, name, number, scores, spent, round(time.perf_counter() - begun, 2)))
    advance(len(todo), len(todo))
    found = {line.key: line for line in read_lines(folder)}
    return [
        _row(name, way.name, [found[way.name, name, number] for number in range(len(parts[name]))])
        for name in parts
        for way in ways
    ]


def to_dict(rows: Sequence[Row], **about: Any) -> dict[str, Any]:
    """Plain JSON types."""
    return {**about, "rows": [asdict(each) for each in rows]}


def table(rows: Sequence[Row], steps: int) -> Table:
    """A line for each set and inversion."""
    counts = ", ".join(f"{row.psnr.n} {row.pictures}" for row in rows if row.way == rows[0].way)
    heading = ("pictures", "inversion", "evaluations", "PSNR, dB", "VAE alone, dB", "against the VAE alone, dB")
    lines = [
        (each.pictures, each.way, str(each.evaluations), *map(_interval, (each.psnr, each.vae, each.own)))
        for each in rows
    ]
    return Table(f"Inverted and sampled again in {steps} steps ({counts}), mean [95 % interval]", heading, tuple(lines))


def _row(pictures: str, way: str, lines: Sequence[Line]) -> Row:
    columns = [[value for line in lines for value in line.scores[name]] for name in ("psnr", "vae", "own")]
    psnr, vae, own = (mean(column, range(len(column))) for column in columns)
    return Row(way, pictures, psnr, vae, own, round(fmean(line.evaluations for line in lines)))


def _interval(estimate: Estimate) -> str:
    if not math.isfinite(estimate.low):
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def _returned(pipe: Any, samples: Sequence[Sample], way: Way, steps: int) -> tuple[dict[str, list[float]], int]:
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
    shown, through = (pictures_of(pipe, each).float().cpu() for each in (back, latents))
    return {
        "psnr": _psnr(shown, wanted),
        "vae": _psnr(through, wanted),
        "own": _psnr(shown, through),
    }, found.evaluations


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
