# SPDX-License-Identifier: Apache-2.0
"""What autograd, autocast, torch.compile and the profiler see of order_aware_triplet, and its memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter

import pytest
import torch

from fasthash import ops, reference
from fasthash.types import REDUCTIONS, WEIGHTINGS
from tests.cases import FLOAT_DTYPES, triplet_case


def on(device, arguments):
    return [t.to(device) for t in arguments]


def apart(device, anchors=4, items=9):
    """float64 distances that differ by 1/4 at least, so that a small step changes neither ranks nor hinge signs."""
    _, *rest = triplet_case(anchors, items, bits=4)
    distances = torch.stack([torch.randperm(items) for _ in range(anchors)]).double() / 4
    return on(device, (distances, *rest))


@pytest.mark.parametrize(
    ("weighting", "squared", "reduction"), [*itertools.product(WEIGHTINGS, (True, False), REDUCTIONS)]
)
def test_gradcheck_at_fixed_ranks(device, weighting, squared, reduction):
    distances, *rest = apart(device)
    options = {"margin": 1.1, "weighting": weighting, "squared": squared, "reduction": reduction}
    assert torch.autograd.gradcheck(lambda d: ops.order_aware_triplet(d, *rest, **options), distances.requires_grad_())


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_backward_returns_the_dtype_of_the_distances(device, dtype):
    distances, *rest = on(device, triplet_case(6, 20, dtype=dtype))
    distances.requires_grad_()
    loss = ops.order_aware_triplet(distances, *rest, margin=1.0)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    (3 * loss).backward()
    exact = distances.detach().double().cpu().requires_grad_()
    (3 * reference.order_aware_triplet(exact, *on("cpu", rest), margin=1.0)).backward()
    assert distances.grad.dtype == dtype
    bound = {torch.bfloat16: 8e-3, torch.float16: 1e-3}.get(dtype, 1e-5)
    largest = exact.grad.abs().max().item()
    torch.testing.assert_close(distances.grad.double().cpu(), exact.grad, rtol=0, atol=bound * largest)


def test_a_loss_scale_reaches_gradients_too_small_for_float16(device):
    distances, *rest = on(device, triplet_case(64, 64, dtype=torch.float16))
    distances.requires_grad_()
    (ops.order_aware_triplet(distances, *rest, margin=0.25) * 1e-4).backward()
    unscaled, distances.grad = distances.grad, None
    (ops.order_aware_triplet(distances, *rest, margin=0.25) * 1e4).backward()
    assert (distances.grad != 0).sum() > (unscaled != 0).sum()


def test_the_loss_may_be_changed_in_place(device):
    distances, *rest = on(device, triplet_case(3, 8))
    losses = [ops.order_aware_triplet(distances.requires_grad_(), *rest, margin=1.0) for _ in range(2)]
    losses[0] /= 4
    found, expected = (torch.autograd.grad(loss, distances)[0] for loss in losses)
    torch.testing.assert_close(found, expected / 4)


def test_double_backward_is_refused(device):
    distances, *rest = on(device, triplet_case(3, 8))
    distances.requires_grad_()
    loss = ops.order_aware_triplet(distances, *rest, margin=1.0)
    (gradient,) = torch.autograd.grad(loss, distances, create_graph=True)
    message = "double backward through order_aware_triplet is not defined"
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(gradient.square().sum() + distances.sum(), distances)
    (gradient,) = torch.autograd.grad(
        ops.order_aware_triplet(distances, *rest, margin=1.0, squared=False), distances, create_graph=True
    )
    with pytest.raises(RuntimeError, match=message):
        gradient.sum().backward()


def test_the_gradient_output_is_not_differentiable(device):
    distances, *rest = on(device, triplet_case(3, 8))
    loss, gradient = torch.ops.fasthash.order_aware_triplet(distances.requires_grad_(), *rest, 1.0, 1, True, 0)
    assert loss.requires_grad
    assert not gradient.requires_grad


def test_no_gradient_is_asked_for(device):
    assert not ops.order_aware_triplet(*on(device, triplet_case(3, 8)), margin=1.0).requires_grad


def test_opcheck(device):
    distances, *rest = on(device, triplet_case(4, 12))
    arguments = (distances.requires_grad_(), *rest, 1.0, 1, True, 0)
    torch.library.opcheck(torch.ops.fasthash.order_aware_triplet.default, arguments)
    loss, gradient = torch.ops.fasthash.order_aware_triplet(distances.detach(), *rest, 1.0, 1, True, 0)
    torch.library.opcheck(
        torch.ops.fasthash.order_aware_triplet_backward.default, (torch.ones_like(loss), gradient, loss)
    )


@pytest.mark.parametrize("backend", ["graph", "aot_eager"])
def test_compiles_as_one_graph(device, backend):
    torch._dynamo.reset()
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    def step(distances, relation, anchor_codes, item_codes):
        return ops.order_aware_triplet(distances, relation, anchor_codes, item_codes, margin=1.0) * 2

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=keep if backend == "graph" else backend)
    for batch in (4, 9, 17):
        distances, *rest = on(device, triplet_case(batch, batch + 3))
        gradients = []
        for function in (compiled, step):
            leaf = distances.clone().requires_grad_()
            function(leaf, *rest).backward()
            gradients.append(leaf.grad)
        assert torch.equal(*gradients)
    assert len(graphs) == (1 if backend == "graph" else 0)


def test_fake_tensors_have_the_real_shapes():
    for dtype in FLOAT_DTYPES:
        arguments = triplet_case(3, 5, dtype=dtype)
        real = torch.ops.fasthash.order_aware_triplet(*arguments, 1.0, 1, True, 0)
        fake = torch.ops.fasthash.order_aware_triplet(*on("meta", arguments), 1.0, 1, True, 0)
        assert [(t.shape, t.dtype, t.stride()) for t in fake] == [(t.shape, t.dtype, t.stride()) for t in real]


def test_autocast_computes_in_float32(device):
    distances, *rest = on(device, triplet_case(6, 20, dtype=torch.bfloat16))
    embeddings = torch.randn(6, 8, device=device, requires_grad=True)
    with torch.autocast(device, dtype=torch.bfloat16):
        loss = ops.order_aware_triplet(distances, *rest, margin=1.0)
        product = embeddings @ torch.randn(8, 20, device=device)
        trained = ops.order_aware_triplet(product, *rest, margin=1.0)
    assert product.dtype == torch.bfloat16
    assert loss.dtype == trained.dtype == torch.float32
    assert torch.equal(loss, ops.order_aware_triplet(distances.float(), *rest, margin=1.0))
    trained.backward()
    assert embeddings.grad.isfinite().all()


def test_forward_is_one_operator_and_backward_a_product():
    distances, *rest = triplet_case(32, 32)
    distances.requires_grad_()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ops.order_aware_triplet(distances, *rest, margin=1.0).backward()
    seen = Counter(event.name for event in profile.events())
    own = {name: count for name, count in seen.items() if name.startswith("fasthash::")}
    assert own == {"fasthash::order_aware_triplet": 1}
    assert seen["aten::mul"] == 1
    assert not {"aten::sort", "aten::gather", "aten::cumsum", "aten::sub"} & seen.keys()


PEAK = """
import sys, torch
from fasthash import ops
from tests.cases import triplet_case
torch.set_num_threads(1)

def kilobytes(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

def peak(batch):
    distances, *rest = triplet_case(batch, batch, 64, levels=None)
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before = kilobytes("VmRSS")
    ops.order_aware_triplet(distances.requires_grad_(), *rest, margin=1.0).backward()
    return (kilobytes("VmHWM") - before) * 1024

peak(64)
print(peak(768), peak(1536))
"""


def test_memory_grows_with_the_square_of_the_batch():
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    small, large = map(int, run.stdout.split())
    # Forward and backward: the kept gradient and the one handed on, with a megabyte for the lists of an anchor.
    assert large <= 2.1 * 4 * 1536**2 + 2**20
    assert large <= 4.2 * small + 2**20
