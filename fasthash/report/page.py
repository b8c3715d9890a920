# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor

from fasthash.files import atomic_write
from fasthash.report import figures
from fasthash.report.content import Example, Hit, Method, Report

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --card: #f8fafc; --text: #1f2937; --soft: #6b7280;
  --line: #e5e7eb; --accent: #2563eb; --right: #15803d; --wrong: #dc2626; }
@media (prefers-color-scheme: dark) { :root { --page: #0f172a; --card: #1e293b; --text: #e5e7eb; --soft: #9ca3af;
  --line: #334155; --accent: #60a5fa; --right: #4ade80; --wrong: #f87171; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; }
p { margin: .3rem 0 .9rem; max-width: 46rem; } .soft { color: var(--soft); font-size: .92rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .8rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { color: var(--soft); font-weight: 600; font-size: .9rem; }
tr.own td { font-weight: 650; } tr.own td:first-child { color: var(--accent); }
.wide { overflow-x: auto; }
.row { display: flex; align-items: center; gap: .5rem; padding: .35rem 0; min-width: 44rem; }
.row .to { flex: 0 0 1.6rem; text-align: center; color: var(--soft); }
figure.tile { margin: 0; flex: 1 1 3.3rem; text-align: center; font-size: .74rem; line-height: 1.3;
  color: var(--soft); }
figure.tile img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  border-radius: .3rem; padding: 2px;  border: 2px solid var(--line); background: #000; }
.pixelated { image-rendering: pixelated; }
figure.right img { border-color: var(--right); } figure.wrong img { border-color: var(--wrong); border-style: dashed; }
.wrong figcaption { color: var(--wrong); font-weight: 700; }
.query figcaption { color: var(--text); font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); gap: 1.2rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; padding: 1rem 1.1rem; }
.card h3 { margin: 0 0 .2rem; font-size: 1rem; }
.card img { width: 100%; height: auto; display: block; margin-top: .4rem; }
dl { margin: .6rem 0 0; display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""


def write_report(report: Report, path: Path) -> None:
    """Writes the page: one HTML file with every picture inside, for light and dark screens.

    Raises:
        OSError: the file cannot be written; an older one survives.
    """
    with atomic_write(path) as file:
        file.write(render(report).encode())


def render(report: Report) -> str:
    """The page as text."""
    body = "\n".join(
        [
            f"<h1>{escape(report.title)}</h1>",
            f"<p>{escape(report.summary)}</p>",
            _scores(report.methods),
            "<h2>Queries and their nearest images</h2>",
            '<p class="soft">Left the query, then the nearest images of the database, with class and Hamming distance. '
            "Right ones have a full green frame, wrong ones a dashed red frame and a cross. One query of each class, "
            "then those with most wrong images.</p>",
            '<div class="wide">',
            *(_row(example) for example in report.examples),
            "</div>",
            "<h2>Behind it</h2>",
            '<div class="charts">',
            *_charts(report),
            _facts(report.facts),
            "</div>",
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _scores(methods: list[Method]) -> str:
    heads = ("codes", "mAP", "precision@10", "precision within radius 2", "queries per second")
    rows = []
    for number, method in enumerate(methods):
        cells = (
            escape(method.name),
            f"{method.scores.mean_average_precision:.4f}",
            f"{method.scores.precision_at_10:.4f}",
            f"{method.scores.precision_within_radius_2:.4f}",
            f"{method.queries_per_second:,.0f}",
        )
        own = ' class="own"' if number == 0 else ""
        rows.append(f"<tr{own}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(example: Example) -> str:
    query = (
        f'<figure class="tile query">{_image(example.pixels)}<figcaption>{escape(example.label)}</figcaption></figure>'
    )
    return f'<div class="row">{query}<span class="to">→</span>{"".join(_hit(hit) for hit in example.hits)}</div>'


def _hit(hit: Hit) -> str:
    mark, kind = ("", "right") if hit.right else ("✗ ", "wrong")
    caption = f"{mark}{escape(hit.label)} · {hit.distance}"
    return f'<figure class="tile {kind}">{_image(hit.pixels)}<figcaption>{caption}</figcaption></figure>'


def _image(pixels: Tensor) -> str:
    array = pixels.permute(1, 2, 0).numpy()
    buffer = BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(buffer, "PNG", optimize=True)
    shown = ' class="pixelated"' if max(array.shape[:2]) < 48 else ""
    return f'<img{shown} alt="" src="{_data_uri(buffer.getvalue(), "image/png")}">'


def _charts(report: Report) -> list[str]:
    charts = [
        _chart(
            "Precision over recall",
            "All queries, the whole ranking; items at one distance count together.",
            figures.draw_precision_recall(report.methods),
        ),
        _chart(
            "Balance of the bits",
            "Share of database images in which a bit is 1: at the dashed half a bit says most.",
            figures.draw_balance(report.share_of_ones),
        ),
    ]
    if report.records:
        loss = figures.draw_loss(report.records)
        caption = f"Triplet loss and quantization penalty at each step, with a running mean of {figures.WINDOW} steps."
        charts.insert(1, _chart("Training", caption, loss))
    return charts


def _chart(title: str, caption: str, draw: figures.Draw) -> str:
    dark, light = (_data_uri(figures.svg(draw, theme), "image/svg+xml") for theme in (figures.DARK, figures.LIGHT))
    return (
        f'<div class="card"><h3>{escape(title)}</h3><div class="soft">{escape(caption)}</div><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{dark}"><img alt="{escape(title)}" src="{light}">'
        "</picture></div>"
    )


def _facts(facts: list[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f'<div class="card"><h3>Facts</h3><dl>{rows}</dl></div>'


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
