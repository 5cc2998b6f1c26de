"""A run in a process of its own, which is there to be killed."""

from __future__ import annotations

from pathlib import Path

# Imported by the server that the processes are forked from, so that each of them starts at once.
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from tests.batch.conftest import carry_out

LOADED = (AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel, CLIPTextModel, CLIPTokenizer)


def run(jobs: str, out: str) -> None:
    """The run."""
    carry_out(Path(jobs), out, batch_size=2)
