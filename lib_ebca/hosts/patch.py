"""Putting something of ours into somebody else's object, and taking it out so that the object is as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from weakref import ref

from torch import nn

_COPYING = "__reduce_ex__"


class Life:
    """Held by the frame of a block alone, so that it ends with it at whatever line an interruption strikes."""


class Shadow:
    """A callable of ours in an instance's ``__dict__``, in front of what was there.

    Whoever still holds one that was taken out (a wrapper put on top of it, a hook that kept it) finds what it stood in
    front of.

    Args:
        owner: the instance.
        name: the attribute.
        ours: called in its place.
        life: lives as long as the block that put it there.
    """

    def __init__(self, owner: object, name: str, ours: Callable[..., Any], life: Life) -> None:
        self._owner, self._name, self._life = owner, name, ref(life)
        self.found = name in vars(owner)
        self.below: Any = getattr(owner, name)
        self.ours: Callable[..., Any] = ours

        # A graph would be made again for every other object that is no function.
        def shadow(*args: Any, **keywords: Any) -> Any:
            return self.ours(*args, **keywords)

        # Whoever asks for the signature gets that of what was there.
        vars(shadow).update(__wrapped__=self.below, ebca_shadow=self)
        self.function = shadow

    def put(self) -> None:
        """Stand in front, and let copies of the owner be plain."""
        attributes = vars(self._owner)
        if _COPYING not in attributes and not isinstance(self._owner, ModuleType):
            attributes[_COPYING] = _Copying(self._owner)
        attributes[self._name] = self.function

    def take_out(self) -> None:
        """Leave no trace of this one in the owner, and none but an inert one elsewhere; once is enough."""
        # First of all, so that an interruption at any later point leaves something harmless.
        self.ours = self.below
        attributes = vars(self._owner)
        if self.found and self._name not in attributes:
            attributes[self._name] = self.below
        for name, value in list(attributes.items()):
            if value is self.function:
                # Hooks of accelerate keep what they found under a name of their own.
                if name == self._name and not self.found:
                    del attributes[name]
                else:
                    attributes[name] = self.below
                continue
            above = shadow_of(value)
            while above is not None:
                if above.below is self.function:
                    above.below, above.found = self.below, self.found
                    if above.stranded:
                        above.ours = self.below
                above = shadow_of(above.below)
        ours = any(shadow_of(value) is not None for value in attributes.values())
        if not ours and isinstance(attributes.get(_COPYING), _Copying):
            del attributes[_COPYING]

    @property
    def stranded(self) -> bool:
        """Whether its block has ended, and an interruption came before it was taken out."""
        return self.ours is self.below or self._life() is None


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Shadow ``owner.name`` on the instance for the length of the block.

    Only the instance's own ``__dict__`` is touched. Afterwards exactly what was put there is gone, from wherever it is
    by then: blocks may end in any order, and what somebody else put on top of ours, or below it, stays. A copy of the
    owner, or what is pickled of it, holds nothing of ours.
    """
    attributes = vars(owner)
    _sweep(attributes, name)
    life = Life()
    if not callable(value):
        found, before = name in attributes, attributes.get(name)
        try:
            attributes[name] = value
            yield
        finally:
            if attributes.get(name) is value:
                if found:
                    attributes[name] = before
                else:
                    del attributes[name]
        return
    shadow = Shadow(owner, name, value, life)
    try:
        shadow.put()
        yield
    finally:
        shadow.take_out()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model's weights need no gradients within the block: less is kept where one is taken through it."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def shadow_of(value: object) -> Shadow | None:
    """What is behind an attribute that is ours; None if it is somebody else's."""
    shadow: Shadow | None = getattr(value, "__dict__", {}).get("ebca_shadow")
    return shadow if shadow is not None and shadow.function is value else None


def somebodys(owner: object, name: str) -> Any:
    """The instance's own attribute that stands below everything of ours; None if there is none."""
    return _beneath(vars(owner).get(name))


class _Copying:
    """How an owner is copied and pickled meanwhile: without anything of ours."""

    def __init__(self, owner: object) -> None:
        self._owner = owner

    def __call__(self, protocol: Any) -> Any:
        reduced = type(self._owner).__reduce_ex__(self._owner, protocol)
        if not isinstance(reduced, tuple) or len(reduced) < 3 or not isinstance(reduced[2], dict):
            return reduced
        state = {}
        for name, value in reduced[2].items():
            if value is self or (shadow_of(value) is not None and _beneath(value) is None):
                continue
            state[name] = value if shadow_of(value) is None else _beneath(value)
        return (*reduced[:2], state, *reduced[3:])


def _beneath(value: Any) -> Any:
    shadow = shadow_of(value)
    while shadow is not None:
        value = shadow.below if shadow.found else None
        shadow = shadow_of(value)
    return value


def _sweep(attributes: dict[str, Any], name: str) -> None:
    """Take out what an interruption left here."""
    shadow = shadow_of(attributes.get(name))
    while shadow is not None:
        if shadow.stranded:
            shadow.take_out()
        shadow = shadow_of(shadow.below)
