# SPDX-License-Identifier: Apache-2.0
"""What a benchmark is: cases, and libraries that each know how to prepare a call.

A file `bench_<op>.py` holds a list BENCHMARKS and, for each benchmark in it, a function `test_<name>(measure)` that
pytest-benchmark runs. The same lists serve the GPU (`bench.gpu`), so inputs and peers are written down once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
DEVICES = ("cpu", "cuda")

Values = Mapping[str, Any]
Call = Callable[[], Any]


def always(case: Case, device: str) -> bool:
    """The default of `Library.fits`."""
    return True


def never(case: Case, device: str) -> bool:
    """The default of `Library.slow`."""
    return False


def nothing() -> str | None:
    """The default of `Library.lacks`."""
    return None


@dataclass(frozen=True)
class Case:
    """One set of sizes.

    Attributes:
        values: what distinguishes the case, as shown in tables.
        bytes: the fewest bytes a call has to move: every input read once, every output written once.
        work: how many units (see `Benchmark.unit`) a call gets through.
        limit: the measured limit that binds: `copy` or `read` bandwidth, the in-cache popcount `scan`, or none.
        quick: part of `--quick`.
        headline: part of the README's table.
        devices: where it is measured.
    """

    values: Values
    bytes: int
    work: int
    limit: str | None = None
    quick: bool = False
    headline: bool = False
    devices: Sequence[str] = DEVICES

    @property
    def text(self) -> str:
        """The case in one line."""
        return ", ".join(f"{name} {shown(value)}" for name, value in self.values.items())


@dataclass(frozen=True)
class Library:
    """One way to compute the op.

    Attributes:
        prepare: (values, device) -> the call to time; everything outside the call is not timed.
        needs: `module` or `module:attribute` without which it is left out.
        lacks: what else it would need of this machine, None when all is there.
        fits: whether a case is within its memory and patience.
        slow: whether a case takes so long that it is measured in the first round alone, without warming up.
        warm_up: calls before the first that counts.
        quick: part of `--quick`; compiling is not, and what needs an environment of its own is not.
        devices: where it runs.
        environment: variables that its process needs from the start.
    """

    prepare: Callable[[Values, str], Call]
    needs: str = ""
    lacks: Callable[[], str | None] = nothing
    fits: Callable[[Case, str], bool] = always
    slow: Callable[[Case, str], bool] = never
    warm_up: int = 1
    quick: bool = True
    devices: Sequence[str] = DEVICES
    environment: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str | None:
        """What it needs and is not there, None when all is."""
        module, _, attribute = self.needs.partition(":")
        try:
            found = not module or not attribute or hasattr(importlib.import_module(module), attribute)
            if module and not attribute:
                importlib.import_module(module)
        except ImportError as error:
            return str(error)
        return self.lacks() if found else f"{module} has no {attribute}"


@dataclass(frozen=True)
class Benchmark:
    """An op, its cases and the libraries compared.

    Attributes:
        name: the op.
        unit: what `Case.work` counts.
        cases: in the order of the tables.
        libraries: by name; `fasthash` is the one that the others are compared with.
        check: one number from a call's output, equal for all libraries within `tolerance` (relative); nan where an
            output is another one by intention.
        tolerance: 0 for integers.
    """

    name: str
    unit: str
    cases: Sequence[Case]
    libraries: Mapping[str, Library]
    check: Callable[[Any], float]
    tolerance: float = 0.0

    def selected(self, library: str, device: str, quick: bool) -> list[Case]:
        """The cases of one library on one device."""
        chosen = self.libraries.get(library)
        if chosen is None or device not in chosen.devices:
            return []
        if quick and (chosen.environment or not chosen.quick):
            return []
        fitting = [case for case in self.cases if device in case.devices and chosen.fits(case, device)]
        return [case for case in fitting if case.quick or not quick]


def shown(value: object) -> str:
    """A size as people write it: 54,000 or 1 M."""
    if not isinstance(value, int):
        return str(value)
    if value >= 1_000_000 and value % 1_000_000 == 0:
        return f"{value // 1_000_000} M"
    return f"{value:,}"


@cache
def files() -> dict[str, list[Benchmark]]:
    """Every benchmark, by the name of its file without `bench_` and `.py`."""
    names = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    return {name: importlib.import_module(f"bench.bench_{name}").BENCHMARKS for name in names}


def chosen_files(only: Sequence[str]) -> dict[str, list[Benchmark]]:
    """The benchmarks named in `only`, by file: all of a file, or one op of it; everything when it is empty.

    A name that is both, such as hamming_topk, means the file.

    Raises:
        ValueError: a name that is neither.
    """
    known = files()
    by_op = {benchmark.name: name for name, benchmarks in known.items() for benchmark in benchmarks}
    for wanted in only:
        if wanted not in known and wanted not in by_op:
            names = sorted({*known, *by_op})
            raise ValueError(f"bench: --only must be one of {', '.join(names)}, got {wanted!r}")
    chosen = {
        name: [each for each in benchmarks if not only or name in only or each.name in only]
        for name, benchmarks in known.items()
    }
    return {name: benchmarks for name, benchmarks in chosen.items() if benchmarks}


def nodes_of(file: str, benchmarks: Sequence[Benchmark]) -> list[str]:
    """What pytest is to run for these benchmarks of a file."""
    path = f"bench/bench_{file}.py"
    whole = len(benchmarks) == len(files().get(file, benchmarks))
    return [path] if whole else [f"{path}::test_{benchmark.name}" for benchmark in benchmarks]
