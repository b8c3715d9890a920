# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference

RULES = [
    {},
    {"scale": 16.0, "normalize_embeddings": True, "normalize_weights": True, "margin": 0.3},
    {"scale": 8.0, "normalize_embeddings": True, "normalize_weights": True, "margin": 0.3, "angular": True},
    {"binary": True, "cubic": 0.1},
    {"scale": 0.3, "normalize_weights": True, "l1": 0.2, "l2": 0.1, "cubic": 0.3, "outside": 0.5, "edge": 0.7},
]
FORMS = {"normalize_embeddings": 1, "binary": 2}


def case(rows, classes, bits, *, with_bias=True, with_factors=False):
    """Embeddings, weights, targets, bias and factors."""
    bias = torch.randn(classes) if with_bias else None
    factors = torch.rand(rows) if with_factors else None
    return torch.randn(rows, bits), 0.4 * torch.randn(classes, bits), torch.randint(0, classes, (rows,)), bias, factors


def numbers(rule, of=(True, True, False)):
    """The options of the schema."""
    form = next((number for name, number in FORMS.items() if rule.get(name)), 0)
    corners = [rule.get(name, 0.0) for name in ("l1", "l2", "cubic", "outside")]
    return (
        *(rule.get("scale", 1.0), form, rule.get("normalize_weights", False), rule.get("margin", 0.0)),
        *(rule.get("angular", False), *corners, rule.get("edge", 1.0), *of),
    )


def value_and_gradients(function, arguments, rule, dtype=torch.float32):
    x, w, targets, bias, factors = arguments
    leaves = [None if t is None else t.detach().to(dtype).requires_grad_() for t in (x, w, bias)]
    share = None if factors is None else factors.to(dtype)
    loss = function(leaves[0], leaves[1], targets, leaves[2], share, **rule)
    return loss.detach(), torch.autograd.grad(loss, [leaf for leaf in leaves if leaf is not None])


def check(arguments, rule):
    loss, gradients = value_and_gradients(ops.class_softmax, arguments, rule)
    expected, right = value_and_gradients(reference.class_softmax, arguments, rule, torch.float64)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=2e-6, abs=1e-7)
    for gradient, exact in zip(gradients, right, strict=True):
        bound = 2e-5 * exact.abs().max().item() + 1e-9
        torch.testing.assert_close(gradient.double(), exact, rtol=0, atol=bound)


def usual(rule):
    return not rule.get("angular")


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("with_factors", [False, True])
def test_machines_match_the_reference(machine, rule, with_factors):
    for rows, classes, bits in (
        (1, 1, 1),
        (3, 2, 15),
        (7, 16, 16),
        (6, 17, 17),
        (13, 64, 33),
        (130, 65, 48),
        (9, 200, 64),
    ):
        check(case(rows, classes, bits, with_bias=usual(rule), with_factors=with_factors), rule)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 300),
    classes=st.integers(1, 150),
    bits=st.integers(1, 80),
    with_bias=st.booleans(),
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 2**31),
)
def test_any_shape(rows, classes, bits, with_bias, rule, seed):
    torch.manual_seed(seed)
    if rule.get("normalize_weights"):
        bits += 8  # cosines of few elements are often 1, where gradients cancel and arccos is steep
    check(case(rows, classes, bits, with_bias=with_bias and usual(rule), with_factors=seed % 2 == 0), rule)


def test_ten_thousand_classes():
    check(case(40, 10_000, 64), {"scale": 2.0})


def test_rows_of_wider_tensors():
    x, w, targets, bias, _ = case(9, 11, 12)
    wide = [torch.cat([t, torch.full((len(t), 5), math.nan)], 1)[:, :12] for t in (x, w)]
    turned = [t.T.contiguous().T for t in (x, w)]
    expected = value_and_gradients(ops.class_softmax, (x, w, targets, bias, None), {})
    for other in (wide, turned):
        found = value_and_gradients(ops.class_softmax, (*other, targets, bias, None), {})
        assert torch.equal(found[0], expected[0])
        assert all(torch.equal(a, b) for a, b in zip(found[1], expected[1], strict=True))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_any_number_of_threads_gives_the_same_bits(machine, threads, rule):
    arguments = case(300, 130, 40, with_bias=usual(rule))
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        loss, gradients = value_and_gradients(ops.class_softmax, arguments, rule)
        results.append((loss, *gradients))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_numpy_door_gives_the_same_bits(machine, rule):
    arguments = case(20, 31, 24, with_bias=usual(rule), with_factors=True)
    options = numbers(rule, (True, True, usual(rule)))
    by_torch = torch.ops.fasthash.class_softmax(*arguments, *options)
    by_numpy = _C.class_softmax(*(None if t is None else t.numpy() for t in arguments), *options)
    for a, b in zip(by_torch, by_numpy, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


@pytest.mark.parametrize("gap", [20.0, 60.0, 85.0])
def test_a_sure_target_keeps_its_digits(machine, gap):
    """Where float32 probabilities are 1 and log-probabilities 0."""
    x = torch.tensor([[gap, 0.0]])
    w, targets = torch.eye(2), torch.tensor([0])
    loss, (of_x, of_w) = value_and_gradients(ops.class_softmax, (x, w, targets, None, None), {})
    share = math.exp(-gap)
    assert loss.item() == pytest.approx(share, rel=1e-5)
    assert of_x.tolist()[0] == pytest.approx([-share, share], rel=1e-5)
    assert of_w[:, 0].tolist() == pytest.approx([-gap * share, gap * share], rel=1e-5)


def test_huge_logits_do_not_overflow(machine):
    x = torch.tensor([[1e20, -1e20]])
    loss, (of_x, _) = value_and_gradients(ops.class_softmax, (x, torch.eye(2), torch.tensor([1]), None, None), {})
    assert loss.item() == pytest.approx(2e20)
    assert of_x.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_reaches_the_loss(machine, bad):
    for rule in RULES:
        x, w, targets, bias, _ = case(20, 30, 17, with_bias=usual(rule))
        x[3, 1] = bad
        loss, (of_x, *_) = value_and_gradients(ops.class_softmax, (x, w, targets, bias, None), rule)
        if not (rule.get("binary") and math.isinf(bad)):  # its sign is a number
            assert not loss.isfinite(), rule
        rows = of_x.isfinite().all(1)
        assert torch.equal(rows, torch.arange(20) != 3) or rows.all(), rule


def test_a_row_of_zeros_has_no_direction(machine):
    x, w, targets, _, _ = case(3, 5, 7)
    x[1], w[2] = 0, 0
    rule = {"normalize_embeddings": True, "normalize_weights": True, "scale": 4.0}
    check((x, w, targets, None, None), rule)
    _, (of_x, of_w) = value_and_gradients(ops.class_softmax, (x, w, targets, None, None), rule)
    assert not of_x[1].any()
    assert not of_w[2].any()


ROW = torch.zeros(3, 5)
BAD = [
    (0, torch.zeros(3, 5).double(), "embeddings must be float32, got float64"),
    (0, torch.zeros(0, 5), r"embeddings must be of shape \(rows, bits\) and not empty, got \(0, 5\)"),
    (1, torch.zeros(4, 6), r"weights must be of shape \(classes, 5\) like embeddings, got \(4, 6\)"),
    (1, torch.zeros(4, 5, dtype=torch.int64), "weights must be float32, got int64"),
    (2, torch.zeros(3), "targets must be int64, got float32"),
    (2, torch.zeros(4, dtype=torch.int64), r"targets must be of shape \(3\), got \(4,\)"),
    (2, torch.tensor([0, 4, 1]), r"targets must be in 0..3, got 0..4"),
    (2, torch.tensor([0, -1, 1]), r"targets must be in 0..3, got -1..1"),
    (3, torch.zeros(3), r"bias must be of shape \(4\), got \(3,\)"),
    (4, torch.zeros(4), r"factors must be of shape \(3\), got \(4,\)"),
]


@pytest.mark.parametrize(("position", "value", "message"), BAD)
def test_bad_tensors_are_named(position, value, message):
    arguments = list(case(3, 4, 5, with_factors=True))
    arguments[position] = value
    with pytest.raises(ValueError, match="^class_softmax: " + message):
        ops.class_softmax(*arguments)
    with pytest.raises(ValueError, match="^class_softmax: " + message):
        _C.class_softmax(*(None if t is None else t.numpy() for t in arguments))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"scale": 0.0}, "scale must be a finite number > 0, got 0"),
        ({"scale": math.inf}, "scale must be a finite number > 0, got inf"),
        ({"margin": math.nan}, "margin must be a finite number, got nan"),
        ({"l1": -1.0}, "l1 must be a finite number >= 0, got -1"),
        ({"edge": math.inf}, "edge must be a finite number >= 0, got inf"),
        ({"angular": True}, "bias must be None where the margin is an angle, got a tensor"),
        (
            {"binary": True, "normalize_embeddings": True},
            "binary must be False where normalize_embeddings is True, got True",
        ),
    ],
)
def test_bad_options_are_named(option, message):
    with pytest.raises(ValueError, match="^class_softmax: " + message):
        ops.class_softmax(*case(3, 4, 5), **option)


def test_bad_numbers_of_options_are_named():
    arguments = case(3, 4, 5, with_bias=False)
    chosen = list(numbers({}))
    chosen[1] = 3
    with pytest.raises(ValueError, match="form must be 0"):
        torch.ops.fasthash.class_softmax(*arguments, *chosen)
    with pytest.raises(ValueError, match="of_bias must be False where the bias is None, got True"):
        torch.ops.fasthash.class_softmax(*arguments, *numbers({}, (True, True, True)))
