"""Words and directives: chunks, emphasis, embeddings, schedules, faults, masks and records."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.webui.asked import BCU, FULL, LONG, ON, close, complaints


def test_23_boosts_at_the_ends_of_chunks_with_break_emphasis_and_inversions(host: Any) -> None:
    from lib_ebca.webui import tokens

    encoder = host.shared.sd_model.cond_stage_model
    prompt = f"(cat:1.3), {LONG} BREAK dog"
    (weights,) = tokens.boost_weights(encoder, [prompt], [boost("cat", 2.0), boost("dog", 3.0)])
    read = tokens.tokenised(encoder, prompt)
    assert len(weights) == len(read.tokens) == 77 * 3
    assert [row for row, weight in enumerate(weights) if weight != 1] == [1, 155]
    assert read.tokens[1].weight == 1.3
    encoder.embeddings = {"shirt": 2}
    (weights,) = tokens.boost_weights(encoder, ["a shirt, dog"], [boost("shirt", 2.0)])
    assert [row for row, weight in enumerate(weights) if weight != 1] == [2, 3]
    made, plain = host.make(prompt=f"{prompt} <boost:dog:3>"), host.make(prompt=f"{prompt} <bcu>")
    assert not torch.equal(made, plain)


def boost(word: str, factor: float) -> Any:
    from lib_ebca.language.plan import Boost

    return Boost(word, factor)


def test_a_faulty_directive_stops_the_job_and_is_quoted(host: Any) -> None:
    faulty: list[dict[str, Any]] = [{"prompt": "a cat <edit:dog>"}, {"prompt": ["a cat", "<edit:dog>"], "n_iter": 2}]
    encoded = list(host.shared.sd_model.cond_stage_model.texts)
    for asked in faulty:
        with pytest.raises(ValueError, match="<edit:dog>"):
            host.make(**asked)
        assert host.shared.sd_model.cond_stage_model.texts == encoded
    with pytest.raises(ValueError, match="negative prompt"):
        host.make(prompt="a cat", negative_prompt="<edit:dog:0.5>")
    with pytest.raises(ValueError, match="castle"):
        host.make(prompt="a cat <boost:castle:2>")
    assert host.clean()


def test_directives_never_reach_the_encoder_nor_the_tags(host: Any) -> None:
    job = host.job(prompt=f"{FULL} <edit:<lora:x:1> sofa:0.2>", enable_hr=True)
    host.processing.process_images(job)
    texts = host.shared.sd_model.cond_stage_model.texts
    assert " sofa" in texts
    assert not any("<" in text or "bcu" in text for text in texts)
    assert any("lora" in comment for comment in job.comments)
    from modules import extra_networks

    assert not {"edit", "bcu", "boost"} & set(extra_networks.unknown)


def test_the_setting_decides_whether_directives_act_without_the_checkbox(host: Any) -> None:
    from lib_ebca.webui import settings

    plain = host.make(prompt="a cat")
    host.shared.opts.data[settings.DIRECTIVES] = False
    job = host.job(prompt="a cat <edit:dog:0.5>")
    result = host.processing.process_images(job)
    assert torch.equal(result.images[0], plain[0])
    assert any("EBCA is off" in comment for comment in job.comments)
    assert "EBCA" not in result.infotexts[0]
    assert not close(host.make(ON, prompt="a cat <edit:dog:0.5>")[0], plain[0])


def test_scheduled_prompts_change_contexts_and_boosts_on_their_way(host: Any) -> None:
    plain = host.make(prompt="a [cat:dog:0.5] <edit:castle:0.5> <bcu:0.05:0.1>")
    staged = host.make(prompt="a [cat:dog:0.5] <edit:[castle:sofa:0.5]:0.5> <bcu:0.05:0.1>")
    boosted = host.make(prompt="a [cat:dog:0.5] <edit:castle:0.5> <bcu:0.05:0.1> <boost:dog:4>")
    assert not close(plain[0], staged[0])
    assert not close(plain[0], boosted[0])
    assert host.clean()


@pytest.mark.parametrize(("prompt", "word"), [("a [cat:dog:0.5]", "cat"), ("a [cat:dog:1.5]", "dog")])
def test_a_boosted_word_that_only_one_of_the_passes_has(host: Any, prompt: str, word: str) -> None:
    asked: dict[str, Any] = {"enable_hr": True, "steps": 4}
    plain = host.make(prompt=f"{prompt} <bcu:0.05:0.1>", **asked)
    job = host.job(prompt=f"{prompt} <bcu:0.05:0.1> <boost:{word}:4>", **asked)
    assert not close(host.processing.process_images(job).images[0], plain[0])
    assert not complaints(job)
    with pytest.raises(ValueError, match="castle"):
        host.make(prompt=f"{prompt} <boost:castle:4>", **asked)


def test_the_inpainting_mask_gates_the_update(host: Any) -> None:
    asked: dict[str, Any] = {"prompt": BCU, "is_img2img": True}
    open_, half = torch.ones(4, 6, 8), torch.zeros(4, 6, 8)
    half[:, :, :4] = 1
    everywhere = host.make(**asked)
    assert close(host.make(nmask=open_, **asked)[0], everywhere[0])
    assert not close(host.make(nmask=half, **asked)[0], everywhere[0])


def test_records_come_after_the_pictures(host: Any) -> None:
    job = host.job([{"energies": True, "maps": True, "attn": 0.05}], prompt="a cat on a sofa", batch_size=2)
    result = host.processing.process_images(job)
    kinds = [type(image).__name__ for image in result.images]
    assert kinds[:2] == ["Tensor", "Tensor"]
    assert kinds[2:] == ["Image"] * 3
    assert len(result.infotexts) == len(result.images)


def test_records_with_the_two_sides_in_calls_of_their_own(host: Any) -> None:
    host.shared.opts.batch_cond_uncond = False
    result = host.processing.process_images(host.job([{"energies": True, "maps": True}], prompt="a cat", batch_size=2))
    assert len(result.images) == 5


def test_records_name_the_words_of_their_own_pass(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lib_ebca.webui import lifecycle

    drawn: list[list[str]] = []

    def pictures(recorder: Any, words: Any) -> list[Any]:
        drawn.append([word for word, _ in words[0]])
        return []

    monkeypatch.setattr(lifecycle, "pictures", pictures)
    host.make([{"maps": True}], prompt="a [cat:dog:0.5]", enable_hr=True)
    assert drawn == [["cat"], ["dog"]]


def test_a_directive_that_never_came_past_us_is_no_unknown_tag(host: Any) -> None:
    from modules import extra_networks

    from lib_ebca.language.scanning import FORMS

    text, tags = extra_networks.parse_prompt("a cat" + "".join(f"<{name}:cat:1>" for name in FORMS))
    extra_networks.activate(host.job(prompt=text), tags)
    assert text == "a cat" and set(tags) == set(FORMS)
    assert not set(FORMS) & set(extra_networks.unknown)
