# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from fasthash.ops.discrete_code_update import group_labels
from fasthash.reference.discrete_code_update import similarities
from fasthash.reference.label_sums import related_labels
from tests.cases import FLOAT_DTYPES, random_codes
from tests.kernels import Kernels


def codes_of(rows: int, bits: int) -> torch.Tensor:
    return torch.randint(0, 2, (rows, bits), dtype=torch.int8) * 2 - 1


def labels_of(kind: str, count: int) -> torch.Tensor:
    if kind == "ids":
        return torch.randint(0, 7, (count,)) * 11 - 5
    return random_codes(count, 2) & random_codes(count, 2) & random_codes(count, 2)


def case(rows: int, samples: int, bits: int, kind: str = "ids", grid: bool = False, dtype=torch.float32):
    """Codes, relaxed codes, labels and positions. On a grid of 1/8 all float32 sums are exact, and ties are many."""
    labels, positions = labels_of(kind, rows), torch.randperm(rows)[:samples]
    relaxed = torch.tanh(torch.randn(samples, bits) * 2)
    if grid:
        relaxed = (relaxed * 8).round() / 8
    return codes_of(rows, bits), relaxed.to(dtype), labels, positions


def objective(codes, relaxed, labels, positions, dissimilar=None, quantization=0.0) -> float:
    """L(V) in float64, every pair by itself."""
    related = related_labels("test", labels, labels[positions])
    similarity = similarities(related, dissimilar)
    u, v = relaxed.double(), codes.double()
    squares = (u @ v.T - codes.shape[1] * similarity).square().sum()
    return float(squares + quantization * (u - v[positions]).square().sum())


def raw_case(rows: int, samples: int, bits: int, targets: int = 5, dtype=torch.float32):
    """Arguments of the operator itself, on a grid: sums are exact in float32, and a sum within its bound is 0."""
    relaxed = (torch.tanh(torch.randn(samples, bits) * 2) * 8).round() / 8
    wanted = (torch.randn(targets, bits) * samples * 64).round() / 64
    return codes_of(rows, bits), relaxed.to(dtype), wanted, torch.randint(targets, (rows,))


def rough_case(rows: int, samples: int, bits: int, targets: int):
    """Arguments whose sums round, many of them near zero."""
    relaxed, wanted = torch.tanh(torch.randn(samples, bits) * 2), torch.randn(targets, bits) * samples
    wanted[::2] /= 1e3
    return codes_of(rows, bits), relaxed, wanted, torch.randint(targets, (rows,))


def naive_descent(codes, relaxed, targets, target_of, sweeps):
    """Row by row, in float64."""
    u = relaxed.float().double()
    gram, v = u.T @ u, codes.double().clone()
    for row, target in zip(v, targets[target_of].double(), strict=True):
        for k in list(range(len(row))) * sweeps:
            total = target[k] - (gram[k] * row).sum() + gram[k, k] * row[k]
            row[k] = total.sign() if total != 0 else row[k]
    return v.to(torch.int8)


@pytest.mark.parametrize("kind", ["ids", "multi-hot"])
@pytest.mark.parametrize("options", [{}, {"dissimilar": 1.0}, {"dissimilar": 0.25, "sweeps": 3}, {"quantization": 5.0}])
def test_equals_the_reference_where_float32_is_exact(device, kind, options):
    for bits in (1, 12, 33):
        codes, relaxed, labels, positions = case(150, 40, bits, kind, grid=True)
        arguments = (codes, relaxed, labels, labels[positions])
        options = {"dissimilar": 0.5, **options}  # a ratio of counts would not be exact in float32
        want = reference.discrete_code_update(*arguments, positions=positions, **options)
        got = ops.discrete_code_update(*(t.to(device) for t in arguments), positions=positions.to(device), **options)
        assert torch.equal(got.codes.cpu(), want.codes)
        assert int(got.changed) == int(want.changed) == int((want.codes != codes).sum())


@pytest.mark.parametrize("kind", ["ids", "multi-hot"])
def test_balanced_similarities_equal_the_reference(device, kind):
    codes, relaxed, labels, positions = case(400, 90, 24, kind)
    arguments = (codes, relaxed, labels, labels[positions])
    want = reference.discrete_code_update(*arguments)
    got = ops.discrete_code_update(*(tensor.to(device) for tensor in arguments))
    assert torch.equal(got.codes.cpu(), want.codes)  # sums within the bound of rounding, 1e-6, do not occur here


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("bits", [1, 3, 4, 7, 8, 12, 48, 65])
def test_equals_the_naive_descent(kernels, dtype, bits):
    arguments = raw_case(70, 33, bits, dtype=dtype)
    updated, changed = kernels.ops.discrete_code_update(*(t.to(kernels.device) for t in arguments), 2)
    want = naive_descent(*arguments, 2)
    assert torch.equal(updated.cpu(), want)
    assert int(changed) == int((want != arguments[0]).sum())


def test_machines_and_devices_give_the_same_codes(cuda_kernels):
    """The same additions in the same order."""
    for bits, samples, targets in ((5, 9, 3), (48, 300, 7), (130, 2500, 150)):
        arguments = rough_case(150, samples, bits, targets)
        got = cuda_kernels.ops.discrete_code_update(*(t.to(cuda_kernels.device) for t in arguments), 3)
        for machine in _C.machines_available():
            _C.force_machine(machine)
            want = torch.ops.fasthash.discrete_code_update(*arguments, 3)
            assert torch.equal(got[0].cpu(), want[0])
            assert int(got[1]) == int(want[1])
        _C.force_machine("")


@settings(max_examples=40)
@given(rows=st.integers(0, 200), samples=st.integers(0, 60), bits=st.integers(1, 70), seed=st.integers(0, 999))
def test_any_shape_on_every_machine(rows, samples, bits, seed):
    torch.manual_seed(seed)
    arguments = raw_case(rows, samples, bits, targets=1 + seed % 9)
    want = naive_descent(*arguments, 1)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        assert torch.equal(torch.ops.fasthash.discrete_code_update(*arguments, 1)[0], want)
    _C.force_machine("")


@pytest.mark.parametrize("kind", ["ids", "multi-hot"])
@pytest.mark.parametrize("options", [{}, {"dissimilar": 1.0}, {"quantization": 40.0}])
def test_the_objective_never_rises_over_a_sweep(device, kind, options):
    for bits, samples in ((12, 30), (48, 200), (64, 20)):
        codes, relaxed, labels, positions = case(300, samples, bits, kind)
        before = objective(codes, relaxed, labels, positions, **options)
        started = before
        for _ in range(4):
            arguments = (codes, relaxed, labels, labels[positions])
            arguments = (tensor.to(device) for tensor in arguments)
            update = ops.discrete_code_update(*arguments, positions=positions.to(device), **options)
            codes = update.codes.cpu()
            after = objective(codes, relaxed, labels, positions, **options)
            assert after <= before * (1 + 1e-14)
            assert (after < before) == (int(update.changed) > 0)
            before = after
        assert before < started * 0.999


def test_a_tie_keeps_the_old_bit(kernels):
    """With targets 0 and a Gram matrix without anything off its diagonal every sum is 0."""
    codes = codes_of(40, 6)
    arguments = codes, torch.eye(6), torch.zeros(1, 6), torch.zeros(40, dtype=torch.int64)
    updated, changed = kernels.ops.discrete_code_update(*(t.to(kernels.device) for t in arguments), 3)
    assert torch.equal(updated.cpu(), codes)
    assert int(changed) == 0


def test_zero_counts_as_plus_one_and_nan_changes_nothing(kernels):
    arguments = [torch.tensor([[0, -3, 5, 127, -128]], dtype=torch.int8), torch.zeros(0, 5), torch.zeros(1, 5)]
    arguments = [*arguments, torch.zeros(1, dtype=torch.int64)]
    updated, changed = kernels.ops.discrete_code_update(*(t.to(kernels.device) for t in arguments), 1)
    assert updated.tolist() == [[1, -1, 1, 1, -1]]
    assert int(changed) == 0
    codes, relaxed, targets, target_of = raw_case(80, 20, 9)
    relaxed[3, 2] = torch.nan
    arguments = (t.to(kernels.device) for t in (codes, relaxed, targets, target_of))
    got = kernels.ops.discrete_code_update(*arguments, 1)[0].cpu()
    assert torch.equal(got[:, 2], codes[:, 2])  # its row of the Gram matrix is NaN, and so is its column
    assert torch.equal(got, codes)


def test_strided_arguments(kernels):
    codes, relaxed, targets, target_of = raw_case(90, 40, 20)
    want = naive_descent(codes, relaxed, targets, target_of, 1)
    wide = [torch.cat((t, t), 1).to(kernels.device)[:, :20] for t in (codes, relaxed, targets)]
    strided = target_of.repeat_interleave(2).to(kernels.device)[::2]
    assert torch.equal(kernels.ops.discrete_code_update(*wide, strided, 1)[0].cpu(), want)
    turned = [t.T.contiguous().T.to(kernels.device) for t in (codes, relaxed, targets)]
    assert torch.equal(kernels.ops.discrete_code_update(*turned, strided, 1)[0].cpu(), want)


def test_threads_and_repetition_give_the_same_codes(threads):
    codes, relaxed, labels, positions = case(5000, 600, 48)
    results = []
    for count in (1, 2, 5, 5):
        threads(count)
        results.append(ops.discrete_code_update(codes, relaxed, labels, labels[positions]))
    assert all(torch.equal(results[0].codes, other.codes) for other in results[1:])


def test_groups_save_the_sorting(device):
    for kind in ("ids", "multi-hot"):
        codes, relaxed, labels, positions = (t.to(device) for t in case(200, 50, 16, kind))
        groups = group_labels(labels)
        assert torch.equal(groups.labels[groups.group_of], labels)
        assert torch.equal(groups.sizes, groups.group_of.bincount())
        want = ops.discrete_code_update(codes, relaxed, labels, labels[positions])
        assert torch.equal(ops.discrete_code_update(codes, relaxed, groups, labels[positions]).codes, want.codes)


def test_wide_multi_hot_labels(device):
    labels = torch.zeros(60, 11, dtype=torch.uint8)
    labels[torch.arange(60), torch.arange(60) % 11] = 1
    codes, relaxed, _, positions = case(60, 30, 8)
    by_bits = ops.discrete_code_update(*(t.to(device) for t in (codes, relaxed, labels, labels[positions])))
    ids = torch.arange(60) % 11
    by_ids = ops.discrete_code_update(*(t.to(device) for t in (codes, relaxed, ids, ids[positions])))
    assert torch.equal(by_bits.codes, by_ids.codes)


def test_all_similar_and_none(device):
    codes, relaxed, _, _ = case(50, 20, 8)
    same, other = torch.zeros(50, dtype=torch.int64), torch.ones(20, dtype=torch.int64)
    for labels in (same[:20], other):
        want = reference.discrete_code_update(codes, relaxed, same, labels)
        got = ops.discrete_code_update(*(t.to(device) for t in (codes, relaxed, same, labels)))
        assert torch.equal(got.codes.cpu(), want.codes)


def test_numpy_door_gives_the_same_bits(machine):
    arguments = raw_case(130, 50, 21)
    want = torch.ops.fasthash.discrete_code_update(*arguments, 2)
    got = _C.discrete_code_update(*(tensor.numpy() for tensor in arguments), sweeps=2)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b.numpy())


def test_opcheck(device):
    arguments = tuple(tensor.to(device) for tensor in raw_case(20, 10, 6))
    torch.library.opcheck(torch.ops.fasthash.discrete_code_update.default, (*arguments, 1))


GOOD = {
    "codes": torch.ones(6, 4, dtype=torch.int8),
    "relaxed": torch.ones(3, 4),
    "labels": torch.zeros(6, dtype=torch.int64),
    "relaxed_labels": torch.zeros(3, dtype=torch.int64),
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"codes": torch.ones(6, 4)}, "codes must be int8, got float32"),
        ({"relaxed": torch.ones(3, 5)}, r"relaxed must be of shape \(rows, 4\), got \(3, 5\)"),
        ({"labels": torch.zeros(6)}, r"labels must be 1-D integer ids or 2-D packed .*, got float32 of shape \(6,\)"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, "labels must be of length 6 like codes, got 5"),
        ({"quantization": 1.0}, "positions must be given where quantization is not 0, got None"),
        ({"quantization": -1.0}, "quantization must be a finite number, 0 or more, got -1.0"),
        ({"quantization": 1.0, "positions": torch.zeros(3)}, "positions must be a tensor of dtype int64, got float32"),
        ({"quantization": 1.0, "positions": torch.tensor([0, 1])}, r"positions must be of shape \(3,\), got \(2,\)"),
        ({"quantization": 1.0, "positions": torch.tensor([0, 1, 6])}, r"positions must be in 0..5, got 0..6"),
        ({"quantization": 1.0, "positions": torch.tensor([0, 1, 1])}, "positions must be without repetitions, got 1"),
        ({"sweeps": 0}, "sweeps must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match="^discrete_code_update: " + message):
        ops.discrete_code_update(**{**GOOD, **arguments})


@pytest.mark.parametrize(
    ("place", "tensor", "message"),
    [
        (0, torch.ones(6, dtype=torch.int8), r"codes must be of shape \(rows, bits > 0\), got \(6,\)"),
        (0, torch.ones(6, 1025, dtype=torch.int8), "codes must be of at most 1024 bits"),
        (1, torch.ones(3, 4, dtype=torch.int32), "relaxed must be float32, .*, got int32"),
        (2, torch.ones(2, 4).double(), "targets must be float32, got float64"),
        (2, torch.ones(2, 5), r"targets must be of shape \(rows, 4\), got \(2, 5\)"),
        (3, torch.zeros(6, dtype=torch.int32), "target_of must be int64, got int32"),
        (3, torch.zeros(5, dtype=torch.int64), r"target_of must be of shape \(6,\) like codes, got \(5,\)"),
        (3, torch.tensor([0, 1, 2, 0, 0, 0]), r"target_of must be in 0\.\.1, got 0\.\.2"),
        (3, torch.tensor([0, 1, -1, 0, 0, 0]), r"target_of must be in 0\.\.1, got -1\.\.1"),
    ],
)
def test_bad_arguments_of_the_operator(place, tensor, message):
    arguments = [GOOD["codes"], GOOD["relaxed"], torch.ones(2, 4), torch.zeros(6, dtype=torch.int64)]
    arguments[place] = tensor
    with pytest.raises(ValueError, match="^discrete_code_update: " + message):
        Kernels("cpu", torch.ops.fasthash, "cpu").ops.discrete_code_update(*arguments, 1)
