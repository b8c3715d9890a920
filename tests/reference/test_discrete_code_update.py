# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from fasthash import reference


def naive_update(codes, relaxed, related, positions, quantization, dissimilar, sweeps):
    """One item after the other, one bit after the other, by the change of the objective itself."""
    bits = codes.shape[1]
    v = codes.double().clone()

    def objective(j, row):
        total = 0.0
        for i, u in enumerate(relaxed.double()):
            total += float((u @ row - bits * (1.0 if related[i][j] else -dissimilar)) ** 2)
            if positions[i] == j:
                total += quantization * float((u - row).square().sum())
        return total

    for j in range(len(v)):
        for k in list(range(bits)) * sweeps:
            other = v[j].clone()
            other[k] = -other[k]
            if objective(j, other) < objective(j, v[j]) - 1e-9:
                v[j] = other
    return v.to(torch.int8)


@pytest.mark.parametrize("quantization", [0.0, 6.0])
@pytest.mark.parametrize("multi_hot", [False, True])
def test_equals_the_naive_descent(quantization, multi_hot):
    rows, samples, bits = 14, 6, 5
    codes = torch.randint(0, 2, (rows, bits), dtype=torch.int8) * 2 - 1
    relaxed, positions = torch.tanh(torch.randn(samples, bits)), torch.randperm(rows)[:samples]
    labels = torch.randint(0, 256, (rows, 1), dtype=torch.uint8) & 0x88 if multi_hot else torch.randint(0, 3, (rows,))
    asked = labels[positions]
    related = [[bool((a & b).any()) if multi_hot else bool(a == b) for b in labels] for a in asked]
    want = naive_update(codes, relaxed, related, positions, quantization, 0.5, 2)
    got = reference.discrete_code_update(
        codes, relaxed, labels, asked, positions=positions, quantization=quantization, dissimilar=0.5, sweeps=2
    )
    assert torch.equal(got.codes, want)
    assert int(got.changed) == int((want != codes).sum())


def test_label_sums_equal_a_loop():
    values, labels = torch.randn(20, 3), torch.randint(0, 4, (20,))
    for own in (labels, (1 << labels).to(torch.uint8).unsqueeze(1)):
        sums = reference.label_sums(values, own, own[:5])
        for a in range(5):
            members = [values[m].double() for m in range(20) if labels[m] == labels[a]]
            torch.testing.assert_close(sums.sums[a], sum(members))
            assert int(sums.counts[a]) == len(members)
