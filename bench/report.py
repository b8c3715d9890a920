# SPDX-License-Identifier: Apache-2.0
"""Makes the tables of README.md and bench/results/README.md from the result files.

python -m bench.report            # writes both
python -m bench.report --check    # exit status 1 when one is not what the result files give

A ratio below one is shown like any other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import results
from bench.machine import ROOT
from bench.plan import shown

README = ROOT / "README.md"
PAGE = results.FOLDER / "README.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
NOTHING = "–"

Row = dict[str, Any]
Result = dict[str, Any]

_LIBRARIES = {
    "reference": "reference",
    "compiled": "torch.compile",
    "torch": "torch",
    "numpy": "NumPy",
    "faiss": "Faiss",
    "faiss_hc": "Faiss hc",
    "faiss_mc": "Faiss mc",
}
_LEGEND = (
    "The time is fasthash's median for one call. Under each other library stands how many times as long it takes: "
    "×2 is twice fasthash's time, below ×1 it is the faster one. – was not measured: not there, or beyond memory or "
    "patience. `reference` is the op's definition in plain PyTorch, `torch.compile` that definition compiled, `torch` "
    "the usual way to do it with torch's own functions. `limit` is the share of what the machine can do at best, "
    "measured in the same run: copy or read bandwidth for as many bytes, or the rate of Hamming comparisons out of the "
    "first cache (scan). On a GPU calls are timed by events with a cold cache, and `in a row` is the time per call of "
    "calls that follow one another."
)


def update(folder: Path = results.FOLDER, readme: Path = README) -> None:
    """Writes both pages.

    Raises:
        ValueError: the README has no place for the table.
    """
    all_results = results.read_all(folder)
    (folder / "README.md").write_text(page(all_results))
    if readme.exists():
        readme.write_text(with_section(readme.read_text(), section(all_results)))


def stale(folder: Path = results.FOLDER, readme: Path = README) -> list[Path]:
    """The pages that are not what the result files give."""
    all_results = results.read_all(folder)
    text = readme.read_text() if readme.exists() else ""
    wanted = {folder / "README.md": page(all_results), readme: with_section(text, section(all_results))}
    return [path for path, content in wanted.items() if not path.exists() or path.read_text() != content]


def with_section(text: str, table: str) -> str:
    """`text` with what stands between the markers replaced.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"README.md: the benchmark table needs {BEGIN} and {END}, once each and in this order")
    return f"{before}{BEGIN}\n{table}{END}{after}"


def section(all_results: Sequence[Result]) -> str:
    """The README's part: the headline cases of every machine."""
    measured = [result for result in all_results if result["rows"] and not result["settings"]["quick"]]
    if not measured:
        return "No benchmark results yet: `make bench` measures this machine and fills in this section.\n"
    parts = [_heading(result, "###") + _tables(result, headline=True) for result in measured]
    return f"{_LEGEND}\nAll cases: [bench/results](bench/results/README.md).\n\n" + "\n".join(parts)


def page(all_results: Sequence[Result]) -> str:
    """bench/results/README.md: every case of every machine."""
    title = "# Benchmark results\n\nMade by `python -m bench.report` from the files beside it; not edited by hand.\n\n"
    if not all_results:
        return title + "No results yet: `make bench` measures this machine.\n"
    parts = [_heading(result, "##") + _facts(result) + _tables(result, headline=False) for result in all_results]
    return title + _LEGEND + "\n\n" + "\n".join(parts)


def summary(result: Result) -> str:
    """All tables of one result, for the terminal."""
    return _tables(result, headline=False)


def _heading(result: Result, level: str) -> str:
    machine = result["machine"]
    name = machine["gpu"] or f"{machine['cpu']}, {machine['variant']}"
    commit = (result["commit"]["id"] or "unknown")[:10] + (" with changes" if result["commit"]["changed"] else "")
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    quick = " **Quick run: the figures mean nothing.**" if result["settings"]["quick"] else ""
    return f"{level} {name}\n\n{result['date'][:10]}, commit {commit}, {versions}.{quick}\n\n"


def _facts(result: Result) -> str:
    """Limits, what is missing, and the stages of a run on a GPU."""
    parts = [_limit_table(result["limits"])]
    if "stages" in result:
        rows = [[s["name"], s["outcome"], f"{s['seconds']:.0f} s"] for s in result["stages"]]
        parts.append(_table(["stage", "outcome", "time"], rows))
    if result["missing"]:
        parts.append("".join(f"- not measured: {m['op']}, {m['library']}: {m['reason']}\n" for m in result["missing"]))
    return "".join(part + "\n" for part in parts if part)


def _limit_table(limits: Sequence[Row]) -> str:
    def line(limit: Row) -> list[str]:
        size = f"{limit['bits']} bits" if limit["name"] == "scan" else _bytes(limit["bytes"])
        unit = "G comparisons/s" if limit["name"] == "scan" else "GB/s"
        return [limit["name"], size, _threads(limit["threads"]), f"{limit['per_second'] / 1e9:.1f} {unit}"]

    return _table(["limit", "size", "threads", "measured"], map(line, limits)) if limits else ""


def _bytes(count: int) -> str:
    power = min(3, (count.bit_length() - 1) // 10)
    return f"{count >> 10 * power} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def _threads(count: int) -> str:
    return "GPU" if count == 0 else str(count)


def _tables(result: Result, headline: bool) -> str:
    """One table per op, with the libraries that were measured for it."""
    rows = [row for row in result["rows"] if row["headline"] or not headline]
    ops = dict.fromkeys(row["op"] for row in rows)
    return "\n".join(_op_table(op, [row for row in rows if row["op"] == op]) for op in ops)


def _op_table(op: str, rows: Sequence[Row]) -> str:
    present = {row["library"] for row in rows}
    peers = [name for name in _LIBRARIES if name in present]
    peers += sorted(present - {"fasthash", *_LIBRARIES})
    head = [op, "threads", "fasthash", *(_LIBRARIES.get(name, name) for name in peers), "rate", "limit"]
    wall = any("wall" in row for row in rows)
    return _table(head + ["in a row"] * wall, [_line(group, peers, wall) for group in _grouped(rows)])


def _grouped(rows: Sequence[Row]) -> list[dict[str, Row]]:
    """Rows of the same work, by library."""
    groups: dict[Any, dict[str, Row]] = {}
    for row in rows:
        groups.setdefault(results.key(row), {})[row["library"]] = row
    return list(groups.values())


def _line(group: dict[str, Row], peers: Sequence[str], wall: bool) -> list[str]:
    any_row = next(iter(group.values()))
    case = ", ".join(f"{name} {shown(value)}" for name, value in any_row["case"].items())
    ours = group.get("fasthash")
    cells = [case, _threads(any_row["threads"]), _time(ours["median"]) if ours else NOTHING]
    cells += [_ratio(ours, group.get(peer)) for peer in peers]
    cells += [_rate(ours), _share(ours)]
    if wall:
        cells.append(_time(ours["wall"]) if ours else NOTHING)
    return cells


def _ratio(ours: Row | None, peer: Row | None) -> str:
    """How many times our time the peer takes, or its time where there is nothing to compare with."""
    if peer is None:
        return NOTHING
    if ours is None:
        return _time(peer["median"])
    mark = "" if peer["agrees"] else " (other result)"
    return f"×{_digits(ratio(ours, peer))}{mark}"


def ratio(ours: Row, peer: Row) -> float:
    """Median over the rounds of the peer's time by ours; of the medians where their rounds differ in number."""
    pairs = list(zip(peer["medians"], ours["medians"], strict=False))
    if len(peer["medians"]) != len(ours["medians"]):
        return float(peer["median"] / ours["median"])
    return median(theirs / our for theirs, our in pairs)


def _digits(value: float) -> str:
    """Two significant digits below ten, whole numbers above."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def _rate(row: Row | None) -> str:
    """Units of work per second, or bytes where bandwidth binds."""
    if row is None:
        return NOTHING
    if row["limit"] in ("copy", "read"):
        return f"{row['bytes'] / row['median'] / 1e9:.3g} GB/s"
    return f"{row['work'] / row['median'] / 1e9:.3g} G {row['unit']}/s"


def _share(row: Row | None) -> str:
    if row is None or row["share"] is None:
        return NOTHING
    return f"{row['share']:.0%} of {row['limit']}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [list(head), *map(list, rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    cells = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a page is stale")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the tables of one result file")
    options = parser.parse_args(arguments)
    if options.show:
        result = results.read(options.show)
        print(_facts(result) + summary(result))
        return 0
    if options.check:
        pages = stale()
        print("\n".join(f"{path} is not what bench/results gives: run `python -m bench.report`" for path in pages))
        return 1 if pages else 0
    update()
    return 0


if __name__ == "__main__":
    sys.exit(main())
