"""The options of hires fix, and what they come to."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.hires import Hires

HiresOption = Annotated[
    float | None,
    typer.Option("--hires", metavar="SCALE", help="With --sampling webui: hires fix, so many times the size."),
]
UpscalerOption = Annotated[
    str | None,
    typer.Option("--hires-upscaler", help="A latent one of the WebUI's: 'Latent (bicubic)'.  (default: Latent)"),
]
HiresStepsOption = Annotated[
    int | None, typer.Option("--hires-steps", help="Of its second pass.  (default: 0, as many as the first)")
]
HiresStrengthOption = Annotated[
    float | None, typer.Option("--hires-strength", help="How much is made anew, above 0 and up to 1.  (default: 0.7)")
]


def asked_hires(
    recorded: Hires | None, scale: float | None, upscaler: str | None, steps: int | None, strength: float | None
) -> Hires | None:
    """The recorded hires fix, or none, with the options given on top.

    Raises UserError where an option has nothing to stand on.
    """
    given: dict[str, Any] = {"scale": scale, "upscaler": upscaler, "steps": steps, "strength": strength}
    given = {name: value for name, value in given.items() if value is not None}
    if recorded is None and given and scale is None:
        raise UserError(f"--hires-{next(iter(given))} goes with --hires SCALE: add it")
    return replace(recorded or Hires(), **given) if given else recorded
