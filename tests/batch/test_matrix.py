"""Defaults, includes, axes and variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.batch import matrix, schema
from cli.batch.matrix import Cell, RawJob
from cli.batch.source import Place, Sourced
from lib_ebca.studio.errors import UserError


def cells(tmp_path: Path, content: dict[str, Any]) -> list[Cell]:
    """The cells of all jobs of a file."""
    file = tmp_path / "jobs.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return [cell for job in matrix.jobs_in(file) for cell in matrix.cells(job)]


def test_axes_multiply_out_the_last_one_fastest(tmp_path: Path) -> None:
    job = {"prompt": "a cat", "matrix": {"seed": [5, 3], "cfg": [7.5, 1]}}
    found = cells(tmp_path, {"jobs": [job]})
    assert [(cell.fields["seed"], cell.fields["cfg"]) for cell in found] == [(5, 7.5), (5, 1), (3, 7.5), (3, 1)]
    assert found[1].axes == (("seed", "5"), ("cfg", "1"))


def test_ranges_count_without_drifting(tmp_path: Path) -> None:
    axis = {"start": 0.1, "count": 4, "step": 0.1}
    found = cells(tmp_path, {"jobs": [{"prompt": "a", "edit": "dog:{{s}}", "matrix": {"s": axis}}]})
    assert [cell.fields["edit"] for cell in found] == ["dog:0.1", "dog:0.2", "dog:0.3", "dog:0.4"]


def test_a_variable_alone_keeps_its_kind(tmp_path: Path) -> None:
    job = {"prompt": "{{animal}}, {{ n }}", "steps": "{{n}}", "edit": ["{{animal}}:1"], "matrix": {"n": [3]}}
    job["matrix"]["animal"] = ["a cat", "a dog"]  # type: ignore[index]  # a job is a dict of objects
    first, second = cells(tmp_path, {"jobs": [job]})
    assert first.fields == {"prompt": "a cat, 3", "steps": 3, "edit": ["a cat:1"]}
    assert second.fields["prompt"] == "a dog, 3"


def test_an_axis_of_prompts_may_hold_variables(tmp_path: Path) -> None:
    job = {"matrix": {"prompt": ["a {{c}} cat", "a dog, {{c}}"], "c": ["red"]}}
    assert [cell.fields["prompt"] for cell in cells(tmp_path, {"jobs": [job]})] == ["a red cat", "a dog, red"]


def test_prompts_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n\n  # a dog \n", encoding="utf-8")
    found = cells(tmp_path, {"jobs": [{"matrix": {"prompt": {"file": "prompts.txt"}}}]})
    assert [cell.fields["prompt"] for cell in found] == ["a cat", "# a dog"]
    assert str(found[1].places["prompt"]) == f"{tmp_path / 'prompts.txt'}:3"


def test_a_job_stands_over_the_defaults_and_its_axes_join_theirs(tmp_path: Path) -> None:
    defaults = {"steps": 3, "cfg": 5.0, "matrix": {"seed": [1, 2]}}
    jobs = [{"prompt": "a", "steps": 9}, {"prompt": "b", "matrix": {"cfg": [1, 2]}}]
    found = cells(tmp_path, {"defaults": defaults, "jobs": jobs})
    assert [cell.fields["steps"] for cell in found] == [9, 9, 3, 3, 3, 3]
    assert [cell.axes for cell in found[2:4]] == [(("seed", "1"), ("cfg", "1")), (("seed", "1"), ("cfg", "2"))]


def test_a_file_means_the_same_wherever_it_is_included(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (below / "more.yaml").write_text("defaults: {steps: 4, cfg: 2}\njobs: [{prompt: included}]")
    (below / "lines.jsonl").write_text('{"defaults": {"cfg": 9}}\n{"prompt": "a line"}\n')
    content = {
        "include": ["below/more.yaml", "below/lines.jsonl"],
        "defaults": {"steps": 5},
        "jobs": [{"prompt": "own"}],
    }
    found = cells(tmp_path, content)
    assert [cell.fields for cell in found] == [
        {"prompt": "included", "steps": 4, "cfg": 2},
        {"prompt": "a line", "cfg": 9},
        # The defaults of what is included hold here too, the later ones over the earlier, and one's own over them all.
        {"prompt": "own", "steps": 5, "cfg": 9},
    ]
    assert found[0].places["prompt"].file.parent == below


def test_numbers_that_other_formats_know(tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text("jobs: [{prompt: a, cfg: 1e1, tolerance: 1e-4}]")
    (job,) = matrix.jobs_in(tmp_path / "jobs.yaml")
    assert (job.fields["cfg"].value, job.fields["tolerance"].value) == (10.0, 1e-4)


def test_json_lines_and_yaml_say_the_same(tmp_path: Path) -> None:
    jobs = [{"prompt": "a", "seed": 1}, {"prompt": "b", "matrix": {"seed": [1, 2]}}]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, jobs)))
    lines = [cell.fields for job in matrix.jobs_in(tmp_path / "lines.jsonl") for cell in matrix.cells(job)]
    assert lines == [cell.fields for cell in cells(tmp_path, {"jobs": jobs})]


values = st.one_of(st.integers(), st.text(max_size=5), st.booleans())
PLACE = Place(Path("jobs.yaml"), 1)


@given(st.dictionaries(st.sampled_from(["seed", "cfg", "a", "b"]), st.lists(values, min_size=1, max_size=4)))
def test_every_combination_comes_once(axes: dict[str, list[Any]]) -> None:
    job = RawJob(PLACE, {}, {name: tuple(Sourced(value, PLACE) for value in each) for name, each in axes.items()})
    found = list(matrix.cells(job))
    assert len(found) == len(job)
    for name, each in axes.items():
        share = len(found) // len(each)
        shown = [dict(cell.axes)[name] for cell in found]
        assert sorted(shown) == sorted(matrix.shown(value) for value in each for _ in range(share))


def test_a_default_is_passed_over_by_tasks_without_such_a_field(tmp_path: Path) -> None:
    found = cells(
        tmp_path,
        {
            "defaults": {"sampler": "Euler", "photo": "a.png", "steps": 4},
            "jobs": [{"prompt": "a"}, {"task": "edit", "caption": "b"}],
        },
    )
    assert [dict(cell.fields) for cell in found] == [
        {"sampler": "Euler", "steps": 4, "prompt": "a"},
        {"photo": "a.png", "steps": 4, "task": "edit", "caption": "b"},
    ]
    (cell,) = cells(tmp_path, {"jobs": [{"task": "edit", "caption": "b", "photo": "a.png", "sampler": "Euler"}]})
    with pytest.raises(UserError, match="edit has no field 'sampler'"):
        schema.job(cell.fields, cell.places, cell.places["task"])
