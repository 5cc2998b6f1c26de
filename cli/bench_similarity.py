"""`ebca bench similarity`: the published scores of a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.measurement import write_json
from lib_ebca.studio.errors import UserError

from . import progress
from .errors import sentences
from .terminal import say

if TYPE_CHECKING:
    from benchmarks.similarity import Spread

WITH_BLIP, CLIP_ALONE = "clip,blip", "clip"


def similarity(
    folder: Annotated[
        Path, typer.Argument(help="Pictures made here, which hold their prompts, or PROMPT/SEED.png as published.")
    ],
    scorers: Annotated[str, typer.Option(metavar="NAME,...", help="clip, or clip,blip.")] = WITH_BLIP,
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="CLIP: hub id or folder.  [default: ViT-B/16, as published]", show_default=False
        ),
    ] = None,
    blip: Annotated[str | None, typer.Option(metavar="ID", help="BLIP: hub id or folder.")] = None,
    by_prompt: Annotated[bool, typer.Option("--by-prompt", help="A line for each prompt as well.")] = False,
    device: Annotated[str, typer.Option(help="A PyTorch device.")] = "cpu",
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the scores as JSON, - for stdout.")
    ] = None,
) -> None:
    """Full-prompt, minimum-object and caption scores of a folder of pictures, by the Attend-and-Excite protocol."""
    with sentences():
        if scorers not in (WITH_BLIP, CLIP_ALONE):
            raise UserError(f"--scorers is {scorers!r}: it should be {CLIP_ALONE} or {WITH_BLIP}")
        from benchmarks import similarity as scores
        from benchmarks.scorers.loading import ScorerError

        scores.pictures_of(folder)  # what is wrong with the folder is told before a model is loaded
        from benchmarks.scorers.blip import DEFAULT as BLIP
        from benchmarks.scorers.blip import BlipCaptioner
        from benchmarks.scorers.clip import DEFAULT as CLIP
        from benchmarks.scorers.clip import ClipEncoder

        try:
            encoder = ClipEncoder(clip or CLIP, device)
            captioner = BlipCaptioner(blip or BLIP, device) if scorers == WITH_BLIP else None
        except ScorerError as error:
            raise UserError(str(error)) from None
        with progress.bar("pictures") as advance:
            found = scores.similarity(folder, encoder, captioner, advance)
        if json_file is not None:
            write_json(json_file, found.to_dict())
        if json_file == "-":
            return
        say(f"{folder}: {found.scores[0].pictures} pictures of {len(found.prompts)} prompts")
        _show(found.scores)
        for prompt, spreads in found.prompts.items() if by_prompt else ():
            say(prompt)
            _show(spreads)
        if found.undivided:
            say(
                f"minimum leaves out {len(found.undivided)} prompts that hold neither ' and ' nor ' with ', such as "
                f"{found.undivided[0]!r}"
            )


def _show(spreads: tuple[Spread, ...]) -> None:
    for each in spreads:
        say(f"  {each.metric:8} {each.mean:.4f} +- {each.std:.4f}  ({each.pictures} pictures)")
