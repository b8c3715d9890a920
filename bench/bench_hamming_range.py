# SPDX-License-Identifier: Apache-2.0
"""hamming_range: all codes within a radius that about 100 of a million are in, against Faiss's flat index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.hamming import packed_sides, products, sides, size, torch_fits
from bench.plan import Benchmark, Call, Case, Library, Values

_RADIUS = {("random", 64): 17, ("clustered", 64): 5, ("random", 256): 98, ("clustered", 256): 29}
_ABOUT_FOUND = 100


def _case(data: str, bits: int, rows: int, queries: int, **options: Any) -> Case:
    values = {"bits": bits, "N": rows, "Q": queries, "radius": _RADIUS[data, bits], "data": data}
    moved = (queries + rows) * size(bits) + queries * _ABOUT_FOUND * 12
    return Case(values, moved, queries * rows, "scan", **options)


def _cases() -> list[Case]:
    cases = [_case("random", 64, 2000, 8, quick=True, devices=("cpu",)), _case("random", 64, 100_000, 32)]
    return cases + [_case(*of, 1_000_000, 1000, headline=of[0] == "clustered") for of in _RADIUS]


def _fasthash(values: Values, device: str) -> Call:
    from fasthash.ops import hamming_range

    queries, database = packed_sides(values, device)
    return lambda: hamming_range(queries, database, values["radius"])[:2]


def _reference(values: Values, device: str) -> Call:
    from fasthash.reference import hamming_range

    queries, database = sides(values, device)
    return lambda: hamming_range(queries, database, values["radius"])[:2]


def _torch(values: Values, device: str) -> Call:
    """±1 matrix product, then the places of what is large enough, in the order of ids."""
    queries, database = sides(values, device)
    bits = 8 * queries.shape[1]
    dots = products(queries, database)

    def search() -> tuple[Tensor, Tensor]:
        parts = [_within(part, bits, values["radius"]) for part in dots()]
        counts = torch.cat([counts for counts, _, _ in parts])
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        return offsets, torch.cat([distances for _, _, distances in parts])

    return search


def _within(dots: Tensor, bits: int, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of a chunk: how many each query has, their ids, their distances."""
    near = dots >= bits - 2 * radius
    return near.sum(1), near.nonzero()[:, 1], ((bits - dots[near].float()) * 0.5).to(torch.int32)


def _faiss(values: Values, device: str) -> Call:
    import faiss

    queries, database = (side.numpy() for side in sides(values, device))
    index = faiss.IndexBinaryFlat(8 * database.shape[1])
    index.add(database)
    return lambda: index.range_search(queries, values["radius"] + 1)[:2]  # it takes what is nearer than this


def _check(found: Any) -> float:
    """The number of codes found, and the sum of their distances."""
    offsets, distances = (torch.as_tensor(part) for part in found)
    return float(int(offsets[-1]) * 1000 + int(distances.sum(dtype=torch.int64)))


BENCHMARKS = [
    Benchmark(
        "hamming_range",
        unit="comparisons",
        cases=_cases(),
        libraries={
            "fasthash": Library(_fasthash, needs="fasthash.ops:hamming_range"),
            "reference": Library(_reference, fits=torch_fits),
            "torch": Library(_torch, fits=torch_fits),
            "faiss": Library(_faiss, needs="faiss", devices=("cpu",)),
        },
        check=_check,
    )
]


def test_hamming_range(measure):
    measure()
