"""The host's globals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class OptionInfo:
    """A setting."""

    def __init__(
        self,
        default: Any = None,
        label: str = "",
        component: Any = None,
        component_args: Any = None,
        section: Any = None,
    ) -> None:
        self.default, self.label, self.component, self.component_args = default, label, component, component_args
        self.section = section

    def info(self, text: str) -> OptionInfo:
        self.label += f" ({text})"
        return self

    def needs_reload_ui(self) -> OptionInfo:
        return self


class Options:
    """Settings as attributes; unknown ones raise."""

    def __init__(self) -> None:
        self.__dict__["data"] = {}
        self.__dict__["data_labels"] = {}

    def add_option(self, key: str, info: OptionInfo) -> None:
        self.data_labels[key] = info
        self.data.setdefault(key, info.default)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["data"][name] = value


opts = Options()
cmd_opts = SimpleNamespace(disable_nan_check=False)
state = SimpleNamespace(interrupted=False, skipped=False, sampling_step=0, sampling_steps=0)
loaded_hypernetworks: list[Any] = []
interrogator: Any = SimpleNamespace(interrogate=lambda image: "a castle")
sd_model: Any = None


def reset() -> None:
    """A freshly started host."""
    opts.data.clear()
    opts.data.update(
        batch_cond_uncond=True,
        pad_cond_uncond=False,
        pad_cond_uncond_v0=False,
        skip_early_cond=0.0,
        s_min_uncond_all=False,
        use_old_scheduling=False,
        upcast_attn=False,
        lora_functional=False,
        comma_padding_backtrack=20,
    )
    cmd_opts.disable_nan_check = False
    state.interrupted = state.skipped = False
    loaded_hypernetworks.clear()
