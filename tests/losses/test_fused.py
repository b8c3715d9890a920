# SPDX-License-Identifier: Apache-2.0
"""Fused means it: how many operators a step of a loss issues, forward and backward, whatever the size of the batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from fasthash import losses, ops
from fasthash.nn import HashActivation


def issued(step):
    """Operators of PyTorch and of this library by name, without those that another one of them calls."""
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    events = [event for event in profile.events() if event.name.startswith(("aten::", "fasthash::"))]
    own = {event.id for event in events}
    return Counter(event.name for event in events if not _within(event, own))


def _within(event, own):
    parent = event.cpu_parent
    while parent is not None and parent.id not in own:
        parent = parent.cpu_parent
    return parent is not None


def batch(rows):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(rows, 32, generator=generator).tanh().requires_grad_()
    return embeddings, torch.randint(0, 4, (rows,), generator=generator)


def step_of(loss, rows):
    embeddings, labels = batch(rows)
    return lambda: loss(embeddings, labels).backward()


# Room for a few operators that another release of PyTorch may add; references take 2 to 4 times as many.
LOSSES = [
    (losses.TripletMarginLoss, "triplet_margin", 60),
    (losses.TripletSemiHardLoss, "triplet_margin", 60),
    (losses.TripletHardLoss, "triplet_margin", 60),
    (losses.OrderAwareTripletLoss, "order_aware_triplet", 60),
    (losses.HashNetLoss, "pairwise_similarity_loss", 12),
    (losses.CohesionLoss, "pairwise_similarity_loss", 12),
    (losses.DPSHLoss, "pairwise_similarity_loss", 28),
    (losses.DHNLoss, "pairwise_similarity_loss", 45),
    (losses.DCHLoss, "pairwise_similarity_loss", 60),
]


@pytest.mark.parametrize(("make", "operator", "most"), LOSSES)
def test_a_step_of_a_loss_is_few_operators(make, operator, most):
    loss = make(check_finite=False)
    seen = issued(step_of(loss, 24))
    assert seen[f"fasthash::{operator}"] == 1
    assert seen[f"fasthash::{operator}_backward"] == 0  # its gradient is there already
    assert seen.total() <= most, dict(seen)
    assert issued(step_of(loss, 200)) == seen  # pieces of a large batch are not looked at one by one


def test_a_reference_takes_more_and_none_of_the_fused_ones():
    for make, operator, most in LOSSES[:4]:
        seen = issued(step_of(make(check_finite=False, backend="reference"), 24))
        assert f"fasthash::{operator}" not in seen
        assert seen.total() > most


def test_tanh_quantize_is_one_operator_each_way():
    logits = torch.randn(24, 32, requires_grad=True)
    seeds = [torch.ones(24, 32), torch.ones(())]

    def step():
        codes, penalty, _, _ = ops.tanh_quantize(logits, pack=True, count_saturation=True)
        torch.autograd.backward([codes, penalty], seeds)

    seen = issued(step)
    assert seen["fasthash::tanh_quantize"] == seen["fasthash::tanh_quantize_backward"] == 1
    assert seen.total() <= 8, dict(seen)


def test_a_hash_activation_adds_what_brings_embeddings_to_length():
    embeddings, _ = batch(24)
    activation = HashActivation(check_finite=False)

    def step():
        out = activation(embeddings)
        (out.codes.sum() + out.penalty).backward()

    seen = issued(step)
    assert seen["fasthash::tanh_quantize"] == seen["fasthash::tanh_quantize_backward"] == 1
    assert seen.total() <= 35, dict(seen)
