# SPDX-License-Identifier: Apache-2.0
"""Sums that do not depend on the number of threads."""

from __future__ import annotations

import pytest
import torch

from fasthash.losses._sums import total


@pytest.mark.parametrize("shape", [(0,), (1,), (1023,), (1025,), (70_000,), (1, 1), (3, 5), (1200, 48), (2, 40_000)])
def test_equals_the_exact_sum_with_its_gradient(shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    found = total(values)
    torch.testing.assert_close(found, values.sum())
    assert torch.equal(torch.autograd.grad(found, values)[0], torch.ones(shape, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(70_000,), (33_000,), (2500, 16), (700, 64), (40, 2000)])
def test_any_number_of_threads_gives_the_same_bits(shape, threads):
    for seed in range(10):
        values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        sums = set()
        for count in (1, 2, 3, 5, 8):
            threads(count)
            sums.add(total(values).item())
        assert len(sums) == 1
