"""A small host to test against: the stand-in modules, a tiny model, our script loaded as the WebUI does it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.hosts import tiny_forge, tiny_ldm
from tests.tiny_text import tokenizer

ROOT = Path(__file__).parents[2]
DOUBLE = Path(__file__).parent / "double"
_OURS = ("modules", "gradio", "fastapi", "lib_ebca.webui")


@contextmanager
def started() -> Iterator[Any]:
    """A running host, seen from the tests: its modules, and our script on both tabs."""
    _forget()
    sys.path.insert(0, str(DOUBLE))
    try:
        yield Host()
    finally:
        sys.path.remove(str(DOUBLE))
        _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith(_OURS)]:
        if any(name == ours or name.startswith(f"{ours}.") for ours in _OURS):
            del sys.modules[name]


class Host:
    """The stand-in with our script in it."""

    def __init__(self) -> None:
        from modules import errors, processing, script_callbacks, scripts, shared

        self.shared, self.errors, self.callbacks = shared, errors, script_callbacks.callbacks
        self.processing, self.scripts = processing, scripts
        shared.reset()
        shared.sd_model = model()
        self.load_scripts()

    def load_scripts(self) -> None:
        """What the host does at its start and on Reload UI: callbacks are cleared, the file runs, lib_ebca stays."""
        self.callbacks.clear()
        specification = importlib.util.spec_from_file_location("ebca.py", ROOT / "scripts" / "ebca.py")
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        classes = [
            each for each in vars(module).values() if isinstance(each, type) and issubclass(each, self.scripts.Script)
        ]
        assert len(classes) == 1
        for callback in self.callbacks["ui_settings"]:
            callback()
        for callback in self.callbacks["before_ui"]:
            callback()
        self.tabs = []
        for is_img2img in (False, True):
            script = classes[0]()
            script.is_img2img = is_img2img
            script.filename = str(ROOT / "scripts" / "ebca.py")
            self.tabs.append(script)
        self.runner = self.scripts.ScriptRunner(self.tabs[0])
        self.runner_img2img = self.scripts.ScriptRunner(self.tabs[1])

    def job(self, args: list[Any] | None = None, **asked: Any) -> Any:
        """A processing object; ``args`` are those of our script, as an API client gives them."""
        runner = self.runner_img2img if asked.get("is_img2img") else self.runner
        values = runner.default_args()
        script = runner.alwayson_scripts[0]
        given = (args or [])[: script.args_to - script.args_from]
        values[script.args_from : script.args_from + len(given)] = given
        return self.processing.Processing(scripts=runner, script_args=values, **asked)

    def make(self, args: list[Any] | None = None, **asked: Any) -> Tensor:
        """The latents of a job's pictures."""
        result = self.processing.process_images(self.job(args, **asked))
        images: list[Tensor] = [image for image in result.images if isinstance(image, Tensor)]
        return torch.stack(images)

    def clean(self, sampler: Any = None) -> bool:
        """Whether nothing of ours is in the model (and in a sampler that is looked at)."""
        unet = network(self.shared.sd_model)
        patched = [name for name, module in unet.named_modules() if "forward" in vars(module)]
        ours = [] if sampler is None else [*(set(vars(sampler)) & {"ebca_pass", "launch_sampling"})]
        denoiser = {} if sampler is None else vars(sampler.model_wrap_cfg)
        return not patched and not unet._forward_pre_hooks and not ours and "forward" not in denoiser


def network(model: Any) -> nn.Module:
    """The UNet of a model of either kind."""
    if hasattr(model, "forge_objects"):
        model = model.forge_objects.unet
    unet: nn.Module = model.model.diffusion_model
    return unet


def forge_model(seed: int = 0, sdxl: bool = False, host: str = tiny_forge.FORGE, deep: bool = False) -> Any:
    """Forge's engine: no ``model``, but a patcher, and text engines of its own."""
    encoder = TextEncoder(seed, sdxl)
    patcher = tiny_forge.Patcher(tiny_forge.Model(tiny_forge.unet(host, seed=seed)), deep)
    engines = ("text_processing_engine_l", "text_processing_engine_g") if sdxl else ("text_processing_engine",)
    objects = SimpleNamespace(unet=patcher)
    return SimpleNamespace(
        forge_objects=objects,
        forge_objects_original=SimpleNamespace(unet=patcher),
        forge_objects_after_applying_lora=SimpleNamespace(unet=patcher),
        sd_checkpoint_info=SimpleNamespace(name=f"tiny-forge-{seed}"),
        cond_stage_model=None,
        get_learned_conditioning=encoder,
        is_sdxl=sdxl,
        alphas_cumprod=(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).cumprod(0),
        **dict.fromkeys(engines, encoder),
    )


def model(seed: int = 0, sdxl: bool = False) -> Any:
    """A model with Stability's UNet and a text encoder of the host's shape."""
    encoder = TextEncoder(seed, sdxl)
    return SimpleNamespace(
        model=SimpleNamespace(diffusion_model=tiny_ldm.unet(seed=seed)),
        sd_checkpoint_info=SimpleNamespace(name=f"tiny-{seed}"),
        cond_stage_model=encoder,
        cond_stage_key="txt",
        cond_stage_model_empty_prompt=encoder.encode([""])[:1],
        get_learned_conditioning=encoder,
        is_sdxl=sdxl,
        alphas_cumprod=(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).cumprod(0),
    )


class Chunk:
    """77 tokens."""

    def __init__(self, tokens: list[int], multipliers: list[float]) -> None:
        self.tokens, self.multipliers = tokens, multipliers
        self.fixes: list[Any] = []


class TextEncoder(nn.Module):
    """A random embedding of tokens that look back at their forerunners; emphasis multiplies."""

    def __init__(self, seed: int, sdxl: bool) -> None:
        super().__init__()
        self.tokenizer = tokenizer()
        self.id_start, self.id_end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.embeddings: dict[str, int] = {}
        self.texts: list[str] = []
        self._sdxl = sdxl
        generator = torch.Generator().manual_seed(seed)
        self._table = torch.randn(len(self.tokenizer), tiny_ldm.CONTEXT, generator=generator)

    def tokenize_line(self, line: str) -> tuple[list[Chunk], int]:
        from lib_ebca.language import words

        read = words.tokenise(self.tokenizer, line)
        chunks = [Chunk([t.id for t in chunk], [t.weight for t in chunk]) for chunk in read.chunks]
        for name, vectors in self.embeddings.items():
            ids = self.tokenizer(name, add_special_tokens=False)["input_ids"]
            for chunk in chunks:
                for i in range(len(chunk.tokens) - len(ids)):
                    if chunk.tokens[i : i + len(ids)] == ids:
                        chunk.tokens[i : i + len(ids)] = [0] * vectors
                        del chunk.tokens[77:]
                        fix = SimpleNamespace(offset=i - 1, embedding=SimpleNamespace(name=name, vectors=vectors))
                        chunk.fixes.append(fix)
        return chunks, sum(read.lengths)

    def encode(self, texts: list[str]) -> Tensor:
        """(B, T, D), T a multiple of 77."""
        self.texts.extend(texts)
        read = [self.tokenize_line(text)[0] for text in texts]
        empty = self.tokenize_line("")[0][0]
        longest = max(map(len, read))
        rows = []
        for chunks in read:
            padded = chunks + [empty] * (longest - len(chunks))
            parts = []
            for chunk in padded:
                embedded = self._table[torch.tensor(chunk.tokens)]
                passed = embedded.cumsum(0) / torch.arange(1, len(embedded) + 1)[:, None].sqrt()
                parts.append(passed * torch.tensor(chunk.multipliers)[:, None])
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    def forward(self, texts: list[str]) -> Any:
        encoded = self.encode(list(texts))
        return {"crossattn": encoded, "vector": encoded[:, 0]} if self._sdxl else encoded
