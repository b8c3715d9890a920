# SPDX-License-Identifier: Apache-2.0
"""tanh_quantize: codes, l2 penalty and amplified gradient, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.inputs import compiled, normal
from bench.plan import Benchmark, Call, Case, Library, Values


def _case(rows: int, dtype: str = "float32", **options: Any) -> Case:
    bits = 64
    # Forward reads logits and writes codes; backward reads logits and gradient and writes a gradient.
    moved = 5 * rows * bits * getattr(torch, dtype).itemsize
    return Case({"rows": rows, "bits": bits, "dtype": dtype}, moved, rows * bits, limit="copy", **options)


def _steps(function: Callable[..., Any], values: Values, device: str) -> Call:
    dtype = getattr(torch, values["dtype"])
    shape = (values["rows"], values["bits"])
    logits = (normal(*shape, device=device) * 2).to(dtype).requires_grad_()
    grad_codes = normal(*shape, device=device, dtype=dtype, seed=1)
    grad_penalty = torch.ones((), device=device)

    def step() -> torch.Tensor:
        output = function(logits, 1.0)
        return torch.autograd.grad((output.codes, output.penalty), logits, (grad_codes, grad_penalty))[0]

    return step


def _fasthash(values: Values, device: str) -> Call:
    from fasthash.ops import tanh_quantize

    return _steps(tanh_quantize, values, device)


def _reference(values: Values, device: str) -> Call:
    from fasthash.reference import tanh_quantize

    return _steps(tanh_quantize, values, device)


def _compiled(values: Values, device: str) -> Call:
    from fasthash.reference import tanh_quantize

    return _steps(compiled(tanh_quantize), values, device)


BENCHMARKS = [
    Benchmark(
        "tanh_quantize",
        unit="elements",
        cases=[
            _case(128, quick=True),
            _case(1024, headline=True),
            _case(1024, "bfloat16"),
            _case(8192),
            _case(54_000, headline=True),
            _case(1_000_000, devices=("cuda",), headline=True),
            _case(1_000_000, "bfloat16", devices=("cuda",)),
        ],
        libraries={
            "fasthash": Library(_fasthash, needs="fasthash.ops:tanh_quantize"),
            "reference": Library(_reference),
            "compiled": Library(_compiled, warm_up=4, quick=False),
        },
        check=lambda gradient: float(gradient.double().abs().sum()),
        tolerance=1e-3,
    )
]


def test_tanh_quantize(measure):
    measure()
