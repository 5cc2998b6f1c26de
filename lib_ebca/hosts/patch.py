"""Putting something of ours into somebody else's object, and taking it out so that the object is as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Shadow ``owner.name`` on the instance for the length of the block.

    Only the instance's own ``__dict__`` is touched: what the class defines, or somebody's earlier patch of the
    instance, is there again afterwards as the very same object, whatever happened in between.
    """
    attributes = vars(owner)
    found = name in attributes
    before = attributes.get(name)
    attributes[name] = value
    try:
        yield
    finally:
        if found:
            attributes[name] = before
        else:
            attributes.pop(name, None)


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
