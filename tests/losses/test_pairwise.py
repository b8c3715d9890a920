# SPDX-License-Identifier: Apache-2.0
"""Losses over pairs, against their formulas written out pair by pair."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from fasthash.losses import CohesionLoss, DCHLoss, DHNLoss, DPSHLoss, DSHLoss, HashNetLoss, IDHNLoss
from fasthash.losses import _pairs as pairs_module

LOSSES = {
    "hashnet": HashNetLoss,
    "cohesion": lambda **options: CohesionLoss(2.5, **options),
    "dpsh": DPSHLoss,
    "dhn": DHNLoss,
    "idhn": IDHNLoss,
    "dch": DCHLoss,
    "dch_released": lambda **options: DCHLoss(form="released", quantization=0.3, **options),
    "dsh": DSHLoss,
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def inputs(batch=9, items=None, bits=12, classes=3, seed=0, dtype=torch.float64, multi_hot=False):
    generator = torch.Generator().manual_seed(seed)

    def side(count):
        embeddings = (torch.randn(count, bits, generator=generator, dtype=torch.float64) * 1.2).tanh().to(dtype)
        if multi_hot:
            return embeddings, (torch.rand(count, classes, generator=generator) < 0.5).long()
        return embeddings, torch.randint(0, classes, (count,), generator=generator)

    return side(batch) if items is None else (*side(batch), *side(items))


def softplus(t):
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def cosine_distance(a, b):
    return len(a) / 2 * (1 - dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)))


def pair_value(name, u, v, s, first, second):
    """What a pair costs before it is weighted."""
    bits, inner, squared = len(u), dot(u, v), sum((p - q) ** 2 for p, q in zip(u, v, strict=True))
    if name in ("hashnet", "cohesion"):
        return softplus(10 / bits * inner) - s * 10 / bits * inner
    if name in ("dpsh", "dhn"):
        return softplus(inner / 2) - s * inner / 2
    if name == "dsh":
        return s * squared / 2 + (1 - s) * max(0.0, 2 * bits - squared) / 2
    if name == "idhn":
        t = 5 / bits * inner
        if isinstance(first, list):
            norm = math.sqrt(sum(first) * sum(second))
            s = dot(first, second) / norm if norm else 0.0
        soft = 1e-12 < s < 1 - 1e-12
        return 0.1 / bits * (t + bits - 2 * s * bits) ** 2 if soft else softplus(t) - round(s) * t
    d = max(squared if name == "dch_released" else cosine_distance(u, v), 0.005 * bits)
    return s * math.log(d / 20) + math.log1p(20 / d)


def quantization(name, u, v):
    flat = [abs(p) for row in u for p in row]
    if name == "dpsh":
        return 0.1 * sum((p - 1) ** 2 for p in flat) / len(flat)
    if name == "dhn":
        return 0.1 * sum(math.log(math.cosh(p - 1)) for p in flat) / len(flat)
    if name == "idhn":
        return 0.1 * sum(abs(p - 1) for p in flat) / len(flat)
    if name == "dch":
        return 0.1 * sum(math.log1p(cosine_distance([abs(p) for p in r], [1.0] * len(r)) / 20) for r in u) / len(u)
    if name == "dch_released":
        return 0.3 * sum((p - 1) ** 2 for p in flat) / len(flat)
    if name == "dsh":
        return 0.01 * sum(sum(abs(abs(p) - 1) for row in side for p in row) / len(side) for side in (u, v))
    return 0.0


def naive(name, x, labels, y=None, y_labels=None):
    """The docstrings' formulas in plain numbers."""
    alone = y is None
    u, v = x.tolist(), (x if alone else y).tolist()
    first, second = labels.tolist(), (labels if alone else y_labels).tolist()
    index = [(i, j) for i in range(len(u)) for j in range(len(v)) if not (alone and i == j)]
    similar = {
        (i, j): float(first[i] == second[j] if isinstance(first[i], int) else dot(first[i], second[j]) > 0)
        for i, j in index
    }
    count, ones = len(index), sum(similar.values())

    def weight(s):
        if name in ("dpsh", "dhn", "idhn", "dsh") or (name == "dch_released" and s == 0) or not 0 < ones < count:
            balance = 1.0
        else:
            balance = count / ones if s else count / (count - ones)
        return balance * (2.5 if name == "cohesion" and s else 1)

    total = sum(map(weight, similar.values())) if name == "cohesion" else count
    costs = (weight(s) * pair_value(name, u[i], v[j], s, first[i], second[j]) for (i, j), s in similar.items())
    return sum(costs) / (total or 1) + quantization(name, u, v)


def value_and_gradients(loss, *arguments):
    embeddings = [a.detach().requires_grad_() for a in arguments if a.is_floating_point()]
    refs = {"ref_emb": embeddings[1], "ref_labels": arguments[3]} if len(arguments) == 4 else {}
    value = loss(embeddings[0], arguments[1], **refs)
    return value.detach(), torch.autograd.grad(value, embeddings)


@every_loss
@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize(
    "case", [{}, {"items": 14}, {"multi_hot": True}, {"multi_hot": True, "items": 5}, {"classes": 1}]
)
def test_equals_the_formula(name, backend, case):
    arguments = inputs(**case)
    found = LOSSES[name](backend=backend)(*arguments[:2], None, *arguments[2:])
    assert found.item() == pytest.approx(naive(name, *arguments), rel=1e-9)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_dch_is_the_cross_entropy_of_its_probability(form):
    """Oracle: s log(d / g) + log(1 + g / d) is the cross-entropy of p = g / (g + d)."""
    x, labels = inputs(batch=20, seed=5)
    unit = torch.nn.functional.normalize(x)
    d = torch.cdist(x, x).square() if form == "released" else x.shape[1] / 2 * (1 - unit @ unit.T)
    off = ~torch.eye(len(x), dtype=torch.bool)
    similar = (labels[:, None] == labels)[off].double()
    weights = similar * (len(similar) / similar.sum() - 1) + 1
    if form == "paper":
        weights = torch.where(similar > 0, weights, len(similar) / (1 - similar).sum())
    p = 20 / (20 + d[off])
    expected = torch.nn.functional.binary_cross_entropy(p, similar, weights)
    for backend in ("fused", "reference"):
        torch.testing.assert_close(DCHLoss(form=form, quantization=0.0, backend=backend)(x, labels), expected)


@every_loss
@pytest.mark.parametrize("case", [{}, {"items": 700, "batch": 300}, {"multi_hot": True}, {"batch": 2, "classes": 5}])
def test_gradients_equal_autograd_through_the_reference(name, case, monkeypatch):
    monkeypatch.setattr(pairs_module, "_PIECE", 1 << 12)  # several pieces
    arguments = inputs(**case, seed=3)
    value, gradients = value_and_gradients(LOSSES[name](), *arguments)
    expected, right = value_and_gradients(LOSSES[name](backend="reference"), *arguments)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    for gradient, of_reference in zip(gradients, right, strict=True):
        torch.testing.assert_close(gradient, of_reference, rtol=1e-10, atol=1e-12)


@every_loss
@pytest.mark.parametrize("alone", [False, True])
def test_a_similarity_matrix_in_several_pieces(name, alone, monkeypatch):
    monkeypatch.setattr(pairs_module, "_PIECE", 1 << 12)
    x, labels, y, of_items = inputs(batch=200, items=300, seed=3)
    y, of_items = (None, labels) if alone else (y, of_items)
    results = []
    by_labels = {"labels": labels, "ref_labels": None if alone else of_items}
    for arguments in ({"similarity": labels[:, None] == of_items}, by_labels):
        leaves = [side.detach().requires_grad_() for side in (x, y) if side is not None]
        value = LOSSES[name]()(leaves[0], ref_emb=None if alone else leaves[1], **arguments)
        results.append((value.detach(), *torch.autograd.grad(value, leaves)))
    for found, right in zip(*results, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-12)


@every_loss
@pytest.mark.parametrize("case", [{}, {"items": 300}, {"multi_hot": True}, {"multi_hot": True, "items": 300}])
def test_the_walk_of_cuda_tensors_equals_the_operator(name, case, monkeypatch):
    monkeypatch.setattr(pairs_module, "_PIECE", 1 << 12)
    arguments = inputs(batch=150, **case, seed=5)
    expected, right = value_and_gradients(LOSSES[name](), *arguments)
    monkeypatch.setattr(pairs_module.PairwiseLoss, "_in_one", pairs_module.PairwiseLoss._walked)
    value, gradients = value_and_gradients(LOSSES[name](), *arguments)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    for gradient, of_operator in zip(gradients, right, strict=True):
        torch.testing.assert_close(gradient, of_operator, rtol=1e-10, atol=1e-12)


@every_loss
def test_gradcheck(name):
    embeddings, labels = inputs(batch=5, bits=6, seed=2)
    loss = LOSSES[name]()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (embeddings.requires_grad_(),))


@every_loss
def test_float32_is_close_to_float64(name):
    arguments = inputs(batch=64, items=500, bits=64, classes=10)
    single = [a.float() if a.is_floating_point() else a for a in arguments]
    value, gradients = value_and_gradients(LOSSES[name](), *single)
    expected, right = value_and_gradients(LOSSES[name](), *arguments)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    for gradient, of_double in zip(gradients, right, strict=True):
        torch.testing.assert_close(gradient.double(), of_double, rtol=1e-3, atol=1e-6)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    embeddings, labels = inputs(batch=16, bits=32, dtype=dtype)
    loss, (gradient,) = value_and_gradients(LOSSES[name](), embeddings, labels)
    assert loss.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(loss, LOSSES[name]()(embeddings.float(), labels))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(LOSSES[name]()(embeddings.float(), labels), loss)


@every_loss
def test_a_batch_without_pairs_costs_no_more_than_its_quantization(name):
    embeddings, labels = inputs(batch=1)
    loss, (gradient,) = value_and_gradients(LOSSES[name](), embeddings, labels)
    assert loss.item() == pytest.approx(naive(name, embeddings, labels), rel=1e-9)
    assert gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("labels", [torch.zeros(6, dtype=torch.long), torch.arange(6)], ids=["one class", "all differ"])
def test_one_kind_of_pairs_and_equal_embeddings(name, labels):
    embeddings = torch.full((6, 8), 0.5)
    loss, (gradient,) = value_and_gradients(LOSSES[name](), embeddings, labels)
    assert loss.isfinite()
    assert gradient.isfinite().all()


@every_loss
def test_similarity_and_indices_name_the_same_pairs_as_labels(name):
    embeddings, labels = inputs(batch=8)
    loss = LOSSES[name]()
    expected = loss(embeddings, labels)
    same = labels[:, None] == labels
    torch.testing.assert_close(loss(embeddings, similarity=same), expected)
    off = ~torch.eye(8, dtype=torch.bool)
    pairs = (*(same & off).nonzero(as_tuple=True), *(~same & off).nonzero(as_tuple=True))
    torch.testing.assert_close(loss(embeddings, indices_tuple=pairs), expected)


@every_loss
def test_compiles_as_one_graph_for_any_batch(name):
    torch.compiler.reset()
    loss = LOSSES[name]()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (6, 9, 12):
        arguments = inputs(batch=batch, dtype=torch.float32)
        found, (gradient,) = value_and_gradients(compiled, *arguments)
        expected, (right,) = value_and_gradients(loss, *arguments)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradient, right)


@every_loss
def test_double_backward_is_refused_or_right(name):
    embeddings, labels = inputs(batch=5, bits=4, seed=4)
    x = embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[name]()(x, labels), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        gradient.sum().backward()
    loss = LOSSES[name](backend="reference")
    assert torch.autograd.gradgradcheck(lambda x: loss(x, labels), (x,), atol=1e-4)
    torch.testing.assert_close(torch.func.grad(lambda x: loss(x, labels))(x.detach()), gradient.detach())


@every_loss
def test_copies_and_is_the_same_twice(name):
    embeddings, labels = inputs(batch=40, dtype=torch.float32)
    loss = LOSSES[name]()
    first = value_and_gradients(loss, embeddings, labels)
    second = value_and_gradients(copy.deepcopy(loss), embeddings, labels)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1][0], second[1][0])
    assert loss.state_dict() == {}


@every_loss
def test_bad_input(name):
    embeddings, labels = inputs(dtype=torch.float32)
    loss = LOSSES[name]()
    with pytest.raises(ValueError, match=r"embeddings must be of shape \(batch, bits\)"):
        loss(embeddings[0], labels)
    with pytest.raises(ValueError, match="labels must be given"):
        loss(embeddings)
    with pytest.raises(ValueError, match="must be finite"):
        loss(torch.full_like(embeddings, math.nan), labels)
    assert LOSSES[name](check_finite=False)(torch.full_like(embeddings, math.nan), labels).isnan()
    with pytest.raises(ValueError, match="ref_labels must be"):
        loss(embeddings, labels, ref_emb=embeddings)
    with pytest.raises(ValueError, match="backend must be one of"):
        LOSSES[name](backend="fast")
    with pytest.raises(RuntimeError, match="init_process_group"):
        LOSSES[name](gather=True)(embeddings, labels)
    with pytest.raises(ValueError, match="gather must be False where pairs come from other than labels"):
        LOSSES[name](gather=True)(embeddings, labels, ref_emb=embeddings, ref_labels=labels)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: HashNetLoss(scale=0.0), "scale must be"),
        (lambda: CohesionLoss(0.5), "cohesion must be >= 1"),
        (lambda: DCHLoss(gamma=-1.0), "gamma must be"),
        (lambda: DCHLoss(form="own"), "form must be one of"),
        (lambda: DSHLoss(margin=math.inf), "margin must be"),
        (lambda: DPSHLoss(quantization=math.nan), "quantization must be"),
        (lambda: IDHNLoss(soft=math.inf), "soft must be"),
    ],
)
def test_options_are_checked(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@every_loss
def test_large_values_overflow_nothing(name):
    embeddings, labels = inputs(batch=6)
    loss, (gradient,) = value_and_gradients(LOSSES[name](), embeddings.float() * 1e4, labels)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_nothing_of_the_size_of_all_pairs_is_kept_for_backward():
    embeddings, labels, bank, bank_labels = inputs(batch=128, items=5000, bits=16, dtype=torch.float32)
    saved = []

    def keep(tensor):
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        DPSHLoss()(embeddings.requires_grad_(), labels, ref_emb=bank, ref_labels=bank_labels)
    assert max(saved) <= bank.numel()
