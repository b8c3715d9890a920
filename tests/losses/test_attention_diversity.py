# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import math

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash.losses import AttentionDiversityLoss, FeatureAlignmentLoss, class_anchors, hellinger_distance


def naive_distance(p, q) -> float:
    return math.sqrt(sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(p, q, strict=True))) / math.sqrt(2)


def naive_loss(features, threshold=0.4):
    """(L_sp, L_cp), image by image and pair by pair."""
    spatial = channel = 0.0
    for image in features.double():
        places = [torch.softmax(part.mean(0).flatten(), 0).tolist() for part in image]
        channels = [torch.softmax(part.mean((1, 2)), 0).tolist() for part in image]
        pairs = [(j, k) for j in range(len(image)) for k in range(j + 1, len(image))]
        spatial += 1 - sum(naive_distance(places[j], places[k]) for j, k in pairs) / len(pairs)
        channel += max(0.0, threshold - sum(naive_distance(channels[j], channels[k]) for j, k in pairs) / len(pairs))
    return spatial / len(features), channel / len(features)


def test_hellinger_is_0_for_equal_and_1_for_disjoint_shares():
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]).log()
    q = torch.tensor([[0.0, 0.0, 0.3, 0.7], [0.25, 0.25, 0.25, 0.25]]).log()
    torch.testing.assert_close(hellinger_distance(p, q), torch.tensor([1.0, 0.0]))
    for _ in range(50):
        a, b = torch.randn(2, 7).mul(5).log_softmax(-1)
        distance = hellinger_distance(a, b).item()
        assert 0 <= distance <= 1
        assert distance == pytest.approx(naive_distance(a.exp().tolist(), b.exp().tolist()), abs=1e-6)


def test_gradients_are_finite_at_equal_parts_and_at_shares_of_zero():
    for features in (torch.ones(2, 3, 4, 2, 2), torch.randn(2, 3, 4, 2, 2) * 1000):
        features.requires_grad_()
        AttentionDiversityLoss()(features).backward()
        assert features.grad.isfinite().all()


@pytest.mark.parametrize("parts", [2, 4])
def test_equals_the_naive_sum(parts):
    features = torch.randn(5, parts, 6, 3, 2) * 2
    spatial, channel = naive_loss(features)
    assert AttentionDiversityLoss(1.0, 0.0)(features).item() == pytest.approx(spatial, rel=1e-5)
    assert AttentionDiversityLoss(0.0, 1.0)(features).item() == pytest.approx(channel, rel=1e-5)
    assert AttentionDiversityLoss(2.0, 3.0)(features).item() == pytest.approx(2 * spatial + 3 * channel, rel=1e-5)


def test_alignment_equals_the_naive_sum():
    features, labels = torch.randn(6, 3, 4), torch.tensor([0, 2, 2, 0, 3, 3])
    anchors = class_anchors(features, labels, 5)
    for c in range(5):
        members = features[labels == c]
        torch.testing.assert_close(anchors[c], members.mean(0) if len(members) else torch.zeros(3, 4))
    total = sum((features[i] - anchors[labels[i]]).square().sum() for i in range(6))
    torch.testing.assert_close(FeatureAlignmentLoss()(features, labels, anchors), total / 6)


def test_gradcheck():
    features = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(AttentionDiversityLoss(threshold=0.9), features)
    pooled, labels = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 1, 0])
    anchors = torch.randn(2, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda f: FeatureAlignmentLoss()(f, labels, anchors), pooled)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_autocast_and_copies(dtype):
    features = torch.randn(3, 2, 4, 2, 2).to(dtype)
    loss = AttentionDiversityLoss()
    value = loss(features)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.item() == pytest.approx(loss(features.double()).item(), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(features) == value == copy.deepcopy(loss)(features)


def test_compiles_to_one_graph_for_all_batch_sizes():
    torch._dynamo.reset()
    loss, counter, counts = AttentionDiversityLoss(), CompileCounterWithBackend("aot_eager"), []
    compiled = torch.compile(lambda f: loss(f), fullgraph=True, dynamic=True, backend=counter)
    for rows in (7, 5, 9):  # other than the numbers of parts and channels, which would be taken for the same
        features = torch.randn(rows, 3, 4, 2, 2)
        torch.testing.assert_close(compiled(features), loss(features))
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: AttentionDiversityLoss(threshold=2), r"threshold must be in \[0, 1\], got 2"),
        (lambda: AttentionDiversityLoss(math.nan), "spatial_weight must be a finite number >= 0, got nan"),
        (lambda: AttentionDiversityLoss(1, math.inf), "channel_weight must be a finite number >= 0, got inf"),
        (lambda: AttentionDiversityLoss()(torch.zeros(2, 1, 3, 2, 2)), "features must be of shape .*parts >= 2"),
        (lambda: AttentionDiversityLoss()(torch.zeros(2, 2, 3, 2, 2).int()), "features must be a tensor of dtype"),
        (lambda: AttentionDiversityLoss()(torch.full((1, 2, 1, 1, 1), math.nan)), "features must be finite, got 2 NaN"),
        (lambda: _align(features=torch.zeros(2, 3)), "features must be of shape"),
        (lambda: _align(labels=torch.zeros(2)), "labels must be a tensor of dtype int64"),
        (lambda: _align(labels=torch.zeros(3, dtype=torch.int64)), r"labels must be of shape \(batch,\), got \(3,\)"),
        (lambda: _align(anchors=torch.zeros(2, 3, 5)), "anchors must be of shape .* like features"),
        (lambda: _align(anchors=torch.zeros(2, 3, 4).int()), "anchors must be a tensor of dtype"),
        (
            lambda: _align(features=torch.full((2, 3, 4), math.inf)),
            "features must be finite, got 0 NaN and 24 infinite",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def _align(**arguments):
    good = {
        "features": torch.zeros(2, 3, 4),
        "labels": torch.zeros(2, dtype=torch.int64),
        "anchors": torch.zeros(2, 3, 4),
    }
    return FeatureAlignmentLoss()(**{**good, **arguments})
