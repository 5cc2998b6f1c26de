"""Files of jobs that are small and ask for everything: one sentence, soon, and little memory."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.batch import items, matrix
from cli.batch.source import read
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.yaml12 import Spelt


def refused(tmp_path: Path, text: str, name: str = "jobs.yaml") -> str:
    """The sentence on a file, which has to come within seconds."""
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    started = time.process_time()
    with pytest.raises(UserError) as raised:
        items.asked(file)
    assert time.process_time() - started < 20
    return str(raised.value).replace(f"{tmp_path}/", "")


def laughs(levels: int, of: str = "x") -> str:
    lines = [f"a0: &a0 [{', '.join([of] * 9)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


RANGE = "{count: 100000}"
BOMBS = {
    "anchors": (laughs(7), "comes to more than 300000 values"),
    "merges": (
        "a0: &a0 {x: 1}\n" + "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 8)),
        "comes to more than 300000 values",
    ),
    "count": ("jobs: [{prompt: a, count: 1000000000000000000}]", "has 1000000000000000000 pictures"),
    "counts": (
        "jobs: [{prompt: a, matrix: {count: [50000, 50000], seed: [1, 2]}}]",
        "has 200000 pictures: it should have at most 100000",
    ),
    "counted by a variable": (
        'jobs: [{prompt: a, count: "{{n}}", matrix: {n: [99999, 3]}}]',
        "has 100002 pictures",
    ),
    "one matrix": (f"jobs: [{{prompt: a, matrix: {{seed: {RANGE}, steps: [1, 2]}}}}]", "has 200000 cells"),
    "two axes": (f"jobs: [{{prompt: 'x', matrix: {{seed: {RANGE}, n: {RANGE}}}}}]", "has 10000000000 cells"),
    "many matrices": (
        "jobs:\n" + f"  - {{prompt: a, matrix: {{seed: {RANGE}}}}}\n" * 100,
        "jobs.yaml:3: with this job the run has 200000 pictures",
    ),
    "text": (
        f"jobs: [{{prompt: {'x' * 100_000}, matrix: {{seed: {{count: 100000}}}}}}]",
        "more than 1000000000 characters",
    ),
    "size": ("#" * 4_000_001, "is larger than 4 MB: write a job a line into a .jsonl file"),
    "brackets": ("[" * 100_000, "nested too deep"),
    "depth": ("jobs: " + "[" * 50 + "]" * 50, "nested too deep"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_one_sentence_and_soon(tmp_path: Path, bomb: str) -> None:
    text, says = BOMBS[bomb]
    assert says in refused(tmp_path, text)


def test_files_that_include_each_other_many_times(tmp_path: Path) -> None:
    for level in range(12):
        (tmp_path / f"{level}.yaml").write_text(f"include: [{level + 1}.yaml, {level + 1}.yaml]\n")
    (tmp_path / "12.yaml").write_text("jobs: [{prompt: a}]")
    assert "more than 100 files are included" in refused(tmp_path, "include: 0.yaml")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("!!bool x", "neither true nor false"),
        ("!!int ''", "no whole number"),
        ("!!float ''", "no number"),
        ("!!null x", "no null"),
        ("!!timestamp x", "could not determine a constructor"),
        ("!!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("!!set {a, b}", "could not determine a constructor"),
        ("!!int [1]", "no whole number"),
        ("[" * 30 + "]" * 30, "nested too deep"),
        ("9" * 5000, "input should be a valid integer"),
        ("1" + ":59" * 1000, "input should be a valid integer"),
        ("2024-01-01", "steps is '2024-01-01': input should be a valid integer"),
        ("yes", "steps is 'yes': input should be a valid integer"),
    ],
)
def test_no_tag_and_no_number_is_a_traceback(tmp_path: Path, value: str, says: str) -> None:
    said = refused(tmp_path, f"jobs:\n  - prompt: a\n    steps: {value}\n")
    assert said.startswith("jobs.yaml:3: ") and says in said and len(said) < 300


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompt": "a", "steps": ' + "9" * 5000 + "}", "too many digits"),
        ("[" * 100_000, "nested too deep"),
        ('{"prompt": ' + "[" * 50_000 + "]" * 50_000 + "}", "nested too deep"),
        ('{"prompt": "a", "lora": "a\\u0000b"}', "can be no path"),
        ('{"prompt": "a", "model": "' + "x" * 5000 + '"}', "can be no path"),
        ('{"prompt": "a", "model": "~nosuchuser/x"}', "can be no path"),
        ('{"task": "edit", "caption": "a", "edit": "b:1", "photo": "a\\u0000b"}', "can be no path"),
        ('{"include": ["a\\u0000b.yaml"]}', "can be no path"),
        ('{"prompt": "a", "matrix": {"seed": {"start": 1' + "0" * 400 + ', "count": 2}}}', "a range has a start"),
        ('{"prompt": "a", "matrix": {"seed": {"start": 1, "step": 1e999, "count": 2}}}', "a range has a start"),
    ],
)
def test_no_line_of_json_is_a_traceback(tmp_path: Path, line: str, says: str) -> None:
    said = refused(tmp_path, line, "jobs.jsonl")
    assert "jobs.jsonl:1: " in said and says in said


def test_words_and_numbers_stay_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "jobs.yaml"
    values = "[no, 1e3, 1_000, 0.10, 010, 1:30, on, .5]"
    file.write_text(f"jobs: [{{prompt: 'a {{{{colour}}}} cat', matrix: {{colour: {values}}}}}]")
    (job,) = matrix.jobs_in(file)
    cells = list(matrix.cells(job))
    assert [cell.fields["prompt"] for cell in cells] == [
        f"a {word} cat" for word in ("no", "1e3", "1_000", "0.10", "10", "1:30", "on", ".5")
    ]
    assert [cell.axes[0][1] for cell in cells][1:4] == ["1e3", "1_000", "0.10"]


@given(st.floats(allow_nan=False))
def test_a_spelt_number_is_the_number(value: float) -> None:
    assert Spelt(repr(value)) == value and Spelt(repr(value)).text == repr(value)
    assert json.dumps(Spelt("1e3")) == "1000.0"


@given(st.text(max_size=60))
def test_any_text_is_jobs_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    for name in ("jobs.yaml", "jobs.jsonl"):
        file = tmp_path_factory.getbasetemp() / name
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            read(file)
        except UserError as error:
            assert str(error)
