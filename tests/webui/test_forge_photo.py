"""Edit this picture on Forge, whose denoiser answers for noisier latents and blends masks with noise of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.webui import test_photo as on_a1111
from tests.webui.host import forge_model, network


@pytest.fixture(autouse=True)
def contracting(host: Any) -> None:
    host.shared.sd_model = forge_model()
    unet: Any = network(host.shared.sd_model)
    with torch.no_grad():
        for parameter in unet.out[-1].parameters():
            parameter *= 0.1


def test_without_edits_the_picture_comes_back(host: Any) -> None:
    on_a1111.test_without_edits_the_picture_comes_back(host, 0.999)


def test_edits_change_it_and_the_seed_does_not(host: Any) -> None:
    on_a1111.test_edits_change_it_and_the_seed_does_not(host, "<edit:dog:0.6>")


def test_the_mask_keeps_the_pictures_own_noise_outside(host: Any) -> None:
    on_a1111.test_the_mask_keeps_the_pictures_own_noise_outside(host)
