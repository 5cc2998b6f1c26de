"""What happens when, between the host's hooks: read what is wanted, encode it, let one sampling pass be conducted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from PIL import Image
from torch import Tensor

from lib_ebca.attention.record import Recorder
from lib_ebca.language import words
from lib_ebca.webui import axes, infotext, photo, settings, tokens
from lib_ebca.webui.account import EBCA
from lib_ebca.webui.encode import Encoder, Part, second_steps, subprompts
from lib_ebca.webui.form import Form
from lib_ebca.webui.intent import Intent, intents
from lib_ebca.webui.records import pictures
from lib_ebca.webui.sampling import Pass, prepare
from lib_ebca.webui.served import unserved

_BATCH = "ebca_batch"
_RECORDS = "ebca_records"
_HIRES_PROMPTS = "ebca_hires_prompts"


@dataclass(frozen=True)
class Batch:
    """What is wanted of the pictures of one batch: in the first pass, and in the hires pass where there is one."""

    form: Form
    first: tuple[Intent, ...]
    hires: tuple[Intent, ...] | None


class Lifecycle:
    """The hooks of one tab's script. Nothing is remembered between jobs but encoded prompts."""

    def __init__(self) -> None:
        self._encoder = Encoder()

    def process(self, p: Any, args: Sequence[Any]) -> None:
        """A job begins: all its prompts are known. Faults stop it before the first picture."""
        setattr(p, _BATCH, None)
        setattr(p, _RECORDS, [])
        try:
            form = axes.chosen(p, Form.from_args(args))
            directives = settings.directives_act()
            passes_through = unserved(p.sd_model) is not None
            editing = photo.asked(p, form) and not passes_through
            if editing:
                photo.set_up(p)
            wanted = intents(form, p.all_prompts, p.all_negative_prompts, directives=directives)
            hires = _all_hires(p, form)
        except ValueError as error:
            _refuse(p, "init", error)
            return
        active = any(each.plan.active for each in (*wanted, *(hires or ()))) and not passes_through
        infotext.write(p.extra_generation_params, form, directives, active, editing)
        if form.enabled and form.photo and not (editing or passes_through or hasattr(p, "_ad_inner")):
            p.comment('"Edit this picture" did nothing: it is for img2img.')
        told = any(each.text != prompt for each, prompt in zip(wanted, p.all_prompts, strict=True))
        if told and not form.enabled and not directives:
            p.comment("EBCA is off: the directives in the prompt did nothing (see Settings, EBCA).")

    def before_process_batch(self, p: Any, args: Sequence[Any], prompts: list[str]) -> None:
        """A batch begins: its prompts are final. Directives leave them before the host looks for its own tags."""
        setattr(p, _BATCH, None)
        try:
            form = axes.chosen(p, Form.from_args(args))
            first = intents(form, prompts, p.negative_prompts, directives=settings.directives_act())
            hires = _all_hires(p, form)
        except ValueError as error:
            _refuse(p, "parse_extra_network_prompts", error)
            return
        prompts[:] = [each.text for each in first]
        if hires is not None:
            start = p.iteration * p.batch_size
            setattr(p, _HIRES_PROMPTS, p.all_hr_prompts)
            p.all_hr_prompts = [each.text for each in hires]
            hires = hires[start : start + p.batch_size]
        setattr(p, _BATCH, Batch(form, first, hires))

    def process_batch(self, p: Any) -> None:
        """The host has read the batch's prompts; what it writes into pictures is the prompt as it was given."""
        given = vars(p).pop(_HIRES_PROMPTS, None)
        if given is not None:
            p.all_hr_prompts = given

    def process_before_every_sampling(self, p: Any) -> None:
        """A sampling pass is about to begin: text encoders and networks are as it needs them."""
        batch: Batch | None = getattr(p, _BATCH, None)
        hires = bool(getattr(p, "is_hr_pass", False))
        wanted = None if batch is None else (batch.hires if hires else batch.first)
        if batch is None or not wanted or not _acts(p, batch.form, wanted):
            prepare(p.sampler, None)
            return
        reason = unserved(p.sd_model)
        if reason is not None:
            p.comment(reason)
            prepare(p.sampler, None)
            return
        try:
            prompts = p.hr_prompts if hires else p.prompts
            prepare(p.sampler, self._planned(p, batch.form, wanted, prompts, hires))
        except Exception as error:
            # The host would print it and go on without us; what was asked for and cannot be done stops the job.
            prepare(p.sampler, EBCA(str(error)) if isinstance(error, ValueError) else error)

    def postprocess(self, p: Any, processed: Any) -> None:
        """The job is done: what was recorded goes into the gallery after the pictures."""
        for picture in getattr(p, _RECORDS, []):
            processed.images.append(picture)
            processed.infotexts.append(processed.infotexts[-1] if processed.infotexts else "")
        setattr(p, _RECORDS, [])

    def _planned(self, p: Any, form: Form, wanted: Sequence[Intent], prompts: Sequence[str], hires: bool) -> Pass:
        parts = self._encoder.parts(p, wanted, prompts, hires)
        recorder = Recorder(form.energies, form.maps) if form.records else None

        def finished() -> None:
            if recorder is not None:
                drawn: list[Image.Image] = pictures(recorder, _words(p, parts, prompts, hires))
                setattr(p, _RECORDS, [*getattr(p, _RECORDS, []), *drawn])

        start = photo.Photo(form.inversion, p.seeds) if photo.asked(p, form) else None
        name = "Hires pass: " if hires else ""
        return Pass(parts, p.comment, _mask(p), recorder, finished, start, name)


def _acts(p: Any, form: Form, wanted: Sequence[Intent]) -> bool:
    return any(each.plan.active for each in wanted) or (form.enabled and form.records) or photo.asked(p, form)


def _mask(p: Any) -> Tensor | None:
    """(H, W), where the job's picture is painted anew: channels are alike, and Neo has a batch's axis before them."""
    mask: Tensor | None = getattr(p, "nmask", None)
    return None if mask is None else mask.flatten(0, -3)[0]


def _all_hires(p: Any, form: Form) -> tuple[Intent, ...] | None:
    if not getattr(p, "enable_hr", False):
        return None
    negatives = p.all_hr_negative_prompts
    return intents(form, p.all_hr_prompts, negatives, hires=True, directives=settings.directives_act())


def _refuse(p: Any, method: str, error: Exception) -> None:
    """Let the host's next call of a method of this job fail: errors raised inside a hook are only printed."""

    def fail(*_: Any, **__: Any) -> NoReturn:
        vars(p).pop(method, None)
        raise EBCA(str(error)) from error

    setattr(p, method, fail)


def _words(
    p: Any, parts: Sequence[Part], prompts: Sequence[str], hires: bool
) -> list[list[tuple[str, tuple[int, ...]]]]:
    """The content words of every part's prompt at its first stage, with their rows."""
    encoder = tokens.text_encoder(p.sd_model)
    if encoder is None:
        return [[] for _ in parts]
    second = second_steps(p, hires)
    texts = [stages[0][1] for prompt in prompts for stages in subprompts(prompt, p.firstpass_steps, second)]
    return [content_words(encoder, text) for text in texts]


def content_words(encoder: Any, text: str) -> list[tuple[str, tuple[int, ...]]]:
    """The words of a text that mean something, with their rows of the context."""
    read = tokens.tokenised(encoder, text)
    tokenizer = tokens.tokenizer_of(encoder)
    try:
        content = set(words.rows(read, "*", None, tokenizer))
    except words.WordError:
        return []
    spelled = words.words(read, tokenizer)
    rows: dict[int, list[int]] = {}
    for row, token in enumerate(read.tokens):
        if token.word is not None and row in content:
            rows.setdefault(token.word, []).append(row)
    return [(spelled[word], tuple(found)) for word, found in rows.items()]
