# SPDX-License-Identifier: Apache-2.0
"""Measures every op on this CPU against its reference and peers, and writes `bench/results/<machine>.json`.

The tables in README.md and bench/results/README.md are made anew from all result files. Example:

    python -m bench                                  # everything: some twenty minutes on two quiet cores
    python -m bench --only hamming_topk --threads 1  # a file of ops, or one op; others of the result file stay
    python -m bench --quick --output /tmp/results    # does it run? the figures mean nothing
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import limits, machine, report, results, runner
from bench.plan import Benchmark, chosen_files

Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status is 1 when a benchmark failed."""
    options = _parse(arguments)
    begin = time.monotonic()
    try:
        files = chosen_files(options.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    _warn_if_busy()
    settings = _settings(options)
    with tempfile.TemporaryDirectory() as folder:
        measured_limits, missing = _limits(Path(folder), options)
        outcome = runner.run(files, settings, Path(folder), lambda line: print(line, flush=True))
    result = _result(settings, measured_limits, outcome, missing, time.monotonic() - begin)
    path = Path(options.output) / f"{result['machine']['name']}.json"
    _write(path, result, files, options)
    for failure in outcome.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if outcome.failures else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="the smallest cases, one round, hardly measured")
    add("--only", action="append", default=[], metavar="OP", help="one op or file; may be given more than once")
    add("--threads", type=_counts, default=None, metavar="N,N", help="thread counts (default 1,2; quick 1)")
    add("--rounds", type=int, default=None, help="processes per library, taking turns (default 3; quick 1)")
    add("--seconds", type=float, default=None, help="seconds to measure one case in one process (default 0.15)")
    add("--output", default=str(results.FOLDER), metavar="DIR", help="where the result file goes")
    return parser.parse_args(arguments)


def _counts(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError(f"must be numbers >= 1, got {text}")
    return counts


def _settings(options: argparse.Namespace) -> runner.Options:
    quick = options.quick
    return runner.Options(
        threads=options.threads or ([1] if quick else [1, 2]),
        rounds=options.rounds or (1 if quick else 3),
        seconds=options.seconds or (0.01 if quick else 0.15),
        quick=quick,
    )


def _warn_if_busy() -> None:
    """Says so when others use the machine: ratios suffer less from it than times, but they do."""
    load = Path("/proc/loadavg")
    if load.exists() and (busy := float(load.read_text().split()[0])) > 0.5:
        print(f"bench: the load average is {busy}: close what else runs, or distrust the figures", file=sys.stderr)


def _limits(folder: Path, options: argparse.Namespace) -> tuple[list[limits.Limit], list[Result]]:
    """The limits of the machine; without a C++ compiler none, and that is noted."""
    try:
        native = limits.build_native(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        return [], [{"op": "limits", "library": "native", "reason": str(error)}]
    return limits.measure(native, _settings(options).threads, options.quick), []


def _result(
    settings: runner.Options,
    measured: list[limits.Limit],
    outcome: runner.Outcome,
    missing: list[Result],
    took: float,
) -> Result:
    told = {
        "machine": machine.cpu(),
        "date": machine.date(),
        "commit": machine.commit(),
        "versions": machine.versions(),
        "settings": {
            "threads": list(settings.threads),
            "rounds": settings.rounds,
            "quick": settings.quick,
            "seconds": round(took),
        },
        "limits": measured,
    }
    return results.one_run(told, results.rows_of(outcome.measurements, measured), missing + outcome.missing)


def _write(path: Path, result: Result, files: dict[str, list[Benchmark]], options: argparse.Namespace) -> None:
    """Writes the file, keeping rows of ops that were not asked for, and the tables."""
    before = results.read(path) if options.only and path.exists() else None
    if before and results.is_quick(before) == options.quick:
        measured = {benchmark.name for benchmarks in files.values() for benchmark in benchmarks}
        result = results.merged(before, result, measured)
    results.write(path, result)
    print(f"wrote {path}")
    if path.parent.resolve() == results.FOLDER:
        report.update()
    print(report.summary(result))


if __name__ == "__main__":
    sys.exit(main())
