"""Concepts in the host: the prompt's directives and the accordion's row, on ldm's UNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lib_ebca.methods.head_vectors import HeadVectors
from tests.webui.asked import close

PROMPT = "a cat on a sofa"
ROW = {"enabled": True, "attn": 0.0, "norm": 0.0, "concept_word": "sofa", "concept_name": "Color", "concept_factor": 2}


@pytest.fixture
def vectors(host: Any, tmp_path: Path) -> HeadVectors:
    """Made-up vectors of the tiny model's shape, set on the settings page."""
    from lib_ebca.hosts.ldm import cross_attention_layers

    layers: list[Any] = [layer for _, layer in cross_attention_layers(host.shared.sd_model.model.diffusion_model)]
    heads = tuple(int(layer.heads) for layer in layers)
    made = HeadVectors(("Color", "Plants"), 3 * torch.rand(2, sum(heads)), heads, "made up")
    made.write(tmp_path / "vectors.json")
    host.shared.opts.ebca_head_vectors = str(tmp_path / "vectors.json")
    return made


def test_a_directive_acts_and_leaves_nothing(host: Any, vectors: HeadVectors) -> None:
    plain = host.make(prompt=PROMPT)
    made = host.make(prompt=f"{PROMPT} <concept:sofa:Color=2>")
    assert (made - plain).abs().max() > 1e-3
    assert host.clean()
    assert torch.equal(host.make(prompt=PROMPT), plain)


def test_the_row_is_the_directive(host: Any, vectors: HeadVectors) -> None:
    written = host.make(prompt=f"{PROMPT} <concept:sofa:Color=2>")
    assert close(host.make([ROW], prompt=PROMPT), written)


def test_a_subject_may_be_read_off_the_heads_of_a_concept(host: Any, vectors: HeadVectors) -> None:
    asked = {"is_img2img": True, "sampler_name": "DDIM", "init_latent": torch.rand(1, 4, 8, 8)}
    made = [
        host.make(prompt=f"{PROMPT} <excite:cat:scale=3000:refine=off{concept}>", **asked)
        for concept in ("", ":concept=Color", ":concept=Plants")
    ]
    assert not close(made[0], made[1])
    assert not close(made[1], made[2])
    assert host.clean()


def test_relevances_of_one_change_nothing(host: Any, vectors: HeadVectors, tmp_path: Path) -> None:
    HeadVectors(("Color",), torch.ones(1, sum(vectors.heads)), vectors.heads, "ones").write(tmp_path / "vectors.json")
    assert close(host.make(prompt=f"{PROMPT} <concept:sofa:Color>"), host.make(prompt=PROMPT))


def test_each_picture_and_each_part_has_its_own(host: Any, vectors: HeadVectors) -> None:
    prompts = [f"{PROMPT} <concept:cat:Plants>", "a dog"]
    together = host.make(prompt=prompts, batch_size=2)
    assert close(together[:1], host.make(prompt=prompts[0]))
    # Under AND the word stands in one of the parts alone.
    assert host.make(prompt="a cat AND a sofa <concept:sofa:Color=2>").isfinite().all()


def test_a_scheduled_word_acts_while_it_is_there(host: Any, vectors: HeadVectors) -> None:
    made = host.make(prompt="a cat on a [sofa:castle:0.5] <concept:castle:Color=2>")
    assert not torch.equal(made, host.make(prompt="a cat on a [sofa:castle:0.5]"))


def test_what_cannot_be_served_stops_the_job(host: Any, vectors: HeadVectors) -> None:
    with pytest.raises(ValueError, match="did you mean Color"):
        host.make(prompt=f"{PROMPT} <concept:sofa:Colour>")
    with pytest.raises(ValueError, match="castle"):
        host.make(prompt=f"{PROMPT} <concept:castle:Color>")
    host.shared.opts.ebca_head_vectors = ""
    with pytest.raises(ValueError, match="ebca heads measure"):
        host.make(prompt=f"{PROMPT} <concept:sofa:Color>")
    assert host.clean()


def test_the_row_comes_back_from_a_picture(host: Any) -> None:
    from lib_ebca.webui import infotext
    from lib_ebca.webui.form import Form

    form = infotext.read({"Prompt": PROMPT, "EBCA": "<concept:sofa#2:Image Style=1.5>"})
    assert (form.concept_word, form.concept_name, form.concept_factor) == ("sofa#2", "Image Style", 1.5)
    assert form.enabled
    assert infotext.read({"Prompt": f"{PROMPT} <concept:sofa:Color>", "EBCA": "<concept:sofa:Color=1>"}) == Form()


def test_the_buttons_keep_concepts_in_the_prompt(host: Any) -> None:
    from lib_ebca.webui import check, transfer
    from lib_ebca.webui.form import FIELDS, ROWS, Form

    values = dict(zip(FIELDS, Form().to_args(), strict=True))
    moved = transfer.read(f"{PROMPT} <edit:dog:0.5> <concept:sofa:Color>", *(values[name] for name in ROWS))
    assert moved[0] == f"{PROMPT} <concept:sofa:Color=1>"
    assert "<concept:sofa:Color=1>" in check.boosted(f"{PROMPT} <concept:sofa:Color>", "cat")
