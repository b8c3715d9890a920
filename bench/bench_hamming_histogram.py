# SPDX-License-Identifier: Apache-2.0
"""hamming_histogram: counts by distance, against torch's own way, and beside a scan that keeps the nearest code alone.

That scan is hamming_topk with k = 1: the least that a look at all codes costs. Its result is another one.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from bench.hamming import packed_sides, products, sides, size, torch_fits
from bench.plan import Benchmark, Call, Case, Library, Values
from fasthash.types import HammingHistogram, HammingTopK

_CLASSES = 10


def _case(bits: int, rows: int, queries: int, labels: str, data: str = "clustered", **options: Any) -> Case:
    values = {"bits": bits, "N": rows, "Q": queries, "labels": labels, "data": data}
    moved = (queries + rows) * size(bits) + queries * (8 * size(bits) + 1) * 8
    return Case(values, moved, queries * rows, "scan", **options)


def _cases() -> list[Case]:
    cases = [_case(64, 2000, 8, labels, quick=True, devices=("cpu",)) for labels in ("no", "yes")]
    cases += [_case(bits, 100_000, 32, "no", "random") for bits in (64, 256)]
    cases += [_case(bits, 1_000_000, 1000, "no", headline=True) for bits in (64, 256)]
    cases += [_case(bits, 1_000_000, 1000, "yes") for bits in (64, 256)]
    return [*cases, *(_case(64, 1_000_000, 10_000, labels, devices=("cuda",)) for labels in ("no", "yes"))]


def _labels(values: Values, device: str) -> list[torch.Tensor]:
    """Class ids of both sides, or nothing."""
    if values["labels"] == "no":
        return []
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, _CLASSES, (values[side],), generator=generator).to(device) for side in ("Q", "N")]


def _fasthash(values: Values, device: str) -> Call:
    from fasthash.ops import hamming_histogram

    queries, database = packed_sides(values, device)
    labels = _labels(values, device)
    return lambda: hamming_histogram(queries, database, *labels)


def _reference(values: Values, device: str) -> Call:
    from fasthash.reference import hamming_histogram

    queries, database = sides(values, device)
    labels = _labels(values, device)
    return lambda: hamming_histogram(queries, database, *labels)


def _torch(values: Values, device: str) -> Call:
    """±1 matrix product, then one bincount over all queries of a chunk."""
    queries, database = sides(values, device)
    bits = 8 * queries.shape[1]
    dots = products(queries, database)

    def count(part: torch.Tensor) -> torch.Tensor:
        first = torch.arange(len(part), device=device)[:, None] * (bits + 1)
        places = ((bits - part.float()) * 0.5).long().add_(first)
        return torch.bincount(places.flatten(), minlength=len(part) * (bits + 1)).view(len(part), -1)

    def histogram() -> HammingHistogram:
        total = torch.cat([count(part) for part in dots()])
        return HammingHistogram(total, total.new_zeros(0))

    return histogram


def _scan_alone(values: Values, device: str) -> Call:
    from fasthash.ops import hamming_topk

    queries, database = packed_sides(values, device)
    return lambda: hamming_topk(queries, database, 1)


def _without_labels(case: Case, device: str) -> bool:
    return case.values["labels"] == "no"


def _check(output: HammingHistogram | HammingTopK) -> float:
    """The sum of all distances, and of the relevant ones."""
    if isinstance(output, HammingTopK):
        return math.nan
    distances = torch.arange(output.total.shape[1], device=output.total.device)
    counts = [part for part in output if part.numel()]
    return float(sum((factor + 1) * int((part * distances).sum()) for factor, part in enumerate(counts)))


BENCHMARKS = [
    Benchmark(
        "hamming_histogram",
        unit="comparisons",
        cases=_cases(),
        libraries={
            "fasthash": Library(_fasthash, needs="fasthash.ops:hamming_histogram"),
            "reference": Library(_reference, fits=torch_fits),
            "torch": Library(_torch, fits=lambda *of: torch_fits(*of) and _without_labels(*of)),
            "topk_1": Library(_scan_alone, needs="fasthash.ops:hamming_topk", fits=_without_labels),
        },
        check=_check,
    )
]


def test_hamming_histogram(measure):
    measure()
