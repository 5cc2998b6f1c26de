from __future__ import annotations

import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from training.assemble import make_pipeline
from training.denoiser import make_denoiser
from training.networks import TINY, make_vae
from training.pointing import by_side, pointing
from training.tokenizer import build_tokenizer
from training.worlds import shapes_regions
from world.shapes.scenes import sample_scenes


def test_an_untrained_model_points_about_as_often_as_chance_and_keeps_its_attention() -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    pipeline = make_pipeline(make_vae(TINY).eval(), make_denoiser(tokenizer, TINY).eval(), tokenizer)
    found = pointing(pipeline, 64, 3)
    assert set(found) == {"16x16", "8x8", "4x4", "chance"}
    assert all(rate.n > 100 for rate in found.values())
    assert found["16x16"].rate < 0.35
    shares = shapes_regions(sample_scenes(2000, torch.Generator().manual_seed(1), double_share=1.0))[:, :2].mean()
    assert abs(found["chance"].rate - shares) < 0.04
    assert all(isinstance(p, AttnProcessor2_0) for p in pipeline.unet.attn_processors.values())


def test_maps_of_a_size_are_averaged() -> None:
    small, large = torch.rand(2, 16, 5), torch.rand(2, 64, 5)
    found = by_side([small, large, torch.zeros(2, 16, 5)])
    assert list(found) == [8, 4]
    assert torch.equal(found[8], large) and torch.allclose(found[4], small / 2)
