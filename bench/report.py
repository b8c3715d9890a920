# SPDX-License-Identifier: Apache-2.0
"""Makes the tables of README.md and bench/results/README.md from the result files.

python -m bench.report            # writes both
python -m bench.report --check    # exit status 1 when one is not what the result files give

A ratio below one is shown like any other.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import results, tables
from bench.machine import ROOT

README = ROOT / "README.md"
PAGE = results.FOLDER / "README.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

Result = dict[str, Any]

_LEGEND = (
    "The time is fasthash's median for one call. Under each other library stands how many times as long it takes: ×2 "
    "is twice fasthash's time; below ×1, in bold, it is the faster one. – was not measured: not there, or beyond "
    "memory or patience. `reference` is the op's definition in plain PyTorch, `torch.compile` that definition "
    "compiled, `torch` the usual way to do it with torch's own functions (with bfloat16 products, or int8 ones where "
    "they are faster), `Faiss` the better of its two flat searches hc and mc. Databases are laid out once by "
    "`prepare_database`, outside the call; `on rows` is fasthash without it, `at AVX2` fasthash held to AVX2 (then "
    "Faiss, held to AVX2, is compared with that), `scan alone` hamming_topk with k = 1 in place of the op. `limit` "
    "is the share of what the machine can do at best, measured in the same run: copy or read bandwidth for as many "
    "bytes, or Hamming comparisons out of the first cache with an exclusive or, a popcount and a minimum for each "
    "word (popcount scan limit: a search that works otherwise can exceed it). (1.0 cores) marks a time in which no "
    "more cores than that were busy, fewer than threads. On a GPU calls are timed by events with a cold cache, and "
    "`in a row` is the time per call of calls that follow one another."
)
_SHORT = {
    "Faiss": "How many times as long Faiss takes, the better of its two flat searches; with 1 thread / 2 threads. For "
    "a single query also the share of the read bandwidth over as many bytes.\n\n",
    "torch": "How many times as long torch's own way takes, a product of ±1 matrices and `topk`. For a single query "
    "also the share of the read bandwidth.\n\n",
}
_FIELDS = (
    "In the files each row has the number of its run, and each run its date, commit, versions, settings and limits: "
    "an op that was measured again alone stands under a run of its own. `median` is the median of the rounds' "
    "medians in seconds, `medians` are those, `iqr` the median of their spreads, `cpu` the CPU time of a call over "
    "all its threads, `cores` how many cores it kept busy, `calls` how many calls were timed, `agrees` whether the "
    "output is that of fasthash (null: nothing to compare). OpenMP threads are bound to cores of their own and kept "
    "at work for a second before the first call with several threads is timed. A library that needs long for a case "
    "is timed once."
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
    """The README's part: searches in short, and the headline cases, of each op where a CPU measured it last."""
    measured = [result for result in all_results if result["rows"] and not results.is_quick(result)]
    if not measured:
        return "No benchmark results yet: `make bench` measures this machine and fills in this section.\n"
    return f"{_LEGEND}\nAll cases: [bench/results](bench/results/README.md).\n\n" + "\n".join(
        map(_short, _newest(measured))
    )


def _newest(measured: Sequence[Result]) -> list[Result]:
    """Results without the ops of a CPU that another CPU measured later, and without those that are left with none."""
    dates = [{run["number"]: run["date"] for run in result["runs"]} for result in measured]
    last: dict[str, str] = {}
    for result, date_of in zip(measured, dates, strict=True):
        for row in result["rows"] if result["machine"]["gpu"] is None else []:
            last[row["op"]] = max(last.get(row["op"], ""), date_of[row["run"]])
    kept = []
    for result, date_of in zip(measured, dates, strict=True):
        newest = {
            op
            for op, date in last.items()
            if any(row["op"] == op and date_of[row["run"]] == date for row in result["rows"])
        }
        rows = [row for row in result["rows"] if result["machine"]["gpu"] is not None or row["op"] in newest]
        runs = [run for run in result["runs"] if run["number"] in {row["run"] for row in rows}]
        kept += [{**result, "rows": rows, "runs": runs}] if rows else []
    return kept


def page(all_results: Sequence[Result]) -> str:
    """bench/results/README.md: every case of every machine."""
    title = "# Benchmark results\n\nMade by `python -m bench.report` from the files beside it; not edited by hand.\n\n"
    if not all_results:
        return title + "No results yet: `make bench` measures this machine.\n"
    return title + _LEGEND + "\n\n" + _FIELDS + "\n\n" + "\n".join(map(_long, all_results))


def summary(result: Result) -> str:
    """All tables of one result, for the terminal."""
    return "\n".join(part for part in (tables.op_tables(result, headline=False), tables.beside_table(result)) if part)


def _short(result: Result) -> str:
    found, count = tables.losses(result)
    lost = f"A peer is the faster one in {len(found)} of {count} comparisons, all listed on that page.\n"
    search = tables.search_tables(result)
    parts = [
        _heading(result, "###") + lost,
        _SHORT[tables.search_peer(result).title] + search if search else "",
        tables.op_tables(result, headline=True),
    ]
    return "\n".join(part for part in parts if part)


def _long(result: Result) -> str:
    search, beside = tables.search_tables(result), tables.beside_table(result)
    parts = [
        _heading(result, "##") + _facts(result),
        _SHORT[tables.search_peer(result).title] + search if search else "",
    ]
    parts += [tables.op_tables(result, headline=False), beside, _losses(result)]
    return "\n".join(part for part in parts if part)


def _losses(result: Result) -> str:
    found, count = tables.losses(result)
    lines = "".join(f"- {line}\n" for line in found)
    return f"A peer is the faster one in {len(found)} of {count} comparisons{':' if found else '.'}\n\n{lines}"


def _heading(result: Result, level: str) -> str:
    """The machine, and which commit measured which ops."""
    machine = result["machine"]
    name = machine["gpu"] or f"{machine['cpu']}, {machine['variant']}"
    told = [_run(result, run) for run in result["runs"]]
    quick = " **Quick run: the figures mean nothing.**" if results.is_quick(result) else ""
    lines = told[0] + quick if len(told) == 1 else "\n".join(f"- {line}" for line in told) + quick
    return f"{level} {name}\n\n{lines}\n\n"


def _run(result: Result, run: Result) -> str:
    commit = (run["commit"]["id"] or "unknown")[:10] + (" with changes" if run["commit"]["changed"] else "")
    versions = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
    ops = ", ".join(results.ops_of(result, run["number"])) + ": " if len(result["runs"]) > 1 else ""
    return f"{ops}{run['date'][:10]}, commit {commit}, {versions}."


def _facts(result: Result) -> str:
    """Limits of each run, what is missing, and the stages of a run on a GPU."""
    parts = []
    for run in result["runs"]:
        limits = tables.limit_table([limit for limit in result["limits"] if limit["run"] == run["number"]])
        of = ", ".join(results.ops_of(result, run["number"]))
        parts.append(f"Limits measured with {of}:\n\n{limits}" if limits and len(result["runs"]) > 1 else limits)
    if "stages" in result:
        rows = [[s["name"], s["outcome"], f"{s['seconds']:.0f} s"] for s in result["stages"]]
        parts.append(tables.table(["stage", "outcome", "time"], rows))
    if result["missing"]:
        reasons = Counter((m["op"], m["library"], m["reason"]) for m in result["missing"])
        parts.append("".join(map(_not_measured, reasons.items())))
    return "\n".join(part for part in parts if part)


def _not_measured(entry: tuple[tuple[str, str, str], int]) -> str:
    (op, library, reason), count = entry
    return f"- not measured: {op}, {library}{f', {count} cases' if count > 1 else ''}: {reason}\n"


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
        print(_facts(result) + "\n" + summary(result))
        return 0
    if options.check:
        pages = stale()
        print("\n".join(f"{path} is not what bench/results gives: run `python -m bench.report`" for path in pages))
        return 1 if pages else 0
    update()
    return 0


if __name__ == "__main__":
    sys.exit(main())
