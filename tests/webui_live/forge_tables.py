"""Tells a copy of Forge the shapes of the small checkpoints: ``python -m tests.webui_live.forge_tables FORGE``.

Forge knows a checkpoint by its widths and takes everything else of it from tables. Those of SD 1, SDXL and CLIP's ViT-H
are given the widths of :mod:`tests.webui_live.checkpoints` and :mod:`tests.webui_live.companions`; the copy then loads
these and no others of these kinds. Its folder ``repositories/huggingface_guess`` must be there.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from tests.tiny_text import text_encoder, tokenizer
from tests.webui_live.checkpoints import WIDTH, small_vae, vocabulary
from tests.webui_live.companions import SIZES, VISION_SIZES

TABLES = "repositories/huggingface_guess/huggingface_guess/model_list.py"
SHAPES: dict[str, dict[str, int]] = {
    "SD15": {"context_dim": WIDTH, "model_channels": 32},
    "SDXL": {"context_dim": 2 * WIDTH, "model_channels": 32, "adm_in_channels": WIDTH + SIZES * 256},
}
SD1, SDXL = "runwayml/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"


def told(text: str, head: str, values: dict[str, Any]) -> str:
    """A Python file's text in which the first dictionary entries after ``head`` have other values."""
    before, found, after = text.partition(head)
    if not found:
        raise ValueError(f"the copy has no {head!r}: another version of Forge?")
    for name, value in values.items():
        after, count = re.subn(rf'("{name}": )[\d.]+', rf"\g<1>{value}", after, count=1)
        if not count:
            raise ValueError(f"the copy's {head!r} has no {name!r}: another version of Forge?")
    return before + found + after


def tell(forge: Path) -> None:
    """Write the tables. Raises ValueError if a copy has none such."""
    path = forge / TABLES
    text = path.read_text(encoding="utf-8")
    for name, values in SHAPES.items():
        text = told(text, f"class {name}(BASE):", values)
    path.write_text(text, encoding="utf-8")
    path = forge / "backend/patcher/clipvision.py"
    path.write_text(told(path.read_text(encoding="utf-8"), "CLIP_VISION_H = {", VISION_SIZES), encoding="utf-8")
    tokens = tokenizer()
    first = text_encoder(tokens, 0, hidden=WIDTH).config
    second = text_encoder(tokens, 0, projection=True, hidden=WIDTH, projection_dim=WIDTH, hidden_act="gelu").config
    vae = {name: small_vae().config[name] for name in ("block_out_channels", "layers_per_block")}
    for model, encoders in ((SD1, (first,)), (SDXL, (first, second))):
        folder = forge / "backend/huggingface" / model
        for number, config in enumerate(encoders):
            suffix = f"_{number + 1}" if number else ""
            _described(folder / f"text_encoder{suffix}", config.to_dict())
            vocabulary(folder / f"tokenizer{suffix}")
        kept = json.loads((folder / "vae/config.json").read_text(encoding="utf-8"))
        _described(folder / "vae", {name: vae.get(name, value) for name, value in kept.items()})


def _described(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.webui_live.forge_tables", description=__doc__)
    parser.add_argument("folder", type=Path, help="a copy of Forge")
    tell(parser.parse_args().folder)


if __name__ == "__main__":
    main()
