"""Noise predictions of a Forge's own UNet under cascades, made by that host's Python in the host's folder.

Called with three paths: the host's folder, what is asked, and where the answer is to be written.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.hosts import forge


def network(shape: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    """The host's class, with the host's own layers in it."""
    operations = importlib.import_module("backend.operations")
    kind = importlib.import_module("backend.nn.unet").IntegratedUNet2DConditionModel
    with operations.using_forge_operations(device=torch.device("cpu"), dtype=torch.float32):
        unet: nn.Module = kind(**shape)
    unet.load_state_dict(weights)
    return unet.eval().requires_grad_(False)


def predicted(unet: nn.Module, asked: dict[str, Any], cascade: Cascade | None) -> tuple[Tensor, list[str]]:
    """What the network predicts under a cascade, and what is told; without one it is the network alone."""
    told: list[str] = []
    if cascade is not None:
        cascade.begin(asked["rows"], tuple(asked["sample"].shape[-2:]), number=0)
    with (
        torch.inference_mode(),
        nullcontext() if cascade is None else forge.installed(unet, lambda: cascade, told.append),
    ):
        output: Tensor = unet(asked["sample"], asked["times"], context=asked["context"], transformer_options={})
    return output.clone(), told


def main(folder: str, question: str, answer: str) -> None:
    """Read, predict, write."""
    # The hosts read the command line when they are imported.
    sys.argv = ["launch.py", "--cpu"]
    sys.path[:0] = [folder, f"{folder}/modules_forge/packages"]
    asked = torch.load(question, weights_only=False)
    unet = network(asked["shape"], asked["weights"])
    plain = predicted(unet, asked, None)[0]
    under = {name: predicted(unet, asked, Cascade(*score)) for name, score in asked["scores"].items()}
    kinds = {type(module.to_k) for module in unet.modules() if hasattr(module, "to_k")}
    after = predicted(unet, asked, None)[0]
    torch.save(
        {"plain": plain, "under": under, "after": after, "layers": sorted(kind.__qualname__ for kind in kinds)}, answer
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
