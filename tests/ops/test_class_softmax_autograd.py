# SPDX-License-Identifier: Apache-2.0
"""What autograd, autocast, torch.compile and the profiler see of class_softmax."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from fasthash import ops
from tests.ops.test_class_softmax import RULES, case, numbers, usual


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.get("binary")], ids=str)
def test_gradients_are_those_of_differences(rule):
    """In float32, along a direction: gradcheck is for float64."""
    torch.manual_seed(5)
    x, w, targets, bias, factors = case(9, 6, 8, with_bias=usual(rule), with_factors=True)
    leaves = [t.requires_grad_() for t in (x, w, bias) if t is not None]
    loss = ops.class_softmax(x, w, targets, bias, factors, **rule)
    step = [torch.randn_like(t) for t in leaves]
    slope = sum((g * s).sum() for g, s in zip(torch.autograd.grad(loss, leaves), step, strict=True)).item()
    values = []
    for by in (-1e-3, 1e-3):
        moved = iter([t.detach() + by * s for t, s in zip(leaves, step, strict=True)])
        values.append(
            ops.class_softmax(next(moved), next(moved), targets, next(moved, None), factors, **rule).double().item()
        )
    assert slope == pytest.approx((values[1] - values[0]) / 2e-3, rel=5e-3, abs=1e-3)


@pytest.mark.parametrize("of", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 0, 0)])
def test_only_what_is_asked_for_has_a_gradient(of):
    x, w, targets, bias, _ = case(5, 7, 9)
    all_three = [t.clone().requires_grad_() for t in (x, w, bias)]
    expected = torch.autograd.grad(ops.class_softmax(*all_three[:2], targets, all_three[2]), all_three)
    leaves = [t.requires_grad_(bool(asked)) for t, asked in zip((x, w, bias), of, strict=True)]
    loss = ops.class_softmax(*leaves[:2], targets, leaves[2])
    assert loss.requires_grad == any(of)
    if any(of):
        loss.backward()
    for leaf, asked, right in zip(leaves, of, expected, strict=True):
        assert torch.equal(leaf.grad, right) if asked else leaf.grad is None
    with torch.no_grad():
        assert torch.equal(ops.class_softmax(*leaves[:2], targets, leaves[2]), loss)


def test_the_gradient_outputs_are_not_differentiable():
    x, w, *rest = case(5, 7, 9)
    loss, *gradients = torch.ops.fasthash.class_softmax(x.requires_grad_(), w, *rest, *numbers({}))
    assert loss.requires_grad
    assert not any(gradient.requires_grad for gradient in gradients)


def test_opcheck():
    x, w, targets, bias, factors = case(5, 7, 9, with_factors=True)
    op = torch.ops.fasthash.class_softmax.default
    leaves = (x.requires_grad_(), w.requires_grad_(), targets, bias.requires_grad_(), factors)
    torch.library.opcheck(op, (*leaves, *numbers(RULES[4], (True, True, True))))
    torch.library.opcheck(op, (x, w.detach(), targets, None, None, *numbers(RULES[1], (True, False, False))))
    loss, gradient, *_ = op(x.detach(), w.detach(), targets, None, None, *numbers({}))
    backward = torch.ops.fasthash.class_softmax_backward.default
    torch.library.opcheck(backward, (torch.ones_like(loss), gradient, loss))


@pytest.mark.parametrize("backend", ["graph", "aot_eager"])
def test_compiles_as_one_graph(backend):
    torch._dynamo.reset()
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    def step(x, w, targets, bias):
        return ops.class_softmax(x, w, targets, bias, scale=2.0, l2=0.1) * 2

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=keep if backend == "graph" else backend)
    for rows in (4, 9, 17):
        x, w, targets, bias, _ = case(rows, 6, 8)
        gradients = []
        for function in (compiled, step):
            leaf = x.clone().requires_grad_()
            function(leaf, w, targets, bias).backward()
            gradients.append(leaf.grad)
        assert torch.equal(*gradients)
    assert len(graphs) == (1 if backend == "graph" else 0)


def test_autocast_computes_in_float32():
    x, w, targets, *_ = case(6, 4, 8)
    half = x.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ops.class_softmax(half, w, targets)
    assert torch.equal(loss, ops.class_softmax(half.float(), w, targets))


def test_forward_is_one_op_and_backward_a_product_for_each_gradient():
    x, w, targets, bias, _ = case(16, 16, 16)
    leaves = [t.requires_grad_() for t in (x, w, bias)]
    ops.class_softmax(x, w, targets, bias).backward()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ops.class_softmax(*leaves[:2], targets, leaves[2]).backward()
    counts = Counter(event.key for event in profile.key_averages() for _ in range(event.count))
    assert counts["fasthash::class_softmax"] == 1
    assert counts["fasthash::class_softmax_backward"] == 0
    assert counts["aten::mul"] == 3
    assert not {"aten::mm", "aten::addmm", "aten::exp", "aten::log_softmax"} & counts.keys()
