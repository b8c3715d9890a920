# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from fasthash.types import REDUCTIONS, TIES, TRIPLET_METHODS, WEIGHTINGS
from tests.cases import FLOAT_DTYPES, triplet_case
from tests.kernels import Kernels

CPU = Kernels("cpu", torch.ops.fasthash, "cpu")
OPTIONS = list(itertools.product(WEIGHTINGS, (True, False), REDUCTIONS))
MARGIN = 1.5
# Bound on the loss relative to itself, and on the gradient relative to its largest element.
BOUND = {torch.float64: 1e-12, torch.float32: 5e-6}


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def raw(
    kernels: Kernels,
    arguments,
    weighting="delta_ap",
    squared=True,
    reduction="mean",
    normalize=True,
    ties="index",
    method="auto",
):
    tensors = [t.to(kernels.device) for t in arguments]
    options = (WEIGHTINGS.index(weighting), squared, REDUCTIONS.index(reduction), normalize)
    options += (TRIPLET_METHODS.index(method), TIES.index(ties))
    return [t.cpu() for t in kernels.ops.order_aware_triplet(*tensors, MARGIN, *options)]


def expected(arguments, weighting="delta_ap", squared=True, reduction="mean", normalize=True, ties="index"):
    """The reference in float64: its ranks come from the float32 distances, as the op's do."""
    distances = arguments[0].double().requires_grad_()
    options = {"weighting": weighting, "squared": squared, "reduction": reduction}
    options |= {"normalize": normalize, "ties": ties}
    loss = reference.order_aware_triplet(distances, *arguments[1:], margin=MARGIN, **options)
    return loss.detach(), torch.autograd.grad(loss, distances)[0]


def check(kernels: Kernels, arguments, *options, method="auto"):
    loss, gradient = raw(kernels, arguments, *options, method=method)
    want_loss, want_gradient = expected(arguments, *options)
    dtype = wide(arguments[0].dtype)
    assert loss.shape == ()
    assert loss.dtype == gradient.dtype == dtype
    assert loss.item() == pytest.approx(want_loss.item(), rel=BOUND[dtype], abs=1e-30)
    largest = want_gradient.abs().max().item()
    torch.testing.assert_close(gradient.double(), want_gradient, rtol=0, atol=BOUND[dtype] * largest)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize(("weighting", "squared", "reduction"), OPTIONS)
def test_matches_the_reference(kernels, dtype, weighting, squared, reduction):
    for anchors, items in ((5, 9), (3, 34)):
        for ranking in itertools.product((True, False), TIES):
            check(kernels, triplet_case(anchors, items, dtype=dtype), weighting, squared, reduction, *ranking)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize(("weighting", "squared", "reduction"), OPTIONS)
def test_a_sweep_matches_the_reference(dtype, weighting, squared, reduction):
    for anchors, items, bits in ((5, 9, 6), (3, 34, 12), (2, 200, 3)):
        for ranking in itertools.product((True, False), TIES):
            arguments = triplet_case(anchors, items, bits, dtype=dtype)
            check(CPU, arguments, weighting, squared, reduction, *ranking, method="sweep")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_sweep_of_distances_without_ties(dtype):
    check(CPU, triplet_case(4, 300, 200, levels=None, dtype=dtype), method="sweep")
    distances, *rest = triplet_case(4, 300, 12, levels=None, dtype=torch.float64)
    equal_in_float32 = (1 + distances * 1e-9).to(dtype)
    check(CPU, (equal_in_float32, *rest), method="sweep")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_sweep_gives_way_to_pairs_where_distances_are_not_finite(value):
    distances, relation, *codes = triplet_case(1, 40)
    distances[0, relation[0].nonzero()[0]] = value
    by_pairs = raw(CPU, (distances, relation, *codes), method="pairs")
    for a, b in zip(raw(CPU, (distances, relation, *codes), method="sweep"), by_pairs, strict=True):
        assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


def test_a_gallery_of_many_items_is_swept():
    arguments = triplet_case(2, 3000, 64, levels=None)
    swept = raw(CPU, arguments, method="sweep")
    assert all(torch.equal(a, b) for a, b in zip(raw(CPU, arguments), swept, strict=True))
    loss, gradient = raw(CPU, arguments, method="pairs")
    assert not torch.equal(gradient, swept[1])
    torch.testing.assert_close(swept[1], gradient, rtol=0, atol=1e-5 * gradient.abs().max().item())
    assert swept[0].item() == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize(("weighting", "squared", "reduction"), OPTIONS)
def test_machines_match_the_reference(machine, weighting, squared, reduction):
    for items in (7, 8, 9, 15, 16, 17, 31, 33, 100):
        check(CPU, triplet_case(11, items), weighting, squared, reduction)


def test_every_batch_size(machine):
    for batch in range(1, 71):
        check(CPU, triplet_case(batch, batch, bits=12))


@settings(max_examples=60, deadline=None)
@given(
    anchors=st.integers(1, 20),
    items=st.integers(1, 90),
    bits=st.integers(1, 80),
    levels=st.sampled_from([1, 3, 64]),
    seed=st.integers(0, 2**31),
    option=st.sampled_from(OPTIONS),
)
def test_any_shape(anchors, items, bits, levels, seed, option):
    torch.manual_seed(seed)
    arguments = triplet_case(anchors, items, bits, levels=levels)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        check(CPU, arguments, *option)
    _C.force_machine("")


@pytest.mark.parametrize("bits", [1, 8, 12, 63, 64, 65, 128, 200])
def test_code_lengths(kernels, bits):
    check(kernels, triplet_case(4, 20, bits, levels=None))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_large_batch(kernels, dtype):
    anchors = 300 if kernels.name == "cpu" else 6
    check(kernels, triplet_case(anchors, 300, 12, levels=None, dtype=dtype))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_lists_longer_than_a_tile(machine, reduction):
    check(CPU, triplet_case(3, 3001, 16), "delta_ap", True, reduction)
    check(CPU, triplet_case(2, 1025 + 257), "none", False, reduction)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_lists_longer_than_shared_memory(cuda_kernels, dtype):
    check(cuda_kernels, triplet_case(2, 3600, 16, dtype=dtype))


@pytest.mark.parametrize(("weighting", "squared", "reduction"), OPTIONS)
@pytest.mark.parametrize("kind", [1, -1])
def test_one_item_on_a_side(kernels, kind, weighting, squared, reduction):
    distances, relation, *codes = triplet_case(6, 21)
    relation.fill_(-kind)
    relation[range(6), torch.randperm(21)[:6]] = kind
    check(kernels, (distances, relation, *codes), weighting, squared, reduction)


def test_equal_items_take_the_order_of_their_index(kernels):
    _, relation, *codes = triplet_case(4, 40)
    check(kernels, (torch.ones(4, 40), relation, codes[0], codes[1][:1].expand(40, -1)))


def test_average_ranks_do_not_look_at_the_order_of_ties(kernels):
    _, relation, *codes = triplet_case(1, 40, bits=3)
    distances = torch.ones(1, 40)
    order = torch.randperm(40)
    moved = (distances, relation[:, order], codes[0], codes[1][order])
    # Normalised weights of equal hinges would give the margin squared, whatever the order.
    (loss, gradient), (moved_loss, moved_gradient), (by_index, _), (moved_by_index, _) = (
        raw(kernels, arguments, normalize=False, ties=ties)
        for ties in ("mean", "index")
        for arguments in ((distances, relation, *codes), moved)
    )
    assert moved_loss.item() == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(moved_gradient, gradient[:, order], rtol=1e-5, atol=1e-7)
    assert moved_by_index.item() != pytest.approx(by_index.item(), rel=1e-3)


@pytest.mark.parametrize("weighting", WEIGHTINGS[1:])
@pytest.mark.parametrize("normalize", [True, False])
def test_equal_codes_weigh_nothing_with_average_ranks(kernels, weighting, normalize):
    distances, relation, *codes = triplet_case(4, 40, levels=None)
    equal = (distances, relation, codes[0], codes[1][:1].expand(40, -1))
    for method in ("auto", "pairs") if kernels.name != "cpu" else TRIPLET_METHODS:
        loss, gradient = raw(kernels, equal, weighting, True, "mean", normalize, "mean", method)
        assert loss == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_zeros_of_both_signs_are_equal(kernels):
    relation = torch.tensor([[1, -1, 1, -1]], dtype=torch.int8)
    codes = torch.zeros(4, 1, dtype=torch.uint8)
    losses = [
        raw(kernels, (torch.tensor([[0.0, zero, 0.0, 1.0]]), relation, codes[:1], codes))[0] for zero in (0.0, -0.0)
    ]
    assert losses[0] == losses[1]


def test_negative_distances_rank_first(kernels):
    distances, *rest = triplet_case(6, 30, levels=None)
    check(kernels, (distances - 4, *rest))


@pytest.mark.parametrize("kind", [1, -1, 0])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_no_triplet_gives_zero_and_zero_gradient(kernels, kind, reduction):
    distances, relation, *codes = triplet_case(5, 20)
    loss, gradient = raw(kernels, (distances, relation.fill_(kind), *codes), "delta_ap", True, reduction)
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_satisfied_margin_gives_zero(kernels):
    distances, relation, *codes = triplet_case(5, 20)
    far = torch.where(relation < 0, 100.0, distances)
    loss, gradient = raw(kernels, (far, relation, *codes), "delta_ap", True, "avg_nonzero")
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize(("weighting", "squared", "reduction"), OPTIONS)
@pytest.mark.parametrize("kind", [1, -1])
def test_nan_reaches_the_loss(kernels, kind, weighting, squared, reduction):
    distances, relation, *codes = triplet_case(4, 37)
    relation[2] = torch.where(torch.arange(37) % 2 == 0, 1, -1)
    distances[2, 18 if kind > 0 else 19] = -math.nan
    assert raw(kernels, (distances, relation, *codes), weighting, squared, reduction)[0].isnan()


def test_nan_reaches_the_gradients_of_its_triplets(machine):
    distances, relation, *codes = triplet_case(1, 37)
    relation[:] = torch.where(torch.arange(37) % 2 == 0, 1, -1)
    distances[0, 4] = math.nan
    gradient = raw(CPU, (distances, relation, *codes))[1]
    assert torch.equal(gradient.isnan()[0], (relation[0] < 0) | (torch.arange(37) == 4))


def test_nan_in_an_ignored_item_does_nothing(kernels):
    distances, relation, *codes = triplet_case(5, 20)
    with_nan = distances.masked_fill(relation == 0, math.nan)
    for clean, tainted in zip(
        raw(kernels, (distances, relation, *codes)), raw(kernels, (with_nan, relation, *codes)), strict=True
    ):
        assert torch.equal(clean, tainted)


def test_nan_ranks_last_in_its_hamming_distance():
    """All slopes but NaN's own are NaN as well, so the order shows in the weights of the unsquared hinge."""
    distances = torch.tensor([[math.nan, 1.0, 2.0, 3.0]])
    relation = torch.tensor([[1, -1, 1, -1]], dtype=torch.int8)
    codes = torch.zeros(4, 1, dtype=torch.uint8)
    _, gradient = raw(CPU, (distances, relation, codes[:1], codes), "delta_ap", False, "sum")
    last = torch.tensor([[9.0, 1.0, 2.0, 3.0]])
    assert torch.equal(gradient, raw(CPU, (last, relation, codes[:1], codes), "delta_ap", False, "sum")[1])


@pytest.mark.parametrize("layout", ["transposed", "slice", "every_other", "expanded"])
def test_any_layout(kernels, layout):
    change = {
        "transposed": lambda t: t.T.contiguous().T,
        "slice": lambda t: torch.cat([t, t, t], 1)[:, t.shape[1] : 2 * t.shape[1]],
        "every_other": lambda t: t.repeat_interleave(2, 1)[:, ::2],
        "expanded": lambda t: t[:1].expand(t.shape),
    }[layout]
    check(kernels, [change(t) for t in triplet_case(6, 17, 12)])


def test_same_bits_for_any_number_of_threads(threads):
    arguments = triplet_case(90, 130, 12, levels=None)
    results = []
    for count in (1, 2, 7):
        threads(count)
        results.append(raw(CPU, arguments, "delta_ap", True, "avg_nonzero"))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_repeated_calls_give_the_same_bits(kernels):
    arguments = triplet_case(7, 60, 12, levels=None)
    for a, b in zip(raw(kernels, arguments), raw(kernels, arguments), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_numpy_door_gives_the_same_bits(machine, dtype):
    arguments = triplet_case(20, 45, 12, dtype=dtype)
    for weighting, squared, reduction in OPTIONS:
        options = (WEIGHTINGS.index(weighting), squared, REDUCTIONS.index(reduction))
        by_torch = torch.ops.fasthash.order_aware_triplet(*arguments, MARGIN, *options)
        by_numpy = _C.order_aware_triplet(*(t.numpy() for t in arguments), MARGIN, *options)
        for a, b in zip(by_torch, by_numpy, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)


BAD = [
    (
        0,
        torch.zeros(3, 5, dtype=torch.int32),
        "distances must be a tensor of dtype float32, float64, bfloat16, float16",
    ),
    (0, torch.zeros(0, 5), r"distances must be of shape \(anchors, items\) and not empty, got \(0, 5\)"),
    (0, torch.zeros(5), r"distances must be of shape \(anchors, items\) and not empty, got \(5,\)"),
    (1, torch.zeros(3, 5, dtype=torch.int64), "relation must be a tensor of dtype int8, got int64"),
    (1, torch.zeros(3, 4, dtype=torch.int8), r"relation must be of shape \(3, 5\) like distances, got \(3, 4\)"),
    (2, torch.zeros(2, 1, dtype=torch.uint8), r"anchor_codes must be of shape \(3, 1\), got \(2, 1\)"),
    (2, torch.zeros(3, 0, dtype=torch.uint8), r"anchor_codes must be of shape \(rows, bytes > 0\), got \(3, 0\)"),
    (3, torch.zeros(5, 2, dtype=torch.uint8), r"item_codes must be of shape \(5, 1\), got \(5, 2\)"),
    (3, torch.zeros(5, dtype=torch.uint8), r"item_codes must be of shape \(rows, bytes > 0\), got \(5,\)"),
    (3, torch.zeros(5, 1), "item_codes must be a tensor of dtype uint8, got float32"),
]


@pytest.mark.parametrize(("position", "value", "message"), BAD)
def test_bad_tensors_are_named(position, value, message):
    arguments = list(triplet_case(3, 5))
    arguments[position] = value
    for function in (ops.order_aware_triplet, reference.order_aware_triplet):
        with pytest.raises(ValueError, match="^order_aware_triplet: " + message):
            function(*arguments, margin=1.0)
    with pytest.raises(ValueError, match="^order_aware_triplet: " + message):
        _C.order_aware_triplet(*(t.numpy() for t in arguments), 1.0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"margin": math.inf}, "margin must be a finite number, got inf"),
        ({"margin": math.nan}, "margin must be a finite number, got nan"),
        (
            {"weighting": "ndcg"},
            "weighting must be one of .*none.*, .*delta_ap.*, .*delta_ndcg.*, .*rank_difference.*, got 'ndcg'",
        ),
        ({"method": "fenwick"}, "method must be one of .*auto.*, .*pairs.*, .*sweep.*, got 'fenwick'"),
        ({"ties": "first"}, "ties must be one of .*index.*, .*mean.*, got 'first'"),
        ({"reduction": "max"}, "reduction must be one of .*mean.*, .*sum.*, .*avg_nonzero.*, got 'max'"),
    ],
)
def test_bad_options_are_named(option, message):
    with pytest.raises(ValueError, match="^order_aware_triplet: " + message):
        ops.order_aware_triplet(*triplet_case(3, 5), **{"margin": 1.0, **option})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((4, True, 0), r"weighting must be 0 \(none\), .* or 3 \(rank difference\), got 4"),
        ((1, True, 0, True, 3), r"method must be 0 \(auto\), 1 \(pairs\) or 2 \(sweep\), got 3"),
        ((1, True, 0, True, 0, 2), r"ties must be 0 \(index\) or 1 \(mean\), got 2"),
        ((1, True, -1), r"reduction must be 0 \(mean\), 1 \(sum\) or 2 \(avg_nonzero\), got -1"),
    ],
)
def test_bad_numbers_of_options_are_named(kernels, options, message):
    arguments = [t.to(kernels.device) for t in triplet_case(3, 5)]
    with pytest.raises(ValueError, match="^order_aware_triplet: " + message):
        kernels.ops.order_aware_triplet(*arguments, 1.0, *options)


def test_cuda_has_no_sweep(cuda_kernels):
    arguments = [t.to(cuda_kernels.device) for t in triplet_case(3, 5)]
    with pytest.raises(ValueError, match=r"^order_aware_triplet: method must be auto or pairs on .*, got sweep"):
        cuda_kernels.ops.order_aware_triplet(*arguments, 1.0, 1, True, 0, True, 2)
