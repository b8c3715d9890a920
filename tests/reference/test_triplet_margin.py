# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import reference
from fasthash.types import MININGS, REDUCTIONS
from tests.reference import naive

CHOICES = [(mining, swap) for mining in MININGS for swap in ((False, True) if mining == "all" else (False,))]
OPTIONS = [
    {"mining": mining, "swap": swap, "smooth": smooth, "reduction": reduction}
    for (mining, swap), smooth, reduction in itertools.product(CHOICES, (False, True), REDUCTIONS)
]


def case(anchors, items, seed=0, levels=None):
    generator = torch.Generator().manual_seed(seed)
    distances = torch.rand(anchors, items, dtype=torch.float64, generator=generator) * 4
    if levels:
        distances = distances.mul(levels / 4).floor()
    relation = torch.randint(-1, 3, (anchors, items), generator=generator).clamp(max=1).to(torch.int8)
    return distances, relation


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@given(
    anchors=st.integers(1, 6), items=st.integers(1, 12), levels=st.sampled_from([None, 1, 3]), seed=st.integers(0, 999)
)
@settings(max_examples=15, deadline=None)
def test_equals_loops_over_triplets(options, anchors, items, levels, seed):
    distances, relation = case(items if options["swap"] else anchors, items, seed, levels)
    loss = reference.triplet_margin(distances, relation, margin=0.8, **options)
    assert loss.shape == ()
    want = naive.triplet_margin(distances.tolist(), relation.tolist(), 0.8, **options)
    assert loss.item() == pytest.approx(want, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradcheck(options):
    distances, relation = case(7, 7, seed=3)
    assert torch.autograd.gradcheck(
        lambda d: reference.triplet_margin(d, relation, margin=0.8, **options), distances.requires_grad_()
    )


@pytest.mark.parametrize("kind", [1, -1, 0])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_triplet_gives_zero_and_zero_gradient(options, kind):
    distances, relation = case(5, 5)
    loss = reference.triplet_margin(distances.requires_grad_(), relation.fill_(kind), margin=1.0, **options)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(distances.grad, torch.zeros_like(distances))


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_distance_that_is_not_finite_reaches_its_anchor_alone(mining, bad):
    distances, relation = case(6, 12)
    relation[2], relation[3, 0] = torch.tensor([1, -1] * 6, dtype=torch.int8), 0
    distances[2, 4], distances[3, 0] = bad, bad
    distances.requires_grad_()
    loss = reference.triplet_margin(distances, relation, margin=1.0, mining=mining)
    loss.backward()
    assert loss.isnan()
    bad_rows = (torch.arange(6) == 2).unsqueeze(1) & (relation != 0)
    assert torch.equal(distances.grad.isnan(), bad_rows)


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((torch.zeros(3, 5, dtype=torch.int32), None), {}, "distances must be a tensor of dtype"),
        ((torch.zeros(0, 5), None), {}, "not empty"),
        ((None, torch.zeros(3, 5, dtype=torch.int64)), {}, "relation must be a tensor of dtype int8, got int64"),
        ((None, torch.zeros(3, 4, dtype=torch.int8)), {}, r"relation must be of shape \(3, 5\) like distances"),
        ((None, None), {"margin": math.inf}, "margin must be a finite number, got inf"),
        ((None, None), {"mining": "easy"}, "mining must be one of 'all', 'semi_hard', 'hard', got 'easy'"),
        ((None, None), {"mining": "hard", "swap": True}, "swap must be False where mining is not all, got True"),
        ((None, None), {"swap": True}, "swap must be False where distances are not square, got True"),
        ((None, None), {"reduction": "max"}, "reduction must be one of 'mean', 'sum', 'avg_nonzero'"),
    ],
)
def test_bad_arguments(arguments, options, text):
    tensors = [given if given is not None else usual for given, usual in zip(arguments, case(3, 5), strict=True)]
    with pytest.raises(ValueError, match=text):
        reference.triplet_margin(*tensors, **{"margin": 1.0, **options})
