"""What is done to a photograph, besides the recipe: its way into the picture's text and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lib_ebca.studio import infotext, recipe, recorded
from lib_ebca.studio.becoming import Becoming
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.infotext import Infotext
from lib_ebca.studio.recipe import OURS, Recipe, Source

KINDS = ("edit", "img2img", "inpaint", "repaint")
INVERSIONS = ("fixed-point", "published")
_BECOMING = f"{OURS} becoming"
STRENGTH = "Denoising strength"  # the WebUI's name


@dataclass(frozen=True)
class Inverting:
    """How a photograph is inverted: `iterations` and `tolerance` are of "fixed-point", the others of "published"."""

    method: str = "fixed-point"
    iterations: int = 10
    tolerance: float = 1e-4
    rounds: int = 5
    rolls: int = 5
    auto_correlation: float = 20.0
    kl: float = 20.0

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that the method reads."""
        if self.method == "published":
            names: tuple[str, ...] = ("rounds", "rolls", "auto_correlation", "kl")
        else:
            names = ("iterations", "tolerance")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Task:
    """What is done to a photograph.

    `photo` and `mask` are the hashes of their pixels, `box` the part that cropping left. `strength` belongs to img2img
    and inpaint, `jumps` (length and count) to repaint, `inverting` to edit, and `becoming` too: the prompt that the
    photograph is sampled again under, and what it follows the reconstruction in, as JSON.
    """

    kind: str
    photo: str
    fit: str = "resize"
    box: tuple[int, int, int, int] | None = None
    mask: str | None = None
    strength: float | None = None
    inverting: Inverting | None = None
    jumps: tuple[int, int] | None = None
    paste_back: bool | None = None
    feather: float = 0.0
    becoming: Becoming | None = None

    def fields(self) -> dict[str, str]:
        """The fields of the "parameters" text."""
        fields = {f"{OURS} task": self.kind, f"{OURS} photo": self.photo, f"{OURS} fit": self.fit}
        if self.box is not None:
            fields[f"{OURS} box"] = " ".join(map(str, self.box))
        if self.mask is not None:
            fields[f"{OURS} mask"] = self.mask
        if self.strength is not None:
            fields[STRENGTH] = repr(self.strength)
        if self.inverting is not None:
            numbers = " ".join(f"{name}={value!r}" for name, value in self.inverting.numbers.items())
            fields[f"{OURS} inversion"] = f"{self.inverting.method} {numbers}"
        if self.jumps is not None:
            fields[f"{OURS} jumps"] = f"{self.jumps[0]}x{self.jumps[1]}"
        if self.paste_back is not None:
            fields[f"{OURS} paste-back"] = str(self.paste_back)
        if self.feather:
            fields[f"{OURS} feather"] = repr(self.feather)
        if self.becoming is not None:
            fields[_BECOMING] = self.becoming.to_text()
        return fields


def to_text(made: Recipe, source: Source, task: Task) -> str:
    """The "parameters" text of a picture made from a photograph."""
    info = infotext.read(recipe.to_text(made, source))
    version = {"Version": info.fields["Version"]}
    fields = {name: value for name, value in info.fields.items() if name not in version}
    return infotext.write(Infotext(info.prompt, info.negative, {**fields, **task.fields(), **version}))


def refuse_other(text: str, command: str) -> None:
    """Raise UserError where a "parameters" text is of another task than `command`'s, which could not repeat it."""
    kind = infotext.read(text).fields.get(f"{OURS} task", "txt2img")
    if command != {"repaint": "inpaint"}.get(kind, kind):
        raise UserError(f"the picture was not made by `ebca {command}` but by {kind!r}: --from repeats the same task")


def from_text(text: str, command: str) -> Task:
    """The task in a "parameters" text. Raises UserError where it holds none that `command` could repeat."""
    refuse_other(text, command)
    fields = infotext.read(text).fields
    kind = fields.get(f"{OURS} task", "")
    get = fields.get
    for name in (f"{OURS} photo", f"{OURS} fit"):
        if name not in fields:
            raise UserError(f"the picture's text cannot be repeated: its field {name} is missing")
    strength, jumps = get(STRENGTH), get(f"{OURS} jumps")
    paste_back = get(f"{OURS} paste-back")
    return Task(
        kind=kind,
        photo=fields[f"{OURS} photo"],
        fit=fields[f"{OURS} fit"],
        box=_box(get(f"{OURS} box")),
        mask=get(f"{OURS} mask"),
        strength=None if strength is None else recorded.real(STRENGTH, strength),
        inverting=_inverting(fields),
        jumps=None if jumps is None else recorded.pair(f"{OURS} jumps", jumps, "x", "LENGTHxCOUNT, such as 10x10"),
        paste_back=None if paste_back is None else paste_back == "True",
        feather=recorded.real(f"{OURS} feather", get(f"{OURS} feather", "0")),
        becoming=None if _BECOMING not in fields else Becoming.from_text(_BECOMING, fields[_BECOMING]),
    )


def _box(written: str | None) -> tuple[int, int, int, int] | None:
    if written is None:
        return None
    name, expected = f"{OURS} box", "LEFT UPPER RIGHT LOWER, four whole numbers"
    numbers = [recorded.whole(name, part, expected) for part in written.split()]
    if len(numbers) != 4:
        raise recorded.refused(name, written, expected)
    left, upper, right, lower = numbers
    if not (0 <= left < right and 0 <= upper < lower):
        raise recorded.refused(name, written, expected)
    return left, upper, right, lower


def _inverting(fields: Mapping[str, str]) -> Inverting | None:
    field = f"{OURS} inversion"
    written = fields.get(field)
    if written is None:
        return None
    method, *numbers = written.split() or [""]
    default = replace(Inverting(), method=method)
    if method not in INVERSIONS:
        raise recorded.refused(field, written, f"one of {', '.join(INVERSIONS)} and its numbers")
    values: dict[str, Any] = {}
    for number in numbers:
        name, _, value = number.partition("=")
        if name not in default.numbers:
            raise recorded.refused(field, written, f"{method} and {', '.join(default.numbers)}")
        values[name] = (recorded.whole if isinstance(default.numbers[name], int) else recorded.real)(field, value)
    return replace(default, **values)
