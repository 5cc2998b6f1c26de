"""Edits of scenes of shapes: what is to change, in a method's words, and whether it did while the rest stayed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from world.shapes.captions import describe
from world.shapes.render import render
from world.shapes.scenes import COLOURS, SHAPES, STYLES, Scene, SceneBatch, SceneObject, sample_scenes
from world.shapes.sightings import Reading, Sighting, read

from .ground import EditingError, Outcome, kept_outside

KINDS = ("colour", "shape", "remove", "restyle")
REACH, RIM = 1.25, 2.0
"""The object's surroundings, which may change with it: this many radii, and pixels more."""

BLOCK = 8


@dataclass(frozen=True)
class SceneEdit:
    """One thing to change in one scene.

    Attributes:
        kind: one of KINDS.
        scene: the scene as it is drawn; its first object is the one that changes.
        wanted: that object afterwards, None if it is to be gone.
    """

    kind: str
    scene: Scene
    wanted: SceneObject | None

    @property
    def target(self) -> SceneObject:
        """The object that changes."""
        return self.scene.objects[0]

    @property
    def caption(self) -> str:
        """What is in the picture."""
        return describe(self.scene, background=True)

    @property
    def swapped(self) -> str:
        """What is to be in it."""
        if self.wanted is not None:
            return describe(
                dataclasses.replace(self.scene, objects=(self.wanted, *self.scene.objects[1:])), background=True
            )
        if len(self.scene.objects) == 2:
            return describe(dataclasses.replace(self.scene, objects=self.scene.objects[1:]), background=True)
        return described_background(self.scene)

    @property
    def added(self) -> str:
        """What comes, as an editorial prompt: the object as it is to be, or what is left without it."""
        return self.swapped if self.wanted is None else _called(self.wanted)

    @property
    def removed(self) -> str | None:
        """What goes, as an editorial prompt; restyling takes nothing away that has a name."""
        return None if self.kind == "restyle" and self.target.style == "plain" else _called(self.target)

    @property
    def heading(self) -> str:
        """What is asked for, in few words."""
        if self.wanted is None:
            return f"remove the {self.target.colour} {self.target.shape}"
        wanted = {"colour": self.wanted.colour, "shape": self.wanted.shape, "restyle": self.wanted.style}[self.kind]
        return f"{self.target.colour} {self.target.shape}: {wanted}"


class ShapesGround:
    """The scenes that no training run drew; all kinds of edits are made of the same ones."""

    name, kinds, shared, scored = "shapes", KINDS, True, False

    def edits(self, kind: str, count: int, seed: int) -> Sequence[SceneEdit]:
        return scene_edits(kind, count, seed)

    def pictures(self, edits: Sequence[SceneEdit]) -> Tensor:
        return pictures(edits)

    def outcomes(self, edits: Sequence[SceneEdit], before: Tensor, after: Tensor) -> list[Outcome]:
        return [outcome(*each) for each in zip(edits, before, after, read(after), strict=True)]


def scene_edits(kind: str, count: int, seed: int) -> list[SceneEdit]:
    """`count` scenes that no training run drew, with an edit of that kind each; seeded.

    The scenes are the same for every kind, and fewer are the first of more.

    Raises:
        EditingError: there is no such kind.
    """
    if kind not in KINDS:
        raise EditingError(f"kind is {kind!r}: it should be one of {', '.join(KINDS)}")
    generator = torch.Generator().manual_seed(seed)
    found: list[SceneEdit] = []
    while len(found) < count:
        scenes = sample_scenes(BLOCK, generator)
        draws = torch.randint(0, 2**31, (BLOCK,), generator=generator).tolist()
        found += [_edit(kind, scenes.scene(row), draw) for row, draw in enumerate(draws)]
    return found[:count]


def pictures(edits: Sequence[SceneEdit]) -> Tensor:
    """The scenes as they are: (B, 3, 64, 64) in [0, 1]."""
    return render(SceneBatch.from_scenes([edit.scene for edit in edits]))


def outcome(edit: SceneEdit, before: Tensor, after: Tensor, reading: Reading) -> Outcome:
    """One edit judged.

    Args:
        edit: what was wanted.
        before: (3, 64, 64), the picture that was edited.
        after: (3, 64, 64).
        reading: what the judge sees in it.
    """
    target = edit.target
    kept = kept_outside(before, after, (target.x, target.y), REACH * target.radius + RIM)
    here = [seen for seen in reading.objects if _at(seen, edit.target)]
    if edit.wanted is None:
        return Outcome(not here, kept)
    return Outcome(len(here) == 1 and _is(here[0], edit.wanted, edit.kind), kept)


def described_background(scene: Scene) -> str:
    """The empty scene in words."""
    pattern = f" {scene.pattern}" if scene.pattern != "plain" else ""
    return f"{'an' if scene.tone[0] in 'aeiou' else 'a'} {scene.tone}{pattern} background"


def _edit(kind: str, scene: Scene, draw: int) -> SceneEdit:
    target = scene.objects[0]
    if kind == "remove":
        return SceneEdit(kind, scene, None)
    field, choices = {"colour": ("colour", COLOURS), "shape": ("shape", SHAPES), "restyle": ("style", STYLES)}[kind]
    # Plain is no style that words could ask for.
    taken = {getattr(each, field) for each in scene.objects} | {"plain"}
    free = [choice for choice in choices if choice not in taken]
    changed: dict[str, Any] = {field: free[draw % len(free)]}
    return SceneEdit(kind, scene, dataclasses.replace(target, **changed))


def _called(thing: SceneObject) -> str:
    return describe(Scene((thing,)))


def _at(seen: Sighting, target: SceneObject) -> bool:
    return math.hypot(seen.x - target.x, seen.y - target.y) <= target.radius


def _is(seen: Sighting, wanted: SceneObject, kind: str) -> bool:
    same = seen.colour == wanted.colour and seen.shape == wanted.shape
    return same and (kind != "restyle" or seen.style == wanted.style)
