"""What is wrong with a file of jobs is said with file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.batch import items
from lib_ebca.studio.errors import UserError

GOOD = """\
defaults:
  steps: 3
jobs:
  - prompt: a cat
"""


@pytest.fixture(autouse=True)
def model(tmp_path: Path) -> None:
    """Something that looks like a model, which none of these tests loads."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (tmp_path / "photo.png").write_bytes(b"read when it is drawn")


def error(tmp_path: Path, text: str, name: str = "jobs.yaml") -> str:
    """The sentence, without the folder."""
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        items.asked(file)
    return str(raised.value).replace(f"{tmp_path}/", "")


def yaml_error(tmp_path: Path, job: str, defaults: str = "") -> str:
    """The sentence about a job whose first line is line 3 of the file."""
    indented = "\n".join(f"    {line}" for line in job.split("\n")).strip()
    return error(tmp_path, f"defaults: {{model: m{defaults}}}\njobs:\n  - {indented}\n")


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("prompt: a cat\nstepps: 3", "jobs.yaml:4: a job has no field 'stepps': steps is meant?"),
        ("prompt: a cat\nstrength: 0.5", "jobs.yaml:4: txt2img has no field 'strength'"),
        ("prompt: a cat\nsteps: ten", "jobs.yaml:4: steps is 'ten': input should be a valid integer"),
        ("prompt: a cat\nsteps: 0", "jobs.yaml:4: steps is 0: input should be greater than or equal to 1"),
        ("prompt: a cat\nsteps: true", "jobs.yaml:4: steps is True: input should be a valid integer"),
        ("prompt: a cat\ncfg: .nan", "jobs.yaml:4: cfg is nan: input should be"),
        ("prompt: a cat\nwidth: 500", "jobs.yaml:4: width is 500: input should be a multiple of 8"),
        ("prompt: a cat\nseed: -1", "jobs.yaml:4: seed is -1: input should be greater than or equal to 0"),
        ("prompt: a cat\nsampler: Eular", "jobs.yaml:4: sampler: sampler 'Eular' is not known"),
        ("prompt: 7", "jobs.yaml:3: prompt is 7: input should be a valid string"),
        ("seed: 1", "jobs.yaml:3: prompt is missing: txt2img needs it"),
        ("prompt: a cat <edit:dog>", 'jobs.yaml:3: prompt: "<edit:dog>" (characters'),
        ("prompt: a cat\nedit: dog", "jobs.yaml:4: edit: --edit 'dog'"),
        ("prompt: a cat\npreset: false", "jobs.yaml:4: preset is False: input should be a valid string"),
        ("prompt: a cat\nedit: dog:0.5\nbcu: 1:x", "jobs.yaml:5: bcu: --bcu '1:x'"),
        ("prompt: a cat\npreset: none", "jobs.yaml:4: preset: preset is 'none'"),
        ("prompt: a cat\npreset: faces", "jobs.yaml:4: preset: preset is 'faces', which is for `ebca edit`"),
        ("prompt: a cat\nnegative: <edit:dog:1>", "jobs.yaml:4: negative is '<edit:dog:1>': directives belong"),
        ("prompt: a cat\nmodel: nowhere", "jobs.yaml:4: model: there is no model 'nowhere'"),
        (f"prompt: {'a ' * 20_000}", "jobs.yaml:3: prompt has more than 20000 characters"),
        (f"prompt: a cat\nedit: ['dog:1', '{'a ' * 20_000}:1']", "jobs.yaml:4: edit has more than 20000 characters"),
        ("prompt: a cat\nlora: [/dev/zero]", "jobs.yaml:4: lora: cannot read /dev/zero: it is a pipe or a device"),
        ("task: img2img\nprompt: a cat\nphoto: /dev/zero", "jobs.yaml:5: photo: cannot read /dev/zero: it is a pipe"),
        ("prompt: a cat\nlora: [none.safetensors]", "jobs.yaml:4: lora: cannot read none.safetensors"),
        ("prompt: a cat\nprompt: a dog", "jobs.yaml:4: 'prompt' is given twice"),
        ("prompt: a cat\n1: 2", "jobs.yaml:4: the key '1' should be text"),
        ("task: paint", "jobs.yaml:3: task is 'paint': it should be one of txt2img, p2p, img2img, inpaint, edit"),
        ("task: img2img\nprompt: a cat", "jobs.yaml:3: photo is missing: img2img needs it"),
        ("task: img2img\nprompt: a cat\nphoto: no.png", "jobs.yaml:5: photo: cannot read no.png"),
        ("task: img2img\nprompt: a cat\nphoto: photo.png\nsteps: 2\nstrength: 0.4", "is none at all: raise one"),
        ("task: edit\nphoto: photo.png\ncaption: a cat", "jobs.yaml:5: there is nothing to change: add edit"),
        (
            "task: inpaint\nprompt: a cat\nphoto: photo.png\nmask: photo.png\njump_count: 3",
            "jobs.yaml:3: jump_length and jump_count belong to repaint",
        ),
        ("prompt: a cat\nmatrix: {seed: []}", "jobs.yaml:4: the axis seed has no values"),
        ("prompt: a cat\nmatrix: {name: [a]}", "jobs.yaml:4: an axis cannot be named 'name'"),
        ("prompt: a cat\nmatrix: {gamma: [1]}", "jobs.yaml:4: the axis gamma is neither a field nor used"),
        ("prompt: a {{colour}} cat", "jobs.yaml:3: {{colour}} is not an axis of the job's matrix"),
        ("prompt: a cat\nseed: 3\nmatrix: {seed: [1]}", "jobs.yaml:4: seed is an axis of the matrix too"),
        ("prompt: a cat\nmatrix:\n  steps: [3,\n    x]", "jobs.yaml:6: steps is 'x': input should be a valid integer"),
        ("prompt: a cat\nmatrix: {seed: {count: 0}}", "jobs.yaml:4: a range has a start, a whole count"),
        ("prompt: a cat\nmatrix: {seed: {file: no.txt}}", "jobs.yaml:4: cannot read no.txt: No such file"),
        ("prompt: a cat\nmatrix: {seed: {count: 2000}, steps: {count: 2000}}", "jobs.yaml:3: the matrix has 4000000"),
        ("- a cat", "jobs.yaml:3: a job should be a mapping"),
    ],
)
def test_a_bad_job(tmp_path: Path, job: str, expected: str) -> None:
    assert expected in yaml_error(tmp_path, job)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jobs: [", "jobs.yaml:1: this is not YAML"),
        ("a cat", "jobs.yaml:1: a file of jobs is a mapping"),
        ("job: []", "jobs.yaml:1: a file of jobs has no field 'job': jobs is meant?"),
        ("jobs: []", "asks for no pictures"),
        ("jobs: &a [*a]", "jobs.yaml:1: an anchor holds itself"),
        ("include: jobs.yaml", "jobs.yaml:1: jobs.yaml includes itself"),
        ("include:\n- other.yaml", "jobs.yaml:2: cannot read other.yaml: No such file"),
        ("defaults: {steps: 3\n}\njobs: 7", "jobs.yaml:3: jobs should be a list"),
        ("defaults:\n  stepps: 3", "jobs.yaml:2: defaults has no field 'stepps'"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in error(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"prompt": }', "jobs.jsonl:3: this is not JSON"),
        ("[1]", "jobs.jsonl:3: each line should be a job in braces"),
        ('{"prompt": "a cat", "model": "m", "steps": "3"}', "jobs.jsonl:3: steps is '3'"),
        ('{"prompt": "a", "prompt": "b"}', "jobs.jsonl:3: 'prompt' is given twice"),
        ('{"defaults": {}, "prompt": "a"}', "jobs.jsonl:3: 'defaults' stands in a line of its own"),
        ('{"prompt": "\\ud800", "model": "m"}', "jobs.jsonl:3: prompt is '\\ud800', which is no valid Unicode"),
        ('{"prompt": "a", "edit": ["\\ud800:1"], "model": "m"}', "jobs.jsonl:3: edit is"),
    ],
)
def test_a_bad_line(tmp_path: Path, line: str, expected: str) -> None:
    assert expected in error(tmp_path, f'{{"prompt": "a cat", "model": "m"}}\n\n{line}\n', "jobs.jsonl")


def test_what_a_default_or_an_axis_spoils_is_said_where_it_stands(tmp_path: Path) -> None:
    assert yaml_error(tmp_path, "prompt: a cat", ", steps: x").startswith("jobs.yaml:1: steps is 'x'")
    (tmp_path / "prompts.txt").write_text("a cat\n\na dog <edit:cat>\n")
    said = yaml_error(tmp_path, "matrix: {prompt: {file: prompts.txt}}")
    assert said.startswith('prompts.txt:3: prompt: "<edit:cat>"')


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert "should end in .yaml" in error(tmp_path, GOOD, "jobs.txt")
    (tmp_path / "jobs.yaml").write_bytes(b"jobs: \xff")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        items.asked(tmp_path / "jobs.yaml")
