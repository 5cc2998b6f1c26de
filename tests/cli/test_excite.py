"""`--excite`: read, written into pictures, repeated from them, told and drawn."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Ebca
from tests.cli.test_txt2img import PROMPT, TRUSTED, lines, pixels


def test_a_subject_is_recorded_told_and_repeated(draw: Ebca, ebca: Ebca, tmp_path: Path) -> None:
    asked = ("--excite", "cat:scale=10", "--steps", 4, "--seed", 3, "--save-maps", "--save-energy", "--json")
    (line,) = lines(draw(PROMPT, *asked))
    assert line["plan"] == {"excite": [{"word": "cat", "scale": 10.0}]}
    assert line["comments"][-1].startswith("Subjects: the latent was moved in 2 steps, refined ")
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made >= {"00001-3-subjects.png", "00001-3-subject-maps.png"}
    (again,) = lines(ebca("txt2img", "--from", line["path"], *TRUSTED, "-o", tmp_path / "again"))
    assert again["plan"] == line["plan"]
    assert (pixels(again["path"]) == pixels(line["path"])).all()


def test_an_unknown_subject_ends_with_one_sentence(draw: Ebca, tmp_path: Path) -> None:
    failed = draw(PROMPT, "--excite", "horse")
    assert failed.exit_code == 2
    assert '"horse" is not in the prompt; the words of the prompt are: a, cat, on, a, sofa' in failed.output
    failed = draw(PROMPT, "--excite", "cat:until=2")
    assert failed.exit_code == 2
    assert "--excite 'cat:until=2': until is 2.0: it should be a fraction of the pass, from 0 to 1" in failed.output
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_tokens_say_which_rows_a_subject_is(ebca: Ebca, tiny_model: Path) -> None:
    (told,) = lines(ebca("tokens", PROMPT, "--excite", "*", "--json", "--model", tiny_model))
    assert [subject["subject"] for subject in told["subjects"]] == ["cat", "sofa"]
