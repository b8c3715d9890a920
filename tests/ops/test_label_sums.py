# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from tests.cases import FLOAT_DTYPES, layouts, random_codes


def ids(count: int, classes: int = 4) -> torch.Tensor:
    return torch.randint(-1, classes, (count,)) * 1_000_000_007


def bits(count: int, width: int = 3) -> torch.Tensor:
    """Few bits of each row are set, in some rows none."""
    return random_codes(count, width) & random_codes(count, width) & random_codes(count, width)


def check(kernels, values, labels, queries):
    want = reference.label_sums(values, labels, queries)
    got = kernels.ops.label_sums(*(tensor.to(kernels.device) for tensor in (values, labels, queries)))
    assert torch.equal(got[0].cpu(), want.sums)
    assert torch.equal(got[1].cpu(), want.counts)


@pytest.mark.parametrize("labels_of", [ids, bits])
@pytest.mark.parametrize("dtype", [*FLOAT_DTYPES, torch.int8], ids=str)
def test_has_the_bits_of_the_reference(kernels, labels_of, dtype):
    values = (torch.randn(70, 21) * 3).to(dtype)
    check(kernels, values, labels_of(70), labels_of(9))


@settings(max_examples=40)
@given(
    items=st.integers(0, 90),
    queries=st.integers(0, 40),
    columns=st.integers(1, 70),
    width=st.integers(0, 20),
    seed=st.integers(0, 999),
)
def test_any_shape(items, queries, columns, width, seed):
    torch.manual_seed(seed)
    values = torch.randn(items, columns)
    labels = [ids(count) if width == 0 else bits(count, width) for count in (items, queries)]
    want, got = reference.label_sums(values, *labels), ops.label_sums(values, *labels)
    assert torch.equal(got.sums, want.sums)
    assert torch.equal(got.counts, want.counts)


@pytest.mark.parametrize("columns", [1, 31, 33, 300])
def test_any_layout(kernels, columns):
    for values in layouts(33, columns).values():
        check(kernels, values, ids(33), ids(5))
        check(kernels, values, random_codes(33, 20)[:, ::2], random_codes(70, 10)[::14])


def test_nan_stays_with_its_class(kernels):
    values = torch.ones(3, 2)
    values[1, 0] = torch.nan
    sums = kernels.ops.label_sums(
        *(t.to(kernels.device) for t in (values, torch.tensor([5, 6, 5]), torch.tensor([5, 6])))
    )
    assert torch.equal(sums[0].cpu().isnan(), torch.tensor([[False, False], [True, False]]))


def test_any_integer_ids_and_no_gradient(device):
    values = torch.randn(6, 4, device=device, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0, 1, 2], dtype=torch.uint8, device=device)
    sums = ops.label_sums(values, labels, labels[:3].to(torch.int16))
    torch.testing.assert_close(sums.sums, (values[:3] + values[3:]).double())
    assert not sums.sums.requires_grad


def test_threads_give_the_same_bits(threads):
    values, labels, packed = torch.randn(3000, 70), ids(3000), bits(3000)
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append((*ops.label_sums(values, labels, labels[:100]), *ops.label_sums(values, packed, packed[:100])))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_numpy_door_gives_the_same_bits():
    values, labels = torch.randn(50, 7), ids(50)
    for kind in (labels, bits(50)):
        for got, want in zip(
            _C.label_sums(values.numpy(), kind.numpy(), kind[:5].numpy()),
            ops.label_sums(values, kind, kind[:5]),
            strict=True,
        ):
            np.testing.assert_array_equal(got, want.numpy())


def test_opcheck(device):
    values = torch.randn(20, 5, device=device)
    for labels in (ids(20).to(device), bits(20).to(device)):
        torch.library.opcheck(torch.ops.fasthash.label_sums.default, (values, labels, labels[:4]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": torch.zeros(4, 2, dtype=torch.int32)}, "values must be float32, .* or int8, got int32"),
        ({"values": torch.zeros(4)}, r"values must be of shape \(items, columns > 0\), got \(4,\)"),
        ({"values": torch.zeros(4, 0)}, r"values must be of shape \(items, columns > 0\), got \(4, 0\)"),
        ({"labels": torch.zeros(4, 2, 1)}, "labels must be 1-D ids or 2-D packed multi-hot rows"),
        ({"labels": torch.zeros(4)}, "labels must be int64 where 1-D, got float32"),
        ({"labels": torch.zeros(4, 2)}, "labels must be uint8 where 2-D, got float32"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, r"labels must be of length 4 like values, got \(5,\)"),
        (
            {"query_labels": torch.zeros(3, 1, dtype=torch.uint8)},
            "query_labels must be of the kind and width of labels",
        ),
    ],
)
def test_bad_input_is_named(arguments, message):
    good = {
        "values": torch.zeros(4, 2),
        "labels": torch.zeros(4, dtype=torch.int64),
        "query_labels": torch.zeros(3, dtype=torch.int64),
    }
    with pytest.raises(ValueError, match="^label_sums: " + message):
        ops.label_sums(**{**good, **arguments})
