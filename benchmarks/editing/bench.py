"""The table of edits: success as the judge sees it, how much of the rest was kept, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from lib_ebca.methods.head_vectors import HeadVectors
from world.statistics import Comparison, Estimate, compare, mean, rate, wilson

from ..alignment.results import Line, Store, read_lines, write_json
from .ground import EditingError, Ground, WordedEdit
from .methods import Batch, Method, prepared
from .settings import METHODS
from .shapes_edits import ShapesGround

SCENES_SEED = 20_260_501
"""Of the scenes that the table is made of."""
TUNING_SEED = 77
"""Of the scenes that settings are chosen on: no scene is in both."""
KEPT = 20.0
"""dB outside the object from which the rest counts as kept: below it, another picture was drawn."""
ALL = "all"
SUCCESS, REST, CLOSER = "success", "kept", "closer"


@dataclass(frozen=True)
class Question:
    """What is to be measured.

    Attributes:
        scenes: how many; of every kind of edit, or of all kinds together where these are of the same scenes.
        steps: sampling steps.
        seed: of the scenes.
        batch: scenes at once.
        methods: at least one, each once; the first is compared with the others.
        ground: what is edited.
    """

    scenes: int = 64
    steps: int = 20
    seed: int = SCENES_SEED
    batch: int = 16
    methods: tuple[Method, ...] = METHODS
    ground: Ground = field(default_factory=ShapesGround)

    def __post_init__(self) -> None:
        for name, value, least in (("scenes", self.scenes, 1), ("steps", self.steps, 2), ("batch", self.batch, 1)):
            if value < least:
                raise EditingError(f"{name} is {value}: it should be at least {least}")

    def parts(self) -> list[slice]:
        """The scenes of each batch."""
        return [slice(first, min(first + self.batch, self.scenes)) for first in range(0, self.scenes, self.batch)]

    def key(self, number: int, kind: str, method: Method) -> tuple[str, str, int]:
        """How the results name a method on a kind of edit in a batch; one that is not full is none of another size."""
        part = self.parts()[number]
        size = part.stop - part.start
        return key_of(method), kind if size == self.batch else f"{kind}, {size}", number

    def edits(self) -> dict[str, Sequence[WordedEdit]]:
        """By kind."""
        return {kind: self.ground.edits(kind, self.scenes, self.seed) for kind in self.ground.kinds}


@dataclass(frozen=True)
class Row:
    """One method on one kind of edit, or on all of them.

    Attributes:
        method: its name.
        settings: its settings, in words.
        kind: the kind of edit, or "all".
        success: share of edits that the judge sees done.
        kept: PSNR in dB outside the object's surroundings.
        clean: share of edits that are done with at least KEPT dB outside.
        evaluations: times that the UNet saw each picture, the inversion included: twice in a guided step.
        closer: share of edits that bring the picture nearer to the text of what was wanted than to that of what was,
            as a CLIP sees it; None where none was asked.
        against: success of the first method minus that of this one, edit by edit; None for the first.
    """

    method: str
    settings: str
    kind: str
    success: Estimate
    kept: Estimate
    clean: Estimate
    evaluations: int
    closer: Estimate | None
    against: Comparison | None


def bench(
    pipe: Any,
    question: Question,
    folder: Path,
    described: Mapping[str, Any],
    advance: Callable[[int, int], None] = lambda done, total: None,
    vectors: HeadVectors | None = None,
) -> list[Row]:
    """Answer a question, or go on with it: what is done lies in `folder` and is not done again.

    Args:
        pipe: a text-to-image pipeline; its scheduler is replaced.
        described: what else the results depend on; a folder may get more scenes and methods later, all else must agree.
        advance: told the batches done and all of them.
        vectors: the model's head relevance, for methods that strengthen concepts.

    Raises:
        ResultsError: the folder holds something else.
        EditingError: a plan could not be applied.
    """
    pipe = prepared(pipe)
    stated = {"steps": question.steps, "seed": question.seed, "batch": question.batch}
    store = Store(folder, {**described, **stated})
    todo = [
        (number, kind, method)
        for number in range(len(question.parts()))
        for kind in question.ground.kinds
        for method in question.methods
    ]
    left = [each for each in todo if question.key(*each) not in store.done]
    advance(len(todo) - len(left), len(todo))
    edits = question.edits()
    batch: tuple[tuple[int, str], Batch] | None = None
    for done, (number, kind, method) in enumerate(left, len(todo) - len(left) + 1):
        drawn = number, question.ground.kinds[0] if question.ground.shared else kind
        if batch is None or batch[0] != drawn:
            batch = drawn, _batch(pipe, question, edits[drawn[1]], number, vectors)
        store.append(_line(question, batch[1], edits[kind][question.parts()[number]], method, kind, number))
        advance(done, len(todo))
    rows = answer(question, read_lines(folder))
    write_json(folder / "summary.json", to_dict(rows, **described, **stated, scenes=question.scenes))
    return rows


def key_of(method: Method) -> str:
    """How the results name a method: other settings are another method."""
    return f"{method.name}: {method.label}"


def answer(question: Question, lines: Sequence[Line]) -> list[Row]:
    """What the results say: for each method a row for each kind and one for all."""
    found = {line.key: line for line in lines}
    batches = range(len(question.parts()))
    every = question.ground.kinds

    def scores(method: Method, name: str, kind: str) -> list[float]:
        kinds = every if kind == ALL else (kind,)
        return [value for each in kinds for n in batches for value in found[question.key(n, each, method)].scores[name]]

    rows = []
    for method in question.methods:
        spent = fmean(found[question.key(n, kind, method)].evaluations for kind in every for n in batches)
        for kind in (*every, ALL):
            count = question.scenes * (len(every) if kind == ALL else 1)
            # The edits of one scene hang together.
            clusters = [number % question.scenes if question.ground.shared else number for number in range(count)]
            success, kept = scores(method, SUCCESS, kind), scores(method, REST, kind)
            first = scores(question.methods[0], SUCCESS, kind)
            clean = [float(hit and rest >= KEPT) for hit, rest in zip(success, kept, strict=True)]
            closer = rate(scores(method, CLOSER, kind), clusters) if question.ground.scored else None
            rows.append(
                Row(
                    method.name,
                    method.label,
                    kind,
                    rate(success, clusters) if kind == ALL else wilson(round(sum(success)), len(success)),
                    mean(kept, clusters),
                    rate(clean, clusters) if kind == ALL else wilson(round(sum(clean)), len(clean)),
                    round(spent),
                    closer,
                    None if method is question.methods[0] else compare(first, success, clusters),
                )
            )
    return rows


def best(rows: Sequence[Row]) -> list[Row]:
    """Of each method the candidate to be declared, by its row over all edits; the rule stands in `settings`."""
    total = [row for row in rows if row.kind == ALL]
    return [
        max(
            (row for row in total if row.method == name),
            key=lambda row: (row.clean.value, row.success.value, row.kept.value),
        )
        for name in dict.fromkeys(row.method for row in total)
    ]


def to_dict(rows: Sequence[Row], **about: Any) -> dict[str, Any]:
    """Plain JSON types."""
    return {**about, "rows": [asdict(each) for each in rows]}


def _batch(
    pipe: Any, question: Question, edits: Sequence[WordedEdit], number: int, vectors: HeadVectors | None
) -> Batch:
    part = question.parts()[number]
    captions = [edit.caption for edit in edits[part]]
    return Batch(pipe, question.steps, question.ground.pictures(edits[part]), captions, part.start, vectors)


def _line(
    question: Question, batch: Batch, edits: Sequence[WordedEdit], method: Method, kind: str, number: int
) -> Line:
    after = batch.edited(method, edits)
    found = question.ground.outcomes(edits, batch.before, after.pictures)
    scores = {SUCCESS: [float(each.success) for each in found], REST: [each.kept for each in found]}
    if question.ground.scored:
        scores[CLOSER] = [float(each.closer is True) for each in found]
    return Line(*question.key(number, kind, method), scores, after.evaluations, round(after.seconds, 2))
