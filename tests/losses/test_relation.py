# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash.losses import relation_from_indices, relation_from_labels, relation_from_similarity

IDS = torch.tensor([3, 1, 3, -7, 1])


def pairs_of(relation):
    return (*(relation > 0).nonzero(as_tuple=True), *(relation < 0).nonzero(as_tuple=True))


def triplets_of(relation):
    found = ((relation > 0).unsqueeze(2) & (relation < 0).unsqueeze(1)).nonzero(as_tuple=True)
    return tuple(found)


def test_ids_among_themselves_leave_the_anchor_out():
    expected = [[0 if i == j else 1 if a == b else -1 for j, b in enumerate(IDS)] for i, a in enumerate(IDS)]
    relation = relation_from_labels(IDS)
    assert relation.dtype == torch.int8
    assert relation.tolist() == expected


def test_ids_against_reference_items():
    assert relation_from_labels(IDS[:2], IDS).tolist() == [[1, -1, 1, -1, -1], [-1, 1, -1, -1, 1]]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.float16])
def test_multi_hot_rows_share_a_label(dtype):
    rows = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]]).to(dtype)
    assert relation_from_labels(rows, rows).tolist() == [[1, 1, 1, -1], [1, 1, -1, -1], [1, -1, 1, -1], [-1] * 4]
    assert relation_from_labels(rows).diagonal().tolist() == [0] * 4


@pytest.mark.parametrize("matrix", [torch.eye(3), torch.eye(3).bool(), torch.eye(3) * 2 - 1])
def test_similarity_above_zero_is_positive(matrix):
    assert relation_from_similarity(matrix, exclude_self=False).tolist() == [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    assert relation_from_similarity(matrix, exclude_self=True).diagonal().tolist() == [0, 0, 0]


@given(anchors=st.integers(1, 5), items=st.integers(1, 6), seed=st.integers(0, 99))
def test_indices_give_the_relation_they_were_made_from(anchors, items, seed):
    generator = torch.Generator().manual_seed(seed)
    relation = torch.randint(-1, 2, (anchors, items), generator=generator).to(torch.int8)
    assert torch.equal(relation_from_indices(pairs_of(relation), anchors, items), relation)
    complete = ((relation > 0).any(1) & (relation < 0).any(1)).unsqueeze(1)
    assert torch.equal(relation_from_indices(triplets_of(relation), anchors, items), relation * complete)


def test_triplets_stand_for_the_pairs_they_hold():
    triplets = index(0, 0, 3, 0), index(1, 2, 4, 1), index(3, 4, 0, 3)  # the first is named twice
    expected = [[0, 1, 1, -1, -1], [0] * 5, [0] * 5, [-1, 0, 0, 0, 1], [0] * 5]
    assert relation_from_indices(triplets, 5, 5).tolist() == expected
    with pytest.raises(ValueError, match="positive or negative for each pair, got 1 pairs of both"):
        relation_from_indices((index(0, 0), index(1, 2), index(2, 3)), 5, 5)


def index(*values):
    return torch.tensor(values, dtype=torch.int64)


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        ((index(0), index(1)), "of 3 or 4 tensors, got 2"),
        ((index(0), index(5), index(0), index(1)), r"\(p\) must be in 0..4, got 5..5"),
        ((index(-1), index(1), index(0), index(1)), r"\(a1\) must be in 0..2, got -1..-1"),
        ((index(0), index(1), index(0), index(1)), "positive or negative for each pair, got 1 pairs of both"),
        ((index(0, 1), index(1), index(0), index(1)), r"\(p\) must be of length 2 like a1, got 1"),
        ((index(0).float(), index(1), index(0), index(2)), r"\(a1\) must be a 1-D int64 tensor, got float32"),
        ((index(0).unsqueeze(0), index(1), index(0), index(2)), "must be a 1-D int64 tensor"),
    ],
)
def test_bad_indices(indices, text):
    with pytest.raises(ValueError, match=text):
        relation_from_indices(indices, 3, 5)


@pytest.mark.parametrize(
    ("labels", "others", "text"),
    [
        (torch.rand(4), None, "labels must be integer ids where 1-D, got float32"),
        (torch.zeros(4, 2, 2), None, r"1-D ids or 2-D multi-hot rows, got \(4, 2, 2\)"),
        (torch.tensor(1), None, "1-D ids or 2-D multi-hot rows"),
        (IDS.unsqueeze(1), None, r"labels must be ids .* pass labels\.squeeze\(1\) for ids in a column, got \(5, 1\)"),
        (torch.zeros(5, 2), torch.full((4, 2), torch.nan), "ref_labels must be finite, got 8 NaN"),
        (IDS, torch.zeros(4, 2), r"ref_labels must be like labels \(5,\), got \(4, 2\)"),
        (torch.zeros(4, 3), torch.zeros(4, 2), r"ref_labels must be like labels \(4, 3\), got \(4, 2\)"),
        (IDS, IDS.to("meta"), "ref_labels must be on cpu, got meta"),
    ],
)
def test_bad_labels(labels, others, text):
    with pytest.raises(ValueError, match=text):
        relation_from_labels(labels, others)


def test_a_similarity_is_a_matrix():
    with pytest.raises(ValueError, match=r"similarity must be of shape \(anchors, items\), got \(4,\)"):
        relation_from_similarity(torch.zeros(4), exclude_self=True)
