# SPDX-License-Identifier: Apache-2.0
"""hamming_topk: exact search, against the reference, torch's own way and Faiss's two flat variants."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from bench.inputs import codes, signs
from bench.plan import Benchmark, Call, Case, Library, Values

_TORCH_DISTANCES = 1 << 27  # held at once by torch's way


def _case(bits: int, rows: int, queries: int, k: int, data: str = "random", **options: Any) -> Case:
    moved = (queries + rows) * bits // 8 + queries * k * 12
    values = {"bits": bits, "N": rows, "Q": queries, "k": k, "data": data}
    options.setdefault("limit", "read" if queries == 1 else "scan")
    return Case(values, moved, queries * rows, **options)


def _cases() -> list[Case]:
    cases = [_case(64, 2000, 8, 10, quick=True, devices=("cpu",))]
    sizes = product((64, 256), (100_000, 1_000_000), (1, 32, 1000), (10, 100, 1000))
    for bits, rows, queries, k in sizes:
        headline = rows == 1_000_000 and (queries, k) in ((1, 10), (1000, 10), (1000, 1000))
        cases.append(_case(bits, rows, queries, k, headline=headline))
    cases += [_case(64, 1_000_000, 1000, k, "clustered") for k in (10, 1000)]
    cases += [_case(bits, 10_000_000, queries, 100, devices=("cuda",)) for bits in (64, 256) for queries in (1, 1000)]
    return cases


def _codes(values: Values, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    data, bits = values["data"], values["bits"]
    return codes(data, values["Q"], bits, 1, device), codes(data, values["N"], bits, 2, device)


def _fasthash(values: Values, device: str) -> Call:
    from fasthash.ops import hamming_topk

    queries, database = _codes(values, device)
    return lambda: hamming_topk(queries, database, values["k"]).distances


def _reference(values: Values, device: str) -> Call:
    from fasthash.reference import hamming_topk

    queries, database = _codes(values, device)
    return lambda: hamming_topk(queries, database, values["k"]).distances


def _torch(values: Values, device: str) -> Call:
    """±1 bfloat16 matrix product (exact up to 256 bits), then topk; the database is expanded beforehand."""
    queries, database = _codes(values, device)
    expanded = signs(database, torch.bfloat16).T
    chunk = max(1, _TORCH_DISTANCES // values["N"])

    def search() -> torch.Tensor:
        parts = [(signs(part, torch.bfloat16) @ expanded).topk(values["k"]) for part in queries.split(chunk)]
        return (values["bits"] - torch.cat([part.values for part in parts]).float()) * 0.5

    return search


def _faiss(variant: str) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        import faiss

        queries, database = (side.numpy() for side in _codes(values, device))
        return lambda: faiss.knn_hamming(queries, database, values["k"], variant=variant)[0]

    return prepare


def _up_to(comparisons: int) -> Callable[[Case, str], bool]:
    """Within the patience of slow libraries on a CPU, and of any on a GPU."""
    return lambda case, device: case.work <= comparisons or device == "cuda"


def _from(comparisons: int) -> Callable[[Case, str], bool]:
    return lambda case, device: case.work >= comparisons


BENCHMARKS = [
    Benchmark(
        "hamming_topk",
        unit="comparisons",
        cases=_cases(),
        libraries={
            "fasthash": Library(_fasthash, needs="fasthash.ops:hamming_topk"),
            "reference": Library(_reference, fits=_up_to(32_000_000), slow=_from(30_000_000)),
            "torch": Library(_torch, fits=_up_to(100_000_000), slow=_from(30_000_000)),
            "faiss_hc": Library(_faiss("hc"), needs="faiss", devices=("cpu",)),
            "faiss_mc": Library(_faiss("mc"), needs="faiss", devices=("cpu",)),
        },
        check=lambda distances: float(torch.as_tensor(distances).sum(dtype=torch.float64)),
    )
]


def test_hamming_topk(measure):
    measure()
