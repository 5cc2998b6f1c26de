"""Every task of the command line as a job: the same picture with the same text, in as many evaluations as reckoned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
from diffusers import UNet2DConditionModel
from PIL import Image
from torch.nn.modules.module import register_module_forward_pre_hook

from cli.batch.estimate import evaluations
from lib_ebca.studio import infotext, samplers
from lib_ebca.studio.pictures import open_picture, png
from tests.batch.conftest import Write, asked, carry_out
from tests.cli.conftest import SIZE, Ebca


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph, and beside it a mask whose right half is white."""
    ramp = numpy.linspace(0, 255, SIZE * SIZE * 3).reshape(SIZE, SIZE, 3).astype("uint8")
    (tmp_path / "photo.png").write_bytes(png(Image.fromarray(ramp)))
    mask = Image.new("L", (SIZE, SIZE))
    mask.paste(255, (SIZE // 2, 0, SIZE, SIZE))
    (tmp_path / "mask.png").write_bytes(png(mask))
    return tmp_path / "photo.png"


@contextmanager
def counted() -> Iterator[list[int]]:
    """How often the UNet runs."""
    runs: list[int] = []

    def before(module: Any, inputs: Any) -> None:
        if isinstance(module, UNet2DConditionModel):
            runs.append(1)

    hook = register_module_forward_pre_hook(before)
    try:
        yield runs
    finally:
        hook.remove()


def command_of(job: dict[str, Any], model: Path, out: Path) -> list[Any]:
    """The command that the job stands for."""
    rest = {name: value for name, value in job.items() if name not in ("task", "photo", "mask", "prompt")}
    options: list[Any] = []
    for name, value in rest.items():
        flag = f"--{name.replace('_', '-')}"
        options += [flag] if value is True else [flag, value]
    files = [out.parent / job[name] for name in ("photo", "mask") if name in job]
    prompt = [job["prompt"]] if "prompt" in job else []
    return [job["task"], *files, *prompt, *options, "--model", model, "--out", out]


TASKS: list[dict[str, Any]] = [
    {"task": "txt2img", "prompt": "a cat <bcu:1:1>", "steps": 3, "seed": 4, "negative": "blurry"},
    {
        "task": "img2img",
        "photo": "photo.png",
        "prompt": "a cat",
        "edit": "dog:1",
        "strength": 0.5,
        "steps": 4,
        "seed": 4,
    },
    {
        "task": "inpaint",
        "photo": "photo.png",
        "mask": "mask.png",
        "prompt": "a cat",
        "steps": 3,
        "seed": 4,
        "bcu": "1:1",
    },
    {
        **{"task": "inpaint", "photo": "photo.png", "mask": "mask.png", "prompt": "a cat", "steps": 4, "seed": 4},
        **{"repaint": True, "jump_length": 1, "jump_count": 2},
    },
    {"task": "edit", "photo": "photo.png", "caption": "a cat", "edit": "dog:0.5", "steps": 3, "inversion": "published"},
]


@pytest.mark.parametrize("job", TASKS, ids=["txt2img", "img2img", "inpaint", "repaint", "edit"])
def test_a_job_is_its_command(
    write: Write,
    ebca: Ebca,
    tiny_model: Path,
    tmp_path: Path,
    photo: Path,
    job: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = ebca(*command_of(job, tiny_model, tmp_path / "command"))
    assert result.exit_code == 0, result.output
    (by_hand,) = (tmp_path / "command").glob("*.png")
    file = write(job)
    with counted() as runs:
        summary = carry_out(file, tmp_path / "out")
    assert (summary.made, summary.errors) == (1, [])
    (item,) = asked(file).items
    one, other = open_picture(by_hand), open_picture(tmp_path / "out" / item.name)
    assert (numpy.asarray(one) == numpy.asarray(other)).all()
    assert infotext.from_picture(one) == infotext.from_picture(other)
    assert len(runs) == evaluations(item)


@pytest.mark.parametrize("sampler", samplers.NAMES)
def test_evaluations_of_every_sampler(write: Write, tmp_path: Path, photo: Path, sampler: str) -> None:
    partial = {"task": "img2img", "photo": "photo.png", "prompt": "a cat", "strength": 0.5}
    file = write(
        {"prompt": "a cat", "steps": 1}, {"prompt": "a cat", "steps": 3}, {**partial, "steps": 5}, sampler=sampler
    )
    with counted() as runs:
        assert carry_out(file, tmp_path / "out").made == 3
    assert len(runs) == sum(map(evaluations, asked(file).items))


def test_seeds_from_one_photograph_are_drawn_together(write: Write, tmp_path: Path, photo: Path) -> None:
    job = {"task": "img2img", "photo": "photo.png", "prompt": "a cat", "strength": 1.0}
    with counted() as runs:
        assert carry_out(write({**job, "count": 3}), tmp_path / "out").made == 3
    assert len(runs) == 3
    pictures = {open_picture(path).tobytes() for path in (tmp_path / "out").glob("*.png")}
    assert len(pictures) == 3


def test_an_edit_counts_at_most(write: Write, tmp_path: Path, photo: Path) -> None:
    job = {"task": "edit", "photo": "photo.png", "caption": "a cat", "reconstruct": True, "steps": 3, "iterations": 4}
    file = write(job)
    with counted() as runs:
        assert carry_out(file, tmp_path / "out").made == 1
    assert len(runs) <= evaluations(asked(file).items[0]) == 3 + 1 + 3 * 4
