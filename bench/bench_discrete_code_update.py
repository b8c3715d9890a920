# SPDX-License-Identifier: Apache-2.0
"""discrete_code_update: one sweep over the codes of all items, beside the matrix products it stands for."""

from __future__ import annotations

from typing import Any

import torch

from bench.inputs import normal
from bench.plan import Benchmark, Call, Case, Library, Values

_SAMPLES, _CLASSES, _TAGS = 2000, 10, 21


def _case(rows: int, bits: int, labels: str = "ids", **options: Any) -> Case:
    # Codes read once and written once. Work: multiplications of codes with the Gram matrix.
    values = {"rows": rows, "samples": _SAMPLES, "bits": bits, "labels": labels}
    return Case(values, 2 * rows * bits, rows * bits * bits, **options)


def _inputs(values: Values, device: str) -> dict[str, torch.Tensor]:
    """Codes, relaxed codes, labels as ids or as a bool matrix, and the positions of the samples."""
    generator = torch.Generator().manual_seed(7)
    rows, bits = values["rows"], values["bits"]
    if values["labels"] == "ids":
        labels = torch.randint(0, _CLASSES, (rows,), generator=generator)
    else:
        labels = torch.rand(rows, _TAGS, generator=generator) < 0.1
    return {
        "codes": (torch.randint(0, 2, (rows, bits), generator=generator, dtype=torch.int8) * 2 - 1).to(device),
        "relaxed": (normal(_SAMPLES, bits, device=device) * 2).tanh(),
        "labels": labels.to(device),
        "positions": torch.randperm(rows, generator=generator)[:_SAMPLES].to(device),
    }


def _fasthash(values: Values, device: str) -> Call:
    """As `DiscreteCodes` calls it: labels are grouped once, before the training."""
    from fasthash import ops
    from fasthash.ops.discrete_code_update import group_labels

    given = _inputs(values, device)
    labels = given["labels"] if values["labels"] == "ids" else ops.pack_codes(given["labels"])
    groups, asked = group_labels(labels), labels[given["positions"]]
    return lambda: ops.discrete_code_update(given["codes"], given["relaxed"], groups, asked, dissimilar=0.5).codes


def _similarity(given: dict[str, torch.Tensor]) -> torch.Tensor:
    labels = given["labels"]
    asked = labels[given["positions"]]
    related = asked.unsqueeze(1) == labels if labels.dim() == 1 else asked.float() @ labels.float().T > 0
    return torch.where(related, 1.0, -0.5)


def _matrices(values: Values, device: str) -> Call:
    """The usual way: the matrix of similarities is there beforehand, and is not counted."""
    given = _inputs(values, device)
    u, start, similarity = given["relaxed"], given["codes"].float(), _similarity(given)

    def update() -> torch.Tensor:
        v, target, gram = start.clone(), u.shape[1] * (similarity.T @ u), u.T @ u
        for k in range(v.shape[1]):
            column = gram[:, k].clone()
            column[k] = 0
            total = target[:, k] - v @ column
            v[:, k] = torch.where(total < 0, -1.0, 1.0)
        return v.to(torch.int8)

    return update


def _product(values: Values, device: str) -> Call:
    """The limit: one float32 matrix product (N, K) x (K, K), which has as many multiplications as a sweep."""
    given = _inputs(values, device)
    v, gram = given["codes"].float(), given["relaxed"].T @ given["relaxed"]
    return lambda: v @ gram


BENCHMARKS = [
    Benchmark(
        "discrete_code_update",
        unit="multiplications",
        cases=[
            _case(5_000, 48, quick=True),
            _case(50_000, 48, headline=True),
            _case(50_000, 12),
            _case(50_000, 128),
            _case(50_000, 48, "multi-hot"),
        ],
        libraries={
            "fasthash": Library(_fasthash, needs="fasthash.ops:discrete_code_update"),
            "matrices": Library(_matrices),
            "product": Library(_product),
        },
        # Single bits may be decided by rounding, and the product is another thing by intention.
        check=lambda codes: float(codes.double().sum(1).square().sum()) if codes.dtype == torch.int8 else float("nan"),
        tolerance=1e-3,
    )
]


def test_discrete_code_update(measure):
    measure()
