# SPDX-License-Identifier: Apache-2.0
"""pytest-benchmark on the CPU over the cases of the files given: one library, or all of them in one process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench import results
from bench.plan import Benchmark, Call, Case

WARM_THREADS = 1.2  # seconds of calls before a process times its first case with several threads
WARM_TRIES = 3  # cases that may serve for it: some keep one thread busy alone
WARM_UP_LIMIT = 3.0  # seconds; a call that takes longer tells its length the first time, even if it imported much
ROUND_AT_LEAST = 2e-4  # seconds; shorter calls are repeated within a round
MOST_ROUNDS = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fasthash benchmarks")
    group.addoption("--library", default="all", help="which library to measure (default: all that are there)")
    group.addoption("--threads", default="1", help="thread counts, separated by commas")
    group.addoption("--seconds", type=float, default=0.2, help="how long to measure a case")
    group.addoption("--quick", action="store_true", help="the smallest case of each op")
    group.addoption("--without-slow", action="store_true", help="leave out cases that the library takes seconds for")


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Empty: `bench.machine` writes it once, not every process."""
    return {}


def pytest_benchmark_generate_commit_info(config: pytest.Config) -> dict[str, Any]:
    """Empty: `bench.machine` writes it once, not every process."""
    return {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item per case and number of threads; a function `test_<op>` measures the benchmark of that name."""
    if "measure" not in metafunc.fixturenames:
        return
    name = metafunc.function.__name__.removeprefix("test_")
    benchmark = next(b for b in metafunc.module.BENCHMARKS if b.name == name)
    option = metafunc.config.getoption
    cases = [
        (library, case)
        for library in _libraries(benchmark, option("library"))
        for case in benchmark.selected(library, "cpu", option("quick"))
        if not (option("without_slow") and benchmark.libraries[library].slow(case, "cpu"))
    ]
    items = [(benchmark, *pair, int(threads)) for threads in option("threads").split(",") for pair in cases]
    names = [f"{library}, {case.text}, threads {threads}" for _, library, case, threads in items]
    metafunc.parametrize("measure", items, ids=names, indirect=True)


def _libraries(benchmark: Benchmark, wanted: str) -> list[str]:
    if wanted != "all":
        return [wanted]
    libraries = benchmark.libraries.items()
    return [name for name, library in libraries if not library.environment and not library.missing()]


def set_threads(count: int) -> None:
    """Sets the threads of torch, and of Faiss where it is loaded."""
    torch.set_num_threads(count)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(count)


def _seconds(call: Call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _repeats(call: Call, seconds: float, warm_up: int) -> tuple[int, int]:
    """Rounds, and calls in each, that fill `seconds`, after warming up."""
    once = [_seconds(call) for _ in range(warm_up)][-1]
    if once < WARM_UP_LIMIT:
        once = _seconds(call)
    calls = max(1, round(ROUND_AT_LEAST / max(once, 1e-7)))
    rounds = int(seconds / (once * calls))
    return min(MOST_ROUNDS, max(1, rounds)), calls


def _describe(benchmark: Benchmark, library: str, case: Case, threads: int) -> dict[str, Any]:
    described = {"op": benchmark.name, "case": dict(case.values), "library": library, "threads": threads}
    sizes = {"unit": benchmark.unit, "bytes": case.bytes, "work": case.work, "limit": case.limit}
    return {**described, **sizes, "headline": case.headline, "tolerance": benchmark.tolerance}


class ThreadWarmUp:
    """Runs calls until several threads are awake on their cores, once in a process for each number of threads."""

    def __init__(self) -> None:
        self._tries: dict[int, int] = {}

    def run(self, call: Call, threads: int, seconds: float) -> None:
        """Calls for `seconds`; again with the next case where they kept too few cores busy."""
        if threads == 1 or self._tries.get(threads, 0) >= WARM_TRIES:
            return
        begin = Clock()
        while begin.elapsed()[0] < seconds:
            call()
        enough = results.few_cores(begin.cores(), threads) is None
        self._tries[threads] = WARM_TRIES if enough else self._tries.get(threads, 0) + 1


class Clock:
    """Wall time and CPU time of all threads since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def elapsed(self) -> tuple[float, float]:
        """Seconds of wall and of CPU time."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu

    def cores(self) -> float:
        """How many cores were busy on average."""
        wall, cpu = self.elapsed()
        return cpu / wall


_THREADS = ThreadWarmUp()


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[], None]:
    """Prepares the case, measures it, and notes what it was and what came out."""
    plan, name, case, threads = request.param

    def run() -> None:
        library = plan.libraries[name]
        set_threads(threads)
        call = library.prepare(case.values, "cpu")
        set_threads(threads)  # again: preparing may have loaded the library
        last: list[Any] = [None]

        def keep_output() -> None:
            last[0] = None  # frees the output before the next one is allocated
            last[0] = call()

        option = request.config.getoption
        _THREADS.run(keep_output, threads, 0.0 if option("quick") else WARM_THREADS)
        if library.slow(case, "cpu") and library.warm_up == 1:
            rounds, calls = 1, 1
        else:
            rounds, calls = _repeats(keep_output, option("seconds"), library.warm_up)
        clock = Clock()
        benchmark.pedantic(keep_output, rounds=rounds, iterations=calls)
        cores = clock.cores()
        told = {"cores": cores, "cpu": cores * benchmark.stats.stats.mean, "check": plan.check(last[0])}
        benchmark.extra_info |= {**_describe(plan, name, case, threads), **told}

    return run
