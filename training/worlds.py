"""The worlds that a model can be trained on, as the trainings see them: pictures, captions, and where things are."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from world.book import captions as book_captions
from world.book import render as book_render
from world.book import scenes as book_scenes
from world.book.contents import PRIMER, WHOLE, Contents
from world.shapes import captions as shapes_captions
from world.shapes import render as shapes_render
from world.shapes import scenes as shapes_scenes

from .ahead import Ahead, usual_workers
from .grounding import BEHIND, FIRST_OBJECT, NOBODY, SECOND_OBJECT
from .loop import step_generator

NOTHING = -1

Packed = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Sample:
    """B scenes on one device.

    pictures: (B, 3, S, S) in [0, 1]; words: (B, slots) numbers in the world's `words`, NOTHING in an empty slot;
    owners: (B, slots) whose word that is, as training/grounding.py counts them; regions: (B, 3, S, S) where each owner
    is; held_out: (B,) True for captions that training must not show.
    """

    pictures: Tensor
    words: Tensor
    owners: Tensor
    regions: Tensor
    held_out: Tensor

    def packed(self) -> Packed:
        """The same for a pipe between processes: shared memory, where tensors go, is small in many containers."""
        kinds = (torch.uint8, torch.int16, torch.int8, torch.uint8, torch.bool)
        fields = (255 * self.pictures).round(), self.words, self.owners, (255 * self.regions).round(), self.held_out
        return tuple(value.to(kind).numpy() for value, kind in zip(fields, kinds, strict=True))

    @staticmethod
    def unpacked(packed: Packed, device: torch.device) -> Sample:
        """What was packed, on a device; pictures and regions in steps of 1/255."""
        pictures, words, owners, regions, held_out = (torch.from_numpy(array).to(device) for array in packed)
        return Sample(pictures.float() / 255, words.long(), owners.long(), regions.float() / 255, held_out)


class World(Protocol):
    """What the trainings ask of a world. `size`: side of its pictures; `factor`: how much the VAE shrinks them;
    `words`: every word of its captions; `merges`: what its tokenizer learns; `drawn_ahead`: whether it draws on the
    CPU, so that other processes had better do it."""

    name: str
    size: int
    factor: int
    words: tuple[str, ...]
    merges: int
    drawn_ahead: bool

    @property
    def whole(self) -> World:
        """The world that this one is a part of; itself if it is none."""

    def sample(
        self, batch: int, generator: torch.Generator, device: torch.device | str, double_share: float = 0.5
    ) -> Sample:
        """Scenes for training; `generator` lives on `device`."""

    def texts(self, count: int, seed: int) -> list[str]:
        """Captions, for the tokenizer."""

    def double_share(self, step: int) -> float:
        """The share of scenes with two things at a step of the denoiser's training, earlier ones counted."""


class Shapes:
    """Coloured shapes, drawn on the device itself."""

    name, size, factor, words, merges = "shapes", shapes_scenes.SIZE, 4, shapes_captions.WORDS, 146
    drawn_ahead = False

    @property
    def whole(self) -> World:
        return self

    def sample(
        self, batch: int, generator: torch.Generator, device: torch.device | str, double_share: float = 0.5
    ) -> Sample:
        scenes = shapes_scenes.sample_scenes(batch, generator, device, double_share)
        captions = shapes_captions.write_captions(scenes, generator)
        owners = shapes_owners().to(device).expand(batch, -1)
        pictures = shapes_render.render(scenes)
        return Sample(pictures, captions.words, owners, shapes_regions(scenes), captions.held_out())

    def texts(self, count: int, seed: int) -> list[str]:
        generator = torch.Generator().manual_seed(seed)
        captions = shapes_captions.write_captions(shapes_scenes.sample_scenes(count, generator), generator)
        return [captions.text(row) for row in range(count)]

    def double_share(self, step: int) -> float:
        return shapes_scenes.DOUBLE_SHARE


def shapes_owners() -> Tensor:
    """(SLOTS,) whose word stands in each slot of a caption of shapes."""
    owners = torch.full((shapes_captions.SLOTS,), NOBODY)
    for owner, start in ((FIRST_OBJECT, shapes_captions.FIRST), (SECOND_OBJECT, shapes_captions.SECOND)):
        # The first slot of an object is its article.
        owners[start + 1 : start + shapes_captions.OBJECT_SLOTS] = owner
    # So are "on" and the article of the background.
    owners[shapes_captions.BACKGROUND + 2 :] = BEHIND
    return owners


def shapes_regions(scenes: shapes_scenes.SceneBatch) -> Tensor:
    """(B, 3, 64, 64) ones where an owner is: the discs around the objects, and what is left. An absent one has none."""
    axis = torch.arange(shapes_scenes.SIZE, device=scenes.x.device) + 0.5
    dx = axis[None, None, None, :] - scenes.x[:, :, None, None]
    dy = axis[None, None, :, None] - scenes.y[:, :, None, None]
    discs = (dx.square() + dy.square() <= scenes.radius[:, :, None, None].square()).float()
    discs[:, 1] *= (scenes.count == 2)[:, None, None]
    return torch.cat([discs, 1 - discs.amax(1, keepdim=True)], 1)


class Book:
    """Emoji with real nouns, drawn on the CPU wherever the training runs."""

    size, factor, words, merges = book_scenes.SIZE, 8, book_captions.WORDS, 300
    drawn_ahead = True
    # Two things are learnt sooner by a model that knows some of them alone.
    first_share, last_share, share_steps = 0.3, 0.6, 2000

    def __init__(self, name: str, contents: Contents) -> None:
        self.name, self.contents = name, contents

    @property
    def whole(self) -> World:
        return WORLDS["book"]

    def sample(
        self, batch: int, generator: torch.Generator, device: torch.device | str, double_share: float = 0.5
    ) -> Sample:
        draw = random.Random(int(torch.randint(2**62, (1,), generator=generator, device=device)))
        scenes = [book_scenes.sample_scene(draw, double_share, contents=self.contents) for _ in range(batch)]
        captions = [book_captions.write_caption(scene, draw) for scene in scenes]
        drawn = book_render.render(scenes)
        number = {word: index for index, word in enumerate(self.words)}
        slots = max(len(caption.words) for caption in captions)

        def rows(values: list[list[int]]) -> Tensor:
            return torch.tensor([row + [NOTHING] * (slots - len(row)) for row in values], device=device)

        return Sample(
            drawn.pictures.to(device),
            rows([[number[word] for word in caption.words] for caption in captions]),
            rows([list(caption.owners) for caption in captions]),
            drawn.regions().to(device),
            torch.tensor([caption.held_out for caption in captions], device=device),
        )

    def texts(self, count: int, seed: int) -> list[str]:
        draw = random.Random(seed)
        scenes = (book_scenes.sample_scene(draw, contents=self.contents) for _ in range(count))
        return [book_captions.write_caption(scene, draw).text for scene in scenes]

    def double_share(self, step: int) -> float:
        share = min(1.0, step / self.share_steps)
        return self.first_share + share * (self.last_share - self.first_share)


WORLDS: dict[str, World] = {world.name: world for world in (Shapes(), Book("book", WHOLE), Book("primer", PRIMER))}


class Samples:
    """The samples of a training's steps, on its device: drawn there, or ahead where the world draws on the CPU."""

    def __init__(
        self,
        world: World,
        batch: int,
        seed: int,
        device: torch.device,
        double_share: Callable[[int], float],
        workers: int | None = None,
    ) -> None:
        self._world, self._batch, self._seed, self._device = world, batch, seed, device
        self._share = double_share
        workers = usual_workers(device) if workers is None else workers
        self._ahead = Ahead(self._draw, workers) if world.drawn_ahead else None

    def __call__(self, step: int, generator: torch.Generator) -> Sample:
        """What step `step` sees; `generator` is the step's own, on the device."""
        if self._ahead is not None:
            return Sample.unpacked(self._ahead(step), self._device)
        return self._world.sample(self._batch, generator, self._device, self._share(step))

    def _draw(self, step: int) -> Packed:
        cpu = torch.device("cpu")
        generator = step_generator(cpu, self._seed, step)
        return self._world.sample(self._batch, generator, cpu, self._share(step)).packed()
