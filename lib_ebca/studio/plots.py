"""What was recorded, as pictures: where each word acts, and how the energies run."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lib_ebca.attention.record import EnergyRecord

_HEAT, _HEAT_SHARE = "inferno", 0.6
_PANEL = (2.8, 2.0)  # inches


def heat(picture: Image, heat_map: Tensor) -> Image:
    """The picture under the map's heat, from black for the map's own least value to yellow for its largest.

    `heat_map` is (h, w) in [0, 1] at any resolution; it is enlarged to the picture.
    """
    import numpy
    from matplotlib import colormaps
    from PIL import Image

    values = heat_map.detach().float().cpu().numpy()
    values = (values - values.min()) / max(float(values.max() - values.min()), 1e-12)
    grey = Image.fromarray(numpy.uint8(values * 255)).resize(picture.size, Image.Resampling.BICUBIC)
    colours = colormaps[_HEAT](numpy.asarray(grey))[..., :3]
    return Image.blend(picture.convert("RGB"), Image.fromarray(numpy.uint8(colours * 255)), _HEAT_SHARE)


def energies(runs: Mapping[str, Sequence[EnergyRecord]], picture: int, title: str) -> bytes:
    """A PNG of the posterior energy of the context, E(K; Q) + E(K), over the evaluations: a panel per layer.

    `runs` are the records of passes of the same model by their label; `picture` is the place in their batch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers = {record.layer: record.name for records in runs.values() for record in records}
    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    figure = Figure(figsize=(columns * _PANEL[0], rows * _PANEL[1] + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(layers) :]:
        axes.set_visible(False)
    for axes, (layer, name) in zip(grid.flat, sorted(layers.items()), strict=False):
        for (label, records), style in zip(runs.items(), ("-", "--"), strict=False):
            seen = [record for record in records if record.layer == layer]
            posterior = [record.conditional[picture] + record.prior[picture] for record in seen]
            axes.plot([record.step for record in seen], posterior, style, label=label, linewidth=1.2)
        axes.set_title(f"{layer + 1}: {_short(name)}", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=10)
    figure.supxlabel("evaluation of the UNet", fontsize=9)
    figure.supylabel("energy of the context, E(K; Q) + E(K)", fontsize=9)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower right", fontsize=8, ncols=len(runs))
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    return data.getvalue()


def _short(name: str) -> str:
    """A layer's name without what every one of them has: down_blocks.1.attentions.0.(...).attn2."""
    parts = [part for part in name.split(".") if part not in {"transformer_blocks", "attn2"}]
    return ".".join(parts).replace("_blocks", "").replace("_block", "").replace("attentions.", "")
