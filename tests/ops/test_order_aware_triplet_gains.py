# SPDX-License-Identifier: Apache-2.0
"""order_aware_triplet with gains of the positives: weights by NDCG."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from fasthash import _C, ops, reference
from fasthash.types import REDUCTIONS, TIES, TRIPLET_METHODS, WEIGHTINGS
from tests.cases import FLOAT_DTYPES, triplet_case, triplet_gains
from tests.kernels import Kernels

CPU = Kernels("cpu", torch.ops.fasthash, "cpu")
MARGIN = 1.5
NDCG = WEIGHTINGS.index("delta_ndcg")
BOUND = {torch.float64: 1e-12, torch.float32: 5e-6}
RANKING = list(itertools.product((True, False), TIES))


def raw(kernels, arguments, gains, squared=True, reduction="mean", normalize=True, ties="index", method="auto"):
    tensors = [t.to(kernels.device) for t in arguments]
    options = (NDCG, squared, REDUCTIONS.index(reduction), normalize, TRIPLET_METHODS.index(method), TIES.index(ties))
    gains = None if gains is None else gains.to(kernels.device)
    return [t.cpu() for t in kernels.ops.order_aware_triplet(*tensors, MARGIN, *options, gains)]


def check(kernels, arguments, gains, squared=True, reduction="mean", normalize=True, ties="index", method="auto"):
    loss, gradient = raw(kernels, arguments, gains, squared, reduction, normalize, ties, method)
    distances = arguments[0].double().requires_grad_()
    options = {"weighting": "delta_ndcg", "squared": squared, "reduction": reduction}
    options |= {"normalize": normalize, "ties": ties, "gains": gains}
    want = reference.order_aware_triplet(distances, *arguments[1:], margin=MARGIN, **options)
    (want_gradient,) = torch.autograd.grad(want, distances)
    bound = BOUND[torch.float64 if arguments[0].dtype == torch.float64 else torch.float32]
    assert loss.item() == pytest.approx(want.item(), rel=bound, abs=1e-30)
    largest = want_gradient.abs().max().item()
    torch.testing.assert_close(gradient.double(), want_gradient, rtol=0, atol=bound * largest)


def assert_equal(results, others):
    for a, b in zip(results, others, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize(("squared", "reduction"), [*itertools.product((True, False), REDUCTIONS)])
def test_matches_the_reference(kernels, dtype, squared, reduction):
    for anchors, items in ((5, 9), (3, 34)):
        for ranking in RANKING:
            arguments = triplet_case(anchors, items, dtype=dtype)
            check(kernels, arguments, triplet_gains(anchors, items), squared, reduction, *ranking)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize(("squared", "reduction"), [*itertools.product((True, False), REDUCTIONS)])
def test_a_sweep_matches_the_reference(dtype, squared, reduction):
    for anchors, items, bits in ((5, 9, 6), (3, 34, 12), (2, 200, 3)):
        for ranking in RANKING:
            arguments = triplet_case(anchors, items, bits, dtype=dtype)
            check(CPU, arguments, triplet_gains(anchors, items), squared, reduction, *ranking, method="sweep")


@pytest.mark.parametrize("squared", [True, False])
def test_machines_match_the_reference(machine, squared):
    for items in (*range(7, 19), 31, 33, 100):
        check(CPU, triplet_case(11, items), triplet_gains(11, items), squared, "avg_nonzero")
    check(CPU, triplet_case(2, 1800, 16), triplet_gains(2, 1800), squared, method="pairs")


def test_a_gallery_of_many_items_is_swept():
    arguments, gains = triplet_case(2, 3000, 64, levels=None), triplet_gains(2, 3000)
    swept = raw(CPU, arguments, gains, method="sweep")
    assert_equal(raw(CPU, arguments, gains), swept)
    loss, gradient = raw(CPU, arguments, gains, method="pairs")
    torch.testing.assert_close(swept[1], gradient, rtol=0, atol=1e-5 * gradient.abs().max().item())
    assert swept[0].item() == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("method", TRIPLET_METHODS)
@pytest.mark.parametrize(("normalize", "ties"), RANKING)
def test_equal_gains_are_none_and_zeros_weigh_nothing(kernels, method, normalize, ties):
    method = method if kernels.name == "cpu" else "auto"
    arguments = triplet_case(4, 60)
    options = {"normalize": normalize, "ties": ties, "method": method}
    plain = raw(kernels, arguments, None, **options)
    for gain in (1.0, 7.0, 1e-42, 3e38):
        for a, b in zip(raw(kernels, arguments, torch.full((4, 60), gain), **options), plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    for result in raw(kernels, arguments, torch.zeros(4, 60), **options):
        assert torch.equal(result, torch.zeros_like(result))


@pytest.mark.parametrize("normalize", [True, False])
def test_gains_are_read_of_positives_only_and_count_by_proportion(kernels, normalize):
    arguments = triplet_case(4, 60)
    gains = triplet_gains(4, 60)
    expected = raw(kernels, arguments, gains, normalize=normalize)
    others = (4 * gains).masked_fill(arguments[1] <= 0, math.nan)
    assert_equal(raw(kernels, arguments, others, normalize=normalize), expected)
    gains[0, arguments[1][0] > 0] -= 2.0  # those of 0 and 1 fall below 0
    below = raw(kernels, arguments, gains, normalize=normalize)
    assert_equal(below, raw(kernels, arguments, gains.clamp(min=0), normalize=normalize))
    assert not torch.equal(below[1], expected[1])


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("normalize", "ties"), RANKING)
def test_a_gain_that_is_not_finite_makes_the_loss_nan(kernels, value, normalize, ties):
    arguments, gains = triplet_case(3, 60), triplet_gains(3, 60)
    gains[1, (arguments[1][1] > 0).nonzero()[3]] = value
    for method in TRIPLET_METHODS if kernels.name == "cpu" else ("auto",):
        assert raw(kernels, arguments, gains, normalize=normalize, ties=ties, method=method)[0].isnan()


@pytest.mark.parametrize("ties", TIES)
def test_equal_codes_weigh_nothing_with_average_ranks(kernels, ties):
    distances, relation, *codes = triplet_case(4, 40, levels=None)
    equal = (distances, relation, codes[0], codes[1][:1].expand(40, -1))
    for method in TRIPLET_METHODS if kernels.name == "cpu" else ("auto",):
        loss, gradient = raw(kernels, equal, triplet_gains(4, 40), ties=ties, method=method)
        assert (loss == 0) == (ties == "mean")
        assert (gradient == 0).all() == (ties == "mean")


def test_any_layout(kernels):
    arguments = triplet_case(6, 17, 12)
    for gains in (triplet_gains(17, 6).T, triplet_gains(6, 51)[:, 17:34], triplet_gains(1, 17).expand(6, -1)):
        check(kernels, arguments, gains)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_lists_longer_than_shared_memory(cuda_kernels, dtype):
    check(cuda_kernels, triplet_case(2, 3600, 16, dtype=dtype), triplet_gains(2, 3600), normalize=False, ties="mean")


def test_numpy_door_gives_the_same_bits(machine):
    arguments, gains = triplet_case(20, 45, 12), triplet_gains(20, 45)
    by_torch = torch.ops.fasthash.order_aware_triplet(*arguments, MARGIN, NDCG, True, 0, gains=gains)
    by_numpy = _C.order_aware_triplet(*(t.numpy() for t in arguments), MARGIN, NDCG, gains=gains.numpy())
    for a, b in zip(by_torch, by_numpy, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


@pytest.mark.parametrize(
    ("weighting", "gains", "message"),
    [
        *((name, torch.ones(3, 5), "None where weighting is not delta_ndcg, got a tensor") for name in WEIGHTINGS[:2]),
        ("rank_difference", torch.ones(3, 5), "None where weighting is not delta_ndcg, got a tensor"),
        ("delta_ndcg", torch.ones(3, 4), r"of shape \(3, 5\) like distances, got \(3, 4\)"),
        ("delta_ndcg", torch.ones(5), r"of shape \(3, 5\) like distances, got \(5,\)"),
        ("delta_ndcg", torch.ones(3, 5, dtype=torch.float64), "a tensor of dtype float32, got float64"),
        ("delta_ndcg", torch.ones(3, 5, dtype=torch.int32), "a tensor of dtype float32, got int32"),
    ],
)
def test_bad_gains_are_named(weighting, gains, message):
    arguments = triplet_case(3, 5)
    for function in (ops.order_aware_triplet, reference.order_aware_triplet):
        with pytest.raises(ValueError, match="^order_aware_triplet: gains must be " + message):
            function(*arguments, margin=1.0, weighting=weighting, gains=gains)
    options = (1.0, WEIGHTINGS.index(weighting))
    with pytest.raises(ValueError, match="^order_aware_triplet: gains must be " + message):
        _C.order_aware_triplet(*(t.numpy() for t in arguments), *options, gains=gains.numpy())


def test_gains_of_another_device_are_named(cuda_kernels):
    arguments = [t.to(cuda_kernels.device) for t in triplet_case(3, 5)]
    elsewhere = torch.ones(3, 5, device="cpu" if cuda_kernels.device == "cuda" else "meta")
    if cuda_kernels.device == "cuda":
        with pytest.raises(ValueError, match="gains must be on cuda:0, got cpu"):
            cuda_kernels.ops.order_aware_triplet(*arguments, 1.0, NDCG, True, 0, gains=elsewhere)
    with pytest.raises(ValueError, match=r"gains must be on .*, got"):
        reference.order_aware_triplet(*arguments, margin=1.0, weighting="delta_ndcg", gains=elsewhere)


def on(device, tensors):
    return [t.to(device) for t in tensors]


def test_opcheck_and_gradient(device):
    distances, *rest = on(device, triplet_case(4, 12))
    gains = triplet_gains(4, 12).to(device)
    arguments = (distances.requires_grad_(), *rest, 1.0, NDCG, True, 0)
    torch.library.opcheck(torch.ops.fasthash.order_aware_triplet.default, arguments, {"gains": gains})
    gains.requires_grad_()
    ops.order_aware_triplet(distances, *rest, margin=1.0, weighting="delta_ndcg", gains=gains).backward()
    assert distances.grad.abs().sum() > 0
    assert gains.grad is None


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_as_one_graph(device, backend):
    torch._dynamo.reset()

    def step(distances, relation, anchor_codes, item_codes, gains):
        tensors = (distances, relation, anchor_codes, item_codes)
        return ops.order_aware_triplet(*tensors, margin=1.0, weighting="delta_ndcg", gains=gains) * 2

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=backend)
    for batch in (4, 9, 17):
        distances, *rest = on(device, (*triplet_case(batch, batch + 3), triplet_gains(batch, batch + 3)))
        gradients = []
        for function in (compiled, step):
            leaf = distances.clone().requires_grad_()
            function(leaf, *rest).backward()
            gradients.append(leaf.grad)
        assert torch.equal(*gradients)


def test_autocast_computes_in_float32(device):
    distances, *rest = on(device, triplet_case(6, 20, dtype=torch.bfloat16))
    gains = triplet_gains(6, 20).to(device)
    options = {"margin": 1.0, "weighting": "delta_ndcg"}
    with torch.autocast(device, dtype=torch.bfloat16):
        loss = ops.order_aware_triplet(distances, *rest, **options, gains=gains.bfloat16())  # of few digits: exact
    assert loss.dtype == torch.float32
    assert torch.equal(loss, ops.order_aware_triplet(distances.float(), *rest, **options, gains=gains))
