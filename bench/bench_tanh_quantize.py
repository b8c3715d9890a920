# SPDX-License-Identifier: Apache-2.0
"""tanh_quantize: codes, l2 penalty and amplified gradient; forward and backward together, and each alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.inputs import compiled, normal
from bench.plan import Benchmark, Call, Case, Library, Values

# Tensors read and written: logits and codes forward, logits, gradient and gradient backward.
_TENSORS = {"step": 5, "forward": 2, "backward": 3}


def _case(part: str, rows: int, dtype: str = "float32", **options: Any) -> Case:
    bits = 64
    moved = _TENSORS[part] * rows * bits * getattr(torch, dtype).itemsize
    return Case({"rows": rows, "bits": bits, "dtype": dtype}, moved, rows * bits, limit="copy", **options)


def _call(part: str, function: Callable[..., Any], values: Values, device: str) -> Call:
    dtype = getattr(torch, values["dtype"])
    shape = (values["rows"], values["bits"])
    logits = (normal(*shape, device=device) * 2).to(dtype).requires_grad_()
    gradients = normal(*shape, device=device, dtype=dtype, seed=1), torch.ones((), device=device)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return function(logits, 1.0).codes

    def step() -> torch.Tensor:
        output = function(logits, 1.0)
        return torch.autograd.grad((output.codes, output.penalty), logits, gradients)[0]

    if part != "backward":
        return forward if part == "forward" else step
    kept = function(logits, 1.0)

    def backward() -> torch.Tensor:
        return torch.autograd.grad((kept.codes, kept.penalty), logits, gradients, retain_graph=True)[0]

    return backward


def _fasthash(part: str) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        from fasthash.ops import tanh_quantize

        return _call(part, tanh_quantize, values, device)

    return prepare


def _reference(part: str, compile_it: bool = False) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        from fasthash.reference import tanh_quantize

        return _call(part, compiled(tanh_quantize) if compile_it else tanh_quantize, values, device)

    return prepare


def _benchmark(name: str, part: str, cases: list[Case]) -> Benchmark:
    return Benchmark(
        name,
        unit="elements",
        cases=cases,
        libraries={
            "fasthash": Library(_fasthash(part), needs="fasthash.ops:tanh_quantize"),
            "reference": Library(_reference(part)),
            "compiled": Library(_reference(part, compile_it=True), warm_up=4, quick=False),
        },
        check=lambda result: float(result.double().abs().sum()),
        tolerance=1e-3,
    )


def _parts(part: str) -> list[Case]:
    return [
        _case(part, 128, quick=True),
        _case(part, 1024),
        _case(part, 54_000),
        _case(part, 1_000_000, devices=("cuda",)),
        _case(part, 1_000_000, "bfloat16", devices=("cuda",)),
    ]


BENCHMARKS = [
    _benchmark(
        "tanh_quantize",
        "step",
        [
            _case("step", 128, quick=True),
            _case("step", 1024, headline=True),
            _case("step", 1024, "bfloat16"),
            _case("step", 8192),
            _case("step", 54_000, headline=True),
            _case("step", 1_000_000, devices=("cuda",), headline=True),
            _case("step", 1_000_000, "bfloat16", devices=("cuda",)),
        ],
    ),
    _benchmark("tanh_quantize_forward", "forward", _parts("forward")),
    _benchmark("tanh_quantize_backward", "backward", _parts("backward")),
]


def test_tanh_quantize(measure):
    measure()


def test_tanh_quantize_forward(measure):
    measure()


def test_tanh_quantize_backward(measure):
    measure()
