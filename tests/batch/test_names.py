"""Names are safe everywhere and never the same twice."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.batch.names import safe
from lib_ebca.studio.errors import UserError
from tests.batch.conftest import Write, asked

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
wild = st.one_of(
    st.text(max_size=500),
    st.text(alphabet='./\\ :*?"<>|\0\n~$%aé\U0001f408\u0301', max_size=400),
    st.sampled_from(["..", ".", "", "/", "con", "NUL.txt", "com1", "a" * 400, "\U0001f408" * 300, "é" * 200, "-rf"]),
)


@given(wild)
def test_any_text_becomes_a_part_of_a_path(text: str) -> None:
    name = safe(text)
    assert 1 <= len(name.encode()) <= 62
    assert re.fullmatch(r"[\w.+-]+", name)
    assert name not in (".", "..") and name[0] not in ".-" and name[-1] not in ". "
    assert not RESERVED.fullmatch(name)
    assert PureWindowsPath(name).name == name
    assert unicodedata.normalize("NFC", name) == name
    assert safe(name) == name


def test_what_is_readable_stays_readable() -> None:
    assert safe("a cat, on a (sofa:1.2)") == "a-cat-on-a-sofa-1.2"
    assert safe("Käse/../../etc/passwd") == "Käse-..-..-etc-passwd"
    assert safe("con") == "_con"
    assert safe("\U0001f408") == "_"


def test_names_of_a_run_are_distinct_also_where_case_does_not_count(write: Write) -> None:
    prompts = ["a cat", "A CAT", "a/cat", "a cat \U0001f408", "..", "con", "x" * 400, "x" * 401]
    found = asked(write({"matrix": {"prompt": prompts, "seed": [0, 1]}})).items
    names = {item.name.casefold() for item in found}
    assert len(names) == len(found) == 16
    assert all("/" not in name and len(name.encode()) < 255 for name in names)


def test_patterns(write: Write) -> None:
    job = {"name": "Cats & dogs", "prompt": "a cat {{where}}", "seed": 7, "matrix": {"where": ["on a sofa"]}}
    file = write(job, cfg=5.0)

    def name(pattern: str) -> str:
        (item,) = asked(file, pattern=pattern).items
        return item.name.replace(item.key, "KEY")

    assert name("{job}/{number:05d}-{seed}") == "Cats-dogs/00001-7-KEY.png"
    assert name("{where}/{key}") == "on-a-sofa/KEY.png"
    assert name("../{prompt}") == "_/a-cat-on-a-sofa-KEY.png"
    assert name("{model}-{steps}-{cfg:.1f}-{sampler}-{task}") == "tiny-2-5.0-default-txt2img-KEY.png"


@pytest.mark.parametrize(
    "pattern", ["{nothing}", "{seed", "{}", "{seed.real}", "{prompt:d}", "/a", "a/", "a//b", "{seed:{n}}"]
)
def test_a_bad_pattern_is_one_sentence(write: Write, pattern: str) -> None:
    with pytest.raises(UserError, match="--name"):
        asked(write({"prompt": "a cat"}), pattern=pattern)


def test_the_same_jobs_have_the_same_names(write: Write, tmp_path: Path) -> None:
    jobs = [{"prompt": "a cat", "count": 2}, {"prompt": "a dog"}]
    names = [item.name for item in asked(write(*jobs)).items]
    assert [item.name for item in asked(write(*jobs, name="moved.yaml")).items] == names
    assert {item.name for item in asked(write(*reversed(jobs))).items} == set(names)


def test_lines_that_end_as_in_windows_are_the_same_jobs(write: Write, tmp_path: Path) -> None:
    file = write({"prompt": "a cat", "seed": 3, "count": 2}, {"prompt": "a dog"})
    other = tmp_path / "crlf.yaml"
    other.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert [item.name for item in asked(other).items] == [item.name for item in asked(file).items]
