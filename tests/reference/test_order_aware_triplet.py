# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import reference
from fasthash.types import REDUCTIONS, WEIGHTINGS

from . import naive

OPTIONS = list(itertools.product(WEIGHTINGS, [True, False], REDUCTIONS))


def case(anchors, items, seed=0, bits=6, levels=None):
    """Distances (of `levels` values, so that they tie), relation with zeros, few bits, so that Hamming ties too."""
    generator = torch.Generator().manual_seed(seed)
    distances = torch.rand(anchors, items, dtype=torch.float64, generator=generator) * 4
    if levels:
        distances = distances.mul(levels / 4).floor()
    relation = torch.randint(-1, 3, (anchors, items), generator=generator).clamp(max=1).to(torch.int8)
    codes = [reference.pack_codes(torch.randn(n, bits, generator=generator)) for n in (anchors, items)]
    return distances, relation, *codes


def naive_loss(distances, relation, anchor_codes, item_codes, **options):
    lists = [t.tolist() for t in (distances, distances.float(), relation, anchor_codes, item_codes)]
    return naive.order_aware_triplet(*lists, **options)


@pytest.mark.parametrize(("weighting", "squared", "reduction"), OPTIONS)
@given(
    anchors=st.integers(1, 4),
    items=st.integers(1, 12),
    levels=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 999),
    normalize=st.booleans(),
    ties=st.sampled_from(["index", "mean"]),
)
@settings(max_examples=15, deadline=None)
def test_equals_brute_force_swaps(weighting, squared, reduction, anchors, items, levels, seed, normalize, ties):
    arguments = case(anchors, items, seed, levels=levels)
    options = {"margin": 0.8, "weighting": weighting, "squared": squared, "reduction": reduction}
    options |= {"normalize": normalize, "ties": ties}
    loss = reference.order_aware_triplet(*arguments, **options)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(naive_loss(*arguments, **options), rel=1e-9, abs=1e-12)


@given(
    anchors=st.integers(1, 3),
    items=st.integers(1, 10),
    seed=st.integers(0, 999),
    squared=st.booleans(),
    normalize=st.booleans(),
    ties=st.sampled_from(["index", "mean"]),
    highest=st.sampled_from([0.0, 1.0, 3.0, 2.0**100]),
)
@settings(max_examples=60, deadline=None)
def test_graded_weights_equal_brute_force_swaps(anchors, items, seed, squared, normalize, ties, highest):
    arguments = case(anchors, items, seed, levels=3)
    gains = torch.randint(0, 4, (anchors, items), generator=torch.Generator().manual_seed(seed)) * (highest / 3)
    options = {"margin": 0.8, "weighting": "delta_ndcg", "squared": squared, "reduction": "mean"}
    options |= {"normalize": normalize, "ties": ties}
    loss = reference.order_aware_triplet(*arguments, **options, gains=gains)
    assert loss.item() == pytest.approx(naive_loss(*arguments, **options, gains=gains.tolist()), rel=1e-9, abs=1e-12)


def test_gains_are_read_of_positives_only_and_count_by_proportion():
    distances, relation, *codes = case(4, 9, seed=3)
    gains = torch.rand(4, 9, generator=torch.Generator().manual_seed(0)) + 0.1
    options = {"margin": 0.8, "weighting": "delta_ndcg", "normalize": False}
    loss = reference.order_aware_triplet(distances, relation, *codes, **options, gains=gains)
    elsewhere = gains.masked_fill(relation <= 0, math.nan) * 8
    assert reference.order_aware_triplet(distances, relation, *codes, **options, gains=elsewhere) == loss
    plain = reference.order_aware_triplet(distances, relation, *codes, **options)
    assert loss.item() != pytest.approx(plain.item(), rel=1e-3)
    assert reference.order_aware_triplet(distances, relation, *codes, **options, gains=gains * 0 + 7) == plain
    gains[tuple((relation > 0).nonzero()[0])] = math.nan
    assert reference.order_aware_triplet(distances, relation, *codes, **options, gains=gains).isnan()


@pytest.mark.parametrize(("weighting", "squared", "reduction"), OPTIONS)
def test_gradcheck(weighting, squared, reduction):
    distances, *rest = case(4, 9, seed=3)
    options = {"margin": 0.8, "weighting": weighting, "squared": squared, "reduction": reduction}
    assert torch.autograd.gradcheck(
        lambda d: reference.order_aware_triplet(d, *rest, **options), distances.requires_grad_()
    )


def test_float64_takes_its_ranks_from_float32():
    distances = torch.tensor([[1.0 + 1e-12, 1.0, 3.0]], dtype=torch.float64)  # equal in float32: the index decides
    relation = torch.tensor([[1, -1, 1]], dtype=torch.int8)
    codes = torch.zeros(3, 1, dtype=torch.uint8)
    arguments = (distances, relation, codes[:1], codes)
    loss = reference.order_aware_triplet(*arguments, margin=0.5)
    # Order p n p, AP (1 + 2/3) / 2. Items 0 and 1 swapped: (1/2 + 2/3) / 2; items 2 and 1 swapped: (1 + 1) / 2.
    weights = [1 / 4 / (5 / 24), 1 / 6 / (5 / 24)]
    assert loss.item() == pytest.approx((weights[0] * 0.5**2 + weights[1] * 2.5**2) / 2, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precisions_return_float32(dtype):
    distances, *rest = case(5, 20)
    low = distances.to(dtype).requires_grad_()
    loss = reference.order_aware_triplet(low, *rest, margin=0.5)
    expected = reference.order_aware_triplet(low.detach().double(), *rest, margin=0.5)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    loss.backward()
    assert low.grad.dtype == dtype


@pytest.mark.parametrize("kind", [1, -1, 0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "avg_nonzero"])
def test_no_valid_triplet_gives_zero_and_zero_gradient(kind, reduction):
    distances, relation, *codes = case(4, 6)
    distances.requires_grad_()
    loss = reference.order_aware_triplet(distances, relation.fill_(kind), *codes, margin=1.0, reduction=reduction)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(distances.grad, torch.zeros_like(distances))


def test_a_satisfied_margin_gives_zero():
    distances, relation = torch.tensor([[0.0, 5.0]]), torch.tensor([[1, -1]], dtype=torch.int8)
    codes = torch.zeros(2, 1, dtype=torch.uint8)
    loss = reference.order_aware_triplet(distances, relation, codes[:1], codes, margin=1.0, reduction="avg_nonzero")
    assert loss.item() == 0.0


def test_nan_reaches_the_loss_only_from_a_triplet():
    distances, relation, *codes = case(3, 8)
    distances.requires_grad_()
    ignored = (relation == 0).nonzero()[0]
    with torch.no_grad():
        distances[tuple(ignored)] = math.nan
    loss = reference.order_aware_triplet(distances, relation, *codes, margin=1.0)
    loss.backward()
    assert loss.isfinite()
    assert distances.grad.isfinite().all()
    used = (relation > 0).nonzero()[0]
    with torch.no_grad():
        distances[tuple(used)] = math.nan
    assert reference.order_aware_triplet(distances, relation, *codes, margin=1.0).isnan()


def test_strides():
    distances, relation, anchor_codes, item_codes = case(6, 6)
    loss = reference.order_aware_triplet(distances.T, relation.T, anchor_codes, item_codes, margin=1.0)
    plain = (distances.T.contiguous(), relation.T.contiguous(), anchor_codes, item_codes)
    assert loss == reference.order_aware_triplet(*plain, margin=1.0)


@pytest.mark.parametrize(
    ("position", "value", "text"),
    [
        (0, torch.zeros(3, 5, dtype=torch.int32), "distances must be a tensor of dtype"),
        (0, torch.zeros(0, 5), "not empty"),
        (1, torch.zeros(3, 5, dtype=torch.int64), "relation must be a tensor of dtype int8, got int64"),
        (1, torch.zeros(3, 4, dtype=torch.int8), r"relation must be of shape \(3, 5\) like distances, got \(3, 4\)"),
        (2, torch.zeros(2, 1, dtype=torch.uint8), r"anchor_codes must be of shape \(3, 1\), got \(2, 1\)"),
        (3, torch.zeros(5, 2, dtype=torch.uint8), r"item_codes must be of shape \(5, 1\), got \(5, 2\)"),
        (3, torch.zeros(5, 1), "item_codes must be a tensor of dtype uint8"),
    ],
)
def test_bad_tensors(position, value, text):
    arguments = list(case(3, 5))
    arguments[position] = value
    with pytest.raises(ValueError, match=text):
        reference.order_aware_triplet(*arguments, margin=1.0)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"margin": math.inf}, "margin must be a finite number, got inf"),
        (
            {"weighting": "ndcg"},
            "weighting must be one of 'none', 'delta_ap', .*, got 'ndcg'",
        ),
        ({"reduction": "max"}, "reduction must be one of 'mean', 'sum', 'avg_nonzero'"),
        ({"gains": torch.ones(3, 5)}, "gains must be None where weighting is not delta_ndcg, got a tensor"),
    ],
)
def test_bad_options(option, text):
    with pytest.raises(ValueError, match=text):
        reference.order_aware_triplet(*case(3, 5), **{"margin": 1.0, **option})
