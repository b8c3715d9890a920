# SPDX-License-Identifier: Apache-2.0
"""What autograd, autocast, torch.compile and the profiler see of triplet_margin, and its memory."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from fasthash import ops, reference
from fasthash.types import MININGS
from tests.cases import FLOAT_DTYPES, triplet_case

NUMBERS = (1.0, 0, False, False, 2)  # margin, mining, swap, smooth, reduction
OPTIONS = [
    {"mining": mining, "swap": swap, "smooth": smooth, "reduction": reduction}
    for mining in MININGS
    for swap in ((False, True) if mining == "all" else (False,))
    for smooth in (False, True)
    for reduction in ("mean", "avg_nonzero")
]


def case(device, anchors, items, dtype=torch.float32):
    return [t.to(device) for t in triplet_case(anchors, items, dtype=dtype)[:2]]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradcheck(device, options):
    """Distances that differ by 1/64 at least, and no hinge closer to 0: a small step changes neither."""
    _, relation = case(device, 6, 6)
    distances = torch.randperm(36).view(6, 6).double().to(device) / 64
    leaf = distances.requires_grad_()
    assert torch.autograd.gradcheck(lambda d: ops.triplet_margin(d, relation, margin=0.1015, **options), leaf)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_backward_returns_the_dtype_of_the_distances(device, dtype):
    distances, relation = case(device, 6, 20, dtype)
    distances.requires_grad_()
    loss = ops.triplet_margin(distances, relation, margin=1.0, smooth=True)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    (3 * loss).backward()
    exact = distances.detach().double().cpu().requires_grad_()
    (3 * reference.triplet_margin(exact, relation.cpu(), margin=1.0, smooth=True)).backward()
    assert distances.grad.dtype == dtype
    bound = {torch.bfloat16: 8e-3, torch.float16: 1e-3}.get(dtype, 1e-5)
    largest = exact.grad.abs().max().item()
    torch.testing.assert_close(distances.grad.double().cpu(), exact.grad, rtol=0, atol=bound * largest)


def test_the_loss_may_be_changed_in_place(device):
    distances, relation = case(device, 3, 8)
    losses = [ops.triplet_margin(distances.requires_grad_(), relation, margin=1.0) for _ in range(2)]
    losses[0] /= 4
    found, expected = (torch.autograd.grad(loss, distances)[0] for loss in losses)
    torch.testing.assert_close(found, expected / 4)


def test_double_backward_is_refused(device):
    distances, relation = case(device, 3, 8)
    loss = ops.triplet_margin(distances.requires_grad_(), relation, margin=1.0)
    (gradient,) = torch.autograd.grad(loss, distances, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward through triplet_margin is not defined"):
        torch.autograd.grad(gradient.square().sum() + distances.sum(), distances)


def test_the_gradient_output_is_not_differentiable(device):
    distances, relation = case(device, 3, 8)
    loss, gradient = torch.ops.fasthash.triplet_margin(distances.requires_grad_(), relation, *NUMBERS)
    assert loss.requires_grad
    assert not gradient.requires_grad


def test_no_gradient_is_asked_for(device):
    assert not ops.triplet_margin(*case(device, 3, 8), margin=1.0).requires_grad


def test_opcheck(device):
    distances, relation = case(device, 4, 12)
    torch.library.opcheck(torch.ops.fasthash.triplet_margin.default, (distances.requires_grad_(), relation, *NUMBERS))
    loss, gradient = torch.ops.fasthash.triplet_margin(distances.detach(), relation, *NUMBERS)
    torch.library.opcheck(torch.ops.fasthash.triplet_margin_backward.default, (torch.ones_like(loss), gradient, loss))


@pytest.mark.parametrize("backend", ["graph", "aot_eager"])
def test_compiles_as_one_graph(device, backend):
    torch._dynamo.reset()
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    def step(distances, relation):
        return ops.triplet_margin(distances, relation, margin=1.0) * 2

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=keep if backend == "graph" else backend)
    for batch in (4, 9, 17):
        distances, relation = case(device, batch, batch + 3)
        gradients = []
        for function in (compiled, step):
            leaf = distances.clone().requires_grad_()
            function(leaf, relation).backward()
            gradients.append(leaf.grad)
        assert torch.equal(*gradients)
    assert len(graphs) == (1 if backend == "graph" else 0)


def test_fake_tensors_have_the_real_shapes():
    for dtype in FLOAT_DTYPES:
        arguments = case("cpu", 3, 5, dtype)
        real = torch.ops.fasthash.triplet_margin(*arguments, *NUMBERS)
        fake = torch.ops.fasthash.triplet_margin(*(t.to("meta") for t in arguments), *NUMBERS)
        assert [(t.shape, t.dtype, t.stride()) for t in fake] == [(t.shape, t.dtype, t.stride()) for t in real]


def test_autocast_computes_in_float32(device):
    distances, relation = case(device, 6, 20, torch.bfloat16)
    with torch.autocast(device, dtype=torch.bfloat16):
        loss = ops.triplet_margin(distances, relation, margin=1.0)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, ops.triplet_margin(distances.float(), relation, margin=1.0))


def test_forward_is_one_op_and_backward_a_product():
    distances, relation = case("cpu", 16, 16)
    leaf = distances.requires_grad_()
    ops.triplet_margin(leaf, relation, margin=1.0).backward()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ops.triplet_margin(leaf, relation, margin=1.0).backward()
    counts = Counter(event.key for event in profile.key_averages() for _ in range(event.count))
    assert counts["fasthash::triplet_margin"] == 1
    assert counts["fasthash::triplet_margin_backward"] == 0
    assert sum(count for name, count in counts.items() if name.startswith("aten::mul")) == 1
