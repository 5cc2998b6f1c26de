"""`python -m benchmarks.alignment`: the study of the embedded model, and the tables of its page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
    from .results import ResultsError
    from .studio import Sampling, Studio

    if scope not in the_study.SCOPES:
        raise SystemExit(f"Error: --scope is {scope!r}: it should be one of {', '.join(the_study.SCOPES)}")
    asked = the_study.SCOPES[scope]
    limits = the_study.Limits.minutes(minutes)
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    pipe = _pipeline(model, device, dtype, sampler)
    studio = Studio(pipe, Sampling(steps, guidance, batch))
    described = {
        "model": _weights_hash(model),
        "sampler": type(pipe.scheduler).__name__,
        "dtype": dtype,
        "device": _kind(device),
    }
    try:
        reported = the_study.study(studio, out, asked, described, limits, lambda text: print(text, flush=True))
    except ResultsError as error:
        raise SystemExit(f"Error: {error}") from None
    the_study.sheets(studio, out, asked.size, reported)


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


def _pipeline(folder: Path, device: str, dtype: str, sampler: str) -> Any:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    if not (folder / "model_index.json").is_file():
        raise SystemExit(f"Error: there is no model in {folder}: give --model a folder in diffusers layout")
    if sampler not in ("ddim", "model"):
        raise SystemExit(f"Error: --sampler is {sampler!r}: it should be ddim, or model for the model's own")
    pipe = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=getattr(torch, dtype), safety_checker=None, requires_safety_checker=False
    ).to(device)
    if sampler == "ddim":
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False, set_alpha_to_one=False)
    return pipe


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
