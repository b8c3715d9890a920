# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math

import pytest
import torch

from fasthash import ops
from fasthash.losses import TieAwareRankingLoss
from fasthash.losses._soft_histogram import soft_histogram
from fasthash.losses._soft_ranking import expected_precision, ideal_gain, ideal_graded_gain
from fasthash.metrics import mean_average_precision

KINDS = {
    "ap": {},
    "ap_expected": {"form": "expected"},
    "ndcg": {"metric": "ndcg"},
    "ap_few_bins": {"bins": 3},
    "ndcg_sum": {"metric": "ndcg", "reduction": "sum"},
}
EVERY = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
BOTH = pytest.mark.parametrize("backend", ["fused", "reference"])


def batch(rows=14, bits=12, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(rows, bits, generator=generator, dtype=torch.float64).tanh().to(dtype)
    return codes.requires_grad_(), torch.randint(0, 4, (rows,), generator=generator)


def multi_hot(rows=14, seed=0):
    """The second row has no label."""
    labels = (torch.rand(rows, 6, generator=torch.Generator().manual_seed(seed)) < 0.4).long()
    labels[1] = 0
    return labels


def shared(a, b):
    return int(a == b) if a.dim() == 0 else int(((a > 0) & (b > 0)).sum())


def naive(codes, labels, metric="ap", form="simplified", bins=None, reduction="mean", items=None, item_labels=None):
    """Loops over anchors, items and bins."""
    total, judged, bits = 0.0, 0, codes.shape[1]
    bins = bins or (bits if bits < 32 else bits // 2)
    for i, anchor in enumerate(codes.double()):
        others = [j for j in range(len(labels)) if j != i] if items is None else range(len(items))
        pool, pool_labels = (codes, labels) if items is None else (items, item_labels)
        shares = [shared(labels[i], pool_labels[j]) for j in others]
        if not any(shares):
            continue
        count, relevant, gains = ([0.0] * (bins + 1) for _ in range(3))
        for j, a in zip(others, shares, strict=True):
            place = float((bits - anchor @ pool[j].double()) / 2) * bins / bits
            for centre in range(bins + 1):
                share = max(0.0, 1 - abs(place - centre))
                count[centre] += share
                relevant[centre] += share * (a > 0)
                gains[centre] += share * (2**a - 1)
        value = _ap(count, relevant, form) if metric == "ap" else _dcg(count, gains, [2**a - 1 for a in shares])
        total, judged = total + 1 - value, judged + 1
    return total / (max(1, judged) if reduction == "mean" else 1)


def _ap(count, relevant, form):
    total, before, found = 0.0, 0.0, 0.0
    for c, r in zip(count, relevant, strict=True):
        if form == "simplified":
            total += r * (2 * found + r + 1) / (2 * before + c + 1)
        elif r > 0:
            a = (r - 1) / (c - 1)
            harmonic = _harmonic(before + c) - _harmonic(before)
            total += r / c * ((found + 1 - a * (before + 1)) * harmonic + a * c)
        before, found = before + c, found + r
    return total / sum(relevant)


def _harmonic(x):
    """1 + 1/2 + ... + 1/x for any x: the sum over k of 1/k - 1/(k + x), its tail as an integral."""
    return math.fsum(x / (k * (k + x)) for k in range(1, 4000)) + math.log1p(x / 3999.5)


def _dcg(count, gains, all_gains):
    total, before = 0.0, 0.0
    for c, g in zip(count, gains, strict=True):
        total += g / math.log2(before + (c + 1) / 2 + 1)
        before += c
    return total / sum(g / math.log2(t + 2) for t, g in enumerate(sorted(all_gains, reverse=True)))


@EVERY
@BOTH
@pytest.mark.parametrize("kind", ["ids", "multi_hot"])
def test_equals_loops(options, backend, kind):
    codes, labels = batch(dtype=torch.float64)
    if kind == "multi_hot":
        labels = multi_hot()
    loss = TieAwareRankingLoss(backend=backend, **options)(codes, labels)
    assert loss.item() == pytest.approx(naive(codes.detach(), labels, **options), rel=1e-7)


@EVERY
@BOTH
def test_reference_items(options, backend):
    codes, labels = batch(dtype=torch.float64)
    items, item_labels = batch(23, dtype=torch.float64, seed=1)
    loss = TieAwareRankingLoss(backend=backend, **options)(codes, labels, None, items, item_labels)
    expected = naive(codes.detach(), labels, **options, items=items.detach(), item_labels=item_labels)
    assert loss.item() == pytest.approx(expected, rel=1e-7)
    loss.backward()
    assert items.grad.abs().sum() > 0


@EVERY
@pytest.mark.parametrize("kind", ["ids", "multi_hot"])
def test_gradients_are_those_of_the_reference_and_of_differences(options, kind):
    codes, labels = batch(dtype=torch.float64)
    if kind == "multi_hot":
        labels = multi_hot()
    fused, plain = TieAwareRankingLoss(**options), TieAwareRankingLoss(backend="reference", **options)
    gradients = [torch.autograd.grad(loss(codes, labels), codes)[0] for loss in (fused, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)
    assert torch.autograd.gradcheck(lambda each: fused(each, labels), codes)
    assert torch.autograd.gradgradcheck(lambda each: fused(each, labels), codes)


@BOTH
def test_binary_codes_have_their_expected_average_precision(backend):
    generator = torch.Generator().manual_seed(2)
    queries, items = (torch.randint(0, 2, (n, 9), generator=generator) * 2.0 - 1 for n in (8, 60))
    labels, item_labels = torch.arange(8) % 3, torch.arange(60) % 3
    loss = TieAwareRankingLoss("ap", "expected", bins=9, backend=backend)(queries, labels, None, items, item_labels)
    expected = mean_average_precision(ops.pack_codes(queries), ops.pack_codes(items), labels, item_labels)
    assert 1 - loss.item() == pytest.approx(float(expected), rel=1e-6)


def test_expected_precision_is_the_mean_over_all_orders():
    """Seven items at two distances, in every order of those at the same distance."""
    near, far = [True, False, False], [True, True, False, False]
    values = []
    for first, second in itertools.product(itertools.permutations(near), itertools.permutations(far)):
        hits, total = 0, 0.0
        for place, relevant in enumerate((*first, *second), 1):
            hits += relevant
            total += hits / place if relevant else 0.0
        values.append(total / 3)
    counts = torch.tensor([[3.0, 0.0, 4.0]]).double(), torch.tensor([[1.0, 0.0, 2.0]]).double()
    found = expected_precision(counts[1], counts[0], torch.tensor([3.0]).double())
    assert found.item() == pytest.approx(math.fsum(values) / len(values), rel=1e-9)


@pytest.mark.parametrize("count", [1.0, 1 + 1e-9, 1 + 0.99e-3, 1 + 1.01e-3, 1 - 1e-6, 0.3, 1e-4, 1e-5])
def test_expected_precision_is_smooth_where_the_closed_form_has_poles(count):
    """Bins of one item, of nearly one, of nearly none: the value is near that of its neighbours on both sides."""

    def value(c):
        counts = torch.tensor([[2.5, c, 3.0]]).double()
        return expected_precision(counts * 0.6, counts, torch.tensor([3.3]).double()).item()

    around = [value(count + step) for step in (-2e-6, 2e-6)]
    assert value(count) == pytest.approx(sum(around) / 2, abs=1e-6)


def test_a_perfect_ranking_costs_nothing():
    labels = torch.arange(12) % 2
    codes = torch.where(labels == 0, 1.0, -1.0).unsqueeze(1).expand(-1, 8)
    for options in ({}, {"form": "expected"}):
        assert TieAwareRankingLoss("ap", **options)(codes, labels).item() == pytest.approx(0, abs=1e-6)
    assert TieAwareRankingLoss("ap")(-codes, 1 - labels).item() == pytest.approx(0, abs=1e-6)
    worst = TieAwareRankingLoss("ap")(codes, labels, None, -codes, labels)
    assert worst.item() == pytest.approx(1 - (6 + 1) / (12 + 6 + 1), rel=1e-6)


def test_slopes_on_a_centre_are_the_mean_of_both_sides():
    positions = torch.tensor([[0.0, 3.0, 4.0, 2.5, 5.0, -0.5]], dtype=torch.float64, requires_grad=True)
    rising = torch.tensor([0.0, 1.0, 4.0, 9.0, 16.0]).double()
    for backend in ("fused", "reference"):
        value = (soft_histogram(positions, 4, backend=backend) * rising).sum()
        (slopes,) = torch.autograd.grad(value, positions)
        torch.testing.assert_close(slopes, torch.tensor([[1.0, 6.0, 7.0, 5.0, 7.0, 1.0]]).double())
        assert value.item() == pytest.approx(0 + 9 + 16 + 6.5 + 16 + 0)


@BOTH
def test_weights_and_kinds_are_counted_apart(backend):
    positions = torch.tensor([[0.25, 1.0, 1.5]])
    kinds = torch.tensor([[-1, 1, 0]], dtype=torch.int8)
    found = soft_histogram(positions, 2, kinds=kinds, backend=backend)
    assert found.tolist() == [[[0.75, 0.25, 0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0]]]
    weighted = soft_histogram(positions, 2, weights=torch.tensor([[1.0, 0.5, 0.0]]), backend=backend)
    assert weighted.tolist() == [[[0.75, 0.75, 0.0]]]


def test_gains_of_many_shared_labels_do_not_overflow():
    labels = torch.ones(6, 300)
    labels[3:, 150:] = 0
    codes, _ = batch(6)
    loss = TieAwareRankingLoss("ndcg")(codes, labels)
    loss.backward()
    assert 0 < loss.item() < 1
    assert codes.grad.isfinite().all()


def test_ideal_gains_agree():
    gains = (torch.rand(5, 9, generator=torch.Generator().manual_seed(0)) < 0.5).double()
    torch.testing.assert_close(ideal_gain(gains.sum(1).long(), 9), ideal_graded_gain(gains))
    assert ideal_gain(torch.tensor([0, 1]), 3).tolist() == [0.0, 1.0]


@EVERY
def test_similarity_and_indices_in_place_of_labels(options):
    codes, labels = batch()
    loss = TieAwareRankingLoss(**options)
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    off = ~torch.eye(14, dtype=torch.bool)
    expected = loss(codes, labels)
    pairs = (*(same & off).nonzero(as_tuple=True), *(~same & off).nonzero(as_tuple=True))
    for found in (loss(codes, similarity=same), loss(codes, similarity=same.float()), loss(codes, None, pairs)):
        torch.testing.assert_close(found, expected)
    rows = multi_hot()
    torch.testing.assert_close(loss(codes, similarity=rows @ rows.T), loss(codes, rows))


@EVERY
@BOTH
def test_no_positives_no_negatives_and_duplicates(options, backend):
    codes, labels = batch(5)
    loss = TieAwareRankingLoss(backend=backend, **options)
    for given in (torch.arange(5), labels * 0):
        codes.grad = None
        value = loss(codes, given)
        value.backward()
        assert codes.grad.isfinite().all()
        if len(given.unique()) == 5:
            assert value.item() == 0.0
            assert torch.equal(codes.grad, torch.zeros_like(codes))
    same = torch.full((6, 12), 0.7, requires_grad=True)
    value = loss(same, torch.arange(6) % 2)
    value.backward()
    assert value.item() > 0
    assert same.grad.isfinite().all()
    assert loss(codes[:1], labels[:1]).item() == 0.0


def test_values_that_are_no_codes():
    codes, labels = batch()
    wide = codes.detach() * 3
    with pytest.raises(ValueError, match=r"embeddings must be codes in \[-1, 1\], got \|h\| = 2\."):
        TieAwareRankingLoss()(wide, labels)
    with pytest.raises(ValueError, match=r"ref_emb must be codes in \[-1, 1\]"):
        TieAwareRankingLoss()(codes, labels, None, wide, labels)
    assert TieAwareRankingLoss(check_finite=False)(wide, labels).isfinite()
    wide[2, 3] = math.nan
    for options in KINDS.values():
        assert TieAwareRankingLoss(check_finite=False, **options)(wide, labels).isnan()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"metric": "map"}, "metric must be one of 'ap', 'ndcg', got 'map'"),
        ({"form": "full"}, "form must be one of 'simplified', 'expected', got 'full'"),
        ({"metric": "ndcg", "form": "expected"}, "form must be one of 'simplified', got 'expected'"),
        ({"bins": 0}, "bins must be >= 1 or None, got 0"),
        ({"reduction": "max"}, "reduction must be one of 'mean', 'sum', got 'max'"),
        ({"backend": "torch"}, "backend must be one of 'fused', 'reference', got 'torch'"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        TieAwareRankingLoss(**options)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"embeddings": torch.zeros(14)}, "embeddings must be of shape"),
        ({"labels": None}, "labels must be given"),
        ({"ref_emb": torch.zeros(5, 12)}, "ref_labels must be None where ref_emb is None, and given where it is not"),
        ({"similarity": torch.zeros(14, 14)}, "labels must be None where similarity is given, got both"),
    ],
)
def test_bad_arguments(arguments, text):
    codes, labels = batch()
    with pytest.raises(ValueError, match=text):
        TieAwareRankingLoss()(**{"embeddings": codes, "labels": labels, **arguments})


def test_gathering_takes_labels_only():
    codes, labels = batch()
    with pytest.raises(ValueError, match="labels alone must say what is similar where gather=True"):
        TieAwareRankingLoss(gather=True)(codes, labels, None, codes, labels)
    with pytest.raises(RuntimeError, match="gather=True needs torch"):
        TieAwareRankingLoss(gather=True)(codes, labels)


def test_memory_does_not_grow_with_the_number_of_bins():
    codes, labels = batch(64, 32)
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    for bins in (8, 32):
        sizes.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            TieAwareRankingLoss(bins=bins)(codes, labels)
        # Two bytes an item, and tables of rows x bins: about twenty of doubles.
        assert sum(sizes) < 2 * 64 * 64 + 64 * 32 * 4 * 4 + 25 * 64 * (bins + 1) * 8
