# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from fasthash.losses import ErrorAwareQuantizationLoss

OPTIONS = [{}, {"dissimilar": "always"}, {"penalty": "l1"}]
EVERY = pytest.mark.parametrize("options", OPTIONS)
BOTH = pytest.mark.parametrize("backend", ["fused", "reference"])


def batch(rows=11, bits=7, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(rows, bits, generator=generator, dtype=torch.float64).tanh().to(dtype)
    return codes.requires_grad_(), torch.randint(0, 3, (rows,), generator=generator)


def multi_hot(rows=11, seed=0):
    """The second row has no label."""
    labels = (torch.rand(rows, 5, generator=torch.Generator().manual_seed(seed)) < 0.4).long()
    labels[1] = 0
    return labels


def related(a, b):
    return bool(a == b) if a.dim() == 0 else bool(((a > 0) & (b > 0)).any())


def naive(codes, labels, items=None, item_labels=None, dissimilar="differ", penalty="l2"):
    """All triples (i, j, k), one by one."""
    others, other_labels = (codes, labels) if items is None else (items, item_labels)
    total, count = 0.0, 0
    for i, j in itertools.product(range(len(codes)), range(len(others))):
        if items is None and i == j:
            continue
        similar = related(labels[i], other_labels[j])
        for a, b in zip(codes[i].tolist(), others[j].tolist(), strict=True):
            equal = (a >= 0) == (b >= 0)
            if equal if similar else not equal or dissimilar == "always":
                gaps = [abs(abs(x) - 1) for x in (a, b)]
                total += sum(gap if penalty == "l1" else gap**2 for gap in gaps)
                count += 1
    return total / (2 * max(1, count))


@EVERY
@BOTH
@pytest.mark.parametrize("kind", ["ids", "multi_hot"])
def test_equals_the_triple_loop(options, backend, kind):
    codes, labels = batch()
    if kind == "multi_hot":
        labels = multi_hot()
    loss = ErrorAwareQuantizationLoss(backend=backend, **options)
    assert loss(codes, labels).item() == pytest.approx(naive(codes, labels, **options), rel=1e-12)
    assert torch.autograd.gradcheck(lambda each: loss(each, labels), codes)


@EVERY
@BOTH
@pytest.mark.parametrize("kind", ["ids", "multi_hot"])
def test_reference_items_are_quantized_too(options, backend, kind):
    codes, labels = batch()
    items, item_labels = batch(17, seed=1)
    if kind == "multi_hot":
        labels, item_labels = multi_hot(), multi_hot(17, 1)
    loss = ErrorAwareQuantizationLoss(backend=backend, **options)
    found = loss(codes, labels, None, items, item_labels)
    assert found.item() == pytest.approx(naive(codes, labels, items, item_labels, **options), rel=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, labels, None, b, item_labels), (codes, items))


def test_weights_are_those_of_the_closed_form():
    """Oracle: with every item paired with itself too, w_ik = (B + P_ik (s P)_ik) / 2."""
    codes, labels = batch()
    signs = torch.where(codes.detach() < 0, -1.0, 1.0).double()
    similarity = torch.where(labels.unsqueeze(0) == labels.unsqueeze(1), 1.0, -1.0).double()
    weights = (len(codes) + signs * (similarity @ signs)) / 2
    expected = (weights * (codes - signs).square()).sum() / weights.sum()
    # As reference items of its own, an item is its own partner.
    found = ErrorAwareQuantizationLoss()(codes, labels, None, codes, labels)
    torch.testing.assert_close(found, expected)


def test_bits_in_error_are_left_alone():
    """One class; the third item contradicts the others in its first bit."""
    codes = torch.tensor([[0.5, 0.5], [0.6, 0.4], [-0.7, 0.3]], requires_grad=True)
    ErrorAwareQuantizationLoss()(codes, torch.zeros(3, dtype=torch.int64)).backward()
    assert codes.grad[2, 0] == 0
    assert (codes.grad[[0, 1, 2, 0, 1], [0, 0, 1, 1, 1]] < 0).all()
    codes.grad = None
    ErrorAwareQuantizationLoss()(codes, torch.arange(3)).backward()
    assert codes.grad[2, 0] > 0  # of three classes it is the others' bit that is in error, for each other
    assert torch.equal(codes.grad[:, 1], torch.zeros(3))


def test_a_planted_contradiction_is_mended_where_plain_quantization_keeps_it():
    """A class of eight has one bit on the wrong side: pulled together, it crosses over only if nothing holds it."""
    ends = []
    for weighted in (True, False):
        logits = torch.full((8, 4), 1.0)
        logits[0, 0] = -1.0
        logits.requires_grad_()
        optimizer = torch.optim.SGD([logits], lr=0.5)
        for _ in range(200):
            codes = logits.tanh()
            apart = 0.02 * (codes - codes.mean(0)).square().sum()
            labels = torch.zeros(8, dtype=torch.int64)
            quantized = ErrorAwareQuantizationLoss()(codes, labels) if weighted else (codes.abs() - 1).square().mean()
            optimizer.zero_grad()
            (apart + 2 * quantized).backward()
            optimizer.step()
        ends.append(logits[0, 0].item())
    assert ends[0] > 0 > ends[1]


@EVERY
def test_similarity_and_indices_in_place_of_labels(options):
    codes, labels = batch()
    loss = ErrorAwareQuantizationLoss(**options)
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    off = ~torch.eye(len(codes), dtype=torch.bool)
    pairs = (*(same & off).nonzero(as_tuple=True), *(~same & off).nonzero(as_tuple=True))
    expected = loss(codes, labels)
    for found in (loss(codes, similarity=same), loss(codes, None, pairs), loss(codes, labels.to(torch.int32))):
        torch.testing.assert_close(found, expected)
    rows = multi_hot()
    torch.testing.assert_close(loss(codes, similarity=rows @ rows.T), loss(codes, rows))


def test_zero_is_a_positive_sign():
    codes = torch.tensor([[0.0, -0.0], [0.5, 0.5]], requires_grad=True)
    loss = ErrorAwareQuantizationLoss()(codes, torch.zeros(2, dtype=torch.int64))
    loss.backward()
    assert loss.item() == pytest.approx((1 + 1 + 0.25 + 0.25) / 4)
    assert (codes.grad < 0).all()


@BOTH
def test_nothing_that_agrees(backend):
    codes = torch.tensor([[0.5], [-0.5]], requires_grad=True)
    loss = ErrorAwareQuantizationLoss(backend=backend)
    for given, labels in ((codes, torch.zeros(2, dtype=torch.int64)), (codes[:1], torch.zeros(1, dtype=torch.int64))):
        value = loss(given, labels)
        assert value.item() == 0
        assert torch.equal(torch.autograd.grad(value, codes)[0], torch.zeros(2, 1))


def test_nothing_of_all_triples_is_made():
    """What backward keeps is a few matrices (B, K)."""
    codes, labels = batch(128, 32, torch.float32)
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        ErrorAwareQuantizationLoss()(codes, labels)
        by_ids = sum(sizes)
        ErrorAwareQuantizationLoss()(codes, similarity=labels.unsqueeze(0) == labels.unsqueeze(1))
    assert by_ids <= 4 * 128 * 32 * 4
    assert sum(sizes) <= 8 * 128 * 32 * 4 + 2 * 128 * 128 * 4


def test_training_beside_a_loss_quantizes_what_agrees():
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    images = torch.randn(60, 16) + torch.randn(3, 16)[labels] * 2
    layer = nn.Linear(16, 12)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    loss, values = ErrorAwareQuantizationLoss(), []
    for _ in range(80):
        value = loss(layer(images).tanh(), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.2 * values[0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dissimilar": "never"}, "dissimilar must be one of 'differ', 'always', got 'never'"),
        ({"penalty": "l3"}, "penalty must be one of 'l2', 'l1', got 'l3'"),
        ({"backend": "torch"}, "backend must be one of 'fused', 'reference', got 'torch'"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        ErrorAwareQuantizationLoss(**options)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"embeddings": torch.zeros(11)}, "embeddings must be of shape"),
        ({"embeddings": torch.full((11, 7), math.nan)}, "embeddings must be finite, got 77 NaN"),
        ({"labels": None}, "labels must be given"),
        ({"labels": torch.zeros(10, dtype=torch.int64)}, r"labels must be of length 11, got \(10,\)"),
        ({"labels": torch.zeros(11)}, "labels"),
        ({"labels": torch.zeros(11, dtype=torch.int64, device="meta")}, "must be on cpu, got meta"),
        ({"ref_emb": torch.zeros(5, 7)}, "ref_labels must be None where ref_emb is None, and given where it is not"),
        ({"ref_labels": torch.zeros(11, dtype=torch.int64)}, "ref_labels must be None where ref_emb is None"),
        ({"similarity": torch.zeros(11, 11)}, "labels must be None where similarity is given, got both"),
    ],
)
def test_bad_arguments(arguments, text):
    codes, labels = batch()
    with pytest.raises(ValueError, match=text):
        ErrorAwareQuantizationLoss()(**{"embeddings": codes, "labels": labels, **arguments})


def test_gathering_takes_labels_only():
    codes, labels = batch()
    with pytest.raises(ValueError, match="labels alone must say what is similar where gather=True"):
        ErrorAwareQuantizationLoss(gather=True)(codes, labels, None, codes, labels)


def test_nan_is_passed_on_where_it_is_not_looked_for():
    codes, labels = batch()
    with torch.no_grad():
        codes[2, 3] = math.nan
    assert ErrorAwareQuantizationLoss(check_finite=False)(codes, labels).isnan()
