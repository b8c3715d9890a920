# SPDX-License-Identifier: Apache-2.0
"""The limits of the machine, measured in the same run as the ops: they turn a time into a share of what is possible.

`copy` and `read` are bandwidths for several sizes, because what fits a cache is faster than memory; `read` is measured
over just as many bytes as the databases that one query goes through. `scan` is the rate of Hamming comparisons out of
the first cache where each word costs an exclusive or, a popcount and a minimum: a search that does its work otherwise
can be faster. Threads are bound to cores of their own.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench import machine
from bench.hamming import BITS

SIZES = (1 << 16, 1 << 20, 1 << 24, 1 << 28)
QUICK_SIZES = (1 << 20,)
SCANNED_SIZES = (*(1_000_000 * bits // 8 for bits in BITS), 80_000_000)
_PREFETCHED_WORDS = (0, 512)  # how far ahead a stream is asked for; the better one is the limit
_WARM_SECONDS = 1.2  # of all threads, before anything is measured
_CACHE_BYTES = 1 << 14
_CALL_AT_LEAST = 2e-3  # seconds
_SOURCE = Path(__file__).with_name("native") / "limits.cpp"

Limit = dict[str, Any]
Repeated = Callable[[int], None]


def build_native(folder: Path) -> ctypes.CDLL:
    """Compiles `native/limits.cpp` for this processor.

    Raises:
        OSError: there is no C++ compiler.
        subprocess.CalledProcessError: it failed.
    """
    library = folder / "limits.so"
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", str(_SOURCE), "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    native = ctypes.CDLL(str(library))
    native.read_words.restype = native.scan.restype = native.scan_32.restype = ctypes.c_uint64
    return native


def measure(native: ctypes.CDLL, threads: Iterable[int], quick: bool = False) -> list[Limit]:
    """Every limit for every number of threads; the native functions run in threads of their own, side by side."""
    seconds = 0.02 if quick else 0.3
    limits = []
    for count in threads:
        with _pool(count) as pool:
            _scan(native, pool, count, 64, 0.0 if quick else _WARM_SECONDS)
            for size in QUICK_SIZES if quick else SIZES:
                limits.append(_copy(native, pool, count, size, seconds))
                limits.append(_read(native, pool, count, size, seconds))
            for size in () if quick else SCANNED_SIZES:
                limits.append(_read(native, pool, count, size, seconds))
            limits += [_scan(native, pool, count, bits, seconds) for bits in BITS]
    return limits


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads on cores of their own, where there are enough."""
    cores = machine.usable_cores()
    free, lock = iter(cores), threading.Lock()

    def bind() -> None:
        with lock:
            os.sched_setaffinity(0, {next(free)})

    return ThreadPoolExecutor(threads, initializer=bind if threads <= len(cores) else None)


def _best(pool: ThreadPoolExecutor, calls: list[Repeated], seconds: float) -> float:
    """Median seconds of one pass of all calls, side by side; a call makes many passes, to outlast its own start."""
    passes = 1
    while _together(pool, calls, passes) < _CALL_AT_LEAST:
        passes *= 4
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        times.append(_together(pool, calls, passes) / passes)
    return median(times)


def _together(pool: ThreadPoolExecutor, calls: list[Repeated], passes: int) -> float:
    """Seconds until all calls are done."""
    begin = time.perf_counter()
    for future in [pool.submit(call, passes) for call in calls]:
        future.result()
    return time.perf_counter() - begin


def _words(count: int) -> torch.Tensor:
    return torch.randint(-(2**63), 2**63 - 1, (count,), dtype=torch.int64)


def _repeated(function: Any, *tensors: torch.Tensor, sizes: tuple[int, ...]) -> Repeated:
    """A native function over tensors; ctypes lets go of the interpreter meanwhile."""
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    numbers = [ctypes.c_size_t(size) for size in sizes]

    def run(passes: int) -> None:
        assert tensors  # they stay alive as long as the pointers
        function(*pointers, *numbers, ctypes.c_size_t(passes))

    return run


def _copy(native: ctypes.CDLL, pool: ThreadPoolExecutor, threads: int, size: int, seconds: float) -> Limit:
    """Bytes per second, read and written both counted; `size` is what a pass moves, over all threads."""
    each = size // 2 // threads // 512 * 512
    calls = [_repeated(native.copy_bytes, _words(each // 8), _words(each // 8), sizes=(each,)) for _ in range(threads)]
    return _limit("copy", threads, 2 * each * threads / _best(pool, calls, seconds), bytes=size)


def _read(native: ctypes.CDLL, pool: ThreadPoolExecutor, threads: int, size: int, seconds: float) -> Limit:
    count = size // threads // 512 * 64
    parts = [_words(count) for _ in range(threads)]
    times = []
    for ahead in _PREFETCHED_WORDS:
        calls = [_repeated(native.read_words, part, sizes=(count, ahead)) for part in parts]
        times.append(_best(pool, calls, seconds))
    return _limit("read", threads, 8 * count * threads / min(times), bytes=size)


def _scan(native: ctypes.CDLL, pool: ThreadPoolExecutor, threads: int, bits: int, seconds: float) -> Limit:
    codes = _CACHE_BYTES * 8 // bits
    function, sizes = (native.scan_32, (codes,)) if bits == 32 else (native.scan, (bits // 64, codes))
    calls = [
        _repeated(function, _words(4 * max(1, bits // 64)), _words(_CACHE_BYTES // 8), sizes=sizes)
        for _ in range(threads)
    ]
    return _limit("scan", threads, 4 * codes * threads / _best(pool, calls, seconds), bits=bits)


def _limit(name: str, threads: int, rate: float, **what: int) -> Limit:
    return {"name": name, "threads": threads, **what, "per_second": rate}
