# SPDX-License-Identifier: Apache-2.0
"""Result files: one JSON per machine.

format      "fasthash benchmark results 1"
machine     name, cpu, cores, variant, gpu, ...
date, commit, versions
settings    rounds, threads, quick, seconds the run took
limits      [{name, threads, bytes | bits, per_second}]
rows        [{op, case, library, threads, unit, bytes, work, limit, headline, median, iqr, min, medians, calls,
              share, agrees}]: seconds per call. `medians` are those of the rounds, `median` is theirs; `iqr` is the
              median of the rounds' spreads. `share` is the part of the limit that is reached. `agrees` says
              whether the output is that of fasthash. On a GPU: threads 0, and `wall`, seconds per call in a row.
missing     [{op, library, reason}]: what was not measured
stages      [{name, outcome, seconds, status, tail}]: what bench/gpu.sh went through
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

FORMAT = "fasthash benchmark results 1"
FOLDER = Path(__file__).resolve().parent / "results"

Row = dict[str, Any]
_SAME_IN_ALL_ROUNDS = ("op", "case", "library", "threads", "unit", "bytes", "work", "limit", "headline")


def key(row: Row) -> tuple[str, str, int]:
    """Rows of one key are the same work by different libraries."""
    return row["op"], json.dumps(row["case"]), row["threads"]


def rows_of(measurements: list[Row], measured_limits: Sequence[Row]) -> list[Row]:
    """Joins the rounds of each library and case: measurements have `median`, `iqr`, `min`, `calls`, `check`."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for measurement in measurements:
        groups[(*key(measurement), measurement["library"])].append(measurement)
    expected = {key(m): m["check"] for m in measurements if m["library"] == "fasthash"}
    rows = []
    for group in groups.values():
        row = _joined(group)
        row["share"] = share(measured_limits, row)
        row["agrees"] = _agrees(group, expected.get(key(row)))
        rows.append(row)
    return rows


def _joined(group: list[Row]) -> Row:
    medians = [m["median"] for m in group]
    row = {name: group[0][name] for name in _SAME_IN_ALL_ROUNDS}
    row["median"] = median(medians)
    row["iqr"] = median(m["iqr"] for m in group)
    row["min"] = min(m["min"] for m in group)
    row["medians"] = [_short(value) for value in medians]
    row["calls"] = sum(m["calls"] for m in group)
    if "wall" in group[0]:
        row["wall"] = median(m["wall"] for m in group)
    return row


def _agrees(group: list[Row], expected: float | None) -> bool | None:
    """None where there is nothing to compare with."""
    if expected is None:
        return None
    return all(abs(m["check"] - expected) <= m["tolerance"] * abs(expected) for m in group)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def rate(limits: Sequence[Row], row: Row) -> float | None:
    """Bytes or comparisons per second that bind a row; None where nothing fitting was measured.

    Of a bandwidth, the size nearest to what the row moves is taken: a small case is measured against the cache.
    """
    same = [limit for limit in limits if limit["name"] == row["limit"] and limit["threads"] == row["threads"]]
    if row["limit"] == "scan":
        return next((limit["per_second"] for limit in same if limit["bits"] == row["case"].get("bits")), None)
    nearest = min(same, key=lambda limit: abs(limit["bytes"].bit_length() - row["bytes"].bit_length()), default=None)
    return nearest and nearest["per_second"]


def share(limits: Sequence[Row], row: Row) -> float | None:
    """What part of the binding limit a row reaches, 1 being all of it."""
    possible = rate(limits, row) if row["limit"] else None
    done = row["work"] if row["limit"] == "scan" else row["bytes"]
    return None if possible is None else done / row["median"] / possible


def dumps(result: dict[str, Any]) -> str:
    """JSON with one row, limit or stage a line, so that a change of one number is a change of one line."""
    lists = ("limits", "rows", "missing", "stages")
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in result.items() if name not in lists]
    for name in lists:
        if name in result:
            items = ",\n".join("  " + json.dumps(_rounded(item)) for item in result[name])
            lines.append(f' "{name}": [\n{items}\n ]' if items else f' "{name}": []')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rounded(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _short(value) if isinstance(value, float) else value for name, value in item.items()}


def write(path: Path, result: dict[str, Any]) -> None:
    """Writes a result file whole or not at all; needs nothing built, so that a failed build can be reported."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(dumps(result))
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any]:
    """Reads a result file.

    Raises:
        ValueError: it is none.
    """
    result: dict[str, Any] = json.loads(path.read_text())
    if result.get("format") != FORMAT:
        raise ValueError(f"{path}: format must be {FORMAT!r}, got {result.get('format')!r}")
    return result


def read_all(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Every result file of a folder, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]
