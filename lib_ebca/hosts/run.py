"""What a block on a diffusers pipeline leaves to read, and the error of what it cannot serve."""

from __future__ import annotations

from dataclasses import dataclass, field

from lib_ebca.attention.excite_record import ExciteRecord
from lib_ebca.attention.record import AttentionMaps, EnergyRecord, Recorder
from lib_ebca.language.words import TokenisedPrompt


class HostError(ValueError):
    """The pipeline, or the way it is called, does not allow what was asked; one sentence says what would."""


@dataclass
class Run:
    """What an :func:`energy_attention` block did, readable during and after it.

    Attributes:
        comments: sentences for the user: what could not be served, and why.
        tokenised: the prompts of the last call, one for each picture.
        excited: what was done for the subjects of the last pass, picture by picture and step by step.
        recorder: energies and maps of the last pass, if they were asked for.
    """

    comments: list[str] = field(default_factory=list)
    tokenised: tuple[TokenisedPrompt, ...] = ()
    excited: list[ExciteRecord] = field(default_factory=list)
    recorder: Recorder | None = None

    @property
    def energies(self) -> list[EnergyRecord]:
        """The energies of the last pass, in the order in which the layers ran."""
        return [] if self.recorder is None else self.recorder.energies

    @property
    def maps(self) -> AttentionMaps:
        """The attention maps of the last pass."""
        return AttentionMaps() if self.recorder is None else self.recorder.maps

    def tell(self, sentence: str) -> None:
        """Add a comment, once."""
        if sentence not in self.comments:
            self.comments.append(sentence)
