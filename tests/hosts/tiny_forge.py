"""A UNet that is called as Forge's is: the same weights as :mod:`tests.hosts.tiny_ldm`'s, blocks that others patch.

Written after the hosts' behaviour: the order in which a block runs patches, what they are told, how rows are batched.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.hosts import tiny_ldm
from tests.hosts.forge_control import controlled
from tests.hosts.forge_linears import Linear

FORGE, REFORGE = "backend.nn.unet", "ldm_patched.ldm.modules.attention"
COND, UNCOND = 0, 1


def _heads(states: Tensor, heads: int) -> Tensor:
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


class CrossAttention(nn.Module):
    """Told the transformer's options, as in Forge, Neo and Classic."""

    def __init__(self, found: Any, linear: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.heads, self.dim_head = found.heads, found.to_q.weight.shape[0] // found.heads
        self.to_q, self.to_k = linear(found.to_q.weight), linear(found.to_k.weight)
        self.to_v = linear(found.to_v.weight)
        self.to_out = nn.Sequential(linear(found.to_out[0].weight, found.to_out[0].bias), nn.Dropout(0.0))

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        value: Tensor | None = None,
        mask: Tensor | None = None,
        transformer_options: Mapping[str, Any] = {},
    ) -> Tensor:
        read = x if context is None else context
        values = self.to_v(read if value is None else value)
        query, key, value = (_heads(each, self.heads) for each in (self.to_q(x), self.to_k(read), values))
        output = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        result: Tensor = self.to_out(output.transpose(1, 2).flatten(2))
        return result


class UntoldCrossAttention(CrossAttention):
    """reForge's: without the options."""

    def __init__(self, found: Any, linear: Callable[..., nn.Module]) -> None:
        super().__init__(found, linear)
        self.attn_precision = None

    def forward(  # type: ignore[override]  # the host's own signature
        self, x: Tensor, context: Tensor | None = None, value: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        return CrossAttention.forward(self, x, context, value, mask)


# The host's own are told by the module that their class's forward comes from.
CrossAttention.forward.__module__ = FORGE
UntoldCrossAttention.forward.__module__ = REFORGE


class Block(nn.Module):
    """The transformer's block: patches, a layer or its replacement, patches; for both of its attentions."""

    def __init__(self, found: Any, kind: type[CrossAttention], linear: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.ff = found.norm1, found.norm2, found.norm3, found.ff
        self.attn1, self.attn2 = kind(found.attn1, linear), kind(found.attn2, linear)
        self._told = kind is CrossAttention

    def forward(self, x: Tensor, context: Tensor, options: dict[str, Any]) -> Tensor:
        extra = {name: value for name, value in options.items() if name not in ("patches", "patches_replace")}
        extra |= {"n_heads": self.attn2.heads, "dim_head": self.attn2.dim_head}
        if not self._told:
            extra["attn_precision"] = None
        # In place, as the hosts do it: no block is made for gradients.
        x += self._run("attn1", self.norm1(x), None, options, extra)
        x += self._run("attn2", self.norm2(x), context, options, extra)
        skipped, x = x, self.ff(self.norm3(x))
        x += skipped
        return x

    def _run(
        self, name: str, states: Tensor, context: Tensor | None, options: dict[str, Any], extra: dict[str, Any]
    ) -> Tensor:
        layer: Any = getattr(self, name)
        patches, replacements = options.get("patches", {}), options.get("patches_replace", {}).get(name, {})
        value = None
        for patch in patches.get(f"{name}_patch", ()):
            context = states if context is None else context
            value = context if value is None else value
            states, context, value = patch(states, context, value, extra)
        block, index = options["block"], options["block_index"]
        replacement = replacements.get((*block, index), replacements.get(block))
        if replacement is not None:
            read = states if context is None else context
            values = layer.to_v(read if value is None else value)
            states = layer.to_out(replacement(layer.to_q(states), layer.to_k(read), values, extra))
        elif self._told:
            states = layer(states, context=context, value=value, transformer_options=extra)
        else:
            states = layer(states, context=context, value=value)
        for patch in patches.get(f"{name}_output_patch", ()):
            states = patch(states, extra)
        return states


class Unet(nn.Module):
    """ldm's UNet under Forge's call: the options travel along, and say which block is running."""

    def __init__(self, model: Any, host: str = FORGE, linear: Callable[..., nn.Module] = Linear) -> None:
        super().__init__()
        self.model_channels, self.time_embed, self.out = model.model_channels, model.time_embed, model.out
        self.input_blocks, self.middle_block = model.input_blocks, model.middle_block
        self.output_blocks = model.output_blocks
        kind = CrossAttention if host == FORGE else UntoldCrossAttention
        for module in list(self.modules()):
            if hasattr(module, "transformer_blocks"):
                blocks: Any = module.transformer_blocks
                module.transformer_blocks = nn.ModuleList([Block(block, kind, linear) for block in blocks])

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        y: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
    ) -> Tensor:
        options = {} if transformer_options is None else transformer_options
        options["original_shape"] = list(x.shape)
        embedded = self.time_embed(_embedding(timesteps, self.model_channels).to(x.dtype))
        states, left = x, []
        for number, block in enumerate(self.input_blocks):
            options["block"] = ("input", number)
            states = self._run(block, states, embedded, context, options)
            left.append(states)
        options["block"] = ("middle", 0)
        states = controlled(self._run(self.middle_block, states, embedded, context, options), control, "middle")
        for number, block in enumerate(self.output_blocks):
            options["block"] = ("output", number)
            carried = controlled(left.pop(), control, "output")
            states = self._run(block, torch.cat([states, carried], 1), embedded, context, options)
        result: Tensor = self.out(states)
        return result

    def _run(self, block: Any, x: Tensor, embedded: Tensor, context: Tensor, options: dict[str, Any]) -> Tensor:
        for layer in block:
            if hasattr(layer, "transformer_blocks"):
                height, width, found = x.shape[2], x.shape[3], x
                x = layer.proj_in(layer.norm(x)).flatten(2).transpose(1, 2).contiguous()
                for index, each in enumerate(layer.transformer_blocks):
                    options["block_index"] = index
                    x = each(x, context, options)
                x = layer.proj_out(x.transpose(1, 2).unflatten(2, (height, width))) + found
            else:
                x = layer(x, embedded) if hasattr(layer, "emb_layers") else layer(x)
        return x


def _embedding(timesteps: Tensor, width: int) -> Tensor:
    half = width // 2
    angles = timesteps[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)
    return torch.cat([angles.cos(), angles.sin()], -1)


def unet(host: str = FORGE, linear: Callable[..., nn.Module] = Linear, seed: int = 0) -> Unet:
    """A network with the weights of :func:`tests.hosts.tiny_ldm.unet`."""
    return Unet(tiny_ldm.unet(seed=seed), host, linear).eval().requires_grad_(False)


class Model:
    """The network between noise levels and latents, as a patcher's ``model``."""

    def __init__(self, diffusion_model: nn.Module) -> None:
        self.diffusion_model = diffusion_model
        self.predictor = SimpleNamespace(sigma_data=1.0)

    def apply_model(
        self,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **others: Any,
    ) -> Tensor:
        scale = (t**2 + 1).view(-1, 1, 1, 1).sqrt()
        keywords = {"context": c_crossattn, "control": control, "transformer_options": transformer_options}
        noise = self.diffusion_model(x / scale, timesteps_of(t), **keywords, **others)
        return x - noise * t.view(-1, 1, 1, 1)


def timesteps_of(sigma: Tensor) -> Tensor:
    """A timestep for a noise level, near enough for random weights."""
    return sigma * 60


class Patcher:
    """What extensions patch. Clones share the model; plain Forge's copy the options to the ground."""

    def __init__(self, model: Model, deep: bool = False) -> None:
        self.model, self._deep = model, deep
        self.model_options: dict[str, Any] = {"transformer_options": {}}
        self.controlnet_linked_list: Any = None

    def clone(self) -> Patcher:
        found = Patcher(self.model, self._deep)
        found.controlnet_linked_list = self.controlnet_linked_list
        found.model_options = copy.deepcopy(self.model_options) if self._deep else _copied(self.model_options)
        return found

    def patch(self, name: str, function: Callable[..., Any]) -> None:
        patches = self.model_options["transformer_options"].setdefault("patches", {})
        patches[name] = [*patches.get(name, []), function]

    def replace(self, key: Any, function: Callable[..., Any], name: str = "attn2") -> None:
        owners = self.model_options["transformer_options"].setdefault("patches_replace", {}).setdefault(name, {})
        owners[key] = function


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return list(value) if isinstance(value, list) else value


def denoised(
    patcher: Patcher,
    conditional: Sequence[Tensor],
    unconditional: Tensor | None,
    x: Tensor,
    sigma: Tensor,
    chunks: int = 99,
) -> tuple[list[Tensor], Tensor | None]:
    """One step's predictions, batched as the hosts batch them.

    Args:
        patcher: with the patches of this pass.
        conditional: a context for each part that ``AND`` divides the prompts into, (B, T, D).
        unconditional: (B, T', D), or None.
        x: (B, 4, H, W).
        sigma: (B,).
        chunks: how many the memory holds at once.
    """
    waiting = [(context, COND, part) for part, context in enumerate(conditional)]
    if unconditional is not None:
        waiting.append((unconditional, UNCOND, 0))
    parts: list[Tensor] = [x] * len(conditional)
    base = None
    while waiting:
        first = waiting[0][0].shape[1]
        fitting = [i for i, (each, _, _) in enumerate(waiting) if _near(first, each.shape[1])]
        together = [waiting.pop(i) for i in fitting[::-1][:chunks]]
        length = math.lcm(*(context.shape[1] for context, _, _ in together))
        options = dict(patcher.model_options["transformer_options"])
        options["cond_or_uncond"] = [mark for _, mark, _ in together]
        options["sigmas"] = sigma
        arguments = {
            "input": torch.cat([x] * len(together)),
            "timestep": torch.cat([sigma] * len(together)),
            "c": {
                "c_crossattn": torch.cat(
                    [context.repeat(1, length // context.shape[1], 1) for context, _, _ in together]
                ),
                "transformer_options": options,
            },
            "cond_or_uncond": options["cond_or_uncond"],
        }
        asked = each = patcher.controlnet_linked_list
        while each is not None:
            each.transformer_options, each = options, each.previous_controlnet
        if asked is not None:
            c = arguments["c"]
            c["control"] = asked.get_control(arguments["input"], arguments["timestep"], dict(c), len(together))
        wrapper = patcher.model_options.get("model_function_wrapper", _unwrapped)
        output = wrapper(patcher.model.apply_model, arguments).chunk(len(together))
        for (_, mark, part), each in zip(together, output, strict=True):
            if mark == COND:
                parts[part] = each
            else:
                base = each
    return parts, base


def _unwrapped(apply_model: Callable[..., Tensor], arguments: Mapping[str, Any]) -> Tensor:
    return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])


def _near(a: int, b: int) -> bool:
    return math.lcm(a, b) // min(a, b) <= 4
