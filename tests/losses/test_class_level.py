# SPDX-License-Identifier: Apache-2.0
"""What holds for every loss over classes."""

import copy
import itertools
import math

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash.losses import CosFaceLoss, CSQLoss, DCWHLoss, SoftmaxHashLoss
from tests.losses.class_level import BITS, CLASSES, MAKERS, batch, make, multi_hot, naive

ALL = pytest.mark.parametrize("name", MAKERS)
BOTH = pytest.mark.parametrize("backend", ["fused", "reference"])


def gradients(loss, value, embeddings):
    return torch.autograd.grad(value, [embeddings, *loss.parameters()], allow_unused=True)


@ALL
@BOTH
@pytest.mark.parametrize("labels", ["ids", "multi_hot"])
def test_values_are_those_of_loops(name, backend, labels):
    loss = make(name, backend=backend)
    embeddings, ids = batch(dtype=torch.float64)
    given = ids if labels == "ids" else multi_hot()
    assert loss(embeddings, given).item() == pytest.approx(naive(name, loss, embeddings, given), rel=1e-6)


@ALL
@BOTH
@pytest.mark.parametrize("labels", ["ids", "multi_hot"])
def test_gradcheck(name, backend, labels):
    loss = make(name, backend=backend).double()
    embeddings, given = batch(dtype=torch.float64)
    if labels == "multi_hot":
        given = multi_hot()
    parameters = list(loss.parameters())
    if name == "greedy":
        # The gradient through the signs is declared, not derived: only that of the classifier can be checked.
        loss.penalty_weight = 0.0
        assert torch.autograd.gradcheck(lambda *_: loss(embeddings.detach(), given), parameters)
        return
    assert torch.autograd.gradcheck(lambda each, *_: loss(each, given), [embeddings, *parameters])


@ALL
@pytest.mark.parametrize("labels", ["ids", "multi_hot", "weighted", "weighted_multi_hot"])
@pytest.mark.parametrize("rows", [1, 4, 33])
def test_fused_and_reference_agree(name, labels, rows):
    embeddings, given = batch(rows, seed=rows)
    mined = None
    if "weighted" in labels:
        mined = (torch.tensor([0, 0, rows - 1]), torch.tensor([rows // 2, 0, rows - 1]), torch.tensor([0]))
    if "multi_hot" in labels:
        given = multi_hot(max(2, rows), seed=rows)[:rows]
    fused, plain = make(name), make(name, backend="reference")
    values = fused(embeddings, given, mined), plain(embeddings, given, mined)
    torch.testing.assert_close(*values)
    for found, expected in zip(
        gradients(fused, values[0], embeddings), gradients(plain, values[1], embeddings), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@ALL
def test_one_hot_rows_are_ids(name):
    loss = make(name)
    embeddings, ids = batch()
    one_hot = torch.nn.functional.one_hot(ids, CLASSES)
    if name == "greedy":
        return  # several labels are learned one by one there
    expected = loss(embeddings, ids)
    for labels in (one_hot, one_hot.bool(), one_hot.double() * 3, one_hot * 2 - 1):
        torch.testing.assert_close(loss(embeddings, labels), expected)
    for dtype in (torch.int32, torch.uint8):
        assert loss(embeddings, ids.to(dtype)) == expected


@ALL
def test_rows_without_labels_leave_the_rest_alone(name):
    loss = make(name)
    embeddings, _ = batch()
    labels = multi_hot()
    kept = labels.sum(1) > 0
    whole = torch.autograd.grad(loss(embeddings, labels), embeddings)[0]
    part = torch.autograd.grad(loss(embeddings[kept], labels[kept]), embeddings)[0]
    if name.startswith(("dcwh", "ddh", "greedy")):
        return  # the constraints see all rows: test_values_are_those_of_loops
    torch.testing.assert_close(whole, part)
    assert torch.equal(whole[1], torch.zeros(BITS))


@pytest.mark.parametrize(
    "name", ["softmax", "cosface", "vmf", "vmf_shared", "ortho", "ortho_angle", "csq", "csq_logits"]
)
@BOTH
def test_no_label_at_all_is_zero_with_zero_gradient(name, backend):
    loss = make(name, backend=backend)
    embeddings, _ = batch()
    value = loss(embeddings, torch.zeros(9, CLASSES))
    value.backward()
    assert value.item() == 0.0
    assert torch.equal(embeddings.grad, torch.zeros(9, BITS))


@ALL
def test_float64_stays_and_half_precisions_are_computed_in_float32(name):
    loss = make(name)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        embeddings, ids = batch(dtype=dtype)
        value = loss(embeddings, ids)
        value.backward()
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert embeddings.grad.dtype == dtype
        wide = embeddings.detach().float()
        torch.testing.assert_close(value.float(), loss(wide, ids), rtol=1e-5, atol=1e-6)


@ALL
def test_a_loss_of_another_dtype(name):
    embeddings, ids = batch()
    expected = make(name)(embeddings, ids)
    torch.testing.assert_close(make(name).double()(embeddings, ids), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(make(name).bfloat16()(embeddings, ids), expected, rtol=0.1, atol=0.1)


@ALL
def test_autocast_computes_in_float32(name):
    loss = make(name)
    embeddings, ids = batch()
    expected = loss(embeddings, ids)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(embeddings, ids)
    assert torch.equal(found, expected)
    pairs = zip(*(gradients(loss, each, embeddings) for each in (found, expected)), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@ALL
def test_deep_copy_and_state_dict(name):
    loss = make(name)
    embeddings, ids = batch()
    expected = loss(embeddings, ids)
    assert copy.deepcopy(loss)(embeddings, ids) == expected
    torch.manual_seed(99)
    other = MAKERS[name](**({"seed": 5} if name.startswith(("csq", "ortho")) else {}))
    assert other(embeddings, ids) != expected
    other.load_state_dict(loss.state_dict())
    assert other(embeddings, ids) == expected


@ALL
def test_compiles_to_one_graph_for_all_batch_sizes(name):
    torch._dynamo.reset()  # one lambda for all losses: it may be compiled eight times
    loss = make(name)
    counter, counts = CompileCounterWithBackend("aot_eager"), []
    compiled = torch.compile(lambda e, y: loss(e, y), fullgraph=True, dynamic=True, backend=counter)
    for rows in (16, 9, 33):
        embeddings, ids = batch(rows)
        values = compiled(embeddings, ids), loss(embeddings, ids)
        torch.testing.assert_close(*values)
        for found, expected in zip(*(gradients(loss, value, embeddings) for value in values), strict=True):
            torch.testing.assert_close(found, expected)
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"


@pytest.mark.parametrize("name", ["vmf_class", "greedy", "csq", "ortho_angle", "dcwh"])
def test_compiles_with_inductor(name):
    loss = make(name)
    torch._dynamo.reset()
    compiled = torch.compile(lambda e, y: loss(e, y), fullgraph=True)
    embeddings, ids = batch()
    with torch.no_grad():
        embeddings[0, 0] = -0.0  # the bit of -0 is +1
    values = compiled(embeddings, ids), loss(embeddings, ids)
    torch.testing.assert_close(*values)
    for found, expected in zip(*(gradients(loss, value, embeddings) for value in values), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@ALL
def test_the_same_bits_twice_and_on_any_number_of_threads(name, threads):
    loss = make(name)
    embeddings, ids = batch(700)
    runs = []
    for number in (1, 2, 2):
        threads(number)
        value = loss(embeddings, ids)
        runs.append([value, *gradients(loss, value, embeddings)])
    for one, other in itertools.combinations(runs, 2):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@ALL
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite(name, value):
    loss = make(name)
    embeddings, ids = batch()
    with torch.no_grad():
        embeddings[3, 5] = value
    text = rf"{type(loss).__name__}: embeddings must be finite, got .* infinite values, first at \(3, 5\)"
    with pytest.raises(ValueError, match=text):
        loss(embeddings, ids)
    with pytest.raises(ValueError, match=text):
        loss(embeddings, torch.nn.functional.one_hot(ids, CLASSES))
    loss.check_finite = False
    if math.isnan(value):
        assert loss(embeddings, ids).isnan()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_greedy_hash_without_a_penalty_refuses_and_passes_on_too(value):
    loss = make("greedy")
    loss.penalty_weight = 0.0
    embeddings, ids = batch()
    with torch.no_grad():
        embeddings[3, 5] = value
    with pytest.raises(ValueError, match="embeddings must be finite"):
        loss(embeddings, ids)
    loss.check_finite = False
    assert loss(embeddings, ids).isnan() == math.isnan(value)


def test_an_overflow_of_finite_values_is_not_an_error():
    loss = SoftmaxHashLoss(CLASSES, BITS)
    torch.nn.init.constant_(loss.weight, 2.0)
    embeddings, ids = batch()
    assert not loss(torch.full_like(embeddings, 3e38), ids).isfinite()


@ALL
def test_a_single_class_and_a_single_row(name):
    loss = make(name)
    embeddings, ids = batch()
    value = loss(embeddings, ids * 0)
    value.backward()
    assert value.isfinite()
    assert embeddings.grad.isfinite().all()
    assert loss(embeddings[:1], ids[:1]).isfinite()
    one = SoftmaxHashLoss(1, BITS)
    assert one(embeddings, ids * 0).item() == 0.0


@ALL
@BOTH
def test_zero_embeddings_have_finite_gradients(name, backend):
    loss = make(name, backend=backend)
    embeddings, ids = batch()
    with torch.no_grad():
        embeddings[2] = 0
    loss(embeddings, ids).backward()
    assert embeddings.grad.isfinite().all()
    if name in ("softmax_normalized", "cosface", "ortho", "ortho_angle") or name.startswith("vmf"):
        assert torch.equal(embeddings.grad[2], torch.zeros(BITS))


@pytest.mark.parametrize("name", ["softmax_normalized", "cosface", "vmf", "ortho"])
def test_large_embeddings_are_normalised_without_loss(name):
    loss = make(name)
    embeddings, ids = batch()
    torch.testing.assert_close(loss(embeddings * 1e15, ids), loss(embeddings, ids))
    torch.testing.assert_close(loss(embeddings * 1e-15, ids), loss(embeddings, ids))


def test_far_classes_keep_their_gradient():
    # exp(-distance) + 1e-6, as published, has none.
    loss = DCWHLoss(2, BITS, stage="establish", cube_weight=0.0)
    loss.centers.copy_(torch.stack([torch.ones(BITS), -torch.ones(BITS)]) * 10)
    embeddings = torch.full((1, BITS), -9.0, requires_grad=True)
    value = loss(embeddings, torch.tensor([0]))
    value.backward()
    assert value.item() == pytest.approx(BITS * (19**2 - 1) / 2, rel=1e-6)
    assert embeddings.grad[0, 0].item() == pytest.approx(-20.0)


@ALL
def test_double_backward_is_refused_by_the_fused_form(name):
    embeddings, ids = batch(dtype=torch.float64)
    if name in ("csq_logits", "softmax"):
        return  # plain PyTorch: a small softmax costs less than a Function
    (gradient,) = torch.autograd.grad(make(name).double()(embeddings, ids), embeddings, create_graph=True)
    text = 'double backward of this loss is not defined, use backend="reference"'
    with pytest.raises(RuntimeError, match=text):
        gradient.square().sum().backward()


@pytest.mark.parametrize("name", ["cosface", "vmf_class", "dcwh", "csq", "ddh"])
def test_the_reference_serves_double_backward_and_torch_func(name):
    loss = make(name, backend="reference").double()
    embeddings, ids = batch(dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda each: loss(each, ids), embeddings, fast_mode=True)
    found = torch.func.grad(lambda each: loss(each, ids))(embeddings.detach())
    (expected,) = torch.autograd.grad(loss(embeddings, ids), embeddings)
    torch.testing.assert_close(found, expected)


def test_mined_indices_weigh_as_in_pytorch_metric_learning():
    metric_learning = pytest.importorskip("pytorch_metric_learning.losses")
    embeddings, ids = batch(12)
    mined = (torch.tensor([0, 0, 3]), torch.tensor([4, 5, 4]), torch.tensor([0, 3, 7]), torch.tensor([8, 9, 9]))
    theirs = metric_learning.NormalizedSoftmaxLoss(CLASSES, BITS, temperature=0.2)
    ours = SoftmaxHashLoss(CLASSES, BITS, 0.2, normalize=True)
    with torch.no_grad():
        theirs.W.copy_(ours.weight.T)
    for indices in (None, mined, tuple(each[:0] for each in mined)):
        expected, found = theirs(embeddings, ids, indices), ours(embeddings, ids, indices)
        torch.testing.assert_close(found, expected)
        values = torch.autograd.grad(found, embeddings)[0], torch.autograd.grad(expected, embeddings)[0]
        torch.testing.assert_close(*values)
    theirs, ours = metric_learning.CosFaceLoss(CLASSES, BITS), CosFaceLoss(CLASSES, BITS)
    with torch.no_grad():
        theirs.W.copy_(ours.weight.T)
    torch.testing.assert_close(ours(embeddings, ids), theirs(embeddings, ids))


@ALL
def test_logits_name_the_class(name):
    loss = make(name)
    if isinstance(loss, CSQLoss):
        return
    embeddings, ids = batch()
    logits = loss.get_logits(embeddings)
    assert logits.shape == (9, CLASSES)
    if name in ("softmax", "softmax_normalized", "vmf", "vmf_class"):
        torch.testing.assert_close(torch.nn.functional.cross_entropy(logits, ids), loss(embeddings, ids))


def test_what_is_learned_and_what_is_kept():
    parameters = {name: sorted(n for n, _ in make(name).named_parameters()) for name in MAKERS}
    assert parameters["softmax"] == parameters["ddh"] == ["bias", "weight"]
    assert parameters["cosface"] == parameters["greedy"] == parameters["softmax_normalized"] == ["weight"]
    assert parameters["dcwh"] == parameters["vmf"] == parameters["csq"] == parameters["ortho"] == []
    assert parameters["dcwh_refine"] == ["centers"]
    assert parameters["vmf_shared"] == parameters["vmf_class"] == ["log_kappa"]
    assert {"centers", "sums.total", "sums.count"} < set(make("dcwh").state_dict())
    assert set(make("csq").state_dict()) == {"centers", "tie_breaker"}
    assert set(make("ortho").state_dict()) == {"codebook"}


def test_margins_can_change():
    loss = CosFaceLoss(CLASSES, BITS, 0.1)
    embeddings, ids = batch()
    before = loss(embeddings, ids)
    loss.set_margin(0.4)
    assert loss.margin == 0.4
    assert loss(embeddings, ids) > before
    with pytest.raises(ValueError, match="CosFaceLoss: margin must be a finite number, got nan"):
        loss.set_margin(math.nan)
