# SPDX-License-Identifier: Apache-2.0
"""The inputs of the benchmarks, and that libraries agree on searches that no quick run has."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench import bench_hamming_range, bench_hamming_topk, inputs
from bench.plan import files
from fasthash import hamming_histogram


@pytest.mark.parametrize("data", ["random", "clustered"])
@pytest.mark.parametrize("bits", [60, 64, 100])
def test_codes_have_no_spare_bits_set(data, bits):
    codes = inputs.codes(data, 50, bits, 1, "cpu")
    unpacked = np.unpackbits(codes.numpy(), axis=1)
    assert codes.shape == (50, math.ceil(bits / 8))
    assert not unpacked[:, bits:].any()
    assert 0.3 < unpacked[:, :bits].mean() < 0.7


def test_clustered_codes_are_made_once_for_all_processes(tmp_path, monkeypatch):
    alone = inputs.clustered_codes.__wrapped__(40, 70, 3)
    monkeypatch.setenv(inputs.CACHE, str(tmp_path))
    assert torch.equal(inputs.clustered_codes.__wrapped__(40, 70, 3), alone)
    (path,) = tmp_path.iterdir()
    np.save(path, alone.numpy() ^ 255)
    assert torch.equal(inputs.clustered_codes.__wrapped__(40, 70, 3), alone ^ 255)


@pytest.mark.parametrize(("data", "bits"), list(bench_hamming_range._RADIUS))
def test_about_a_hundred_of_a_million_are_within_the_radius(data, bits):
    queries, database = inputs.codes(data, 50, bits, 1, "cpu"), inputs.codes(data, 200_000, bits, 2, "cpu")
    found = hamming_histogram(queries, database).total[:, : bench_hamming_range._RADIUS[data, bits] + 1].sum(1)
    assert 10 < found.double().mean() < 40


def test_masks_allow_the_part_they_name():
    allowed = bench_hamming_topk._allowed({"allow": "1 %", "N": 100_000})
    assert 800 < int(allowed.sum()) < 1200
    assert bench_hamming_topk._allowed({"allow": "all", "N": 100_000}) is None


_CASES = [
    ("hamming_topk", {"Q": 20, "k": 10, "data": "random"}),
    ("hamming_topk", {"Q": 20, "k": 100, "data": "clustered"}),
    ("hamming_topk_one", {"k": 10}),
    ("hamming_topk_allow", {"Q": 20, "k": 10, "data": "clustered", "allow": "all"}),
    ("hamming_topk_allow", {"Q": 20, "k": 10, "data": "clustered", "allow": "1 %"}),
    ("hamming_range", {"Q": 20, "radius": 20, "data": "clustered"}),
    ("hamming_histogram", {"Q": 20, "labels": "no", "data": "random"}),
]


@pytest.mark.parametrize("bits", [60, 100, 256])
@pytest.mark.parametrize(("op", "sizes"), _CASES)
def test_libraries_agree(op, sizes, bits):
    plan = next(plan for plans in files().values() for plan in plans if plan.name == op)
    values = {"bits": bits, "N": 3000, **sizes}
    checks = {
        name: plan.check(library.prepare(values, "cpu")())
        for name, library in plan.libraries.items()
        if not library.environment and not library.missing() and name != "usearch"  # it unbinds the process's threads
    }
    if len(checks) < 2:
        pytest.skip("no peer is installed: pip install -r requirements-bench.txt")
    assert {check for check in checks.values() if not math.isnan(check)} == {checks["fasthash"]}
