# SPDX-License-Identifier: Apache-2.0
"""The report's charts, drawn with matplotlib for a light and for a dark page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fasthash.files import atomic_write
from fasthash.report.content import Example, Method, Report
from fasthash.training.log import Record


@dataclass(frozen=True)
class Theme:
    """Colours of one page: text, faint lines, one colour for each method, right and wrong."""

    text: str
    faint: str
    series: tuple[str, ...]
    right: str
    wrong: str


LIGHT = Theme("#1f2937", "#d1d5db", ("#2563eb", "#b45309", "#6b7280"), "#15803d", "#dc2626")
DARK = Theme("#e5e7eb", "#374151", ("#60a5fa", "#fbbf24", "#9ca3af"), "#4ade80", "#f87171")
WINDOW = 15  # steps in the running mean of the loss
_STYLES = ("-", "--", ":")
_RC: dict[Any, Any] = {
    "svg.hashsalt": "fasthash",
    "svg.fonttype": "path",
    "font.size": 10.0,
    "font.family": "DejaVu Sans",
}

Draw = Callable[[Axes, Theme], None]


def svg(draw: Draw, theme: Theme, size: tuple[float, float] = (6.0, 3.6)) -> bytes:
    """One chart as SVG on a transparent ground; the same input gives the same bytes."""
    with rc_context(_RC):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        _dress(axes, theme)
        draw(axes, theme)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def draw_precision_recall(methods: Sequence[Method]) -> Draw:
    """Precision over recall, one line for each method."""

    def draw(axes: Axes, theme: Theme) -> None:
        for number, method in enumerate(methods):
            width = 2.4 if number == 0 else 1.6
            colour, style = theme.series[number % 3], _STYLES[number % 3]
            label = f"{method.name} (mAP {method.scores.mean_average_precision:.3f})"
            recall, precision = method.scores.recall, method.scores.precision
            # Inside the first radius the order is random, so precision is the same all the way.
            axes.plot([0.0, *recall], [*precision[:1], *precision], style, color=colour, lw=width, label=label)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.03))
        axes.legend(loc="lower left", frameon=False, labelcolor=theme.text, fontsize=9)

    return draw


def draw_loss(records: Sequence[Record]) -> Draw:
    """The loss over the steps on a logarithmic scale: each step faintly, and a running mean."""

    def draw(axes: Axes, theme: Theme) -> None:
        steps = np.array([record["step"] for record in records])
        for number, (key, label) in enumerate((("term", "loss of the codes"), ("penalty", "quantization penalty"))):
            values = np.maximum([record[key] for record in records], 1e-4)
            axes.plot(steps, values, color=theme.series[number], lw=0.6, alpha=0.3)
            mean = _running_mean(values, WINDOW)
            axes.plot(steps, mean, _STYLES[number], color=theme.series[number], lw=2, label=label)
        axes.set(xlabel="step", ylabel="loss", yscale="log", xlim=(0, steps[-1]))
        axes.legend(loc="upper right", frameon=False, labelcolor=theme.text, fontsize=9)

    return draw


def draw_balance(share_of_ones: Tensor) -> Draw:
    """For each bit the share of images in which it is 1; a half is best."""

    def draw(axes: Axes, theme: Theme) -> None:
        shares = share_of_ones.numpy()
        axes.bar(np.arange(len(shares)), shares, width=0.8, color=theme.series[0])
        axes.axhline(0.5, color=theme.text, lw=1, ls="--")
        axes.set(xlabel="bit", ylabel="share of ones", xlim=(-0.7, len(shares) - 0.3), ylim=(0, 1))

    return draw


def save_picture(report: Report, path: Path) -> None:
    """A PNG for a README: queries with their nearest images, beside the charts of the page."""
    charts = (
        ("curve", "precision over recall", draw_precision_recall(report.methods)),
        ("loss", "training", draw_loss(report.records)),
        ("bits", "balance of the bits", draw_balance(report.share_of_ones)),
    )
    with rc_context(_RC | {"font.size": 9.0}):
        figure = Figure(figsize=(12, 5.4), layout="constrained", facecolor="white")
        parts = figure.subplot_mosaic([["found", "curve", "curve"], ["found", "loss", "bits"]], width_ratios=(2, 1, 1))
        _draw_examples(parts["found"], _for_picture(report.examples), LIGHT)
        for name, title, draw in charts:
            _dress(parts[name], LIGHT)
            draw(parts[name], LIGHT)
            parts[name].set_title(title, fontsize=11, color=LIGHT.text)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=140)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def _for_picture(examples: Sequence[Example]) -> list[Example]:
    """Ten rows, the last one among them, which has most to tell about errors."""
    return [*examples[:9], *examples[-1:]] if len(examples) > 10 else list(examples)


def _draw_examples(axes: Axes, examples: Sequence[Example], theme: Theme) -> None:
    """A row for each query: the query, a gap, what was found, framed by right or wrong."""
    gap = 0.6
    for row, example in enumerate(examples):
        _tile(axes, example.pixels, 0.0, row, theme.text)
        for rank, hit in enumerate(example.hits):
            _tile(axes, hit.pixels, 1 + gap + rank, row, theme.right if hit.right else theme.wrong)
    columns = max(len(example.hits) for example in examples)
    axes.set(xlim=(-0.1, 1 + gap + columns), ylim=(len(examples), -0.1), aspect="equal")
    axes.axis("off")
    axes.set_title("query, and its nearest images by Hamming distance", fontsize=11, color=theme.text)


def _tile(axes: Axes, pixels: Tensor, left: float, top: float, colour: str) -> None:
    image = pixels.permute(1, 2, 0).numpy()
    extent = (left + 0.06, left + 0.94, top + 0.94, top + 0.06)
    shown = image[:, :, 0] if image.shape[2] == 1 else image
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest", aspect="auto")
    axes.add_patch(Rectangle((left + 0.06, top + 0.06), 0.88, 0.88, fill=False, ec=colour, lw=1.8))


def _dress(axes: Axes, theme: Theme) -> None:
    """Text and lines in the theme's colours, no box, faint grid."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.faint)
    axes.tick_params(colors=theme.text, which="both")
    axes.xaxis.label.set_color(theme.text)
    axes.yaxis.label.set_color(theme.text)
    axes.grid(True, color=theme.faint, lw=0.6, alpha=0.6)
    axes.set_axisbelow(True)


def _running_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """The mean of the last ``window`` values at each place, of fewer at the start."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(0, last - window)
    return np.asarray((sums[last] - sums[first]) / (last - first))
