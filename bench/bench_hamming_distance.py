# SPDX-License-Identifier: Apache-2.0
"""hamming_distance: the full matrix of distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bench.inputs import random_codes, signs
from bench.plan import Benchmark, Call, Case, Library, Values


def _case(queries: int, rows: int, **options: Any) -> Case:
    bits = 64
    moved = (queries + rows) * bits // 8 + queries * rows * 4
    return Case({"bits": bits, "N": rows, "Q": queries}, moved, queries * rows, "copy", **options)


def _codes(values: Values, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        random_codes(values["Q"], values["bits"], 1, device),
        random_codes(values["N"], values["bits"], 2, device),
    )


def _fasthash(values: Values, device: str) -> Call:
    from fasthash.ops import hamming_distance

    queries, database = _codes(values, device)
    return lambda: hamming_distance(queries, database)


def _reference(values: Values, device: str) -> Call:
    from fasthash.reference import hamming_distance

    queries, database = _codes(values, device)
    return lambda: hamming_distance(queries, database)


def _torch(values: Values, device: str) -> Call:
    """±1 matrix product, both sides expanded beforehand; sums of up to 256 terms are exact in bfloat16."""
    queries, database = (signs(codes, torch.bfloat16) for codes in _codes(values, device))
    bits = values["bits"]
    return lambda: ((bits - queries @ database.T) * 0.5).to(torch.int32)


def _faiss(values: Values, device: str) -> Call:
    import faiss

    queries, database = (codes.numpy() for codes in _codes(values, device))

    def distances() -> np.ndarray:
        output = np.empty((len(queries), len(database)), np.int32)
        pointers = (faiss.swig_ptr(queries), faiss.swig_ptr(database))
        faiss.hammings(*pointers, len(queries), len(database), queries.shape[1], faiss.swig_ptr(output))
        return output

    return distances


BENCHMARKS = [
    Benchmark(
        "hamming_distance",
        unit="comparisons",
        cases=[_case(20, 2000, quick=True, devices=("cpu",)), _case(1000, 54_000, headline=True)],
        libraries={
            "fasthash": Library(_fasthash, needs="fasthash.ops:hamming_distance"),
            "reference": Library(_reference),
            "torch": Library(_torch),
            "faiss": Library(_faiss, needs="faiss", devices=("cpu",)),
        },
        check=lambda output: float(torch.as_tensor(output).sum(dtype=torch.int64)),
    )
]


def test_hamming_distance(measure):
    measure()
