# SPDX-License-Identifier: Apache-2.0
"""Result files: one JSON per machine.

format      "fasthash benchmark results 2"
machine     name, cpu, cores, variant, gpu, ...
runs        [{number, date, commit, versions, settings}]: what is measured anew with --only takes the place of the same
            ops of earlier runs; a run of which nothing is left goes.
              settings  rounds, threads, quick, seconds the run took
limits      [{run, name, threads, bytes | bits | unit, per_second}]
rows        [{run, op, case, library, threads, unit, bytes, work, limit, headline, median, iqr, min, medians, calls,
              cpu, cores, share, agrees}]: seconds per call. `medians` are those of the rounds, `median` is theirs;
              `iqr` is the median of the rounds' spreads. `cpu` is the CPU time of a call over all threads, `cores` how
              many cores were busy meanwhile. `share` is the part reached of the limit that the same run measured.
              `agrees` says whether the output is that of fasthash, null where there is nothing to compare. On a GPU:
              threads 0, no `cpu` and `cores`, and `wall`, seconds per call in a row.
missing     [{run, op, library, reason}]: what was not measured
stages      [{name, outcome, seconds, status, tail}]: what bench/gpu.sh went through
"""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import median
from typing import Any

FORMAT = "fasthash benchmark results 2"
FORMER_FORMAT = "fasthash benchmark results 1"  # one run, told beside its rows
FOLDER = Path(__file__).resolve().parent / "results"

Row = dict[str, Any]
Result = dict[str, Any]
BUSY_AT_LEAST = 0.75  # of the cores that the threads could have kept busy
_TOLD_OF_A_RUN = ("date", "commit", "versions", "settings")
_MAY_BE_THERE = ("wall", "cpu", "cores")
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
    row |= {name: median(m[name] for m in group) for name in _MAY_BE_THERE if name in group[0]}
    return row


def few_cores(cores: float | None, threads: int) -> float | None:
    """The number of busy cores where it is suspiciously low for as many threads, else None.

    Several threads may have shared a core, or left the work to one of them; or others used the machine.
    """
    few = cores is not None and cores < BUSY_AT_LEAST * threads
    return cores if few else None


def _agrees(group: list[Row], expected: float | None) -> bool | None:
    """None where there is nothing to compare with."""
    if expected is None or any(math.isnan(m["check"]) for m in group):
        return None
    return all(abs(m["check"] - expected) <= m["tolerance"] * abs(expected) for m in group)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def rate(limits: Sequence[Row], row: Row) -> float | None:
    """Bytes or comparisons per second that bind a row; None where nothing fitting was measured.

    Of a bandwidth, the size nearest to what the row moves is taken: a small case is measured against the cache. Codes
    are scanned as wide as they are laid out.
    """
    same = [limit for limit in limits if limit["name"] == row["limit"] and limit["threads"] == row["threads"]]
    if row["limit"] == "scan":
        bits = laid_out_bits(row["case"].get("bits", 0))
        return next((limit["per_second"] for limit in same if limit["bits"] == bits), None)
    nearest = min(same, key=lambda limit: abs(math.log(limit["bytes"] / row["bytes"])), default=None)
    return nearest and nearest["per_second"]


def laid_out_bits(bits: int) -> int:
    """The width that codes of `bits` have in the layout of a search: 32, or a multiple of 64."""
    return 32 if bits <= 32 else -(-bits // 64) * 64


def share(limits: Sequence[Row], row: Row) -> float | None:
    """What part of the binding limit a row reaches, 1 being all of it."""
    possible = rate(limits, row) if row["limit"] else None
    done = row["work"] if row["limit"] == "scan" else row["bytes"]
    return None if possible is None else done / row["median"] / possible


def one_run(told: Result, rows: Sequence[Row], missing: Sequence[Row]) -> Result:
    """A result of a single run from what is told of it: machine, date, commit, versions, settings, limits."""
    run = {"number": 1, **{name: told[name] for name in _TOLD_OF_A_RUN}}
    lists = {"limits": told["limits"], "rows": rows, "missing": missing}
    marked = {name: [{"run": 1, **item} for item in items] for name, items in lists.items()}
    return {"format": FORMAT, "machine": told["machine"], "runs": [run], **marked}


def merged(before: Result, new: Result, ops: Collection[str]) -> Result:
    """`new`, which has one run, and of `before` the ops that it did not measure, with the limits of their runs."""
    number = 1 + max(run["number"] for run in before["runs"])
    result = {**new, "runs": [{**new["runs"][0], "number": number}]}
    for name in ("limits", "rows", "missing"):
        result[name] = [{**item, "run": number} for item in new[name]]
    kept = {name: [item for item in before[name] if item["op"] not in ops] for name in ("rows", "missing")}
    used = {row["run"] for row in kept["rows"]}
    kept["missing"] = [item for item in kept["missing"] if item["run"] in used]
    for name in ("runs", "limits"):
        key_name = "number" if name == "runs" else "run"
        kept[name] = [item for item in before[name] if item[key_name] in used]
    return {**result, **{name: items + result[name] for name, items in kept.items()}}


def ops_of(result: Result, number: int) -> list[str]:
    """The ops that a run measured, in the order of the rows."""
    return list(dict.fromkeys(row["op"] for row in result["rows"] if row["run"] == number))


def is_quick(result: Result) -> bool:
    """Whether some figures mean nothing."""
    return any(run["settings"]["quick"] for run in result["runs"])


def dumps(result: Result) -> str:
    """JSON with one run, row, limit or stage a line, so that a change of one number is a change of one line."""
    lists = ("runs", "limits", "rows", "missing", "stages")
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in result.items() if name not in lists]
    for name in lists:
        if name in result:
            items = ",\n".join("  " + json.dumps(_rounded(item)) for item in result[name])
            lines.append(f' "{name}": [\n{items}\n ]' if items else f' "{name}": []')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rounded(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _short(value) if isinstance(value, float) else value for name, value in item.items()}


def write(path: Path, result: Result) -> None:
    """Writes a result file whole or not at all; needs nothing built, so that a failed build can be reported."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(dumps(result))
    os.replace(temporary, path)


def read(path: Path) -> Result:
    """Reads a result file.

    Raises:
        ValueError: it is none.
    """
    result: Result = json.loads(path.read_text())
    if result.get("format") == FORMER_FORMAT:
        upgraded = one_run(result, result["rows"], result["missing"])
        return {**upgraded, **{name: result[name] for name in ("stages",) if name in result}}
    if result.get("format") != FORMAT:
        raise ValueError(f"{path}: format must be {FORMAT!r}, got {result.get('format')!r}")
    return result


def read_all(folder: Path = FOLDER) -> list[Result]:
    """Every result file of a folder, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]
