# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from fasthash.types import MININGS, REDUCTIONS
from tests.cases import FLOAT_DTYPES, triplet_case
from tests.kernels import Kernels

CPU = Kernels("cpu", torch.ops.fasthash, "cpu")
OPTIONS = [
    (mining, swap, smooth, reduction)
    for mining in MININGS
    for swap in ((False, True) if mining == "all" else (False,))
    for smooth in (False, True)
    for reduction in REDUCTIONS
]
UNSWAPPED = [options for options in OPTIONS if not options[1]]
MARGIN = 1.5
# Bound on the loss relative to itself, and on the gradient relative to its largest element.
BOUND = {torch.float64: 1e-12, torch.float32: 5e-6}


def case(anchors, items, levels=64, dtype=torch.float32):
    return triplet_case(anchors, items, levels=levels, dtype=dtype)[:2]


def numbers(mining="all", swap=False, smooth=False, reduction="avg_nonzero"):
    return MININGS.index(mining), swap, smooth, REDUCTIONS.index(reduction)


def raw(kernels: Kernels, arguments, *options):
    tensors = [t.to(kernels.device) for t in arguments]
    return [t.cpu() for t in kernels.ops.triplet_margin(*tensors, MARGIN, *numbers(*options))]


def expected(arguments, mining="all", swap=False, smooth=False, reduction="avg_nonzero"):
    distances = arguments[0].double().requires_grad_()
    options = {"mining": mining, "swap": swap, "smooth": smooth, "reduction": reduction}
    loss = reference.triplet_margin(distances, arguments[1], margin=MARGIN, **options)
    return loss.detach(), torch.autograd.grad(loss, distances)[0]


def check(kernels: Kernels, arguments, *options):
    loss, gradient = raw(kernels, arguments, *options)
    want_loss, want_gradient = expected(arguments, *options)
    dtype = torch.float64 if arguments[0].dtype == torch.float64 else torch.float32
    assert loss.shape == ()
    assert loss.dtype == gradient.dtype == dtype
    assert loss.item() == pytest.approx(want_loss.item(), rel=BOUND[dtype], abs=1e-30)
    largest = want_gradient.abs().max().item()
    torch.testing.assert_close(gradient.double(), want_gradient, rtol=0, atol=BOUND[dtype] * largest)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_matches_the_reference(kernels, dtype, options):
    shapes = ((6, 6), (21, 21)) if options[1] else ((5, 9), (3, 34))
    for anchors, items in shapes:
        check(kernels, case(anchors, items, dtype=dtype), *options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_machines_match_the_reference(machine, options):
    for items in (7, 8, 9, 15, 16, 17, 31, 33, 65):
        check(CPU, case(items if options[1] else 11, items), *options)


@pytest.mark.parametrize("mining", MININGS)
def test_every_batch_size(machine, mining):
    for batch in range(1, 71):
        check(CPU, case(batch, batch), mining)


@settings(max_examples=60, deadline=None)
@given(
    anchors=st.integers(1, 20),
    items=st.integers(1, 90),
    levels=st.sampled_from([1, 3, 64]),
    seed=st.integers(0, 2**31),
    option=st.sampled_from(OPTIONS),
)
def test_any_shape(anchors, items, levels, seed, option):
    torch.manual_seed(seed)
    arguments = case(items if option[1] else anchors, items, levels)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        check(CPU, arguments, *option)
    _C.force_machine("")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", UNSWAPPED[::3], ids=str)
def test_long_lists_on_both_sides_of_the_choice(machine, options, dtype):
    """Few positives are gone through one by one; many are sorted."""
    for share in (0.02, 0.5, 0.98):
        distances, relation = case(2, 700, dtype=dtype)
        relation[:] = torch.where(torch.rand(2, 700) < share, 1, -1)
        check(CPU, (distances, relation), *options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_lists_longer_than_a_block_of_threads(cuda_kernels, dtype):
    for mining in MININGS:
        check(cuda_kernels, case(2, 600, dtype=dtype), mining)


@pytest.mark.parametrize("options", UNSWAPPED, ids=str)
@pytest.mark.parametrize("kind", [1, -1])
def test_one_item_on_a_side(kernels, kind, options):
    distances, relation = case(6, 21)
    relation.fill_(-kind)
    relation[range(6), torch.randperm(21)[:6]] = kind
    check(kernels, (distances, relation), *options)


@pytest.mark.parametrize("mining", MININGS)
def test_equal_distances_take_the_first_item(kernels, mining):
    check(kernels, (torch.ones(4, 40), case(4, 40)[1]), mining)


@pytest.mark.parametrize("mining", MININGS)
def test_negative_distances_and_zeros_of_both_signs(kernels, mining):
    distances, relation = case(6, 30)
    distances -= 4
    distances[:, ::7], distances[:, 1::7] = 0.0, -0.0
    check(kernels, (distances, relation), mining)


@pytest.mark.parametrize("kind", [1, -1, 0])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_triplet_gives_zero_and_zero_gradient(kernels, kind, options):
    distances, relation = case(9, 9)
    loss, gradient = raw(kernels, (distances, relation.fill_(kind)), *options)
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_satisfied_margin_gives_zero(kernels):
    distances, relation = case(5, 20)
    loss, gradient = raw(kernels, (torch.where(relation < 0, 100.0, distances), relation))
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("options", UNSWAPPED, ids=str)
def test_a_distance_that_is_not_finite_reaches_its_anchor_alone(kernels, options, bad):
    distances, relation = case(4, 37)
    relation[2], relation[3, 0] = torch.where(torch.arange(37) % 2 == 0, 1, -1), 0
    distances[2, 18], distances[3, 0] = bad, bad
    loss, gradient = raw(kernels, (distances, relation), *options)
    assert loss.isnan()
    assert torch.equal(gradient.isnan(), (torch.arange(4) == 2).unsqueeze(1) & (relation != 0))


def test_a_distance_that_is_not_finite_reaches_the_loss_with_swap(kernels):
    distances, relation = case(12, 12)
    relation[2] = torch.where(torch.arange(12) % 2 == 0, 1, -1)
    distances[2, 4] = math.nan
    assert raw(kernels, (distances, relation), "all", True)[0].isnan()


@pytest.mark.parametrize("layout", ["transposed", "slice", "every_other", "expanded"])
def test_any_layout(kernels, layout):
    change = {
        "transposed": lambda t: t.T.contiguous().T,
        "slice": lambda t: torch.cat([t, t, t], 1)[:, t.shape[1] : 2 * t.shape[1]],
        "every_other": lambda t: t.repeat_interleave(2, 1)[:, ::2],
        "expanded": lambda t: t[:1].expand(t.shape),
    }[layout]
    check(kernels, [change(t) for t in case(6, 17)])


@pytest.mark.parametrize("options", [("all",), ("all", True), ("all", False, True), ("semi_hard",)], ids=str)
def test_same_bits_for_any_number_of_threads(threads, options):
    arguments = case(130, 130, levels=None)
    results = []
    for count in (1, 2, 7):
        threads(count)
        results.append(raw(CPU, arguments, *options))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_repeated_calls_give_the_same_bits(kernels, options):
    arguments = case(30, 30, levels=None)
    for a, b in zip(raw(kernels, arguments, *options), raw(kernels, arguments, *options), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_numpy_door_gives_the_same_bits(machine, dtype):
    arguments = case(20, 20, dtype=dtype)
    for options in OPTIONS:
        by_torch = torch.ops.fasthash.triplet_margin(*arguments, MARGIN, *numbers(*options))
        by_numpy = _C.triplet_margin(*(t.numpy() for t in arguments), MARGIN, *numbers(*options))
        for a, b in zip(by_torch, by_numpy, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)


FLOATS = "float32, float64, bfloat16, float16"
BAD = [
    (0, torch.zeros(3, 5, dtype=torch.int32), f"distances must be a tensor of dtype {FLOATS}, got int32"),
    (0, torch.zeros(0, 5), r"distances must be of shape \(anchors, items\) and not empty, got \(0, 5\)"),
    (0, torch.zeros(5), r"distances must be of shape \(anchors, items\) and not empty, got \(5,\)"),
    (1, torch.zeros(3, 5, dtype=torch.int64), "relation must be a tensor of dtype int8, got int64"),
    (1, torch.zeros(3, 4, dtype=torch.int8), r"relation must be of shape \(3, 5\) like distances, got \(3, 4\)"),
]


@pytest.mark.parametrize(("position", "value", "message"), BAD)
def test_bad_tensors_are_named(position, value, message):
    arguments = list(case(3, 5))
    arguments[position] = value
    for function in (ops.triplet_margin, reference.triplet_margin):
        with pytest.raises(ValueError, match="^triplet_margin: " + message):
            function(*arguments, margin=1.0)
    with pytest.raises(ValueError, match="^triplet_margin: " + message):
        _C.triplet_margin(*(t.numpy() for t in arguments), 1.0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"margin": math.inf}, "margin must be a finite number, got inf"),
        ({"margin": math.nan}, "margin must be a finite number, got nan"),
        ({"mining": "easy"}, "mining must be one of 'all', 'semi_hard', 'hard', got 'easy'"),
        ({"mining": "hard", "swap": True}, "swap must be False where mining is not all, got True"),
        ({"swap": True}, "swap must be False where distances are not square, got True"),
        ({"reduction": "max"}, "reduction must be one of 'mean', 'sum', 'avg_nonzero', got 'max'"),
    ],
)
def test_bad_options_are_named(option, message):
    for function in (ops.triplet_margin, reference.triplet_margin):
        with pytest.raises(ValueError, match="^triplet_margin: " + message):
            function(*case(3, 5), **{"margin": 1.0, **option})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((3, False, False, 0), r"mining must be 0 \(all\), 1 \(semi_hard\) or 2 \(hard\), got 3"),
        ((0, False, False, -1), r"reduction must be 0 \(mean\), 1 \(sum\) or 2 \(avg_nonzero\), got -1"),
    ],
)
def test_bad_numbers_of_options_are_named(kernels, options, message):
    arguments = [t.to(kernels.device) for t in case(3, 5)]
    with pytest.raises(ValueError, match="^triplet_margin: " + message):
        kernels.ops.triplet_margin(*arguments, 1.0, *options)


def test_too_many_items_are_refused():
    wide = torch.zeros(1, 1).expand(1, 2**24)
    with pytest.raises(ValueError, match=r"distances must be of fewer than 2\^24 items, got 16777216"):
        ops.triplet_margin(wide, wide.to(torch.int8), margin=1.0)
