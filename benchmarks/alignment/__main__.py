"""`python -m benchmarks.alignment`: the study of the embedded model, and the tables of its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lib_ebca.studio import Studio

# What the studio calls them; None is what it takes for a model of its own.
_SAMPLERS = {"ddim": "DDIM", "model": None}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def study(
    model: Annotated[Path, typer.Option(help="The embedded model's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; a run that was stopped goes on there.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    minutes: Annotated[float | None, typer.Option(help="Stop in time; what matters most comes first.")] = None,
    batch: Annotated[int, typer.Option(help="Pictures in one batch of the UNet.")] = 64,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 25,
    guidance: Annotated[float, typer.Option(help="Classifier-free guidance.")] = 6.0,
    sampler: Annotated[str, typer.Option(help="ddim, or model for the model's own.")] = "ddim",
    scope: Annotated[
        str, typer.Option(help="full; brief for a CPU: fewer configurations and pictures; tiny: does it work at all?")
    ] = "full",
) -> None:
    """Sweep on the tuning half, choose by the rule, report on the other half."""
    import torch

    from . import study as the_study
    from .drawing import Drawing, Sampling
    from .results import ResultsError

    if sampler not in _SAMPLERS:
        raise SystemExit(f"Error: --sampler is {sampler!r}: it should be ddim, or model for the model's own")
    if scope not in the_study.SCOPES:
        raise SystemExit(f"Error: --scope is {scope!r}: it should be one of {', '.join(the_study.SCOPES)}")
    asked = the_study.SCOPES[scope]
    limits = the_study.Limits.minutes(minutes)
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    drawing = Drawing(_opened(model, device, dtype), Sampling(steps, guidance, batch), _SAMPLERS[sampler])
    described = {
        "model": _weights_hash(model),
        "sampler": sampler,
        "dtype": dtype,
        "device": _kind(device),
    }
    try:
        reported = the_study.study(drawing, out, asked, described, limits, lambda text: print(text, flush=True))
    except ResultsError as error:
        raise SystemExit(f"Error: {error}") from None
    the_study.sheets(drawing, out, asked.size, reported)


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="Folder with the study's results.")] = Path("docs/alignment"),
    page: Annotated[Path | None, typer.Option(help="Page whose tables are to be written anew.")] = None,
    model: Annotated[Path, typer.Option(help="The model's folder, for the judge's accuracy.")] = Path("models/shapes"),
) -> None:
    """Print the tables of a study, or write them into a page between its markers."""
    from .page import PageError, renewed, study_tables

    text = study_tables(results, model)
    if page is None:
        print(text)
        return
    try:
        renewed(page, text)
    except PageError as error:
        raise SystemExit(f"Error: {error}") from None


def _opened(folder: Path, device: str, dtype: str) -> Studio:
    from lib_ebca.studio import Studio
    from lib_ebca.studio.errors import UserError

    if not (folder / "model_index.json").is_file():
        raise SystemExit(f"Error: there is no model in {folder}: give --model a folder in diffusers layout")
    try:
        return Studio.open(str(folder), device=device, dtype=dtype)
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None


def _weights_hash(folder: Path) -> str:
    """The first ten digits of the SHA-256 of the UNet's weights."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted((folder / "unet").glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def _kind(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


if __name__ == "__main__":
    app()
