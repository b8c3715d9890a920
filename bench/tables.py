# SPDX-License-Identifier: Apache-2.0
"""The tables that `bench.report` puts together: one per op, Hamming searches in short, limits, and where peers win."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench import results
from bench.plan import shown

NOTHING = "–"
OURS = "fasthash"

Row = dict[str, Any]
Result = dict[str, Any]
Group = dict[str, Row]  # rows of the same work, by library


@dataclass(frozen=True)
class Column:
    """Libraries of which the fastest is shown, as a multiple of the time of `base`.

    Attributes:
        title: its head.
        members: names of libraries.
        base: the library that it is compared with.
        ours: whether it is a way of using fasthash, and so no peer.
    """

    title: str
    members: tuple[str, ...]
    base: str = OURS
    ours: bool = False

    def best(self, group: Group) -> Row | None:
        """The fastest that was measured."""
        rows = [group[name] for name in self.members if name in group]
        return min(rows, key=lambda row: row["median"], default=None)


_FAISS = Column("Faiss", ("faiss", "faiss_hc", "faiss_mc"))
_COLUMNS = (
    Column("reference", ("reference",)),
    Column("torch.compile", ("compiled",)),
    Column("torch", ("torch", "torch_int8")),
    Column("NumPy", ("numpy",)),
    Column("USearch", ("usearch",)),
    _FAISS,
    Column("Faiss, both at AVX2", ("faiss_hc_avx2", "faiss_mc_avx2"), base="fasthash_avx2"),
    Column("at AVX2", ("fasthash_avx2",), ours=True),
    Column("on rows", ("fasthash_rows",), ours=True),
    Column("scan alone", ("topk_1",), ours=True),
)
_VARIANTS = {"torch_int8": "int8", "faiss_hc": "hc", "faiss_mc": "mc", "faiss_hc_avx2": "hc", "faiss_mc_avx2": "mc"}
LIMIT_NAMES = {"scan": "popcount scan limit"}


def op_tables(result: Result, headline: bool) -> str:
    """One table per op, with the libraries that were measured for it."""
    rows = [row for row in result["rows"] if row["headline"] or not headline]
    ops = dict.fromkeys(row["op"] for row in rows)
    return "\n".join(_op_table(op, [row for row in rows if row["op"] == op]) for op in ops)


def limit_table(limits: Sequence[Row]) -> str:
    def line(limit: Row) -> list[str]:
        scan = limit["name"] == "scan"
        size, unit = NOTHING, f"G {limit.get('unit')}/s"
        if scan:
            size, unit = f"{limit['bits']} bits", "G comparisons/s"
        elif "bytes" in limit:
            size, unit = _bytes(limit["bytes"]), "GB/s"
        name = "popcount scan" if scan else limit["name"]
        return [name, size, _threads(limit["threads"]), f"{limit['per_second'] / 1e9:.1f} {unit}"]

    return table(["limit", "size", "threads", "measured"], map(line, limits)) if limits else ""


def search_tables(result: Result) -> str:
    """hamming_topk against the better Faiss variant, in short: bits by k, and single queries."""
    many = [row for row in result["rows"] if row["op"] == "hamming_topk" and row["case"]["Q"] == 1000]
    many = [row for row in many if row["case"]["N"] == 1_000_000 and row["case"]["bits"] % 32 == 0]
    one = [row for row in result["rows"] if row["op"] == "hamming_topk_one" and row["case"]["k"] == 10]
    parts = []
    if many:
        names = sorted({row["case"]["k"] for row in many})
        lines = [[*first, *cells] for first, cells in _by_bits(many, "data", "k", names)]
        head = ["hamming_topk, N 1 M, Q 1,000: bits", "data", *(f"k {shown(k)}" for k in names)]
        parts.append(table(head, lines))
    if one:
        head = ["hamming_topk, one query, k 10: bits", "N", "Faiss", "limit"]
        lines = [[*first, *cells, _shares(rows)] for first, cells, rows in _single(one)]
        parts.append(table(head, lines))
    return "\n".join(parts)


def _by_bits(rows: Sequence[Row], second: str, across: str, names: Sequence[Any]) -> Iterator[tuple[list[str], list]]:
    """((bits, second), a cell for each name) in the order of bits."""
    keys = sorted({(row["case"]["bits"], row["case"][second]) for row in rows})
    for bits, value in keys:
        same = [row for row in rows if row["case"]["bits"] == bits and row["case"][second] == value]
        cells = [_short_ratios([row for row in same if row["case"][across] == name]) for name in names]
        yield [shown(bits), shown(value)], cells


def _single(rows: Sequence[Row]) -> Iterator[tuple[list[str], list[str], list[Row]]]:
    for bits, count in sorted({(row["case"]["bits"], row["case"]["N"]) for row in rows}):
        same = [row for row in rows if (row["case"]["bits"], row["case"]["N"]) == (bits, count)]
        if count >= 1_000_000:
            yield [shown(bits), shown(count)], [_short_ratios(same)], same


def _short_ratios(rows: Sequence[Row]) -> str:
    """The ratios with Faiss for each number of threads: ×16 / ×17."""
    groups = sorted(grouped(rows), key=_threads_of)
    return " / ".join(_cell(group, _FAISS, named=False) for group in groups) or NOTHING


def _shares(rows: Sequence[Row]) -> str:
    """The shares of the limit for each number of threads."""
    groups = sorted(grouped(rows), key=_threads_of)
    return " / ".join(_share(group.get(OURS)) for group in groups)


def beside_table(result: Result) -> str:
    """Our time as a multiple of that of a related case: codes of whole words, or a search without a mask."""
    ours = [row for row in result["rows"] if row["library"] == OURS]
    by_key = {results.key(row): row for row in ours}
    lines = []
    for row in ours:
        for changed in _related(row["case"]):
            other = by_key.get((row["op"], json.dumps({**row["case"], **changed}), row["threads"]))
            if other and other is not row:
                beside = ", ".join(f"{name} {shown(value)}" for name, value in changed.items())
                times = f"{_digits(row['median'] / other['median'], exact=True)} times"
                lines.append([f"{row['op']}, {_case(row)}", _threads(row["threads"]), beside, times])
    return table(["our time", "threads", "beside", ""], lines) if lines else ""


def _related(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "bits" in case and results.laid_out_bits(case["bits"]) != case["bits"]:
        yield {"bits": results.laid_out_bits(case["bits"])}
    if case.get("allow", "all") != "all":
        yield {"allow": "all"}


def losses(result: Result) -> tuple[list[str], int]:
    """The comparisons in which a peer is the faster one, a line each, and how many comparisons there are."""
    found, count = [], 0
    for group in grouped(result["rows"]):
        for column in _COLUMNS:
            base, peer = group.get(column.base), column.best(group)
            if column.ours or base is None or peer is None:
                continue
            count += 1
            if (value := ratio(base, peer)) < 1:
                threads = _threads(peer["threads"])
                found.append(f"{peer['op']}, {_case(peer)}, threads {threads}: {column.title} ×{_digits(value)}")
    return found, count


def _op_table(op: str, rows: Sequence[Row]) -> str:
    present = {row["library"] for row in rows}
    columns = [column for column in _COLUMNS if present & set(column.members)]
    known = {name for column in _COLUMNS for name in column.members}
    columns += [Column(name, (name,)) for name in sorted(present - known - {OURS})]
    head = [op, "threads", OURS, *(column.title for column in columns), "rate", "limit"]
    wall = any("wall" in row for row in rows)
    return table(head + ["in a row"] * wall, [_line(group, columns, wall) for group in grouped(rows)])


def grouped(rows: Sequence[Row]) -> list[Group]:
    """Rows of the same work, by library; the numbers of threads of a case follow one another."""
    groups: dict[Any, Group] = {}
    for row in rows:
        groups.setdefault(results.key(row), {})[row["library"]] = row
    first: dict[tuple[str, str], int] = {}
    for op, case, _ in groups:
        first.setdefault((op, case), len(first))
    return [groups[key] for key in sorted(groups, key=lambda key: (first[key[:2]], key[2]))]


def _threads_of(group: Group) -> int:
    return int(next(iter(group.values()))["threads"])


def _case(row: Row) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in row["case"].items())


def _line(group: Group, columns: Sequence[Column], wall: bool) -> list[str]:
    any_row = next(iter(group.values()))
    ours = group.get(OURS)
    cells = [_case(any_row), _threads(any_row["threads"]), _time(ours["median"]) + _cores(ours) if ours else NOTHING]
    cells += [_cell(group, column) for column in columns]
    cells += [_rate(ours), _share(ours)]
    if wall:
        cells.append(_time(ours["wall"]) if ours else NOTHING)
    return cells


def _cell(group: Group, column: Column, named: bool = True) -> str:
    """How many times our time the best of the column takes, or its time where there is nothing to compare with."""
    base, peer = group.get(column.base), column.best(group)
    if peer is None:
        return NOTHING
    variant = _VARIANTS.get(peer["library"]) if named and len(column.members) > 1 else None
    marks = (f" {variant}" if variant else "") + _cores(peer)
    if base is None:
        return _time(peer["median"]) + marks
    value = ratio(base, peer)
    text = f"×{_digits(value)}"
    bold = f"**{text}**" if value < 1 and not column.ours else text
    return bold + marks + (" (other result)" if peer["agrees"] is False else "")


def _cores(row: Row) -> str:
    """A mark on rows that kept fewer cores busy than they had threads."""
    few = results.few_cores(row.get("cores"), row["threads"])
    return "" if few is None else f" ({few:.1f} cores)"


def ratio(ours: Row, peer: Row) -> float:
    """Median over the rounds of the peer's time by ours; of the medians where their rounds differ in number."""
    if len(peer["medians"]) != len(ours["medians"]):
        return float(peer["median"] / ours["median"])
    return median(theirs / our for theirs, our in zip(peer["medians"], ours["medians"], strict=True))


def _digits(value: float, exact: bool = False) -> str:
    """Two significant digits below ten, whole numbers above; `exact` shows hundredths."""
    if exact:
        return f"{value:.2f}"
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
    return f"{row['share']:.0%} of {LIMIT_NAMES.get(row['limit'], row['limit'])}"


def _bytes(count: int) -> str:
    """Powers of two in KiB and the like, other sizes in MB."""
    if count & (count - 1):
        return f"{count / 1e6:.3g} MB"
    power = min(3, (count.bit_length() - 1) // 10)
    return f"{count >> 10 * power} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def _threads(count: int) -> str:
    return "GPU" if count == 0 else str(count)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [list(head), *map(list, rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    cells = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
