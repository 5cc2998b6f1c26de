"""What the WebUI would act on and nothing here does is told."""

from __future__ import annotations

import time

import pytest

from lib_ebca.language.directives import parse
from lib_ebca.studio import recipe, request
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.foreign import unread_in_prompt
from lib_ebca.studio.recipe import Settings, Source
from lib_ebca.studio.settings import checked

TEXT = (
    "a cat\nSteps: 20, Sampler: {sampler}, Schedule type: {schedule}, CFG scale: 7, Seed: 1, RNG: CPU, Model: x{more}"
)


def recorded(sampler: str = "DPM++ 2M", schedule: str = "Karras", more: str = "") -> tuple[recipe.Recipe, Source]:
    return recipe.from_text(TEXT.format(sampler=sampler, schedule=schedule, more=more))


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a [cat:dog:0.5] on a sofa", ["[cat:dog:0.5]"]),
        ("a [cat:0.5]", ["[cat:0.5]"]),
        ("a [cat::12]", ["[cat::12]"]),
        ("a [cat:dog: .5 ]", ["[cat:dog: .5 ]"]),
        ("a [cat|dog] sofa", ["[cat|dog]"]),
        ("a cat AND a dog :1.2", ["AND"]),
        ("a <lora:fur:0.8> [cat:dog:0.5] AND [a|b]", ["<lora:fur:0.8>", "[cat:dog:0.5]", "[a|b]", "AND"]),
        ("a cat <edit dog:0.5> < bcu 0.01>", ["<edit dog:0.5>", "< bcu 0.01>"]),
        ("a <editor> and <edit:dog:0.5> <bcu> <boosted x>", []),
        ("a [less] of (it:1.3), sand and land, [a: b], \\[cat:dog:0.5\\]", []),
    ],
)
def test_the_webuis_syntax_is_told(prompt: str, named: list[str]) -> None:
    told = unread_in_prompt(prompt)
    assert len(told) == len(named)
    assert all(any(sentence.startswith(f"{each} was read as plain text") for sentence in told) for each in named)


@pytest.mark.parametrize("unit", ["[", "[a:", ":", "[a|", "[a:1", "<lora:", "<edit ", "< ", "AND", "[" + ":" * 50])
def test_looking_takes_linear_time(unit: str) -> None:
    started = time.process_time()
    unread_in_prompt(unit * (100_000 // len(unit)))
    assert time.process_time() - started < 10


def test_fields_that_nothing_reads_are_told() -> None:
    _, source = recorded(
        more=", Variation seed: 3, Hires upscale: 2, Hires upscaler: ESRGAN_4x, Denoising strength: 0.5"
    )
    names = ("Variation seed", "Hires upscale", "Hires upscaler", "Denoising strength")
    assert source.unread == names
    told = request.differences(source, Source("x", ""))
    assert told == (f"The picture will differ: of its text, this is not read here: {', '.join(names)}.",)
    assert request.differences(recorded()[1], Source("x", "")) == ()


def test_the_plan_of_a_webuis_accordion_is_read() -> None:
    made, source = recorded(more=', EBCA: "<bcu:0.01:0.02> <edit:dog:0.5>"')
    assert (made.plan, source.unread) == (parse("<bcu:0.01:0.02> <edit:dog:0.5>").plan, ())
    with pytest.raises(UserError, match="field EBCA is 'hello': it should be directives and nothing else"):
        recorded(more=", EBCA: hello")
    _, source = recorded(more=", EBCA: <edit:dog:0.5>, EBCA passes: Hires pass, EBCA inversion: fixed point")
    assert source.unread == ("EBCA passes", "EBCA inversion")


def test_that_the_noise_was_taken_for_a_gpus_is_told() -> None:
    _, source = recipe.from_text("a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: x")
    (told,) = request.differences(source, Source("x", ""))
    assert told.startswith("Its text names no RNG: the noise was taken for a GPU's.")


def test_a_noise_schedule_is_read() -> None:
    for schedule in ("Karras", "SGM Uniform", "Automatic"):
        made, source = recorded(schedule=schedule)
        found = checked(made.settings)
        assert (found.sampling, found.sampler, found.schedule, source.unread) == ("webui", "DPM++ 2M", schedule, ())


def test_a_picture_from_before_schedules_had_names_says_its_own_in_the_samplers_name() -> None:
    made, _ = recipe.from_text("a cat\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, Model: x")
    found = checked(made.settings)
    assert (found.sampler, found.schedule) == ("DPM++ 2M", "Karras")


def test_an_option_stands_in_for_a_sampler_that_is_not_known() -> None:
    made, _ = recorded("Restart", "Automatic")
    with pytest.raises(UserError, match=r"sampler 'Restart' is not one of the WebUI's that are here"):
        checked(made.settings)
    assert checked(Settings(sampler="euler A")).sampler == "Euler a"
