# SPDX-License-Identifier: Apache-2.0
import random
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch.utils._python_dispatch import TorchDispatchMode

from fasthash import ops, reference
from fasthash.metrics import _retrieval, mean_average_precision

from . import naive
from .cases import as_lists, multi_hot, retrieval

CODES = torch.zeros(6, 1, dtype=torch.uint8)
PACKED = ops.prepare_database(CODES)
NORMALIZERS = ["relevant", "hits", "min"]


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@given(
    database=st.integers(1, 6),
    cut=st.integers(0, 6),
    bits=st.integers(1, 4),
    classes=st.integers(2, 3),
    seed=st.integers(0, 999),
)
@settings(max_examples=25, deadline=None)
def test_expectation_is_the_mean_over_all_orders(normalizer, database, cut, bits, classes, seed):
    case = retrieval(3, database, bits, classes, seed)
    k = min(cut, database) or None
    found = mean_average_precision(*case, k=k, normalizer=normalizer, per_query=True)
    expected = [
        naive.expected(d, r, partial(naive.average_precision, relevant=sum(r), k=k, normalizer=normalizer))
        for d, r in as_lists(*case)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    mean = mean_average_precision(*case, k=k, normalizer=normalizer)
    assert mean == pytest.approx(sum(expected) / 3, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("k", [None, 37])
def test_expectation_is_the_monte_carlo_mean(normalizer, k):
    case = retrieval(1, 200, 6, seed=5)
    ((distances, relevance),) = as_lists(*case)
    shuffle = random.Random(0)
    scores = []
    for _ in range(4000):
        order = shuffle.sample(range(200), 200)
        ranked = naive.rank(distances, relevance, order)
        scores.append(naive.average_precision(ranked, sum(relevance), k, normalizer))
    found = mean_average_precision(*case, k=k, normalizer=normalizer)
    assert found == pytest.approx(sum(scores) / len(scores), abs=4e-3)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@given(database=st.integers(1, 30), cut=st.integers(0, 30), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_index_order_is_that_of_a_stable_sort(normalizer, database, cut, seed):
    case = retrieval(3, database, 4, 3, seed)
    k = min(cut, database) or None
    found = mean_average_precision(*case, k=k, ties="index", normalizer=normalizer, per_query=True)
    expected = [
        naive.average_precision(naive.rank(d, r, range(database)), sum(r), k, normalizer) for d, r in as_lists(*case)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_without_ties_it_is_sklearns():
    positions = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    database = reference.pack_codes(torch.arange(40) < positions.unsqueeze(1))  # distance from 0 = position
    labels = torch.randint(0, 2, (40,), generator=torch.Generator().manual_seed(1))
    case = (torch.zeros(1, 5, dtype=torch.uint8), database, torch.ones(1, dtype=torch.int64), labels)
    expected = average_precision_score(labels.numpy(), -positions.numpy())
    for ties in ("expected", "index"):
        assert mean_average_precision(*case, ties=ties) == pytest.approx(expected, rel=1e-12)


def test_equal_codes_score_the_same_in_every_order_of_the_database():
    labels = torch.tensor([1] * 10 + [0] * 30)
    codes = torch.zeros(40, 2, dtype=torch.uint8)
    query = (codes[:1], codes, torch.ones(1, dtype=torch.int64))
    scores = [mean_average_precision(*query, order) for order in (labels, labels.flip(0))]
    assert scores[0] == scores[1]
    by_index = [mean_average_precision(*query, order, ties="index") for order in (labels, labels.flip(0))]
    assert by_index == pytest.approx([1.0, sum(hit / (30 + hit) for hit in range(1, 11)) / 10])


@pytest.mark.parametrize("ties", ["expected", "index"])
@pytest.mark.parametrize("k", [None, 3])
def test_chunks_do_not_matter(ties, k, monkeypatch):
    case = retrieval(20, 50, 6)
    expected = mean_average_precision(*case, ties=ties, k=k, normalizer="hits", per_query=True)
    monkeypatch.setattr(_retrieval, "MAX_VALUES", 170)
    found = mean_average_precision(*case, ties=ties, k=k, normalizer="hits", per_query=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_multi_hot_labels_are_relevant_where_they_share_one():
    case = retrieval(6, 30, 5)
    one_hot = [torch.nn.functional.one_hot(labels, 3) for labels in case[2:]]
    assert mean_average_precision(*case) == mean_average_precision(*case[:2], *one_hot)
    rows = torch.tensor([[1, 1, 0]]), torch.tensor([[0, 1, 1], [0, 0, 1], [1, 0, 0]])
    codes = torch.tensor([[0]], dtype=torch.uint8), torch.tensor([[0], [1], [3]], dtype=torch.uint8)
    assert mean_average_precision(*codes, *rows) == pytest.approx((1 + 2 / 3) / 2)


@given(classes=st.sampled_from([2, 8, 11, 40]), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_multi_hot_labels_of_many_classes(classes, seed):
    case = multi_hot(classes=classes, seed=seed)
    found = mean_average_precision(*case, ties="index", per_query=True)
    expected = [
        naive.average_precision(naive.rank(d, r, range(30)), sum(r), None, "relevant") for d, r in as_lists(*case)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("ties", ["expected", "index"])
@pytest.mark.parametrize("labels", [retrieval, multi_hot])
@pytest.mark.parametrize("k", [None, 5])
def test_a_prepared_database_scores_the_same(ties, labels, k):
    queries, database, *relevance = labels(5, 30, 6)
    scores = [
        mean_average_precision(queries, form, *relevance, ties=ties, k=k, per_query=True)
        for form in (database, ops.prepare_database(database))
    ]
    assert torch.equal(*scores)


@pytest.mark.parametrize("normalizer", ["relevant", "hits"])
def test_memory_does_not_grow_with_the_pairs(normalizer, monkeypatch):
    """No tensor that is made has as many elements as there are pairs."""
    case = retrieval(300, 3000, 16)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, (tuple, list)) else [made]:
                largest = max(largest, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
            return made

    with Watch():
        mean_average_precision(*case, k=100, normalizer=normalizer)
    assert 300 * 17 <= largest <= 300 * 101


def test_queries_without_relevant_items():
    codes = torch.zeros(2, 1, dtype=torch.uint8), torch.zeros(4, 1, dtype=torch.uint8)
    labels = torch.tensor([1, 2]), torch.tensor([1, 1, 1, 1])
    assert mean_average_precision(*codes, *labels) == 0.5
    assert mean_average_precision(*codes, *labels, empty="skip") == 1.0
    values = mean_average_precision(*codes, *labels, empty="skip", per_query=True)
    assert values[0] == 1.0
    assert values[1].isnan()
    with pytest.raises(ValueError, match="relevant to some query where empty='skip'"):
        mean_average_precision(*codes, labels[0] + 5, labels[1], empty="skip")


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"k": 0}, r"k must be in 1\.\.6 \(the database\), got 0"),
        ({"k": 7}, r"k must be in 1\.\.6 \(the database\), got 7"),
        ({"ties": "random"}, "ties must be one of 'expected', 'index', got 'random'"),
        ({"normalizer": "k"}, "normalizer must be one of 'relevant', 'hits', 'min', got 'k'"),
        ({"empty": "nan"}, "empty must be one of 'zero', 'skip', got 'nan'"),
        ({"query_codes": torch.zeros(4, 2, dtype=torch.uint8)}, r"database_codes must be of shape \(rows, 2\)"),
        ({"query_codes": torch.zeros(0, 1, dtype=torch.uint8)}, "query_codes must be at least one code, got none"),
        ({"query_codes": torch.zeros(4, 1)}, "query_codes must be a tensor of dtype uint8"),
        ({"query_labels": torch.zeros(3, dtype=torch.int64)}, "query_labels must be of length 4, got 3"),
        ({"database_labels": torch.zeros(5, dtype=torch.int64)}, "database_labels must be of length 6, got 5"),
        (
            {"query_labels": torch.ones(4, 1), "database_labels": torch.ones(6, 1)},
            r"query_labels must be ids .* pass labels\.squeeze\(1\)",
        ),
        ({"database_labels": torch.full((6, 2), torch.nan)}, "database_labels must be finite"),
        ({"database_labels": torch.zeros(6)}, "database_labels must be integer ids where 1-D, got float32"),
        (
            {"query_labels": torch.zeros(4, 0), "database_labels": torch.zeros(6, 0)},
            "query_labels must be of at least one",
        ),
        (
            {"query_codes": torch.zeros(4, 2, dtype=torch.uint8), "database_codes": PACKED},
            "database_codes must be of width",
        ),
        ({"database_codes": ops.prepare_database(CODES[:0])}, "database_codes must be at least one code, got none"),
        ({"database_labels": torch.zeros(6, 2)}, r"database_labels must be like query_labels \(4,\), got \(6, 2\)"),
    ],
)
def test_bad_arguments(kwargs, text):
    names = ("query_codes", "database_codes", "query_labels", "database_labels")
    with pytest.raises(ValueError, match=f"mean_average_precision: {text}"):
        mean_average_precision(**{**dict(zip(names, retrieval(), strict=True)), **kwargs})
