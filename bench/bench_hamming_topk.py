# SPDX-License-Identifier: Apache-2.0
"""hamming_topk: exact search, against Faiss's flat variants, USearch, torch's own ways and the reference.

`hamming_topk` has many queries, `hamming_topk_one` a single one, `hamming_topk_allow` a mask of the codes allowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch

from bench.hamming import BITS, DATA, at_avx2, packed_sides, products, sides, size, takes_faiss_long, torch_fits
from bench.plan import Benchmark, Call, Case, Library, Values

_MILLION = 1_000_000
_FOUND_BYTES = 12  # a distance and an id


def _case(bits: int, rows: int, queries: int, k: int, data: str = "random", **options: Any) -> Case:
    moved = (queries + rows) * size(bits) + queries * k * _FOUND_BYTES
    return Case({"bits": bits, "N": rows, "Q": queries, "k": k, "data": data}, moved, queries * rows, "scan", **options)


def _many() -> list[Case]:
    cases = [_case(64, 2000, 8, 10, quick=True, devices=("cpu",))]
    for data, bits, k in product(DATA, BITS, (10, 100, 1000)):
        headline = data == "clustered" and bits in (64, 256) and k != 100
        devices = ("cpu", "cuda") if data == "random" or bits in (64, 256) else ("cpu",)
        cases.append(_case(bits, _MILLION, 1000, k, data, headline=headline, devices=devices))
    cases += [_case(bits, _MILLION, 1000, 10, "clustered") for bits in (60, 100)]
    cases += [_case(bits, _MILLION, 32, 10, "clustered") for bits in (64, 256)]
    cases += [_case(64, 100_000, 1000, 1000, data) for data in DATA]
    cases += [_case(bits, 100_000, 32, 10) for bits in (64, 256)]
    return [*cases, *_many_on_gpu()]


def _many_on_gpu() -> list[Case]:
    cases = [_case(bits, 10 * _MILLION, 1000, 100, devices=("cuda",)) for bits in (64, 256)]
    cases += [_case(bits, 10 * _MILLION, 32, 100, devices=("cuda",)) for bits in (64, 256, 1024)]
    for bits, k in product((64, 256, 1024), (10, 100, 1000, 10_000)):
        cases.append(_case(bits, 10 * _MILLION, 10_000, k, devices=("cuda",), headline=k == 100))
    return [*cases, *(_case(64, 1000 * _MILLION, queries, 100, devices=("cuda",)) for queries in (32, 1000))]


def _one_case(bits: int, rows: int, k: int, **options: Any) -> Case:
    moved = (rows + 1) * size(bits) + k * _FOUND_BYTES
    return Case({"bits": bits, "N": rows, "k": k}, moved, rows, "read", **options)


def _one() -> list[Case]:
    """A million codes of 64 bits fit a cache; ten million, or a million of 512 bits and more, are read from memory."""
    cases = [_one_case(64, 2000, 10, quick=True, devices=("cpu",))]
    cases += [_one_case(bits, _MILLION, 10, headline=bits in (64, 256)) for bits in BITS]
    cases += [_one_case(64, _MILLION, k) for k in (100, 1000)]
    cases += [_one_case(bits, 10 * _MILLION, 10, devices=devices) for bits, devices in _MANY_CODES]
    return [*cases, _one_case(64, 1000 * _MILLION, 10, devices=("cuda",), headline=True)]


_MANY_CODES = ((64, ("cpu", "cuda")), (256, ("cuda",)), (1024, ("cuda",)))


def _allow_case(bits: int, rows: int, queries: int, allow: str, **options: Any) -> Case:
    values = {"bits": bits, "N": rows, "Q": queries, "k": 10, "data": "clustered", "allow": allow}
    moved = (queries + rows) * size(bits) + queries * 10 * _FOUND_BYTES + rows // 8
    return Case(values, moved, queries * rows, "scan", **options)


def _allow() -> list[Case]:
    cases = [_allow_case(64, 2000, 8, "50 %", quick=True, devices=("cpu",))]
    return cases + [_allow_case(bits, _MILLION, 1000, allow) for bits in (64, 256) for allow in ("all", "50 %", "1 %")]


def _allowed(values: Values) -> torch.Tensor | None:
    """(N,) bool, None where all codes are."""
    if values["allow"] == "all":
        return None
    part = float(values["allow"].removesuffix(" %")) / 100
    return torch.rand(values["N"], generator=torch.Generator().manual_seed(3)) < part


def _fasthash(values: Values, device: str) -> Call:
    from fasthash.ops import hamming_topk

    queries, database = packed_sides(values, device)
    return lambda: hamming_topk(queries, database, values["k"]).distances


def _fasthash_rows(values: Values, device: str) -> Call:
    from fasthash.ops import hamming_topk

    queries, database = sides(values, device)
    return lambda: hamming_topk(queries, database, values["k"]).distances


def _fasthash_allow(values: Values, device: str) -> Call:
    from fasthash.ops import hamming_topk

    queries, database = packed_sides(values, device)
    allowed = _allowed(values)
    allow = None if allowed is None else torch.from_numpy(np.packbits(allowed.numpy())).to(device)
    return lambda: hamming_topk(queries, database, values["k"], allow=allow).distances


def _reference(values: Values, device: str) -> Call:
    from fasthash.reference import hamming_topk

    queries, database = sides(values, device)
    return lambda: hamming_topk(queries, database, values["k"]).distances


def _torch(dtype: torch.dtype | None) -> Callable[[Values, str], Call]:
    """±1 matrix product, then topk."""

    def prepare(values: Values, device: str) -> Call:
        queries, database = sides(values, device)
        dots = products(queries, database, dtype)

        def search() -> torch.Tensor:
            found = torch.cat([part.topk(values["k"]).values for part in dots()])
            return (8 * queries.shape[1] - found.float()) * 0.5

        return search

    return prepare


def _faiss(variant: str) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        import faiss

        queries, database = (side.numpy() for side in sides(values, device))
        return lambda: faiss.knn_hamming(queries, database, values["k"], variant=variant)[0]

    return prepare


def _faiss_allow(values: Values, device: str) -> Call:
    import faiss

    queries, database = (side.numpy() for side in sides(values, device))
    index = faiss.IndexBinaryFlat(8 * database.shape[1])
    index.add(database)
    allowed = _allowed(values)
    if allowed is None:
        return lambda: index.search(queries, values["k"])[0]
    bitmap = np.packbits(allowed.numpy(), bitorder="little")
    chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bitmap))
    return lambda: index.search(queries, values["k"], params=chosen)[0]


def _usearch(values: Values, device: str) -> Call:
    from usearch.index import MetricKind, ScalarKind, search

    queries, database = (side.numpy() for side in sides(values, device))
    kinds = {"metric": MetricKind.Hamming, "dtype": ScalarKind.B1, "exact": True}

    def run() -> np.ndarray:
        # Its threads are made by each call, and may run where the calling one may: OpenMP bound that to one core.
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        return np.asarray(search(database, queries, values["k"], threads=torch.get_num_threads(), **kinds).distances)

    return run


def _torch_alone(case: Case, device: str) -> bool:
    """A million codes or ten, whose expansion fits a GPU."""
    return device == "cuda" and case.values["N"] <= 10 * _MILLION


def _once(case: Case, device: str) -> bool:
    """The two large searches of which ways that take seconds are asked on a CPU, and asked once."""
    values = case.values
    return device == "cpu" and case.headline and (values["N"], values["Q"], values["k"]) == (_MILLION, 1000, 10)


def _torch_way(case: Case, device: str) -> bool:
    """Of the largest searches, which take it seconds, one k; and none of an expansion beyond a GPU's memory."""
    values = case.values
    if _once(case, device):
        return True
    largest = values["N"] * values["Q"] > 10_000 * _MILLION
    return torch_fits(case, device) and values["N"] <= 10 * _MILLION and (not largest or values["k"] == 100)


def _reference_way(case: Case, device: str) -> bool:
    return torch_fits(case, device) and case.work <= 1000 * _MILLION


def _small_batch(case: Case, device: str) -> bool:
    """One of USearch's patience: its search goes through all pairs."""
    return _once(case, device) or (case.values["Q"] <= 32 and case.values["N"] <= 100_000)


def _rows_too(case: Case, device: str) -> bool:
    """Where it is shown what searching plain rows costs."""
    values = case.values
    return values["bits"] in (64, 256) and values["N"] == _MILLION and values["k"] == 10 and device == "cpu"


def _compared_at_avx2(case: Case, device: str) -> bool:
    values = case.values
    kind = (values["N"], values["Q"], values["data"])
    return kind == (_MILLION, 1000, "clustered") and values["bits"] in (64, 256) and values["k"] != 100


def _always_long(case: Case, device: str) -> bool:
    return True


def _check(distances: Any) -> float:
    return float(torch.as_tensor(distances).sum(dtype=torch.float64))


_OURS = "fasthash.ops:hamming_topk"
_FAISS = {"needs": "faiss", "devices": ("cpu",), "slow": takes_faiss_long}
_AT_AVX2 = {"fits": _compared_at_avx2, "slow": _always_long}

BENCHMARKS = [
    Benchmark(
        "hamming_topk",
        unit="comparisons",
        cases=_many(),
        libraries={
            "fasthash": Library(_fasthash, needs=_OURS),
            "fasthash_rows": Library(_fasthash_rows, needs=_OURS, fits=_rows_too),
            "reference": Library(_reference, fits=_reference_way),
            "torch": Library(_torch(None), fits=_torch_way, slow=_once),
            "torch_int8": Library(
                _torch(torch.int8), fits=lambda *of: _torch_way(*of) and of[0].values["Q"] > 16, slow=_once
            ),
            "faiss_hc": Library(_faiss("hc"), **_FAISS),
            "faiss_mc": Library(_faiss("mc"), **_FAISS),
            "usearch": Library(_usearch, needs="usearch.index:search", fits=_small_batch, slow=_once, devices=("cpu",)),
            "fasthash_avx2": at_avx2(_fasthash, "fasthash", fits=_compared_at_avx2),
            "faiss_hc_avx2": at_avx2(_faiss("hc"), "faiss", **_AT_AVX2),
            "faiss_mc_avx2": at_avx2(_faiss("mc"), "faiss", **_AT_AVX2),
        },
        check=_check,
    ),
    Benchmark(
        "hamming_topk_one",
        unit="comparisons",
        cases=_one(),
        libraries={
            "fasthash": Library(_fasthash, needs=_OURS),
            "fasthash_rows": Library(_fasthash_rows, needs=_OURS, fits=_rows_too),
            "torch": Library(_torch(None), fits=_torch_alone),
            "faiss_hc": Library(_faiss("hc"), **_FAISS),
            "faiss_mc": Library(_faiss("mc"), **_FAISS),
        },
        check=_check,
    ),
    Benchmark(
        "hamming_topk_allow",
        unit="comparisons",
        cases=_allow(),
        libraries={
            "fasthash": Library(_fasthash_allow, needs=_OURS),
            "faiss": Library(_faiss_allow, needs="faiss", devices=("cpu",), slow=takes_faiss_long),
        },
        check=_check,
    ),
]


def test_hamming_topk(measure):
    measure()


def test_hamming_topk_one(measure):
    measure()


def test_hamming_topk_allow(measure):
    measure()
