"""The WebUI's hires fix: a pass at one size, its latent made larger, and a pass from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_ebca.language.checks import meant, shortened
from lib_ebca.studio import recorded
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.values import MOST_STEPS, finite

if TYPE_CHECKING:
    from torch import Tensor

UPSCALERS: dict[str, tuple[str, bool]] = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}
"""Those that keep to the latent, by the WebUI's names: how values are taken, and whether it is smoothed first."""

LARGEST = 8.0
_STRENGTH = "Denoising strength"
_FIELDS = ("Hires upscale", "Hires upscaler", "Hires steps", _STRENGTH)


@dataclass(frozen=True)
class Hires:
    """`steps` of 0 are as many as the first pass has; `strength` is how much of the larger picture is made anew."""

    scale: float = 2.0
    upscaler: str = "Latent"
    steps: int = 0
    strength: float = 0.7

    def checked(self) -> Hires:
        """Itself with the upscaler's name as the WebUI writes it. Raises UserError."""
        if not 1 < finite("--hires", self.scale) <= LARGEST:
            raise UserError(f"--hires is {self.scale:g}: it should be above 1 and at most {LARGEST:g}")
        if not 0 <= self.steps <= MOST_STEPS:
            raise UserError(f"--hires-steps is {self.steps}: it should be 0, for as many as before, to {MOST_STEPS}")
        if not 0 < finite("--hires-strength", self.strength) <= 1:
            raise UserError(f"--hires-strength is {self.strength:g}: it should be above 0 and at most 1")
        named = {name.casefold(): name for name in UPSCALERS}.get(" ".join(self.upscaler.split()).casefold())
        if named is None:
            nearest = meant(self.upscaler, UPSCALERS)
            raise UserError(
                f"--hires-upscaler is {shortened(self.upscaler)!r}{nearest}: it should be one of {', '.join(UPSCALERS)}"
            )
        return Hires(self.scale, named, self.steps, self.strength)

    def side(self, pixels: int) -> int:
        """A side of the larger picture, before it is cut to whole latents."""
        return int(pixels * self.scale)

    def enlarged(self, latents: Tensor, width: int, height: int) -> Tensor:
        """Latents (B, C, h, w) as (B, C, height, width)."""
        from torch.nn.functional import interpolate

        mode, antialias = UPSCALERS[self.upscaler]
        return interpolate(latents, size=(height, width), mode=mode, antialias=antialias)

    def fields(self) -> dict[str, str]:
        """The fields of the "parameters" text."""
        steps = {"Hires steps": str(self.steps)} if self.steps else {}
        scale = int(self.scale) if self.scale == int(self.scale) else self.scale
        return {
            _STRENGTH: repr(self.strength),
            "Hires upscale": repr(scale),
            **steps,
            "Hires upscaler": self.upscaler,
        }


def read(fields: Mapping[str, str]) -> Hires | None:
    """What a "parameters" text says of it; None where that is nothing, or a way of enlarging that is not here."""
    if "Hires upscale" not in fields or fields.get("Hires upscaler", "Latent") not in UPSCALERS:
        return None
    return Hires(
        recorded.real("Hires upscale", fields["Hires upscale"]),
        fields.get("Hires upscaler", "Latent"),
        recorded.whole("Hires steps", fields.get("Hires steps", "0")),
        recorded.real(_STRENGTH, fields.get(_STRENGTH, repr(Hires.strength))),
    )


def read_fields(fields: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the fields that :func:`read` acts on."""
    return () if read(fields) is None else _FIELDS
