"""The core and the WebUI's parts use no name of torch that the oldest torch lacks."""

from __future__ import annotations

import pytest

from tests.house.torch_names import SEEN, exists, names_in, used


def test_every_name_was_seen_in_the_oldest_torch() -> None:
    seen = set(SEEN.read_text(encoding="utf-8").split())
    # A new name: look whether torch 2.1 has it, best by `python -m tests.house.torch_names` there, then add its line.
    assert sorted(used() - seen) == []


def test_the_installed_torch_has_them_too() -> None:
    assert [name for name in sorted(used()) if not exists(name)] == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (
            "import torch\ntorch.nn.functional.pad(x)",
            {"torch", "torch.nn", "torch.nn.functional.pad", "torch.nn.functional"},
        ),
        ("import torch.nn.functional as F\nF.pad(x)", {"torch.nn.functional", "torch.nn.functional.pad"}),
        ("from torch import nn, Tensor\nnn.Linear(1, 1)", {"torch.nn", "torch.Tensor", "torch.nn.Linear"}),
        ("import torchsde\ntorchsde.Path(x)", set()),
        ("tensor.torch.pad()", set()),
    ],
)
def test_what_counts_as_a_name(source: str, names: set[str]) -> None:
    assert set(names_in(source)) == names


def test_a_name_that_is_not_there() -> None:
    assert exists("torch.utils.checkpoint.checkpoint") and not exists("torch.no_such_name")
