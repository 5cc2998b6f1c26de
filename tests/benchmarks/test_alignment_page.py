"""The page's tables come from the results, whole and in order, and leave the rest of the page alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.alignment.page import PageError, judge_table, markers, renewed, renewed_blocks, study_tables
from benchmarks.alignment.results import Line, ResultsError, Store, write_json
from benchmarks.alignment.scoring import Judge
from benchmarks.alignment.study import Counts, Size, parts
from benchmarks.alignment.tables import Table, markdown

SIZE = Size(Counts(2, 0, 2, 2, three=8), Counts(2, 2, 2, 2, three=40))
NAMES = ("plain", "0.01/0.02", "0.01/0", "-0.01/0", "0.02/0")

BEGIN, END = markers()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Made-up scores: 0.01/0 binds everything, plain and the others nothing; 0.02/0 is incomplete."""
    run = {"model": "abc", "sampler": "DDIMScheduler", "dtype": "float32", "device": "cpu"}
    sampling = {"steps": 25, "guidance": 6.0, "batch": 24}
    store = Store(tmp_path / "results", {**run, "sampling": sampling, "size": asdict(SIZE)})
    for part, items in parts(SIZE).items():
        for name in NAMES:
            for batch in range(-(-len(items) // 24) - (name == "0.02/0")):
                count = len(items[batch * 24 : (batch + 1) * 24])
                scores = {metric.name: [float(name == "0.01/0")] * count for metric in Judge.metrics}
                store.append(Line(name, part, batch, scores, 25, 2.0 if name == "plain" else 2.1))
    write_json(tmp_path / "results" / "chosen.json", ["plain", "0.01/0.02", "0.01/0"])
    return tmp_path / "results"


def test_tables_say_what_the_results_say(results: Path) -> None:
    text = study_tables(results, results)
    assert "Model abc" in text and "25 steps, guidance 6, float32, cpu." in text
    rows = [line for line in text.splitlines() if line.startswith("| 0.01/0 |")]
    rates, differences, met, bound, *_ = rows
    # 40 of 40: Wilson's lower end is 40 / (40 + 1.96 ^ 2).
    assert "| 100.0 % [91.2, 100.0] |" in rates and rates.endswith("| 25 | x 1.05 |")
    assert differences.startswith("| 0.01/0 | +100.0 [")
    assert met == bound == "| 0.01/0 | 0 | 40 | < 0.001 | < 0.001 | more |"
    assert "| 0.01/0.02 | 0 | 0 | 1.00 | 1.00 | none shown |" in text
    # What is incomplete is not in any table; what was not chosen is, apart from the rest.
    assert "0.02/0" not in text.replace("/0.02", "")
    unchosen = text[text.index("not chosen") : text.index("Tuning half")]
    assert "| -0.01/0 |" in unchosen and "| 0.01/0 |" not in unchosen
    assert "| -0.01/0 |" in text[text.index("Tuning half") :]


def test_judges_accuracy_stands_beside_the_results(results: Path) -> None:
    assert judge_table(results) == []
    rate = {"rate": 0.985, "low": 0.97, "high": 0.99, "n": 1000}
    (results / "judge.json").write_text(json.dumps({"after a VAE round trip": {"two: exact": rate}}))
    assert "| after a VAE round trip | two: exact | 98.5 % [97.0, 99.0] |" in study_tables(results, results)


def test_without_results_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="holds no results"):
        study_tables(tmp_path, tmp_path)


def test_page_is_renewed_between_its_markers_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    renewed(page, "new")
    renewed(page, "newer")
    assert page.read_text() == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"
    for broken in ("", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"):
        page.write_text(broken)
        with pytest.raises(PageError, match="should hold the line"):
            renewed(page, "new")
        assert page.read_text() == broken


def test_each_page_takes_the_blocks_that_it_has_a_place_for(tmp_path: Path) -> None:
    (first, first_end), (second, second_end) = markers("one"), markers("two")
    short, full, none = (tmp_path / name for name in ("short.md", "full.md", "none.md"))
    short.write_text(f"{first}\n{first_end}\n")
    full.write_text(f"{first}\n{first_end}\n{second}\n{second_end}\n")
    renewed_blocks([short, full], {"one": "1", "two": "2"})
    assert short.read_text() == f"{first}\n\n1\n\n{first_end}\n"
    assert full.read_text() == f"{first}\n\n1\n\n{first_end}\n{second}\n\n2\n\n{second_end}\n"
    none.write_text("a page")
    with pytest.raises(PageError, match="<!-- one: begin -->"):
        renewed_blocks([none], {"one": "1", "two": "2"})


def test_markdown_escapes_bars() -> None:
    assert markdown(Table("t", ("a", "b"), (("x|y", "z"),))) == "**t**\n\n| a | b |\n| --- | --- |\n| x\\|y | z |\n"


def test_markdown_shows_directives_and_small_chances_as_they_are() -> None:
    shown = markdown(Table("t", ("method", "p"), (("<bcu:0.02>", "< 0.001"),)))
    assert shown.endswith("| `<bcu:0.02>` | < 0.001 |\n")
