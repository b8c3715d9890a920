# SPDX-License-Identifier: Apache-2.0
import copy
import math

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash import reference
from fasthash.losses import OrderAwareTripletLoss, relation_from_labels
from fasthash.losses._inputs import squared_distances


def batch(rows=16, bits=12, classes=4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.tanh(torch.randn(rows, bits, generator=generator, dtype=torch.float64)).to(dtype)
    return codes.requires_grad_(), torch.arange(rows) % classes


def expected_loss(embeddings, items, relation, margin, **options):
    distances = (embeddings.unsqueeze(1) - items).square().sum(2)
    codes = reference.pack_codes(embeddings.detach()), reference.pack_codes(items.detach())
    return reference.order_aware_triplet(distances, relation, *codes, margin=margin, **options)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weighting": "none", "squared": False},
        {"reduction": "sum"},
        {"reduction": "avg_nonzero"},
        {"ties": "mean", "weighting": "rank_difference", "normalize": False},
    ],
)
def test_equals_the_definition(backend, options):
    embeddings, labels = batch()
    loss = OrderAwareTripletLoss(backend=backend, **options)(embeddings, labels)
    expected = expected_loss(embeddings, embeddings, relation_from_labels(labels), 12 / 4 + 4, **options)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(value, embeddings)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_reference_items_and_margin():
    embeddings, labels = batch()
    items, item_labels = batch(30, seed=1)
    loss = OrderAwareTripletLoss(margin=2.0)(embeddings, labels, None, items, item_labels)
    expected = expected_loss(embeddings, items, relation_from_labels(labels, item_labels), 2.0)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert items.grad.abs().sum() > 0


def test_labels_multi_hot_similarity_and_indices_agree():
    embeddings, labels = batch()
    loss = OrderAwareTripletLoss()
    expected = loss(embeddings, labels)
    one_hot = torch.nn.functional.one_hot(labels)
    relation = relation_from_labels(labels)
    pairs = (*(relation > 0).nonzero(as_tuple=True), *(relation < 0).nonzero(as_tuple=True))
    assert loss(embeddings, one_hot) == expected
    assert loss(embeddings, similarity=one_hot @ one_hot.T) == expected
    assert loss(embeddings, None, pairs) == expected


def multi_hot(rows, classes=5, seed=0):
    return (torch.rand(rows, classes, generator=torch.Generator().manual_seed(seed)) < 0.5).long()


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("options", [{}, {"ties": "mean", "normalize": False, "squared": False}])
@pytest.mark.parametrize("given", ["labels", "similarity"])
def test_ndcg_takes_gains_from_shared_labels(backend, options, given):
    (embeddings, _), (items, _) = batch(), batch(30, seed=1)
    labels, item_labels = multi_hot(16), multi_hot(30, seed=1)
    shared = labels @ item_labels.T
    relation = relation_from_labels(labels, item_labels)
    gains = torch.tensor([[2.0**a - 1 for a in row] for row in shared.tolist()])
    options = {**options, "weighting": "delta_ndcg"}
    expected = expected_loss(embeddings, items, relation, 7.0, **options, gains=gains)
    loss_function = OrderAwareTripletLoss(backend=backend, **options)
    if given == "labels":
        loss = loss_function(embeddings, labels.bool(), None, items, item_labels.bool())
    else:
        loss = loss_function(embeddings, None, None, items, similarity=torch.where(shared > 0, shared, -2.0))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, embeddings)[0] for value in (loss, expected)), rtol=1e-4, atol=1e-6
    )
    plain = expected_loss(embeddings, items, relation, 7.0, **options)
    assert plain.item() != pytest.approx(expected.item(), rel=1e-3)


def test_gains_are_for_ndcg_and_where_items_share_several_labels():
    embeddings, labels = batch()
    several = multi_hot(16)
    relation = relation_from_labels(several)
    assert OrderAwareTripletLoss()(embeddings, several) == OrderAwareTripletLoss()(
        embeddings, similarity=several @ several.T
    )
    loss = OrderAwareTripletLoss(weighting="delta_ndcg")
    assert loss(embeddings, torch.nn.functional.one_hot(labels)) == loss(embeddings, labels)
    pairs = (*(relation > 0).nonzero(as_tuple=True), *(relation < 0).nonzero(as_tuple=True))
    expected = expected_loss(embeddings, embeddings, relation, 7.0, weighting="delta_ndcg")
    torch.testing.assert_close(loss(embeddings, several, pairs), expected)
    graded = loss(embeddings, several)
    assert graded.item() != pytest.approx(expected.item(), rel=1e-4)
    similarity = (several @ several.T).double().requires_grad_()
    assert loss(embeddings, similarity=similarity) == graded  # each anchor's own entry is not looked at
    for backend in ("fused", "reference"):
        embeddings.grad = None
        OrderAwareTripletLoss(weighting="delta_ndcg", backend=backend)(embeddings, similarity=similarity).backward()
        assert similarity.grad is None


def test_a_batch_of_one_class_gives_zero_and_zero_gradient():
    embeddings, labels = batch()
    loss = OrderAwareTripletLoss()(embeddings, labels * 0)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype):
    embeddings, labels = batch(dtype=dtype)
    loss = OrderAwareTripletLoss()(embeddings, labels)
    wide = embeddings.detach().double()
    expected = expected_loss(wide, wide, relation_from_labels(labels), 7.0)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    loss.backward()
    assert embeddings.grad.dtype == dtype


def test_autocast_computes_distances_in_float32():
    embeddings, labels = batch()
    expected = OrderAwareTripletLoss()(embeddings, labels)
    graded = OrderAwareTripletLoss(weighting="delta_ndcg")
    expected_graded = graded(embeddings, multi_hot(16))
    with torch.autocast("cpu", torch.bfloat16):
        assert OrderAwareTripletLoss()(embeddings, labels) == expected
        assert graded(embeddings, multi_hot(16)) == expected_graded


def test_squared_distances_are_never_negative():
    codes = torch.ones(50, 33) * 0.37
    assert squared_distances(codes, codes).min() >= 0


def test_deep_copy():
    embeddings, labels = batch()
    loss = OrderAwareTripletLoss(margin=3.0)
    assert copy.deepcopy(loss)(embeddings, labels) == loss(embeddings, labels)


@pytest.mark.parametrize("weighting", ["delta_ap", "delta_ndcg"])
def test_compiles_to_one_graph_for_all_batch_sizes(weighting):
    loss = OrderAwareTripletLoss(weighting=weighting)
    counter, counts = CompileCounterWithBackend("aot_eager"), []
    compiled = torch.compile(lambda e, y: loss(e, y), fullgraph=True, dynamic=True, backend=counter)
    for rows in (16, 9, 33):
        embeddings, labels = batch(rows)
        labels = labels if weighting == "delta_ap" else multi_hot(rows)
        values = compiled(embeddings, labels), loss(embeddings, labels)
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*(torch.autograd.grad(value, embeddings)[0] for value in values))
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"


def test_torch_func_grad_through_the_reference():
    embeddings, labels = batch(dtype=torch.float64)
    loss = OrderAwareTripletLoss(backend="reference")
    gradient = torch.func.grad(lambda e: loss(e, labels))(embeddings.detach())
    loss(embeddings, labels).backward()
    torch.testing.assert_close(gradient, embeddings.grad)


def test_nan_is_refused_or_passed_on():
    embeddings, labels = batch()
    with torch.no_grad():
        embeddings[3, 5] = math.nan
    with pytest.raises(
        ValueError, match=r"embeddings must be finite, got 1 NaN and 0 infinite values, first at \(3, 5\)"
    ):
        OrderAwareTripletLoss()(embeddings, labels)
    with pytest.raises(ValueError, match="ref_emb must be finite"):
        OrderAwareTripletLoss()(embeddings.detach().nan_to_num(), labels, None, embeddings, labels)
    assert OrderAwareTripletLoss(check_finite=False)(embeddings, labels).isnan()


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"margin": math.nan}, "margin must be a finite number, got nan"),
        (
            {"weighting": "rank"},
            "weighting must be one of 'none', 'delta_ap', .*, got 'rank'",
        ),
        ({"ties": "first"}, "ties must be one of 'index', 'mean', got 'first'"),
        ({"reduction": "max"}, "reduction must be one of 'mean', 'sum', 'avg_nonzero', got 'max'"),
        ({"backend": "torch"}, "backend must be one of 'fused', 'reference', got 'torch'"),
    ],
)
def test_bad_options(kwargs, text):
    with pytest.raises(ValueError, match=text):
        OrderAwareTripletLoss(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"embeddings": torch.zeros(0, 12)}, "embeddings must be of shape .* not empty"),
        ({"embeddings": torch.zeros(16, 12, dtype=torch.int32)}, "embeddings must be a tensor of dtype"),
        ({"embeddings": torch.zeros(16)}, "embeddings must be of shape"),
        ({"labels": torch.zeros(15, dtype=torch.int64)}, r"labels must be of length 16, got \(15,\)"),
        ({"labels": None}, "labels must be given"),
        ({"ref_labels": torch.zeros(16, dtype=torch.int64)}, "ref_labels must be None where ref_emb is None"),
        ({"ref_emb": torch.zeros(5, 12)}, "ref_labels must be None where ref_emb is None, and given where it is not"),
        ({"ref_emb": torch.zeros(5, 11)}, r"ref_emb must be of shape \(items, 12\)"),
        (
            {"ref_emb": torch.zeros(5, 12), "ref_labels": torch.zeros(4, dtype=torch.int64)},
            "ref_labels must be of length 5",
        ),
        ({"similarity": torch.zeros(16, 16)}, "labels must be None where similarity is given, got both"),
        ({"labels": None, "similarity": torch.zeros(16, 15)}, r"of shape \(16, 16\), got \(16, 15\)"),
        ({"labels": torch.zeros(16, dtype=torch.int64, device="meta")}, "must be on cpu, got meta"),
    ],
)
def test_bad_arguments(kwargs, text):
    embeddings, labels = batch()
    with pytest.raises(ValueError, match=text):
        OrderAwareTripletLoss()(**{"embeddings": embeddings, "labels": labels, **kwargs})
