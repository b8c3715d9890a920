# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve as sklearn_curve

from fasthash import ops
from fasthash.metrics import _retrieval, precision_at_k, precision_recall_curve, precision_within_radius

from . import naive
from .cases import as_lists, multi_hot, retrieval


def ball(distances, relevance, radius):
    """(hits, retrieved) within a radius."""
    inside = [r for d, r in zip(distances, relevance, strict=True) if d <= radius]
    return sum(inside), len(inside)


@given(database=st.integers(1, 6), k=st.integers(1, 6), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_precision_at_k_is_the_mean_over_all_orders(database, k, seed):
    case, k = retrieval(3, database, 3, 3, seed), min(k, database)
    lists = as_lists(*case)
    expected = [naive.expected(d, r, lambda ranked: sum(ranked[:k]) / k) for d, r in lists]
    assert precision_at_k(*case, k, per_query=True).tolist() == pytest.approx(expected, abs=1e-12)
    by_index = [sum(naive.rank(d, r, range(database))[:k]) / k for d, r in lists]
    assert precision_at_k(*case, k, ties="index", per_query=True).tolist() == pytest.approx(by_index, abs=1e-12)
    assert precision_at_k(*case, k) == pytest.approx(sum(expected) / 3, abs=1e-12)


@given(database=st.integers(1, 30), radius=st.integers(0, 30), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_precision_within_radius(database, radius, seed):
    case = retrieval(4, database, 12, 3, seed)
    expected = [hits / max(1, inside) for hits, inside in (ball(d, r, radius) for d, r in as_lists(*case))]
    assert precision_within_radius(*case, radius, per_query=True).tolist() == pytest.approx(expected)
    assert precision_within_radius(*case, radius) == pytest.approx(sum(expected) / 4)


def test_the_default_radius_is_two_and_an_empty_ball_counts_zero():
    query, database = torch.zeros(2, 1, dtype=torch.uint8), torch.tensor([[3], [7]], dtype=torch.uint8)
    query[1] = 0b11110000
    labels = torch.ones(2, dtype=torch.int64)
    assert precision_within_radius(query, database, labels, labels, per_query=True).tolist() == [1.0, 0.0]


@given(database=st.integers(1, 20), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_curve(database, seed):
    case = retrieval(4, database, 12, 3, seed)
    lists = as_lists(*case)
    macro = precision_recall_curve(*case, bits=12)
    micro = precision_recall_curve(*case, bits=12, average="micro")
    assert len(macro.precision) == len(macro.recall) == 13
    for radius in range(13):
        balls = [(*ball(d, r, radius), sum(r)) for d, r in lists]
        assert macro.precision[radius].item() == pytest.approx(sum(h / max(1, n) for h, n, _ in balls) / 4)
        assert macro.recall[radius].item() == pytest.approx(sum(h / max(1, s) for h, _, s in balls) / 4)
        hits, retrieved, relevant = (sum(part) for part in zip(*balls, strict=True))
        assert micro.precision[radius].item() == pytest.approx(hits / max(1, retrieved))
        assert micro.recall[radius].item() == pytest.approx(hits / max(1, relevant))


def test_curve_of_one_query_has_sklearns_points():
    case = retrieval(1, 60, 12, 2, seed=3)
    case = (*case[:2], torch.ones(1, dtype=torch.int64), torch.arange(60) % 2)
    ((distances, relevance),) = as_lists(*case)
    precision, recall, thresholds = sklearn_curve(relevance, [-d for d in distances])
    curve = precision_recall_curve(*case)
    assert len(curve.recall) == 17
    at = torch.tensor(-thresholds).long()
    assert curve.precision[at].tolist() == pytest.approx(precision[:-1].tolist())
    assert curve.recall[at].tolist() == pytest.approx(recall[:-1].tolist())


def test_queries_without_relevant_items_can_be_left_out():
    codes = torch.zeros(2, 1, dtype=torch.uint8), torch.zeros(4, 1, dtype=torch.uint8)
    labels = torch.tensor([1, 2]), torch.tensor([1, 1, 1, 3])
    for metric in (
        lambda **how: precision_at_k(*codes, *labels, 2, **how),
        precision_within_radius_of(*codes, *labels),
    ):
        assert metric() == pytest.approx(3 / 8)
        assert metric(empty="skip") == pytest.approx(3 / 4)
        assert metric(empty="skip", per_query=True)[1].isnan()
    for average, kept in (("macro", 3 / 8), ("micro", 3 / 8)):
        assert precision_recall_curve(*codes, *labels, average=average).precision[0].item() == pytest.approx(kept)
        skipped = precision_recall_curve(*codes, *labels, average=average, empty="skip")
        assert skipped.precision[0].item() == pytest.approx(3 / 4)
        assert skipped.recall[0].item() == 1.0
    nothing = (labels[0] + 5, labels[1])
    with pytest.raises(ValueError, match="relevant to some query"):
        precision_recall_curve(*codes, *nothing, empty="skip")


def precision_within_radius_of(*case):
    return lambda **how: precision_within_radius(*case, **how)


def test_chunks_do_not_matter(monkeypatch):
    case = retrieval(20, 50, 6)
    metrics = (
        lambda: precision_at_k(*case, 7, per_query=True),
        lambda: precision_within_radius(*case, per_query=True),
        lambda: precision_recall_curve(*case).precision,
    )
    expected = [metric() for metric in metrics]
    monkeypatch.setattr(_retrieval, "MAX_VALUES", 170)
    for metric, value in zip(metrics, expected, strict=True):
        torch.testing.assert_close(metric(), value, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("labels", [retrieval, multi_hot])
def test_a_prepared_database_scores_the_same(labels):
    queries, database, *relevance = labels(5, 30, 6)
    prepared = ops.prepare_database(database)
    for metric in (
        lambda form: precision_at_k(queries, form, *relevance, 4, per_query=True),
        lambda form: precision_at_k(queries, form, *relevance, 4, ties="index", per_query=True),
        lambda form: precision_within_radius(queries, form, *relevance, per_query=True),
        lambda form: precision_recall_curve(queries, form, *relevance).precision,
    ):
        assert torch.equal(metric(database), metric(prepared))


@given(k=st.integers(1, 30), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_multi_hot_labels(k, seed):
    case = multi_hot(seed=seed)
    lists = as_lists(*case)
    by_index = [sum(naive.rank(d, r, range(30))[:k]) / k for d, r in lists]
    assert precision_at_k(*case, k, ties="index", per_query=True).tolist() == pytest.approx(by_index, abs=1e-12)
    inside = [hits / max(1, inside) for hits, inside in (ball(d, r, 2) for d, r in lists)]
    assert precision_within_radius(*case, per_query=True).tolist() == pytest.approx(inside)


def test_bad_arguments():
    case = retrieval()
    with pytest.raises(ValueError, match=r"precision_at_k: k must be in 1\.\.6"):
        precision_at_k(*case, 7)
    with pytest.raises(ValueError, match="precision_within_radius: radius must be >= 0, got -1"):
        precision_within_radius(*case, -1)
    with pytest.raises(ValueError, match=r"bits must be in 1\.\.8 for 1 bytes, got 9"):
        precision_recall_curve(*case, bits=9)
    with pytest.raises(ValueError, match="average must be one of 'macro', 'micro', got 'mean'"):
        precision_recall_curve(*case, average="mean")
    with pytest.raises(ValueError, match="ties must be one of"):
        precision_at_k(*case, 2, ties="best")
