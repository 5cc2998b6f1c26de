"""`ebca p2p`: a picture, and others from the same noise that follow it (Prompt-to-Prompt)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lib_ebca.language.checks import shortened
from lib_ebca.studio import following, loading, pictures, request, settings
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.generate import draw
from lib_ebca.studio.sheet import captioned

from . import photo_options, progress
from .options import (
    AllowPickleOption,
    BcuOption,
    ByDateOption,
    ConceptOption,
    EditOption,
    JsonOption,
    ModelOption,
    ShowOption,
    TrustOption,
    VectorsOption,
)
from .outputs import Saved, dated
from .photo_options import (
    CfgOption,
    ClipSkipOption,
    DeviceOption,
    DtypeOption,
    LoraOption,
    NegativeOption,
    OutOption,
    QuietOption,
    SamplerOption,
    SeedOption,
    StepsOption,
)
from .terminal import say, say_json

if TYPE_CHECKING:
    from lib_ebca.language.follow import Follow

CROSS, SELF, THRESHOLD = "0.8", "0.4", 0.3
"""What a target takes from its source where nothing is said."""

CrossOption = Annotated[
    str, typer.Option("--cross", metavar="UNTIL|FROM-UNTIL", help="Share of the pass in which words follow.")
]
CrossWordOption = Annotated[
    list[str] | None,
    typer.Option("--cross-word", metavar="WORD:UNTIL", help="A word's own share, such as red:0.4. Repeatable."),
]
SelfOption = Annotated[
    str, typer.Option("--self", metavar="UNTIL|FROM-UNTIL", help="Share in which the layout's pixels follow.")
]
BlendOption = Annotated[
    list[str] | None,
    typer.Option("--blend", metavar="WORD", help="Change nothing where neither picture looks at it. Repeatable."),
]
WeightOption = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="WORD:FACTOR", help="More or less of a word, such as smiling:5. Repeatable."),
]
AlignOption = Annotated[
    str, typer.Option("--align", metavar="auto|replace|refine", help="Word by word, or around words put in.")
]


def p2p(
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE TARGET...", help="A prompt, and what it is to become.")
    ] = None,
    cross: CrossOption = CROSS,
    cross_word: CrossWordOption = None,
    self_: SelfOption = SELF,
    blend: BlendOption = None,
    threshold: Annotated[float, typer.Option(help="Of --blend: share of the strongest look.")] = THRESHOLD,
    weight: WeightOption = None,
    align: AlignOption = "auto",
    published: Annotated[
        bool, typer.Option("--published", help="Align as the published code, which shifts words after a longer one.")
    ] = False,
    concept: ConceptOption = None,
    vectors: VectorsOption = None,
    bcu: BcuOption = None,
    edit: EditOption = None,
    negative: NegativeOption = None,
    model: ModelOption = None,
    lora: LoraOption = None,
    sampler: SamplerOption = None,
    steps: StepsOption = None,
    cfg: CfgOption = None,
    width: Annotated[int | None, typer.Option(help="In pixels.  (default: the model's own)")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels.  (default: the model's own)")] = None,
    seed: SeedOption = None,
    clip_skip: ClipSkipOption = None,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    out: OutOption = Path("outputs"),
    again: Annotated[
        Path | None, typer.Option("--from", metavar="PICTURE", help="Make this picture and those beside it again.")
    ] = None,
    by_date: ByDateOption = False,
    show: ShowOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    allow_pickle: AllowPickleOption = False,
    trust_picture: TrustOption = False,
) -> None:
    """Draw a picture and change its prompt: the others keep its layout.

    The pictures are drawn side by side from the same noise. While the words follow, the target's words look where the
    source's do; while the pixels follow, shapes stay. Leaves each picture, and a sheet of all.
    """
    follow = asked_follow(cross, self_, cross_word, weight, blend, threshold, align, published)
    plan, _ = photo_options.asked_plan("p2p", None, bcu, edit, None, concept)
    recorded, made_with = (
        (None, None) if again is None else request.recorded_in(again, model, lora, trust_picture, vectors)
    )
    asked = photo_options.asked_settings(
        recorded,
        lora,
        model=model,
        negative=negative,
        sampler=sampler,
        steps=steps,
        guidance=cfg,
        width=width,
        height=height,
        dtype=dtype,
        device=device,
        clip_skip=clip_skip,
        vectors=None if vectors is None else str(vectors),
    )
    (number,) = request.seeds(seed, None, None, recorded)
    before = None
    if again is not None and recorded is not None:
        if prompts:
            raise UserError("--from repeats a picture and those beside it: leave the prompts out")
        before = following.from_text(request.parameters_in(again), recorded)
    elif len(prompts or ()) < 2:
        raise UserError("there is nothing that follows: give the source's prompt and at least one more, or --from")
    folder = pictures.output_folder(dated(out, by_date))

    loaded = loading.load(asked, allow_pickle)
    asked = settings.completed(asked, loaded)
    if before is not None:
        made = [replace(each, settings=asked, seed=number) for each in before]
    else:
        made = following.recipes(prompts or (), follow, plan, asked, number, loaded.pipe.tokenizer)
    for each in made:
        request.check_words(request.Wanted(each.prompt, each.plan), loaded.pipe.tokenizer)
    with progress.bar(f"seed {number}", quiet or as_json) as advance:
        drawn = draw(loaded, made, advance)
    paths = [
        pictures.save_numbered(image, folder, number, following.to_text(made, place, loaded.source))
        for place, image in enumerate(drawn.images)
    ]
    for place, (each, path) in enumerate(zip(made, paths, strict=True)):
        # What is to be said of all is said once, with the first.
        shared = (*photo_options.notes(made_with, loaded, each.prompt), *drawn.run.comments) if place == 0 else ()
        Saved(each, path, drawn.seconds / len(made), (*shared, *drawn.subjects_told(place))).tell(as_json, quiet, show)
    labelled = [(each.prompt, image) for each, image in zip(made, drawn.images, strict=True)]
    sheet = pictures.beside(paths[0], "p2p")
    pictures.write_new(sheet, pictures.png(captioned(f"seed {number}", labelled, cell=256)))
    if as_json:
        say_json({"sheet": str(sheet)})
    elif not quiet:
        say(str(sheet))


def asked_follow(
    cross: str,
    self_: str,
    words: Sequence[str] | None = None,
    weights: Sequence[str] | None = None,
    blend: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
    align: str = "auto",
    published: bool = False,
) -> Follow:
    """What the options ask for. Raises UserError, naming the option, and PlanError."""
    from lib_ebca.language.follow import Follow

    return Follow(
        0,
        cross=_span("--cross", cross),
        self_=_span("--self", self_),
        words=tuple((word, _span(f"--cross-word {word}", span)) for word, span in _pairs("--cross-word", words)),
        weights=tuple((word, _real(f"--weight {word}", value)) for word, value in _pairs("--weight", weights)),
        blend=tuple(blend or ()),
        threshold=threshold,
        align=align,
        published=published,
    )


def _pairs(option: str, values: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs = []
    for value in values or ():
        word, colon, number = value.rpartition(":")
        if not colon or not word.strip() or not number.strip():
            raise UserError(f"{option} {value!r}: it should be WORD:NUMBER, such as red:0.4")
        pairs.append((word, number))
    return pairs


def _span(option: str, value: str) -> tuple[float, float]:
    start, dash, until = value.partition("-")
    if not dash or not start:
        start, until = "0", value
    span = _real(option, start), _real(option, until)
    if not 0.0 <= span[0] <= span[1] <= 1.0:
        raise UserError(
            f"{option} is {shortened(value)!r}: it should be a share of the pass from 0 to 1, or two such as 0.1-0.8"
        )
    return span


def _real(option: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(f"{option} is {shortened(value)!r}: it should be a number") from None
