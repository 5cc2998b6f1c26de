"""The published vectors as they ship, and the file that measured ones are written to."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import pickle
import zlib
from pathlib import Path

import pytest
import torch

from lib_ebca.methods.head_order import SD1, SDXL
from lib_ebca.methods.head_vectors import SHIPPED, HeadVectors, UnknownConceptError, VectorsError, published, read


@pytest.mark.parametrize(
    ("heads", "shape", "digest"),
    [
        (SD1, (34, 128), "b863e2d9bed4a6badec4ca3b535c25a35e2e3a8476a226d41a1cc8a731ef274e"),
        (SDXL, (34, 1300), "644bdc235d2ab4182a0606de4ed10eb717f2d3c815c09118cfa0b6650a023746"),
    ],
)
def test_the_shipped_numbers_are_the_authors(heads: tuple[int, ...], shape: tuple[int, int], digest: str) -> None:
    """The digest is that of the numbers in the authors' .npy file, its header left out."""
    vectors = published(heads)
    assert vectors.relevance.shape == shape
    assert hashlib.sha256(vectors.relevance.numpy().tobytes()).hexdigest() == digest
    assert torch.allclose(vectors.relevance.sum(1), torch.full((34,), float(shape[1])), rtol=1e-5)


@pytest.mark.parametrize(
    ("heads", "concept", "column", "value"),
    [
        (SD1, "Animals", 120 + 3, 4.427),
        (SD1, "Plants", 72 + 3, 5.811),
        (SD1, "Color", 120, 8.307),
        (SD1, "Image Style", 51, 18.169),
        (SD1, "Material", 72, 7.549),
        (SDXL, "Color", 640 + 14 * 20 + 6, 66.145),
        (SDXL, "Animals", 40 + 14 * 20 + 4, 19.15),
    ],
)
def test_a_concepts_first_head_is_the_one_that_was_looked_up(
    heads: tuple[int, ...], concept: str, column: int, value: float
) -> None:
    vectors = published(heads)
    row = vectors.relevance[vectors.row(concept)]
    assert int(row.argmax()) == column
    assert float(row.max()) == pytest.approx(value, abs=5e-4)


def test_licence_and_origin_stand_beside_them() -> None:
    assert "Apache License" in (SHIPPED / "LICENSE").read_text(encoding="utf-8")
    assert "SNU-DRL/HRV" in (SHIPPED / "README.md").read_text(encoding="utf-8")


def test_sdxl_is_cut_at_nine_and_nothing_else_is() -> None:
    assert published(SDXL).clamp == 9.0
    assert published(SD1).clamp is None


def test_an_unknown_concept_is_answered_with_the_list_and_the_nearest() -> None:
    with pytest.raises(UnknownConceptError, match=r"'Colour'.*did you mean Color\?.*Animals, Plants") as caught:
        published(SD1).row("Colour")
    assert caught.value.nearest == "Color"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert published(SD1).row(" color ") == 17


def test_vectors_of_another_shape_are_refused() -> None:
    with pytest.raises(VectorsError, match=r"16 layers with 128 heads, and this model has 70 layers with 1300"):
        published(SD1).require(SDXL)
    published(SD1).require(SD1)
    with pytest.raises(VectorsError, match=r"no head relevance vectors are published for a UNet of 2 layers with 8"):
        published((4, 4))


@pytest.fixture
def measured() -> HeadVectors:
    counts = torch.tensor([[[3, 0, 1], [1, 4, 3]], [[2, 2, 2], [2, 2, 2]]])
    return HeadVectors.counted(("Shape", "Colour"), counts, (2, 1), "measured", {"seed": 1, "words": {"Shape": ["a"]}})


def test_what_is_written_reads_back(measured: HeadVectors, tmp_path: Path) -> None:
    measured.write(tmp_path / "v.json")
    back = read(tmp_path / "v.json")
    assert (back.concepts, back.heads, back.origin, back.measured) == (
        measured.concepts,
        measured.heads,
        measured.origin,
        measured.measured,
    )
    assert back.counts is not None and measured.counts is not None
    assert torch.equal(back.counts, measured.counts)
    assert torch.equal(back.relevance, measured.relevance)
    assert [len(each) for each in back.by_layer(back.relevance[0])] == [2, 1]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_text("{", encoding="utf-8"), "damaged"),
        (lambda path: path.write_text("[1]", encoding="utf-8"), "holds no head relevance vectors"),
        (
            lambda path: path.write_text(
                path.read_text(encoding="utf-8").replace('"Colour"', '"Colour", "More"'), encoding="utf-8"
            ),
            "damaged",
        ),
        (
            lambda path: path.write_text(
                json.dumps({**json.loads(path.read_text(encoding="utf-8")), "counts": {"zlib": "AAAA"}}),
                encoding="utf-8",
            ),
            "damaged",
        ),
    ],
    ids=["gone", "cut off", "other", "another shape", "no numbers"],
)
def test_a_bad_file_is_one_sentence(measured: HeadVectors, tmp_path: Path, spoil: object, sentence: str) -> None:
    measured.write(tmp_path / "v.json")
    spoil(tmp_path / "v.json")  # type: ignore[operator]  # a parameter of the test
    with pytest.raises(VectorsError, match=sentence):
        read(tmp_path / "v.json")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("heads", [float("inf")], "heads should be a list"),
        ("heads", [10**400], "heads should be a list"),
        ("heads", [0, 3], "heads should be a list"),
        ("heads", [True, 2], "heads should be a list"),
        ("heads", [1, 1], "one of 2 concepts and 2 heads"),
        ("heads", "21", "heads should be a list"),
        ("concepts", ["Shape", "shape"], "different names"),
        ("concepts", ["Shape", " "], "can be printed"),
        ("concepts", ["Shape", "\x1b[31m"], "can be printed"),
        ("concepts", ["Shape", "\ud800"], "can be printed"),
        ("concepts", [], "different names"),
        ("concepts", None, "can be printed"),
        ("origin", 3, "origin should be text"),
        ("measured", [1], "measured a mapping"),
        ("measured", {"done": 1}, "done should be a list"),
        ("measured", {"done": [[1]]}, "done should be a list"),
    ],
)
def test_what_a_file_says_is_checked(
    measured: HeadVectors, tmp_path: Path, field: str, value: object, sentence: str
) -> None:
    data = json.loads(measured.to_text())
    (tmp_path / "v.json").write_text(json.dumps({**data, field: value}), encoding="utf-8")
    with pytest.raises(VectorsError, match=f"damaged.*{sentence}"):
        read(tmp_path / "v.json")


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), -float("inf")])
def test_relevances_that_are_no_finite_numbers_are_refused(tmp_path: Path, spoilt: float) -> None:
    table = torch.tensor([[1.0, spoilt]])
    HeadVectors(("Shape",), table, (2,), "made up").write(tmp_path / "v.json")
    with pytest.raises(VectorsError, match="no finite number"):
        read(tmp_path / "v.json")


def test_votes_are_three_sided_and_never_negative(measured: HeadVectors, tmp_path: Path) -> None:
    assert measured.counts is not None
    for counts in (measured.counts[0], -measured.counts):
        dataclasses.replace(measured, counts=counts).write(tmp_path / "v.json")
        with pytest.raises(VectorsError, match="damaged"):
            read(tmp_path / "v.json")


def test_deep_endless_and_crowded_files_are_refused(measured: HeadVectors, tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(VectorsError, match="nested too deep"):
        read(tmp_path / "deep.json")
    if Path("/dev/zero").exists():
        with pytest.raises(VectorsError, match="larger than 100 MB"):
            read("/dev/zero")
    crowded = json.loads(measured.to_text())
    crowded["counts"]["zlib"] = "*" + crowded["counts"]["zlib"]
    (tmp_path / "crowded.json").write_text(json.dumps(crowded), encoding="utf-8")
    with pytest.raises(VectorsError, match="damaged"):
        read(tmp_path / "crowded.json")


def test_letters_of_all_languages_are_written_as_they_are(measured: HeadVectors) -> None:
    assert '"Größe"' in dataclasses.replace(measured, concepts=("Größe", "Farbe")).to_text()


@pytest.mark.parametrize(
    ("field", "value", "fits"),
    [
        ("heads", [1000], True),
        ("heads", [1001], False),
        ("heads", [1], True),
        ("done", [0, 10**9], True),
        ("done", [-1], False),
        ("done", [10**9 + 1], False),
    ],
)
def test_numbers_up_to_their_bounds_are_taken(tmp_path: Path, field: str, value: list[int], fits: bool) -> None:
    heads = tuple(value) if field == "heads" else (1,)
    told = {"done": value} if field == "done" else {}
    counts = torch.ones(1, 1, sum(heads))
    HeadVectors.counted(["Shape"], counts, heads, "made up", told).write(tmp_path / "v.json")
    if fits:
        back = read(tmp_path / "v.json")
        assert (back.heads, back.measured) == (heads, told)
    else:
        with pytest.raises(VectorsError, match=f"damaged.*{field} should be a list"):
            read(tmp_path / "v.json")


def test_a_table_of_more_than_a_quarter_of_a_gigabyte_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    data = json.loads(HeadVectors.counted(["A", "B"], torch.ones(1, 2, 4), (4,), "made up", {}).to_text())
    for evaluations, sentence in ((2**23, "other than 268435456 bytes"), (2**23 + 1, r"a table of 268435488 bytes\)")):
        data["counts"]["shape"][0] = evaluations
        (tmp_path / "v.json").write_text(json.dumps(data), encoding="utf-8")
        with pytest.raises(VectorsError, match=sentence):
            read(tmp_path / "v.json")


@pytest.mark.parametrize("change", [-4, 4])
def test_a_table_is_as_long_as_it_says(measured: HeadVectors, tmp_path: Path, change: int) -> None:
    data = json.loads(measured.to_text())
    raw = zlib.decompress(base64.b64decode(data["counts"]["zlib"]))
    raw = raw[:change] if change < 0 else raw + bytes(change)
    data["counts"]["zlib"] = base64.b64encode(zlib.compress(raw)).decode("ascii")
    (tmp_path / "v.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(VectorsError, match="other than 48 bytes"):
        read(tmp_path / "v.json")


def test_relevances_are_written_where_no_votes_are_known(tmp_path: Path) -> None:
    """They may be below nought, unlike votes."""
    table = torch.tensor([[2.0, -0.5, 1.5]])
    HeadVectors(("Shape",), table, (2, 1), "made up").write(tmp_path / "v.json")
    back = read(tmp_path / "v.json")
    assert torch.equal(back.relevance, table)
    assert (back.counts, dict(back.measured)) == (None, {})


@pytest.mark.parametrize("change", [{"dtype": "float32"}, {"shape": [2, 3]}, {"shape": [2, 0, 3]}, {"shape": "223"}])
def test_a_table_says_what_it_is(measured: HeadVectors, tmp_path: Path, change: dict[str, object]) -> None:
    data = json.loads(measured.to_text())
    data["counts"] |= change
    (tmp_path / "v.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(VectorsError, match=r"damaged.*the table should be (of int32|one of 2 concepts and 3 heads)"):
        read(tmp_path / "v.json")


def test_a_name_like_none_is_answered_without_a_guess() -> None:
    with pytest.raises(UnknownConceptError, match=r"no concept 'qqqq': the vectors know") as caught:
        published(SD1).row("qqqq")
    assert caught.value.nearest is None
    assert UnknownConceptError("abxx", ["ABCD"]).nearest == "ABCD"
    assert UnknownConceptError("abxxx", ["ABCD"]).nearest is None
