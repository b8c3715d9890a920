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
from fasthash.types import PAIR_BALANCES, PAIR_RULES
from tests.cases import FLOAT_DTYPES

BOUND = {torch.float64: 1e-12, torch.float32: 1e-5}  # of the loss, and of gradients to their largest element
WEIGHTS = [
    {"balance": balance, "normalize": normalize, "cohesion": cohesion}
    for balance, (normalize, cohesion) in itertools.product(PAIR_BALANCES, ((False, 1.0), (True, 2.5)))
]


def case(anchors, items=None, bits=12, classes=None, dtype=torch.float32):
    """Embeddings and labels, and those of items; multi-hot where there are classes."""

    def side(rows):
        hot = torch.rand(rows, classes or 1) < 0.1
        labels = torch.randint(0, 3, (rows,)) if classes is None else ops.pack_codes(hot)
        return torch.randn(rows, bits).tanh().to(dtype), labels

    return (*side(anchors), *((None, None) if items is None else side(items)))


def options(rule, bits=12, **weights):
    threshold = {"contrast": 1.1 * bits, "graded_likelihood": 0.1 / bits}.get(rule, 3.0)
    return {"rule": rule, "scale": 0.4, "threshold": threshold, "smallest": 0.05 * bits, **weights}


def numbers(rule="likelihood", balance="none", of_items=False):
    """The options of the schema."""
    chosen = options(rule, cohesion=1.0, normalize=False)
    index = PAIR_RULES.index(rule), PAIR_BALANCES.index(balance)
    return index[0], chosen["scale"], chosen["threshold"], chosen["smallest"], index[1], 1.0, False, True, of_items


def value_and_gradients(function, arguments, chosen, dtype=None):
    x, labels, y, of_items = arguments
    leaves = [None if t is None else t.detach().to(dtype or t.dtype).requires_grad_() for t in (x, y)]
    loss = function(leaves[0], labels, leaves[1], of_items, **chosen)
    return loss.detach(), torch.autograd.grad(loss, [leaf for leaf in leaves if leaf is not None])


def check(arguments, chosen):
    loss, gradients = value_and_gradients(ops.pairwise_similarity_loss, arguments, chosen)
    expected, right = value_and_gradients(reference.pairwise_similarity_loss, arguments, chosen, torch.float64)
    dtype = arguments[0].dtype
    bound = BOUND[torch.float64 if dtype == torch.float64 else torch.float32]
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(expected.item(), rel=bound, abs=1e-12)
    step = bound if dtype in BOUND else torch.finfo(dtype).eps
    for gradient, exact in zip(gradients, right, strict=True):
        assert gradient.dtype == dtype
        smallest = 1e-7 if dtype == torch.float16 else 1e-12  # what is less is no number of this dtype
        torch.testing.assert_close(gradient.double(), exact, rtol=0, atol=step * exact.abs().max().item() + smallest)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("rule", PAIR_RULES)
def test_matches_the_reference(rule, weights, dtype):
    for classes in (None, 40):
        check(case(9, 23, classes=classes, dtype=dtype), options(rule, **weights))
        check(case(19, classes=classes, dtype=dtype), options(rule, **weights))


@pytest.mark.parametrize("rule", PAIR_RULES)
def test_machines_match_the_reference(machine, rule):
    for anchors, items, bits in ((1, 1, 1), (15, 7, 16), (16, 97, 17), (65, 96, 64), (130, 1100, 48)):
        check(case(anchors, items, bits), options(rule, bits, balance="both"))
    check(case(70, bits=33, classes=100), options(rule, 33, balance="both"))


@settings(max_examples=60, deadline=None)
@given(
    anchors=st.integers(1, 90),
    items=st.one_of(st.none(), st.integers(1, 230)),
    bits=st.integers(1, 70),
    classes=st.one_of(st.none(), st.integers(1, 80)),
    rule=st.sampled_from(PAIR_RULES),
    weights=st.sampled_from(WEIGHTS),
    seed=st.integers(0, 2**31),
)
def test_any_shape(anchors, items, bits, classes, rule, weights, seed):
    torch.manual_seed(seed)
    arguments = case(anchors, items, bits, classes, torch.float64)
    for dtype in (torch.float64, torch.float32):
        arguments = tuple(t.to(dtype) if t is not None and t.is_floating_point() else t for t in arguments)
        check(arguments, options(rule, bits, **weights))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64], ids=str)
def test_ids_of_any_integer_dtype(dtype):
    x, labels, y, of_items = case(9, 20)
    expected = ops.pairwise_similarity_loss(x, labels, y, of_items, rule="likelihood")
    assert torch.equal(
        ops.pairwise_similarity_loss(x, labels.to(dtype), y, of_items.to(dtype), rule="likelihood"), expected
    )


def test_ids_as_far_apart_as_integers_go():
    x, _, y, _ = case(4, 4)
    far = torch.tensor([-(2**63), 2**63 - 1, 2**53, 2**53 + 1])
    near = torch.arange(4)
    found, right = (
        ops.pairwise_similarity_loss(x, ids, y, ids.flip(0), rule="likelihood", balance="both") for ids in (far, near)
    )
    assert torch.equal(found, right)


@pytest.mark.parametrize("layout", ["transposed", "slice", "every_other", "expanded"])
def test_any_layout(layout):
    change = {
        "transposed": lambda t: t.T.contiguous().T,
        "slice": lambda t: torch.cat([t, t, t], 1)[:, t.shape[1] : 2 * t.shape[1]],
        "every_other": lambda t: t.repeat_interleave(2, 1)[:, ::2],
        "expanded": lambda t: t[:1].expand(t.shape),
    }[layout]
    x, labels, y, of_items = case(6, 17, classes=20)
    check((change(x), change(labels), change(y), change(of_items)), options("cosine_cauchy"))


@pytest.mark.parametrize("classes", [None, 40])
@pytest.mark.parametrize("rule", PAIR_RULES)
def test_same_bits_for_any_number_of_threads(threads, rule, classes):
    arguments = case(100, 3000, 24, classes)
    results = []
    for count in (1, 2, 7):
        threads(count)
        loss, gradients = value_and_gradients(
            ops.pairwise_similarity_loss, arguments, options(rule, 24, balance="both")
        )
        results.append((loss, *gradients))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("rule", PAIR_RULES)
def test_numpy_door_gives_the_same_bits(machine, rule, dtype):
    for classes in (None, 20):
        arguments = case(20, 31, classes=classes, dtype=dtype)
        by_torch = torch.ops.fasthash.pairwise_similarity_loss(*arguments, *numbers(rule, "both", True))
        by_numpy = _C.pairwise_similarity_loss(*(t.numpy() for t in arguments), *numbers(rule, "both", True))
        for a, b in zip(by_torch, by_numpy, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)


@pytest.mark.parametrize("rule", PAIR_RULES)
def test_one_item_makes_no_pair_with_itself(rule):
    loss, (gradient,) = value_and_gradients(ops.pairwise_similarity_loss, case(1), options(rule))
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("rule", PAIR_RULES)
def test_not_a_number_reaches_the_loss_and_its_row(machine, rule):
    x, labels, y, of_items = case(20, 30)
    x[3, 1] = math.nan
    loss, (of_x, _) = value_and_gradients(ops.pairwise_similarity_loss, (x, labels, y, of_items), options(rule))
    assert loss.isnan()
    assert torch.equal(of_x.isnan().any(1), torch.arange(20) == 3)


BAD = [
    (0, torch.zeros(3, 5, dtype=torch.int32), "embeddings must be float32, float64, bfloat16 or float16, got int32"),
    (0, torch.zeros(0, 5), r"embeddings must be of shape \(rows, bits\) and not empty, got \(0, 5\)"),
    (1, torch.zeros(4, dtype=torch.int64), r"labels must be of length 3, got \(4,\)"),
    (1, torch.zeros(3), "labels must be int64 where 1-D, got float32"),
    (1, torch.zeros(3, 2), "labels must be uint8 where 2-D, got float32"),
    (2, torch.zeros(4, 6), r"items must be of shape \(items, 5\) like embeddings, got \(4, 6\)"),
    (2, torch.zeros(4, 5).double(), "items must be a tensor of dtype float32 like embeddings, got float64"),
    (3, torch.zeros(3, dtype=torch.int64), r"item_labels must be of length 4, got \(3,\)"),
    (3, torch.zeros(4, 1, dtype=torch.uint8), r"item_labels must be of the kind and width of labels \(3,\), got"),
    (3, None, "item_labels must be given where items are, and only there, got None"),
    (2, None, "item_labels must be given where items are, and only there, got a tensor"),
]


@pytest.mark.parametrize(("position", "value", "message"), BAD)
def test_bad_tensors_are_named(position, value, message):
    arguments = list(case(3, 4, 5))
    arguments[position] = value
    with pytest.raises(ValueError, match="^pairwise_similarity_loss: " + message):
        ops.pairwise_similarity_loss(*arguments, rule="likelihood")
    with pytest.raises(ValueError, match="^pairwise_similarity_loss: " + message):
        _C.pairwise_similarity_loss(*(None if t is None else t.numpy() for t in arguments))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"rule": "hinge"},
            "rule must be one of " + ", ".join(map(repr, PAIR_RULES)) + ", got 'hinge'",
        ),
        ({"balance": "all"}, "balance must be one of 'none', 'both', 'similar', got 'all'"),
        ({"scale": math.inf}, "scale must be a finite number, got inf"),
        ({"threshold": 0.0}, "threshold must be a finite number > 0, got 0"),
        ({"smallest": -1.0}, "smallest must be a finite number > 0, got -1"),
        ({"cohesion": math.nan}, "cohesion must be a finite number > 0, got nan"),
    ],
)
def test_bad_options_are_named(option, message):
    with pytest.raises(ValueError, match="^pairwise_similarity_loss: " + message):
        ops.pairwise_similarity_loss(*case(3, 4), **{"rule": "likelihood", **option})


def test_bad_numbers_of_options_are_named():
    for place, value, message in ((0, 5, "rule must be 0"), (4, 3, "balance must be 0")):
        chosen = list(numbers())
        chosen[place] = value
        with pytest.raises(ValueError, match=message):
            torch.ops.fasthash.pairwise_similarity_loss(*case(3, 4), *chosen)
    with pytest.raises(ValueError, match="of_items must be False where items are None, got True"):
        torch.ops.fasthash.pairwise_similarity_loss(*case(3), *numbers(of_items=True))
