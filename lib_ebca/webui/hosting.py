"""What one host does otherwise than another, behind one set of questions; told from what the loaded model has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

from modules import shared
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Rows
from lib_ebca.hosts import ldm
from lib_ebca.hosts.patch import frozen
from lib_ebca.webui.forge import ForgeHosting
from lib_ebca.webui.rows import RowLedger

Ledger = Callable[[Tensor, Mapping[str, Any]], Rows | None]
"""Takes the context and the keywords of a step's next call of the network; gives its rows, None if unknown."""


class Hosting(Protocol):
    """A host with a model loaded."""

    @property
    def unet(self) -> nn.Module:
        """The network; one without cross-attention layers of the known kind cannot be served."""

    @property
    def adds_noise(self) -> bool:
        """Whether the host puts noise of its own onto the picture that it blends into masked latents."""

    def ledger(self, denoiser: Any, uncond: Any, cond: Any) -> Ledger:
        """The ledger of a step that begins."""

    def installed(
        self,
        current: Callable[[], Cascade | None],
        tell: Callable[[str], None],
        swapped: Callable[[], None],
    ) -> AbstractContextManager[None]:
        """The cascade in the network, for the length of a pass."""

    def differentiable(self) -> AbstractContextManager[None]:
        """Gradients may be taken through the network, for the length of a pass."""

    def scale(self, denoiser: Any, sigma: Tensor) -> Tensor | float:
        """What takes the sampler's latents to the network's own units."""

    def predict(self, denoiser: Any, latents: Tensor, sigma: Tensor, rows: Any, image: Tensor) -> Tensor:
        """The model on the sampler's latents, unguided; for samplers that count in timesteps the noise."""


def hosting(model: Any) -> Hosting:
    """The host of a loaded model."""
    return ForgeHosting(model) if ForgeHosting.made(model) else LdmHosting(model)


class LdmHosting:
    """AUTOMATIC1111: the networks of ldm and sgm, called row after row."""

    adds_noise = False

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def unet(self) -> nn.Module:
        """The network."""
        unet: nn.Module = self._model.model.diffusion_model
        return unet

    def ledger(self, denoiser: Any, uncond: Any, cond: Any) -> Ledger:
        """Rows are told from their order."""
        rows = RowLedger([len(each) for each in cond.batch], 2 if _edits_by_instruction(denoiser) else 1)
        return lambda context, _: rows.take(context)

    def installed(
        self,
        current: Callable[[], Cascade | None],
        tell: Callable[[str], None],
        swapped: Callable[[], None],
    ) -> AbstractContextManager[None]:
        """Weights are never swapped within a pass here but with the model."""
        traits = ldm.Traits(
            unmerged=bool(getattr(shared.opts, "lora_functional", False)),
            particular=bool(shared.loaded_hypernetworks) or bool(getattr(shared.opts, "upcast_attn", False)),
        )
        return ldm.installed(self.unet, current, tell, traits)

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """The weights need no gradients, and nothing is checkpointed."""
        with ExitStack() as stack:
            stack.enter_context(frozen(self.unet))
            stack.enter_context(ldm.unchecked(self.unet))
            yield

    def scale(self, denoiser: Any, sigma: Tensor) -> Tensor | float:
        """k-diffusion's samplers have the latent times sqrt(sigma^2 + 1)."""
        model = denoiser.inner_model
        if not hasattr(model, "get_scalings"):
            return 1.0
        scale: Tensor = model.get_scalings(sigma)[-1].view(-1, 1, 1, 1)
        return scale

    def predict(self, denoiser: Any, latents: Tensor, sigma: Tensor, rows: Any, image: Tensor) -> Tensor:
        """Through the host's wrapper, in whose form its conditions are."""
        output: Tensor = denoiser.inner_model(latents, sigma, cond=self._conditions(rows, image))
        return output

    def _conditions(self, rows: Any, image: Tensor) -> dict[str, Any]:
        if getattr(self._model.model, "conditioning_key", None) == "crossattn-adm":
            return {"c_crossattn": [rows], "c_adm": image}
        if isinstance(rows, dict):
            return {**rows, "c_concat": [image]}
        return {"c_crossattn": [rows], "c_concat": [image]}


def _edits_by_instruction(denoiser: Any) -> bool:
    scale = getattr(denoiser, "image_cfg_scale", None)
    return getattr(shared.sd_model, "cond_stage_key", None) == "edit" and scale is not None and scale != 1.0
