# SPDX-License-Identifier: Apache-2.0
"""pack_codes and unpack_codes, float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.inputs import compiled, normal, random_codes
from bench.plan import Benchmark, Call, Case, Library, Values


def _cases() -> list[Case]:
    def case(rows: int, **options: Any) -> Case:
        bits = 64
        return Case({"rows": rows, "bits": bits}, rows * bits * 4 + rows * bits // 8, rows * bits, "copy", **options)

    return [
        case(1000, quick=True, devices=("cpu",)),
        case(54_000),
        case(1_000_000, headline=True),
        case(4_000_000, devices=("cuda",)),
    ]


def _codes(values: Values, device: str) -> torch.Tensor:
    return normal(values["rows"], values["bits"], device=device)


def _packing(package: str) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        function, codes = _function(package, "pack_codes"), _codes(values, device)
        return lambda: function(codes)

    return prepare


def _unpacking(package: str) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        function = _function(package, "unpack_codes")
        packed, bits = random_codes(values["rows"], values["bits"], 1, device), values["bits"]
        return lambda: function(packed, bits)

    return prepare


def _function(package: str, name: str) -> Callable[..., Any]:
    import fasthash.ops
    import fasthash.reference

    module = fasthash.ops if package == "fasthash" else fasthash.reference
    function = getattr(module, name)
    return compiled(function) if package == "compiled" else function


def _numpy_pack(values: Values, device: str) -> Call:
    codes = _codes(values, device).numpy()
    return lambda: np.packbits(codes >= 0, axis=-1)


def _numpy_unpack(values: Values, device: str) -> Call:
    packed = random_codes(values["rows"], values["bits"], 1, device).numpy()
    return lambda: np.unpackbits(packed, axis=-1).astype(np.float32) * 2 - 1


def _libraries(
    name: str, packages: Callable[[str], Callable[[Values, str], Call]], numpy: Callable[[Values, str], Call]
) -> dict[str, Library]:
    return {
        "fasthash": Library(packages("fasthash"), needs=f"fasthash.ops:{name}"),
        "reference": Library(packages("reference")),
        "numpy": Library(numpy, devices=("cpu",)),
        "compiled": Library(packages("compiled"), warm_up=4, quick=False, devices=("cuda",)),
    }


def _sum(output: Any) -> float:
    """Of bytes or of ±1: exact, and the same for tensors and arrays."""
    return float(torch.as_tensor(output).sum(dtype=torch.float64))


BENCHMARKS = [
    Benchmark("pack_codes", "bits", _cases(), _libraries("pack_codes", _packing, _numpy_pack), check=_sum),
    Benchmark("unpack_codes", "bits", _cases(), _libraries("unpack_codes", _unpacking, _numpy_unpack), check=_sum),
]


def test_pack_codes(measure):
    measure()


def test_unpack_codes(measure):
    measure()
