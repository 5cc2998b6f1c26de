"""`task: p2p` as a job: the command's pictures with the command's texts, gone on with where some are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest

from cli.batch.estimate import evaluations
from lib_ebca.studio import infotext
from lib_ebca.studio.pictures import open_picture
from tests.batch.conftest import Write, asked, carry_out
from tests.batch.test_tasks import counted
from tests.cli.conftest import Ebca

PROMPTS = ("a cat on a sofa", "a dog on a sofa", "a wolf on a sofa")
JOB: dict[str, Any] = {"task": "p2p", "prompt": PROMPTS[0], "targets": list(PROMPTS[1:])}
CHANGED: dict[str, Any] = {"cross": "0.1-0.9", "self": 1, "cross_word": "dog:0.4", "weight": ["wolf:3"], "bcu": "1:1"}


def same(one: Path, other: Path) -> bool:
    first, second = open_picture(one), open_picture(other)
    texts = infotext.from_picture(first), infotext.from_picture(second)
    return bool((numpy.asarray(first) == numpy.asarray(second)).all()) and texts[0] == texts[1]


def test_a_job_is_its_command(write: Write, ebca: Ebca, tiny_model: Path, tmp_path: Path) -> None:
    given = ("--cross", "0.1-0.9", "--self", 1, "--cross-word", "dog:0.4", "--weight", "wolf:3", "--bcu", "1:1")
    common = ("--model", tiny_model, "--steps", 2, "--seed", 4, "--out", tmp_path / "command")
    result = ebca("p2p", *PROMPTS, *given, *common)
    assert result.exit_code == 0, result.output
    file = write({**JOB, **CHANGED, "seed": 4})
    summary = carry_out(file, tmp_path / "out")
    assert (summary.made, summary.errors) == (3, [])
    items = asked(file).items
    assert [item.wanted.prompt for item in items] == list(PROMPTS)
    for number, item in enumerate(items, start=1):
        assert same(tmp_path / "command" / f"0000{number}-4.png", tmp_path / "out" / item.name)


def test_a_missing_picture_is_made_again_beside_its_source(write: Write, ebca: Ebca, tmp_path: Path) -> None:
    file = write({**JOB, "count": 2})
    out = tmp_path / "out"
    with counted() as runs:
        assert carry_out(file, out).made == 6
    lost = asked(file).items[4]
    assert len(runs) == 2 * evaluations(lost)
    (out / lost.name).rename(tmp_path / "kept.png")
    assert carry_out(file, out).made == 1
    assert same(out / lost.name, tmp_path / "kept.png")
    again = ebca("p2p", "--from", out / lost.name, "--trust-picture", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert same(tmp_path / "again" / "00002-1.png", out / lost.name)


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ({"targets": []}, "targets is "),
        ({"cross": 2}, "cross is '2': it should be a share of the pass from 0 to 1"),
        ({"weight": "wolf"}, "weight 'wolf': it should be WORD:NUMBER"),
        ({"align": "word"}, "align is 'word'"),
        ({"targets": "a dog <edit:x>"}, "targets: "),
    ],
)
def test_what_cannot_be_is_one_sentence(write: Write, ebca: Ebca, job: dict[str, Any], sentence: str) -> None:
    result = ebca("batch", write({**JOB, **job}), "--check")
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_word_that_no_target_holds_fails_its_pictures_alone(write: Write, tmp_path: Path) -> None:
    file = write({**JOB, "cross_word": "horse:0.4"}, {"prompt": "a cat"})
    summary = carry_out(file, tmp_path / "out")
    assert (summary.made, summary.failed) == (1, 3)
    assert '"horse" is not in the prompt' in summary.errors[0]
