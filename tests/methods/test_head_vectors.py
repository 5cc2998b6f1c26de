"""The published vectors as they ship, and the file that measured ones are written to."""

from __future__ import annotations

import hashlib
import json
import pickle
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
