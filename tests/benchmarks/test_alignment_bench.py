"""`ebca bench alignment` from the command line to the contact sheet, on a random model."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks.alignment import attend_and_excite, hrv_multi
from benchmarks.alignment.bench import BenchError, Question
from benchmarks.alignment.prompt_file import PromptFileError, read_prompts
from benchmarks.alignment.prompts import HALVES, Prompt
from benchmarks.alignment.protocols import PROTOCOLS, SETS, set_prompts
from benchmarks.alignment.results import read_lines
from cli.main import app
from lib_ebca.language.directives import parse

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "ae_prompts_276.json"
HRV_LISTS = PUBLISHED.parent / "hrv" / "applications" / "benchmark_prompts"
SMALL = ("--limit", "2", "--steps", "2", "--batch-size", "3", "--device", "cpu")


def ebca(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", "alignment", *map(str, arguments)])


def scores(folder: Path) -> dict[tuple[str, str, int], dict[str, list[float]]]:
    return {line.key: line.scores for line in read_lines(folder)}


def test_sets_methods_and_seeds(tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ebca("--model", tiny_folder, *SMALL, "--set", "two", "--set", "one", "--seeds", 2, "--out", out)
    assert result.exit_code == 0, result.output
    run = json.loads((out / "run.json").read_text())
    assert [(group, seed) for group, _, seed in run["items"]] == [(g, s) for g in ("two", "one") for s in (0, 0, 1, 1)]
    assert Counter(line.method for line in read_lines(out)) == {"plain": 3, "bcu": 3, "boosts": 3}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["batches"] == {"done": 9, "wanted": 9}
    assert summary["costs"]["bcu"]["evaluations"] == 2
    assert {(f["method"], f["group"]) for f in summary["figures"]} == {
        (m, g) for m in ("plain", "bcu", "boosts") for g in ("one", "two")
    }
    assert "two: 4 pictures" in result.output and "one: against plain" in result.output

    # A method more: what is there stays, and the same pictures come out as from a fresh run.
    more = ebca(
        "--model",
        tiny_folder,
        *SMALL,
        "--set",
        "two",
        "--set",
        "one",
        "--seeds",
        2,
        "--out",
        out,
        "--methods",
        "bcu-gentle",
    )
    assert more.exit_code == 0, more.output
    assert len(read_lines(out)) == 12
    other = ebca("--model", tiny_folder, *SMALL, "--set", "one", "--out", out)
    assert other.exit_code == 2 and "holds results of another run" in other.output


def test_shards_together_are_the_whole(tiny_folder: Path, tmp_path: Path) -> None:
    common = ("--model", tiny_folder, *SMALL, "--set", "coloured", "--set", "held-out", "--methods", "plain,bcu")
    assert ebca(*common, "--out", tmp_path / "whole").exit_code == 0
    first = ebca(*common, "--out", tmp_path / "parts", "--shard", "1/2")
    assert "2 of 4 batches are done" in first.output
    assert not list((tmp_path / "parts").glob("sheet-*.png"))
    assert ebca(*common, "--out", tmp_path / "parts", "--shard", "2/2").exit_code == 0
    assert scores(tmp_path / "parts") == scores(tmp_path / "whole")


def test_a_page_is_given_the_tables_and_the_command(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, out = tmp_path / "page.md", tmp_path / "out"
    asked = ("--model", tiny_folder, *SMALL, "--set", "one", "--methods", "bcu", "--out", out, "--page", page)
    page.write_text("# Mine\n")
    refused = ebca(*asked)
    assert refused.exit_code == 2 and not out.exists()
    assert "should hold the line <!-- alignment: begin -->" in " ".join(refused.output.split())
    page.write_text("# Mine\n\n<!-- alignment: begin -->\nold\n<!-- alignment: end -->\n\nRest\n")
    monkeypatch.setattr("sys.argv", ["ebca", "bench", "alignment", *map(str, asked), "--methods", "<bcu:0.1>"])
    result = ebca(*asked)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert text.startswith("# Mine") and text.endswith("Rest\n") and "old" not in text
    assert (
        "**one: 2 pictures**" in text and "| bcu |" in text and "DDIM, 2 steps, guidance 7.5, float32, on cpu" in text
    )
    made = text.split("Made by `")[1].split("`")[0]
    assert "--methods '<bcu:0.1>'" in made and "--page" not in made and str(out) not in made


def test_own_prompts_by_clip(tiny_folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("# mine\na circle and a square\n\na star with a moon\n")
    result = ebca(
        "--model",
        tiny_folder,
        *SMALL,
        "--prompts",
        tmp_path / "mine.txt",
        "--clip",
        clip_folder,
        "--out",
        tmp_path / "out",
    )
    assert result.exit_code == 0, result.output
    assert "mine: 2 pictures" in result.output
    assert all(set(line.scores) == {"full", "minimum"} for line in read_lines(tmp_path / "out"))
    # Scores are almost never equal, so there are wins or losses, and a sheet.
    assert (tmp_path / "out" / "sheet-bcu.png").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set", "four"), "set 'four' is not known: choose from one, two"),
        (("--set", "one", "--set", "one"), "asked for twice"),
        (("--methods", "magic"), "method 'magic' is not known: choose from plain, bcu"),
        (("--methods", "<bcu:much>"), "method '<bcu:much>': "),
        (("--methods", "a cat <bcu>"), "or write directives"),
        (("--half", "first"), "half 'first' is not known: choose from tuning, reporting"),
        (("--protocol", "taste"), "--protocol 'taste' is not known: choose from attend-and-excite, hrv-multi"),
        (("--protocol", "hrv-multi", "--set", "one"), "--protocol brings its own prompts"),
        (("--shard", "3"), "--shard is '3': it should be PART/PARTS"),
        (("--shard", "3/2"), "--shard is '3/2': it should be PART/PARTS"),
        (("--seeds", "0"), "the number of seeds is 0"),
        (("--limit", "0"), "the number of prompts of a set is 0"),
        (("--steps", "0"), "--steps is 0"),
        (("--scorers", "judge", "--set", "animal-animal"), "--scorers judge knows the sets one, two"),
        (("--scorers", "taste"), "--scorers 'taste' is not known"),
        (("--prompts", "none.txt"), "prompts 'none.txt' cannot be read"),
        (("--set", "animal-animal", "--clip", "no-such-folder/at-all"), "'no-such-folder/at-all' is not at hand"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    tiny_folder: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = ebca(
        "--model",
        tiny_folder,
        *SMALL,
        "--out",
        tmp_path / "out",
        *(
            ("--set", "one")
            if arguments[0] in ("--methods", "--shard", "--seeds", "--half", "--limit", "--steps")
            else ()
        ),
        *arguments,
    )
    assert result.exit_code == 2
    assert sentence in result.output.replace("\n", " ")
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_prompt_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('["a cat", {"prompt": "a cat and a dog", "nouns": ["cat", "dog"]}]')
    assert [(p.text, p.nouns) for p in read_prompts(path)] == [("a cat", ()), ("a cat and a dog", ("cat", "dog"))]
    for text, sentence in (
        ("[", "is not JSON"),
        ("{}", "should be a list"),
        ("[]", "holds none"),
        ("[3]", "entry 1: it should be a text or"),
        ('["a", "a"]', "holds 'a' twice"),
        ('[{"prompt": "a cat", "nouns": "cat"}]', "it should be a list of words"),
        ('[{"prompt": "a cat", "nouns": ["dog"]}]', "the noun 'dog' is not in 'a cat'"),
        ('[{"prompt": "a cat", "noun": ["cat"]}]', "entry 1: it should be a text or"),
    ):
        path.write_text(text)
        with pytest.raises(PromptFileError, match=sentence.replace("[", r"\[")):
            read_prompts(path)


def test_questions_keep_plain_first_and_limit_prompts() -> None:
    question = Question(("animal-animal",), prompts=3, seeds=2, methods=("bcu", "plain"))
    assert [method.name for method in question.chosen()] == ["plain", "bcu"]
    assert [item.seed for item in question.items()] == [0, 0, 0, 1, 1, 1]
    with pytest.raises(BenchError, match="no prompts are asked for"):
        Question(())


def test_halves_share_no_prompt_and_are_all() -> None:
    for name in SETS:
        tuning, reporting = (set_prompts(name, half) for half in HALVES)
        every = {prompt.text for prompt in set_prompts(name)}
        texts = [{prompt.text for prompt in half} for half in (tuning, reporting)]
        assert not texts[0] & texts[1] and texts[0] | texts[1] == every
        assert [p.text for p in tuning] == [p.text for p in set_prompts(name, "tuning")]
    with pytest.raises(ValueError, match="half 'best'"):
        set_prompts("animal-animal", "best")


def test_a_protocol_has_enough_pictures_of_each_set() -> None:
    for protocol in PROTOCOLS.values():
        question = Question(protocol.sets, methods=protocol.methods, pictures=protocol.pictures)
        counts = Counter(item.group for item in question.items())
        assert set(counts) == set(protocol.sets) and min(counts.values()) >= 500
        assert [method.name for method in question.chosen()] == list(protocol.methods)
        assert len({(item.group, item.prompt.text, item.seed) for item in question.items()}) == sum(counts.values())


def test_methods_may_be_directives() -> None:
    (_, method, edits) = Question(("animal-animal",), methods=("<bcu:0.02:0.04> <boost:*:2>", "edits")).chosen()
    pair = Prompt("a cat with a red bow", nouns=("cat", "bow"))
    assert method.plan(pair) == parse("<bcu:0.02:0.04> <boost:*:2>").plan
    assert [(e.text, e.strength) for e in edits.plan(pair).edits] == [("a cat", 0.5), ("a red bow", 0.5)]


def test_prompts_of_head_relevance_vectors() -> None:
    plain, coloured = (hrv_multi.prompts(name) for name in hrv_multi.SETS)
    assert len({frozenset(p.nouns) for p in plain}) == len(plain) == 66 and len({p.text for p in coloured}) == 150
    known = [p for p in plain if p.things]
    assert len(known) == 21 and all({t.noun for t in p.things} == set(p.nouns) for p in known)
    assert all(len({t.colour for t in p.things}) == 2 for p in coloured if p.things)
    question = Question(hrv_multi.SETS, judged=True)
    assert {item.prompt.text for item in question.items() if item.group == "hrv-animals"} == {p.text for p in known}
    assert question.partial()[0].startswith("hrv-animals: 21 of 66 prompts")
    with pytest.raises(ValueError, match="'animals'"):
        hrv_multi.prompts("animals")


@pytest.mark.skipif(not HRV_LISTS.exists(), reason="the published lists are not part of the repository")
def test_prompts_of_head_relevance_vectors_against_the_published_lists() -> None:
    """Equal but for what was drawn at random there."""
    plain = (HRV_LISTS / "multi_concept_type1_prompts.txt").read_text().splitlines()
    ours = {frozenset(p.text.split()) for p in hrv_multi.prompts("hrv-animals")}
    assert {frozenset(line.split()) for line in plain if line.strip()} == ours
    coloured = (HRV_LISTS / "multi_concept_type2_prompts.txt").read_text().split()
    words = {word for p in hrv_multi.prompts("hrv-coloured-animals") for word in p.text.split()}
    assert set(coloured) == words


def test_attend_and_excite_templates() -> None:
    counts = {group: len({p.text for p in attend_and_excite.prompts(group)}) for group in attend_and_excite.SETS}
    assert counts == {"animal-animal": 66, "animal-object": 144, "object-object": 66}
    assert attend_and_excite.prompts("object-object") == attend_and_excite.prompts("object-object")
    with pytest.raises(ValueError, match="'animals'"):
        attend_and_excite.prompts("animals")


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published list is not part of the repository")
def test_attend_and_excite_against_the_published_list() -> None:
    """Equal but for what was drawn at random there: which noun comes first, and the colours."""
    published = json.loads(PUBLISHED.read_text())
    assert (list(attend_and_excite.ANIMALS), list(attend_and_excite.OBJECTS)) == (
        published["animals"],
        published["objects"],
    )
    assert list(attend_and_excite.COLOURS) == published["colors"]

    def form(text: str) -> tuple[str, frozenset[str]]:
        words = ["<colour>" if word in attend_and_excite.COLOURS else word for word in text.split()]
        nouns = {word for word in words if word in (*attend_and_excite.ANIMALS, *attend_and_excite.OBJECTS)}
        return " ".join("<noun>" if word in nouns else word for word in words), frozenset(nouns)

    for group in attend_and_excite.SETS:
        ours = Counter(form(prompt.text) for prompt in attend_and_excite.prompts(group))
        assert ours == Counter(form(text) for text in published[group.replace("-", "_")])
        assert all(frozenset(p.nouns) == form(p.text)[1] for p in attend_and_excite.prompts(group))
