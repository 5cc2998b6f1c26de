"""What a photograph is to become: another prompt, which may follow the reconstruction, and its way into a text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_ebca.studio import recorded

if TYPE_CHECKING:
    from lib_ebca.language.follow import Follow


@dataclass(frozen=True)
class Becoming:
    """The prompt of the picture that is wanted, and what it takes from the reconstruction; None: nothing."""

    prompt: str
    follow: Follow | None = None

    def to_text(self) -> str:
        """JSON that `from_text` reads back."""
        from lib_ebca.language.follow import follow_to_dict

        follow = None if self.follow is None else follow_to_dict(self.follow)
        return json.dumps({"prompt": self.prompt, "follow": follow}, ensure_ascii=False)

    @classmethod
    def from_text(cls, name: str, written: str) -> Becoming:
        """Raises UserError, which calls the field by `name`."""
        from lib_ebca.language.checks import PlanError
        from lib_ebca.language.plan import Plan

        try:
            data = json.loads(written)
            follow = None if data["follow"] is None else Plan.from_dict({"follow": data["follow"]}).follow
            if not isinstance(data["prompt"], str):
                raise TypeError
        except (ValueError, TypeError, LookupError, RecursionError, PlanError):
            raise recorded.refused(name, written, "a prompt and what it follows, as `ebca edit` writes it") from None
        return cls(recorded.text(name, data["prompt"]), follow)
