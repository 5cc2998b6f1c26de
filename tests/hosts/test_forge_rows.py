"""Whose rows a call carries: every way in which the hosts batch a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable
from lib_ebca.hosts import forge
from lib_ebca.hosts.forge_rows import MarkLedger
from lib_ebca.language.directives import parse
from tests.hosts import tiny_forge, tiny_ldm

TOKENS = 7


def options(marks: list[int], images: int = 2) -> dict[str, Any]:
    return {"cond_or_uncond": marks, "sigmas": torch.ones(images)}


def context(rows: int, tokens: int = TOKENS) -> Tensor:
    return torch.zeros(rows, tokens, 3)


def test_the_unconditional_chunk_comes_first() -> None:
    rows = MarkLedger([1, 1], (TOKENS, TOKENS)).take(context(4), options([1, 0]))
    assert rows == Rows((0, 1, 0, 1), (False, False, True, True))


def test_guidance_off_has_the_conditional_rows_alone() -> None:
    assert MarkLedger([1, 1], (TOKENS, TOKENS)).take(context(2), options([0])) == Rows((0, 1), (True, True))


def test_parts_come_last_first_and_pictures_are_counted_image_by_image() -> None:
    rows = MarkLedger([2, 2], (TOKENS, TOKENS)).take(context(6), options([1, 0, 0]))
    assert rows is not None
    assert rows.picture == (0, 2, 1, 3, 0, 2)


def test_surplus_parts_of_an_image_are_dropped_as_the_host_drops_them() -> None:
    rows = MarkLedger([3, 2], (TOKENS, TOKENS)).take(context(6), options([1, 0, 0]))
    assert rows is not None
    assert rows.picture == (0, 3, 1, 4, 0, 3)


@pytest.mark.parametrize("calls", [[[1], [0], [0]], [[0, 0], [1]], [[1, 0], [0]]])
def test_calls_in_pieces_go_on_where_the_last_one_ended(calls: list[list[int]]) -> None:
    ledger = MarkLedger([2], (TOKENS, TOKENS))
    seen: list[tuple[int, bool]] = []
    for marks in calls:
        rows = ledger.take(context(len(marks)), options(marks, 1))
        assert rows is not None
        seen += zip(rows.picture, rows.conditional, strict=True)
    assert [picture for picture, conditional in seen if conditional] == [1, 0]


def test_another_evaluation_in_the_step_begins_anew() -> None:
    ledger = MarkLedger([2], (TOKENS, TOKENS))
    ledger.take(context(3), options([1, 0, 0], 1))
    again = ledger.take(context(2), options([0, 0], 1))
    assert again == Rows((1, 0), (True, True))


def test_tiles_repeat_the_batch() -> None:
    rows = MarkLedger([1, 1], (TOKENS, TOKENS)).take(context(8), options([1, 0]))
    assert rows == Rows((0, 1, 0, 1) * 2, (False, False, True, True) * 2)


@pytest.mark.parametrize(
    ("rows", "given"),
    [
        (5, options([1, 0])),
        (2, options([1, 0])),
        (4, options([1, 0], 3)),
        (4, {"sigmas": torch.ones(2)}),
        (4, {"cond_or_uncond": [1, 0]}),
        (4, {}),
    ],
)
def test_rows_that_do_not_add_up_are_unknown(rows: int, given: dict[str, Any]) -> None:
    assert MarkLedger([1, 1], (TOKENS, TOKENS)).take(context(rows), given) is None


def test_a_repeated_context_is_counted() -> None:
    rows = MarkLedger([1], (TOKENS, 2 * TOKENS)).take(context(2, 2 * TOKENS), options([1, 0], 1))
    assert rows is not None
    assert rows.copies == (2, 1)
    # What another extension made of it is not a repetition.
    rows = MarkLedger([1], (TOKENS, TOKENS)).take(context(2, TOKENS + 1), options([1, 0], 1))
    assert rows is not None
    assert rows.copies == ()


PLAN = "<bcu:0.05:0.1> <edit:x:0.7:attn=0.05:norm=0.1> <edit:y:-0.5> <boost:x:2>"


class Pass:
    """One step of a batch whose prompts are divided by AND, under a plan."""

    def __init__(self, images: int, parts: int, negative: int = TOKENS) -> None:
        generator = torch.Generator().manual_seed(1)
        self.unet = tiny_forge.unet()
        self.patcher = tiny_forge.Patcher(tiny_forge.Model(self.unet))
        self.x = torch.randn(images, 4, 10, 6, generator=generator)
        self.conditional = [torch.randn(images, TOKENS, tiny_ldm.CONTEXT, generator=generator) for _ in range(parts)]
        self.unconditional = torch.randn(images, negative, tiny_ldm.CONTEXT, generator=generator)
        plan = parse(PLAN).plan
        pictures = []
        for number in range(images * parts):
            edits = tuple(torch.randn(TOKENS + 4 * i, tiny_ldm.CONTEXT, generator=generator) for i in range(2))
            boosts = tuple(2.0 + number if token == 2 else 1.0 for token in range(TOKENS))
            pictures.append(Picture(edits, boosts))
        self.pictures, self.tables = pictures, [Timetable.of(plan, 3)] * len(pictures)

    def alone(self, image: int, parts: list[int]) -> tuple[list[Tensor], Tensor | None]:
        """Some parts of one image in a pass of its own."""
        every = len(self.conditional)
        chosen = [image * every + part for part in parts]
        return self._run([self.conditional[part][image : image + 1] for part in parts], image, chosen)

    def _run(self, conditional: list[Tensor], image: int, chosen: list[int]) -> tuple[list[Tensor], Tensor | None]:
        part = slice(image, image + 1)
        return self.run(
            conditional, self.unconditional[part], self.x[part], [self.pictures[number] for number in chosen]
        )

    def run(
        self,
        conditional: list[Tensor],
        unconditional: Tensor,
        x: Tensor,
        pictures: list[Picture],
        chunks: int = 99,
    ) -> tuple[list[Tensor], Tensor | None]:
        cascade = Cascade(pictures, self.tables[: len(pictures)])
        ledger = MarkLedger([len(conditional)] * len(x), (unconditional.shape[1], conditional[0].shape[1]))

        def begin(module: Any, args: Any, keywords: dict[str, Any]) -> None:
            rows = ledger.take(keywords["context"], keywords["transformer_options"])
            assert rows is not None
            cascade.begin(rows, (10, 6), number=0)

        hook = self.unet.register_forward_pre_hook(begin, with_kwargs=True)
        told: list[str] = []
        try:
            with forge.installed(self.unet, lambda: cascade, told.append), torch.inference_mode():
                found = tiny_forge.denoised(
                    self.patcher, conditional, unconditional, x, torch.full((len(x),), 2.0), chunks
                )
        finally:
            hook.remove()
        assert not told
        return found

    def whole(self, chunks: int = 99) -> tuple[list[Tensor], Tensor | None]:
        return self.run(self.conditional, self.unconditional, self.x, self.pictures, chunks)


def near(a: Tensor | None, b: Tensor | None) -> bool:
    assert a is not None and b is not None
    return bool((a - b).abs().max() < 1e-5 * max(1.0, float(b.abs().max())))


@pytest.mark.parametrize("chunks", [99, 2, 1])
def test_each_part_has_its_own_boosts_and_edits(chunks: int) -> None:
    batch = Pass(images=2, parts=2)
    parts, base = batch.whole(chunks)
    for image in range(2):
        for part in range(2):
            (own,), negative = batch.alone(image, [part])
            assert near(parts[part][image], own[0])
            # The unconditional rows go with the first part.
            if part == 0:
                assert base is not None and negative is not None
                assert near(base[image], negative[0])
    assert not near(parts[0], parts[1])


@pytest.mark.parametrize("negative", [2 * TOKENS, 3 * TOKENS])
def test_repetition_in_one_call_is_as_calls_of_their_own(negative: int) -> None:
    batch = Pass(images=2, parts=1, negative=negative)
    together, split = batch.whole(), batch.whole(chunks=1)
    assert near(together[0][0], split[0][0])
    assert near(together[1], split[1])
