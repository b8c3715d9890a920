# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of the Hamming operators share: both sides of a search, and who can run which of its cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.inputs import codes, signs
from bench.plan import Call, Case, Library, Values

if TYPE_CHECKING:
    from fasthash.types import PackedDatabase

BITS = (32, 64, 128, 256, 512, 1024)
DATA = ("random", "clustered")
AVX2 = {"fasthash": {"FASTHASH_ISA": "avx2"}, "faiss": {"FAISS_SIMD_LEVEL": "AVX2"}}

_TORCH_DISTANCES = 1 << 27  # held at once by torch's way
_TORCH_COMPARISONS = 3_200_000  # more take it seconds on a CPU
_FAISS_COMPARISONS = 500_000_000


def sides(values: Values, device: str) -> tuple[Tensor, Tensor]:
    """Packed codes of the queries and of the database; `data` is random and Q 1 where the case does not say."""
    data, bits = values.get("data", "random"), values["bits"]
    return codes(data, values.get("Q", 1), bits, 1, device), codes(data, values["N"], bits, 2, device)


def packed_sides(values: Values, device: str) -> tuple[Tensor, PackedDatabase]:
    """The same with the database in the layout that searches read, laid out here and so not timed."""
    from fasthash.ops import prepare_database

    queries, database = sides(values, device)
    return queries, prepare_database(database)


def size(bits: int) -> int:
    """Bytes of a packed code."""
    return -(-bits // 8)


def products(queries: Tensor, database: Tensor, dtype: torch.dtype | None = None) -> Callable[[], Iterator[Tensor]]:
    """Dot products of ±1 in chunks of queries, the database expanded beforehand.

    Sums are exact: bfloat16 holds integers up to 256, float16 up to 2048; `_int_mm` sums int8 in int32.
    """
    dtype = dtype or (torch.bfloat16 if queries.shape[1] <= 32 else torch.float16)
    expanded = signs(database, dtype).T
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    chunk = max(1, _TORCH_DISTANCES // len(database))
    return lambda: (multiply(signs(part, dtype), expanded) for part in queries.split(chunk))


def torch_fits(case: Case, device: str) -> bool:
    """Within the patience of torch's ways and of the reference: small cases on a CPU, all on a GPU."""
    return device == "cuda" or case.work <= _TORCH_COMPARISONS


def takes_faiss_long(case: Case, device: str) -> bool:
    """Cases that Faiss is asked once: large ones, but for two that take it less than a second."""
    often = case.headline and case.values["k"] == 10
    return case.work >= _FAISS_COMPARISONS and not often


def at_avx2(prepare: Callable[[Values, str], Call], library: str, **options: Any) -> Library:
    """Holds fasthash or Faiss to AVX2; preparing fails where that had no effect."""

    def checked(values: Values, device: str) -> Call:
        used = _level(library).lower()
        if used != "avx2":
            raise RuntimeError(f"{library} was to use AVX2, and uses {used}")
        return prepare(values, device)

    needs = "fasthash" if library == "fasthash" else "faiss"
    told = {"needs": needs, "lacks": _lacks_avx2, "devices": ("cpu",), "environment": AVX2[library]}
    return Library(checked, **told, **options)


def _level(library: str) -> str:
    """The instruction set in use, by its own name."""
    if library == "fasthash":
        import fasthash

        return str(fasthash.build_info()["machines"]["in_use"])
    import faiss

    return str(faiss.SIMDConfig.get_level_name())


def _lacks_avx2() -> str | None:
    import fasthash

    return None if "avx2" in fasthash.build_info()["machines"]["available"] else "this processor has no AVX2"
