# SPDX-License-Identifier: Apache-2.0
import copy
import math

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash import reference
from fasthash.losses import TripletHardLoss, TripletMarginLoss, TripletSemiHardLoss, relation_from_labels

LOSSES = {"all": TripletMarginLoss, "semi_hard": TripletSemiHardLoss, "hard": TripletHardLoss}
MADE = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)


def batch(rows=16, width=12, classes=4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)
    return embeddings.requires_grad_(), torch.arange(rows) % classes


def distances_of(a, b, squared=False, normalized=True):
    if normalized:
        a, b = torch.nn.functional.normalize(a), torch.nn.functional.normalize(b)
    square = (a.unsqueeze(1) - b).square().sum(2)
    return square if squared else square.clamp(min=1e-30).sqrt()


def gradients(values, embeddings):
    return [torch.autograd.grad(value, embeddings)[0] for value in values]


@MADE
@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("smooth_loss", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
def test_equals_the_definition(make, backend, smooth_loss, squared, normalized):
    embeddings, labels = batch(dtype=torch.float64)
    distance = "sqeuclidean" if squared else "euclidean"
    options = {"distance": distance, "normalize_embeddings": normalized, "smooth_loss": smooth_loss}
    loss_function = make(margin=0.3, backend=backend, **options)
    loss = loss_function(embeddings, labels)
    expected = reference.triplet_margin(
        distances_of(embeddings, embeddings, squared, normalized),
        relation_from_labels(labels),
        margin=0.3,
        mining=next(name for name, made in LOSSES.items() if made is make),
        smooth=smooth_loss,
        reduction=loss_function.reduction,
    )
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(*gradients((loss, expected), embeddings), rtol=1e-8, atol=1e-10)


@MADE
def test_gradcheck_of_the_whole_loss(make):
    embeddings, labels = batch(10, 6, 3, dtype=torch.float64)
    loss = make(margin=0.31)
    assert torch.autograd.gradcheck(lambda e: loss(e, labels), embeddings)
    items, item_labels = batch(9, 6, 3, seed=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda e, r: loss(e, labels, None, r, item_labels), (embeddings, items))


def test_gradcheck_with_swap():
    embeddings, labels = batch(10, 6, 3, dtype=torch.float64)
    for smooth in (False, True):
        loss = TripletMarginLoss(0.31, swap=True, smooth_loss=smooth)
        assert torch.autograd.gradcheck(lambda e: loss(e, labels), embeddings)  # noqa: B023


@MADE
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_duplicates_have_finite_gradients(make, backend):
    embeddings, labels = batch()
    same = embeddings.detach()[:4].repeat(4, 1).requires_grad_()
    make(backend=backend)(same, labels).backward()
    assert same.grad.isfinite().all()
    zeros = torch.zeros(16, 12, requires_grad=True)
    loss = make(margin=0.25, backend=backend)(zeros, labels)
    loss.backward()
    assert loss == 0.25
    assert torch.equal(zeros.grad, torch.zeros_like(zeros))


@MADE
def test_labels_multi_hot_similarity_and_pairs_agree(make):
    embeddings, labels = batch()
    loss = make()
    expected = loss(embeddings, labels)
    one_hot = torch.nn.functional.one_hot(labels)
    relation = relation_from_labels(labels)
    pairs = (*(relation > 0).nonzero(as_tuple=True), *(relation < 0).nonzero(as_tuple=True))
    assert loss(embeddings, one_hot) == expected
    assert loss(embeddings, similarity=one_hot @ one_hot.T) == expected
    assert loss(embeddings, None, pairs) == expected


def all_triplets(labels):
    relation = relation_from_labels(labels)
    return ((relation > 0).unsqueeze(2) & (relation < 0).unsqueeze(1)).nonzero(as_tuple=True)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("smooth_loss", [False, True])
@pytest.mark.parametrize("reduction", ["avg_nonzero", "mean", "sum"])
def test_the_tuple_of_all_triplets_equals_labels(swap, smooth_loss, reduction):
    embeddings, labels = batch()
    loss = TripletMarginLoss(0.2, swap, smooth_loss, reduction=reduction)
    values = loss(embeddings, labels), loss(embeddings, None, all_triplets(labels))
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients(values, embeddings))


@MADE
def test_listed_triplets_are_taken_as_they_are(make):
    embeddings, labels = batch()
    triplets = torch.tensor([[0, 4, 1], [0, 4, 1], [5, 1, 2], [3, 7, 0]]).unbind(1)
    distances = distances_of(embeddings, embeddings)
    a, p, n = triplets
    x = distances[a, p] - distances[a, n] + 0.4
    loss = make(margin=0.4, reduction="mean")(embeddings, labels, triplets)
    torch.testing.assert_close(loss, x.relu().mean())
    empty = torch.zeros(0, dtype=torch.int64)
    none = make()(embeddings, labels, (empty, empty, empty))
    none.backward()
    assert none == 0
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@MADE
@pytest.mark.parametrize("rows", [1, 16])
def test_one_class_gives_zero_and_zero_gradient(make, rows):
    embeddings, labels = batch(rows)
    loss = make()(embeddings, labels * 0)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@MADE
def test_no_positives_gives_zero(make):
    embeddings, _ = batch()
    assert make()(embeddings, torch.arange(16)) == 0


@MADE
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(make, dtype):
    embeddings, labels = batch(dtype=dtype)
    loss = make()(embeddings, labels)
    expected = make()(embeddings.detach().double(), labels)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    loss.backward()
    assert embeddings.grad.dtype == dtype


def test_large_half_precision_values_do_not_overflow():
    embeddings, labels = batch(dtype=torch.float16)
    loss = TripletMarginLoss(1.0, normalize_embeddings=False, distance="sqeuclidean")(embeddings * 1000, labels)
    assert loss.isfinite()
    assert loss > 65504


@MADE
def test_autocast_computes_in_float32(make):
    embeddings, labels = batch()
    with torch.autocast("cpu", torch.bfloat16):
        inside = make()(embeddings, labels)
    assert inside == make()(embeddings, labels)


@MADE
def test_deep_copy_and_state_dict(make):
    embeddings, labels = batch()
    loss = make(margin=0.3)
    assert loss.state_dict() == {}
    assert copy.deepcopy(loss)(embeddings, labels) == loss(embeddings, labels)
    assert "margin=0.3" in repr(loss)


@MADE
def test_compiles_to_one_graph_for_all_batch_sizes(make):
    torch._dynamo.reset()
    loss = make()
    counter, counts = CompileCounterWithBackend("aot_eager"), []
    compiled = torch.compile(lambda e, y: loss(e, y), fullgraph=True, dynamic=True, backend=counter)
    for rows in (16, 9, 33):
        embeddings, labels = batch(rows)
        values = compiled(embeddings, labels), loss(embeddings, labels)
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*gradients(values, embeddings))
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"


@MADE
def test_torch_func_grad_through_the_reference(make):
    embeddings, labels = batch(dtype=torch.float64)
    loss = make(backend="reference")
    gradient = torch.func.grad(lambda e: loss(e, labels))(embeddings.detach())
    loss(embeddings, labels).backward()
    torch.testing.assert_close(gradient, embeddings.grad)


@MADE
def test_nan_is_refused_or_passed_on(make):
    embeddings, labels = batch()
    with torch.no_grad():
        embeddings[3, 5] = math.nan
    with pytest.raises(ValueError, match=r"embeddings must be finite, got 1 NaN and 0 infinite values, first at"):
        make()(embeddings, labels)
    with pytest.raises(ValueError, match="ref_emb must be finite"):
        make()(embeddings.detach().nan_to_num(), labels, None, embeddings, labels)
    assert make(check_finite=False)(embeddings, labels).isnan()


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"margin": math.nan}, "margin must be a finite number, got nan"),
        ({"distance": "cosine"}, "distance must be one of 'euclidean', 'sqeuclidean', got 'cosine'"),
        ({"reduction": "max"}, "reduction must be one of 'mean', 'sum', 'avg_nonzero', got 'max'"),
        ({"backend": "torch"}, "backend must be one of 'fused', 'reference', got 'torch'"),
    ],
)
@MADE
def test_bad_options(make, kwargs, text):
    with pytest.raises(ValueError, match=f"{make.__name__}: {text}"):
        make(**kwargs)


def test_a_number_of_triplets_per_anchor_is_refused():
    with pytest.raises(ValueError, match="TripletMarginLoss: triplets_per_anchor must be 'all', got 100"):
        TripletMarginLoss(triplets_per_anchor=100)


INDEX = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"embeddings": torch.zeros(0, 12)}, "embeddings must be of shape .* not empty"),
        ({"embeddings": torch.zeros(16, 12, dtype=torch.int32)}, "embeddings must be a tensor of dtype"),
        ({"labels": torch.zeros(15, dtype=torch.int64)}, r"labels must be of length 16, got \(15,\)"),
        ({"labels": None}, "labels must be given"),
        ({"ref_emb": torch.zeros(5, 12)}, "ref_labels must be None where ref_emb is None, and given where it is not"),
        ({"ref_emb": torch.zeros(5, 11)}, r"ref_emb must be of shape \(items, 12\)"),
        ({"similarity": torch.zeros(16, 16)}, "labels must be None where similarity is given, got both"),
        ({"labels": torch.zeros(16, dtype=torch.int64, device="meta")}, "must be on cpu, got meta"),
        ({"indices_tuple": (INDEX, INDEX[:1], INDEX)}, r"indices_tuple \(p\) must be a 1-D int64 tensor of length 2"),
        ({"indices_tuple": (INDEX, INDEX, INDEX.float())}, r"indices_tuple \(n\) must be a 1-D int64 tensor"),
        ({"indices_tuple": (INDEX + 16, INDEX, INDEX)}, r"indices_tuple \(a\) must be in 0..15, got 16..16"),
        ({"indices_tuple": (INDEX, INDEX, INDEX - 1)}, r"indices_tuple \(n\) must be in 0..15, got -1..-1"),
        ({"indices_tuple": (INDEX, INDEX)}, "indices_tuple must be of 3 or 4 tensors"),
    ],
)
def test_bad_arguments(kwargs, text):
    embeddings, labels = batch()
    with pytest.raises(ValueError, match=text):
        TripletMarginLoss()(**{"embeddings": embeddings, "labels": labels, **kwargs})


def test_swap_and_gather_take_the_batch_alone():
    embeddings, labels = batch()
    with pytest.raises(ValueError, match="ref_emb must be None where swap is set, got a tensor"):
        TripletMarginLoss(swap=True)(embeddings, labels, None, embeddings, labels)
    with pytest.raises(ValueError, match="gather must be False where indices_tuple, ref_emb or similarity is given"):
        TripletMarginLoss(gather=True)(embeddings, labels, None, embeddings, labels)
    with pytest.raises(RuntimeError, match=r"gather=True needs torch\.distributed"):
        TripletMarginLoss(gather=True)(embeddings, labels)
