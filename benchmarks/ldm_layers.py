"""What EBCA costs in Stability's own UNet, against the class's own forward with the fused kernel.

The real ``ldm`` (``pip install --no-deps stable-diffusion-sdkit``) at the size of SD 1.5 with random weights. Its
cross-attention layers are timed alone in interleaved rounds, and the rest of an evaluation, the same for every way, is
added. Runs as ``python -m benchmarks.ldm_layers``.
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.energy import merge_heads, split_heads
from lib_ebca.attention.picture import Picture, Rows, Timetable
from lib_ebca.hosts.ldm import cross_attention_layers, installed
from lib_ebca.language.directives import parse
from lib_ebca.language.plan import Plan

from .architectures import TOKENS, fill
from .measurement import write_json
from .timing import Sample, interleaved, paired

TEXT_WIDTH = 768
SETTLED = 2
PLANS = {
    "stock": None,
    "bcu": parse("<bcu>").plan,
    "bcu+1": parse("<bcu> <edit:x:0.75>").plan,
    "edit": parse("<edit:x:0.75>").plan,
    "moving edit": parse("<edit:x:0.75:attn=6e-4:norm=6e-4>").plan,
}
"""By name; the first one is what the others are compared with."""


def sdp(self: Any, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Attention as the WebUI has it with ``--opt-sdp-attention``."""
    read = x if context is None else context
    query, key, value = (split_heads(states, self.heads) for states in (self.to_q(x), self.to_k(read), self.to_v(read)))
    attended: Tensor = self.to_out(merge_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=mask)))
    return attended


# The name of the WebUI's module is how the host knows a forward that computes plain attention.
sdp.__module__ = "modules.sd_hijack_optimizations"


def build() -> nn.Module:
    """The UNetModel of SD 1.5."""
    kind = importlib.import_module("ldm.modules.diffusionmodules.openaimodel").UNetModel
    with torch.device("meta"):
        unet: nn.Module = kind(
            image_size=32,
            in_channels=4,
            out_channels=4,
            model_channels=320,
            attention_resolutions=[4, 2, 1],
            num_res_blocks=2,
            channel_mult=[1, 2, 4, 4],
            num_heads=8,
            use_spatial_transformer=True,
            transformer_depth=1,
            context_dim=TEXT_WIDTH,
            use_checkpoint=False,
            legacy=False,
        )
    fill(unet, torch.device("cpu"), torch.float32)
    return unet


def measure(side: int, rounds: int) -> dict[str, Any]:
    """Time every plan at square latents of ``side`` on one thread."""
    torch.set_num_threads(1)
    importlib.import_module("ldm.modules.attention").CrossAttention.forward = sdp
    unet, device = build(), torch.device("cpu")
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(2, 4, side, side, generator=generator)
    context = torch.randn(2, TOKENS, TEXT_WIDTH, generator=generator)
    layers = [module for _, module in cross_attention_layers(unet)]
    states: list[Tensor] = []

    def whole() -> Tensor:
        evaluated: Tensor = unet(latent, torch.tensor([500, 500]), context)
        return evaluated

    with torch.no_grad():
        with ExitStack() as stack:
            for layer in layers:
                hook = layer.register_forward_pre_hook(lambda module, args: states.append(args[0]))
                stack.callback(hook.remove)
            whole()
        own = [_layers(unet, layers, states, context, plan, side) for plan in PLANS.values()]
        for evaluate in own * SETTLED:
            evaluate()
        samples = interleaved(own, rounds, 1, device)
        (evaluations,) = interleaved([whole], 3, 1, device)
    rest = _median(evaluations) - _median(samples[0])
    times = [[rest + each.cpu for each in way] for way in samples]
    return {
        name: {"seconds": statistics.median(ours), "cpu_ratio": vars(paired(ours, times[0]))}
        for name, ours in zip(PLANS, times, strict=True)
    }


def _layers(
    unet: nn.Module, layers: list[nn.Module], states: list[Tensor], context: Tensor, plan: Plan | None, side: int
) -> Callable[[], None]:
    cascade = None
    if plan is not None:
        generator = torch.Generator().manual_seed(2)
        edits = tuple(torch.randn(TOKENS, TEXT_WIDTH, generator=generator) for _ in plan.edits)
        cascade = Cascade([Picture(edits)], [Timetable.of(plan, 50)], layers=len(layers))

    def evaluate() -> None:
        with ExitStack() as stack:
            if cascade is not None:
                # Every time anew, for all ways share one network; it takes less than a millisecond.
                stack.enter_context(installed(unet, lambda: cascade, _refused))
                cascade.begin(Rows.guided(1), (side, side), number=25)
            for layer, state in zip(layers, states, strict=True):
                layer(state, context=context)

    return evaluate


def _refused(sentence: str) -> None:
    raise RuntimeError(f"what would be measured is not what was meant: {sentence}")


def _median(samples: list[Sample]) -> float:
    return statistics.median(each.cpu for each in samples)


def main(
    side: Annotated[int, typer.Option(help="Of the square latents.")] = 32,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds.")] = 9,
    json_file: Annotated[str | None, typer.Option("--json", metavar="FILE", help="Also as JSON.")] = None,
) -> None:
    """Print the CPU time of an evaluation under each plan, over the stock's."""
    found = measure(side, rounds)
    for name, way in found.items():
        ratio = way["cpu_ratio"]
        typer.echo(f"{name}: {way['seconds']:.2f} s, {ratio['median']:.4f} [{ratio['low']:.4f}, {ratio['high']:.4f}]")
    if json_file is not None:
        write_json(json_file, {"side": side, "rounds": rounds, "results": found})


if __name__ == "__main__":
    typer.run(main)
