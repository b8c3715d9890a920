# SPDX-License-Identifier: Apache-2.0
"""What autograd, autocast, torch.compile and the profiler see of pairwise_similarity_loss, and its memory."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from fasthash import ops
from fasthash.types import PAIR_BALANCES, PAIR_RULES
from tests.cases import FLOAT_DTYPES
from tests.ops.test_pairwise_similarity_loss import case, numbers, options


@pytest.mark.parametrize("balance", PAIR_BALANCES)
@pytest.mark.parametrize("rule", PAIR_RULES)
def test_gradcheck(rule, balance):
    x, labels, y, of_items = case(5, 7, 4, dtype=torch.float64)
    chosen = options(rule, 4, balance=balance)
    leaves = x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: ops.pairwise_similarity_loss(a, labels, b, of_items, **chosen), leaves)
    assert torch.autograd.gradcheck(lambda a: ops.pairwise_similarity_loss(a, labels, **chosen), leaves[:1])


@pytest.mark.parametrize("of", [(True, False), (False, True), (False, False)])
def test_only_what_is_asked_for_has_a_gradient(of):
    x, labels, y, of_items = case(5, 7)
    leaves = x.requires_grad_(of[0]), y.requires_grad_(of[1])
    loss = ops.pairwise_similarity_loss(leaves[0], labels, leaves[1], of_items, rule="cauchy")
    assert loss.requires_grad == any(of)
    if any(of):
        loss.backward()
    assert [leaf.grad is not None for leaf in leaves] == list(of)
    with torch.no_grad():
        none = ops.pairwise_similarity_loss(leaves[0], labels, leaves[1], of_items, rule="cauchy")
    assert torch.equal(none, loss)


def test_the_loss_may_be_changed_in_place():
    x, labels, *_ = case(5)
    losses = [ops.pairwise_similarity_loss(x.requires_grad_(), labels, rule="likelihood") for _ in range(2)]
    losses[0] /= 4
    found, expected = (torch.autograd.grad(loss, x)[0] for loss in losses)
    torch.testing.assert_close(found, expected / 4)


def test_double_backward_is_refused():
    x, labels, *_ = case(5)
    loss = ops.pairwise_similarity_loss(x.requires_grad_(), labels, rule="likelihood")
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward through pairwise_similarity_loss is not defined"):
        torch.autograd.grad(gradient.square().sum() + x.sum(), x)


def test_the_gradient_outputs_are_not_differentiable():
    x, labels, y, of_items = case(5, 7)
    loss, *gradients = torch.ops.fasthash.pairwise_similarity_loss(x.requires_grad_(), labels, y, of_items, *numbers())
    assert loss.requires_grad
    assert not any(gradient.requires_grad for gradient in gradients)


def test_opcheck():
    x, labels, y, of_items = case(5, 7, classes=9)
    op = torch.ops.fasthash.pairwise_similarity_loss.default
    torch.library.opcheck(op, (x.requires_grad_(), labels, y.requires_grad_(), of_items, *numbers(of_items=True)))
    torch.library.opcheck(op, (x, labels, None, None, *numbers("cosine_cauchy", "both")))
    loss, gradient, _ = op(x.detach(), labels, None, None, *numbers())
    backward = torch.ops.fasthash.pairwise_similarity_loss_backward.default
    torch.library.opcheck(backward, (torch.ones_like(loss), gradient, loss))


@pytest.mark.parametrize("backend", ["graph", "aot_eager"])
def test_compiles_as_one_graph(backend):
    torch._dynamo.reset()
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    def step(x, labels, y, of_items):
        return ops.pairwise_similarity_loss(x, labels, y, of_items, rule="cauchy", balance="both") * 2

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=keep if backend == "graph" else backend)
    for batch in (4, 9, 17):
        x, labels, y, of_items = case(batch, batch + 3)
        gradients = []
        for function in (compiled, step):
            leaf = x.clone().requires_grad_()
            function(leaf, labels, y, of_items).backward()
            gradients.append(leaf.grad)
        assert torch.equal(*gradients)
    assert len(graphs) == (1 if backend == "graph" else 0)


def test_fake_tensors_have_the_real_shapes():
    for dtype in FLOAT_DTYPES:
        for items in (7, None):
            arguments = case(5, items, dtype=dtype)
            chosen = numbers(of_items=items is not None)
            real = torch.ops.fasthash.pairwise_similarity_loss(*arguments, *chosen)
            meta = (None if t is None else t.to("meta") for t in arguments)
            fake = torch.ops.fasthash.pairwise_similarity_loss(*meta, *chosen)
            assert [(t.shape, t.dtype, t.stride()) for t in fake] == [(t.shape, t.dtype, t.stride()) for t in real]


def test_autocast_computes_in_float32():
    x, labels, y, of_items = case(6, 20, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ops.pairwise_similarity_loss(x, labels, y, of_items, rule="likelihood")
    assert loss.dtype == torch.float32
    wide = ops.pairwise_similarity_loss(x.float(), labels, y.float(), of_items, rule="likelihood")
    assert torch.equal(loss, wide)


def test_forward_is_one_op_and_backward_a_product():
    x, labels, y, of_items = case(16, 16)
    leaf = x.requires_grad_()
    ops.pairwise_similarity_loss(leaf, labels, y, of_items, rule="likelihood").backward()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ops.pairwise_similarity_loss(leaf, labels, y, of_items, rule="likelihood").backward()
    counts = Counter(event.key for event in profile.key_averages() for _ in range(event.count))
    assert counts["fasthash::pairwise_similarity_loss"] == 1
    assert counts["fasthash::pairwise_similarity_loss_backward"] == 0
    assert sum(count for name, count in counts.items() if name.startswith("aten::mul")) == 1


PEAK = """
import torch
from fasthash import ops
torch.set_num_threads(1)

def kilobytes(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

def peak(items):
    sides = [(torch.randn(rows, 64), torch.randint(0, 10, (rows,))) for rows in (128, items)]
    leaf = sides[0][0].requires_grad_()
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before = kilobytes("VmRSS")
    ops.pairwise_similarity_loss(leaf, sides[0][1], *sides[1], rule="likelihood", balance="both").backward()
    return (kilobytes("VmHWM") - before) * 1024

peak(64)
print(peak(40_000))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").is_file(), reason="needs /proc")
def test_no_memory_of_the_size_of_all_pairs():
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    # 32 parts of the items with a gradient (A, K) each, a number for each item, and what the allocator rounds up.
    assert int(run.stdout) <= 4 * (33 * 128 * 64 + 40_000) + 2**20 < 4 * 128 * 40_000 / 4
