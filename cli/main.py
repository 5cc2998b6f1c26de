"""The command `ebca`. Sub-commands import what is heavy only when they run, so that every help page is instant."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from lib_ebca.version import __version__

from . import bench, demo, doctor, edit, heads, img2img, info, inpaint, models, p2p, presets, tokens, txt2img
from .batch import command, grid_command
from .errors import INTERRUPTED, sentences
from .examples import ExampleGroup, epilog
from .options import PlanCommand
from .terminal import say


class EbcaGroup(ExampleGroup):
    """The group of all sub-commands: whichever of them fails does so with a sentence."""

    def invoke(self, ctx: Any) -> Any:
        # Gone from the context once a command has read them.
        with sentences([*getattr(ctx, "_protected_args", ()), *ctx.args]):
            return super().invoke(ctx)


app = typer.Typer(
    cls=EbcaGroup,
    name="ebca",
    help="Energy-based cross-attention for Stable Diffusion: pictures that listen to every word of the prompt.",
    epilog=epilog(""),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Directives look like emoji codes to rich (":dog:"), and plain help is twice as fast.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("txt2img", cls=PlanCommand)(txt2img.txt2img)
app.command("edit", cls=PlanCommand)(edit.edit)
app.command("img2img", cls=PlanCommand)(img2img.img2img)
app.command("inpaint", cls=PlanCommand)(inpaint.inpaint)
app.command("p2p", cls=PlanCommand)(p2p.p2p)
app.command("presets")(presets.presets)
app.command("tokens", cls=PlanCommand)(tokens.tokens)
app.command("info")(info.info)
app.command("models")(models.models)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("batch")(command.batch)
app.command("grid")(grid_command.grid)
app.add_typer(bench.app, name="bench")
app.add_typer(heads.app, name="heads")


def _version(asked: bool) -> None:
    if asked:
        say(f"ebca {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Energy-based cross-attention for Stable Diffusion: pictures that listen to every word of the prompt."""


def main() -> None:
    """The console script: also a Ctrl-C outside of a command (while it is being loaded) exits with 130."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
