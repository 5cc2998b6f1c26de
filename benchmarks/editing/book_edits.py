"""The published edits, on scenes of the book world: a cat to a dog, a horse to a zebra, glasses put on."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from world.book.captions import describe, named
from world.book.contents import Contents
from world.book.eye import Eye
from world.book.judge import Sighting
from world.book.render import render
from world.book.scenes import FILLED, Scene, Thing, clashes, put_on, sample_scene

from ..scorers.clip import ClipEncoder, edit_accuracy
from .ground import EditingError, Outcome, kept_outside

GLASSES = "glasses"
SWAPS = {"cat to dog": ("cat", "dog"), "horse to zebra": ("horse", "zebra")}
PUT_ON = "glasses put on"
KINDS = (*SWAPS, PUT_ON)
REACH, RIM = 1.25, 4.0
"""The thing's surroundings, which may change with it: this many radii, and pixels more."""


@dataclass(frozen=True)
class BookEdit:
    """One thing to change in one scene.

    Attributes:
        kind: one of KINDS.
        scene: the scene as it is drawn; its first thing is the one that changes.
        noun: what that thing is to be afterwards, or to wear.
    """

    kind: str
    scene: Scene
    noun: str

    @property
    def target(self) -> Thing:
        """The thing that changes."""
        return self.scene.things[0]

    @property
    def caption(self) -> str:
        """What is in the picture."""
        return describe(self.scene)

    @property
    def swapped(self) -> str:
        """What is to be in it."""
        if self.kind == PUT_ON:
            return self.caption.replace(named(self.target), self.added, 1)
        return describe(dataclasses.replace(self.scene, things=(self._changed, *self.scene.things[1:])))

    @property
    def added(self) -> str:
        """What comes, as an editorial prompt."""
        return f"{named(self.target)} with glasses" if self.kind == PUT_ON else named(self._changed)

    @property
    def removed(self) -> str | None:
        """What goes, as an editorial prompt; where something is put on, nothing does."""
        return None if self.kind == PUT_ON else named(self.target)

    @property
    def heading(self) -> str:
        """What is asked for, in few words."""
        return f"{self.target.noun}: {self.noun}"

    @property
    def _changed(self) -> Thing:
        return dataclasses.replace(self.target, noun=self.noun)

    @property
    def done(self) -> Scene:
        """The scene of a perfect edit. Where something is put on, the other thing makes room."""
        if self.kind == PUT_ON:
            worn = put_on(self.target, self.noun, None, self.scene.style)
            return dataclasses.replace(self.scene, things=(self.target, worn), worn=True)
        return dataclasses.replace(self.scene, things=(self._changed, *self.scene.things[1:]))


@dataclass(frozen=True, eq=False)
class BookGround:
    """Scenes of a book, read by an eye, and if there is one by a CLIP, that were made with a model of it."""

    eye: Eye
    contents: Contents
    clip: ClipEncoder | None = None
    name: str = "book"
    kinds: tuple[str, ...] = KINDS
    shared: bool = False

    @property
    def scored(self) -> bool:
        """Whether a CLIP reads the pictures too."""
        return self.clip is not None

    def edits(self, kind: str, count: int, seed: int) -> list[BookEdit]:
        if kind not in KINDS:
            raise EditingError(f"kind is {kind!r}: it should be one of {', '.join(KINDS)}")
        draw = random.Random(f"{kind} {seed}")
        return [self._edit(kind, draw) for _ in range(count)]

    def pictures(self, edits: Sequence[BookEdit]) -> Tensor:
        return render([edit.scene for edit in edits]).pictures

    def outcomes(self, edits: Sequence[BookEdit], before: Tensor, after: Tensor) -> list[Outcome]:
        seen = self.eye.read(after.clamp(0, 1))
        found = [outcome(*each) for each in zip(edits, before, after, seen, strict=True)]
        if self.clip is None:
            return found
        closer = (
            edit_accuracy(self.clip, picture[None].clamp(0, 1), edit.swapped, edit.caption)[0]
            for edit, picture in zip(edits, after, strict=True)
        )
        return [dataclasses.replace(one, closer=near) for one, near in zip(found, closer, strict=True)]

    def _edit(self, kind: str, draw: random.Random) -> BookEdit:
        while True:
            scene = sample_scene(draw, contents=self.contents)
            old, new = SWAPS.get(kind) or (draw.choice(self.contents.wearers), GLASSES)
            first, *rest = scene.things
            first = dataclasses.replace(first, noun=old, colour=None)
            edit = BookEdit(kind, dataclasses.replace(scene, things=(first, *rest)), new)
            others = {thing.noun for thing in rest}
            if not (scene.worn or others & {old, new} or _hardly_shows(edit)):
                return edit


def outcome(edit: BookEdit, before: Tensor, after: Tensor, seen: Sequence[Sighting]) -> Outcome:
    """One edit judged: the noun asked for is seen where the thing is, and what was to go is not, or to stay is.

    Args:
        edit: what was wanted.
        before: (3, S, S) in [0, 1], the picture that was edited.
        after: (3, S, S).
        seen: what the eye sees in it.
    """
    target = edit.target
    radius = FILLED * target.size
    kept = kept_outside(before, after, (target.x, target.y), REACH * radius + RIM)
    here = {each.noun for each in seen if math.hypot(each.x - target.x, each.y - target.y) <= radius}
    stays = edit.kind == PUT_ON
    return Outcome(edit.noun in here and (target.noun in here) == stays, kept)


def _hardly_shows(edit: BookEdit) -> bool:
    scene = edit.scene
    nouns = (edit.target.noun, edit.noun)
    return any(clashes(scene.style, noun, edit.target.colour_number, scene.background) for noun in nouns)
