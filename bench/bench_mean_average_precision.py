# SPDX-License-Identifier: Apache-2.0
"""mean_average_precision over the whole database, against sorting in plain torch."""

from __future__ import annotations

from typing import Any

import torch

from bench.inputs import clustered_codes, signs
from bench.plan import Benchmark, Call, Case, Library, Values

_CLASSES = 10


def _case(queries: int, rows: int, **options: Any) -> Case:
    bits = 64
    values = {"bits": bits, "N": rows, "Q": queries, "classes": _CLASSES}
    return Case(values, (queries + rows) * (bits // 8 + 8), queries * rows, "scan", **options)


def _data(values: Values, device: str) -> tuple[torch.Tensor, ...]:
    """Codes of queries and database, labels of both: some bits tell the class, as after training."""
    generator = torch.Generator().manual_seed(5)
    sides = []
    for seed, rows in ((1, values["Q"]), (2, values["N"])):
        labels = torch.randint(0, _CLASSES, (rows,), generator=generator)
        codes = clustered_codes(rows, values["bits"], seed).clone()
        codes[:, 0] = (labels * 25).to(torch.uint8)
        sides.append((codes.to(device), labels.to(device)))
    (queries, query_labels), (database, database_labels) = sides
    return queries, database, query_labels, database_labels


def _fasthash(values: Values, device: str) -> Call:
    from fasthash.metrics import mean_average_precision

    data = _data(values, device)
    return lambda: mean_average_precision(*data)


def _torch(values: Values, device: str) -> Call:
    """As training scripts do it: rank every item, then average the precision at the relevant ones."""
    queries, database, query_labels, database_labels = _data(values, device)
    expanded = signs(database, torch.float32).T
    rank = torch.arange(1, values["N"] + 1, device=device)

    def average(codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        order = (signs(codes, torch.float32) @ expanded).sort(dim=1, descending=True, stable=True).indices
        relevant = database_labels[order] == labels[:, None]
        precision = relevant.cumsum(1) / rank
        return (precision * relevant).sum(1) / relevant.sum(1)

    def mean() -> torch.Tensor:
        chunks = zip(queries.split(100), query_labels.split(100), strict=True)
        return torch.cat([average(codes, labels) for codes, labels in chunks]).mean()

    return mean


def _long(case: Case, device: str) -> bool:
    return device == "cpu" and case.work > 10_000_000


BENCHMARKS = [
    Benchmark(
        "mean_average_precision",
        unit="comparisons",
        cases=[
            _case(20, 1000, quick=True, devices=("cpu",)),
            _case(1000, 54_000, headline=True),
            _case(10_000, 1_000_000, devices=("cuda",)),
        ],
        libraries={
            "fasthash": Library(_fasthash, needs="fasthash.metrics:mean_average_precision"),
            "torch": Library(_torch, slow=_long, fits=lambda case, device: case.work <= 100_000_000),
        },
        check=float,
        tolerance=0.02,  # fasthash takes the mean over the orders of ties, sorting takes one of them
    )
]


def test_mean_average_precision(measure):
    measure()
