# SPDX-License-Identifier: Apache-2.0
"""Class means over a training set: DCWH's centres, von Mises-Fisher mean directions."""

import copy
import math

import pytest
import torch
from torch import nn

from fasthash.losses import DCWHLoss, VonMisesFisherLoss
from fasthash.nn import HashLayer
from fasthash.special import mean_resultant_length

CLASSES, BITS = 5, 6


def data(rows=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(rows, BITS, generator=generator)
    return embeddings, torch.randint(0, CLASSES - 1, (rows,), generator=generator)  # the last class is never seen


def batches(embeddings, labels, size=7):
    return list(zip(embeddings.split(size), labels.split(size), strict=True))


def means(embeddings, labels, spherical):
    """(C, K) by loops over float64; NaN for a class without members."""
    rows = embeddings.double()
    if spherical:
        rows = rows / rows.norm(dim=1, keepdim=True)
    found = torch.full((CLASSES, BITS), math.nan, dtype=torch.float64)
    for c in range(CLASSES):
        members = [row for row, label in zip(rows, labels.tolist(), strict=True) if label == c]
        if members:
            found[c] = torch.stack(members).mean(0)
            if spherical:
                found[c] /= found[c].norm()
    return found


LOSSES = pytest.mark.parametrize("make", [DCWHLoss, VonMisesFisherLoss])


@LOSSES
def test_recompute_reads_the_whole_set_and_keeps_unseen_classes(make):
    loss = make(CLASSES, BITS)
    before = loss.centers.clone()
    embeddings, labels = data()
    loss.recompute_centers(batches(embeddings, labels))
    expected = means(embeddings, labels, make is VonMisesFisherLoss)
    torch.testing.assert_close(loss.centers[:-1], expected[:-1].float())
    assert torch.equal(loss.centers[-1], before[-1])
    assert loss.sums.count.sum() == 0


@LOSSES
def test_accumulated_batches_give_the_same_centers(make):
    embeddings, labels = data()
    whole, by_hand, in_training = make(CLASSES, BITS), make(CLASSES, BITS), make(CLASSES, BITS, accumulate=True)
    whole.recompute_centers(batches(embeddings, labels))
    for rows, ids in batches(embeddings, labels):
        by_hand.accumulate(rows, ids)
        in_training(rows.clone().requires_grad_(), ids).backward()
        in_training.eval()
        in_training(rows, ids)  # evaluation adds nothing
        in_training.train()
    for loss in (by_hand, in_training):
        assert loss.sums.count.sum() == len(labels)
        loss.update_centers()
        torch.testing.assert_close(loss.centers[:-1], whole.centers[:-1])
        assert loss.sums.total.abs().sum() == 0


@LOSSES
def test_multi_hot_rows_count_for_each_label(make):
    embeddings, labels = data()
    one_hot = nn.functional.one_hot(labels, CLASSES)
    both = one_hot.clone()
    both[:, 0] = 1
    loss, other = make(CLASSES, BITS), make(CLASSES, BITS)
    loss.recompute_centers([(embeddings, labels)])
    other.recompute_centers([(embeddings, one_hot)])
    torch.testing.assert_close(other.centers[:-1], loss.centers[:-1])
    other.recompute_centers([(embeddings, both)])
    everything = means(embeddings, torch.zeros_like(labels), make is VonMisesFisherLoss)
    torch.testing.assert_close(other.centers[0], everything[0].float())


@LOSSES
def test_recompute_through_a_model_in_evaluation_mode(make):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), HashLayer(4, BITS))
    model[1].eval()  # a part that the user froze
    inputs, labels = torch.randn(20, 3), torch.arange(20) % CLASSES
    statistics = model[1].running_mean.clone()
    loss = make(CLASSES, BITS)
    loss.recompute_centers([(inputs, labels, "more")], model)
    assert model.training
    assert model[2].training
    assert not model[1].training
    assert torch.equal(model[1].running_mean, statistics)
    logits = copy.deepcopy(model).eval()(inputs).logits
    expected = means(logits.detach(), labels, make is VonMisesFisherLoss).float()
    torch.testing.assert_close(loss.centers, expected)
    loss.recompute_centers([(inputs, labels)], lambda each: each.repeat(1, 2))
    assert loss.centers.shape == (CLASSES, BITS)


@LOSSES
def test_the_modes_come_back_after_an_error(make):
    model = nn.Sequential(nn.Linear(3, BITS + 1))
    with pytest.raises(ValueError, match="embeddings must be of 6 columns, got 7"):
        make(CLASSES, BITS).recompute_centers([(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64))], model)
    assert model.training


@LOSSES
def test_bad_batches(make):
    loss = make(CLASSES, BITS)
    embeddings, labels = data()
    with pytest.raises(ValueError, match="batches must be at least one, got none"):
        loss.recompute_centers([])
    with pytest.raises(ValueError, match=r"labels must be ids in 0\.\.4, got"):
        loss.accumulate(embeddings, labels + CLASSES)
    embeddings[2, 1] = math.nan
    with pytest.raises(ValueError, match="embeddings must be finite"):
        loss.accumulate(embeddings, labels)
    poisoned = make(CLASSES, BITS, accumulate=True)
    with pytest.raises(ValueError, match="embeddings must be finite"):
        poisoned(embeddings, labels)
    assert poisoned.sums.total.isfinite().all()


@LOSSES
def test_half_finished_sums_are_saved_and_stay_float64(make):
    embeddings, labels = data()
    loss = make(CLASSES, BITS)
    loss.accumulate(embeddings[:20], labels[:20])
    other = make(CLASSES, BITS)
    other.load_state_dict(loss.state_dict())
    for each in (loss, other):
        each.half().float()
        assert each.sums.total.dtype == torch.float64
        each.accumulate(embeddings[20:], labels[20:])
        each.update_centers()
    expected = means(embeddings, labels, make is VonMisesFisherLoss).float()
    torch.testing.assert_close(loss.centers[:-1], expected[:-1], rtol=1e-5, atol=1e-6)
    assert torch.equal(loss.centers[:-1], other.centers[:-1])


@LOSSES
def test_sums_do_not_depend_on_threads(make, threads):
    embeddings, labels = data(5000)
    found = []
    for number in (1, 2):
        threads(number)
        loss = make(CLASSES, BITS)
        loss.recompute_centers([(embeddings, labels)])
        found.append(loss.centers[:-1])
    assert torch.equal(*found)


@LOSSES
def test_accumulation_compiles(make):
    torch._dynamo.reset()
    embeddings, labels = data()
    loss, plain = make(CLASSES, BITS, accumulate=True), make(CLASSES, BITS, accumulate=True)
    compiled = torch.compile(lambda e, y: loss(e, y), fullgraph=True, backend="aot_eager")
    compiled(embeddings, labels)
    plain(embeddings, labels)
    torch.testing.assert_close(loss.sums.total, plain.sums.total)


def test_dcwh_stages():
    embeddings, labels = data()
    loss = DCWHLoss(CLASSES, BITS, cube_weight=2.0, vertex_weight=3.0, cube=1.2)
    both = loss(embeddings, labels).item()
    loss.set_stage("establish")
    establish = loss(embeddings, labels).item()
    loss.set_stage("refine")
    refine = loss(embeddings, labels).item()
    size = embeddings.abs()
    cube = 2.0 * (size - 1.2).clamp(min=0).sum(1).mean().item()
    vertex = 3.0 * (size - 1).square().sum(1).mean().item()
    assert both - refine == pytest.approx(cube, rel=1e-4)
    assert both - establish == pytest.approx(vertex, rel=1e-4)
    fresh = DCWHLoss(CLASSES, BITS)
    fresh.load_state_dict(loss.state_dict())
    assert fresh.stage == "refine"


def test_dcwh_centers_as_parameters():
    loss = DCWHLoss(CLASSES, BITS, update="gradient")
    embeddings, labels = data()
    loss(embeddings, labels).backward()
    assert loss.centers.grad.abs().sum() > 0
    loss.recompute_centers([(embeddings, labels)])
    assert isinstance(loss.centers, nn.Parameter)


def test_mean_directions_have_length_one_and_resultants_say_how_compact():
    loss = VonMisesFisherLoss(CLASSES, BITS)
    embeddings, labels = data()
    embeddings[labels == 0] = torch.arange(1.0, BITS + 1)  # one direction
    loss.accumulate(embeddings * 7, labels)
    lengths = loss.resultant_lengths()
    assert lengths[0].item() == pytest.approx(1.0)
    assert (lengths[1:-1] < 0.9).all()
    assert lengths[-1].isnan()
    loss.update_centers()
    torch.testing.assert_close(loss.centers.norm(dim=1), torch.ones(CLASSES))


def test_a_sum_of_zero_keeps_the_old_direction():
    loss = VonMisesFisherLoss(2, 3)
    before = loss.centers.clone()
    opposite = torch.tensor([[0.1, 0.2, 0.3], [-0.2, -0.4, -0.6]])
    loss.accumulate(opposite, torch.tensor([0, 0]))
    loss.update_centers()
    assert torch.equal(loss.centers, before)


@pytest.mark.parametrize(("kappa", "classes", "expected"), [(5.0, 10, 0.966), (5.0, 100, 0.612), (15.0, 10, 1.0)])
def test_the_best_posterior_of_a_simplex(kappa, classes, expected):
    corners = torch.eye(classes) - 1 / classes
    loss = VonMisesFisherLoss(classes, classes, kappa)
    loss.recompute_centers([(corners, torch.arange(classes))])
    posterior = math.exp(-loss(corners, torch.arange(classes)).item())
    assert posterior == pytest.approx(expected, abs=1e-3)
    assert posterior == pytest.approx(1 / (1 + (classes - 1) * math.exp(-kappa * classes / (classes - 1))), rel=1e-4)


def test_likelihood_finds_the_maximum_likelihood_kappa():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(400, 8, generator=generator) * 0.4
    embeddings[:, 0] += 1
    labels = torch.zeros(400, dtype=torch.int64)
    loss = VonMisesFisherLoss(1, 8, 3.0, learn_kappa="shared", likelihood_weight=1.0)
    loss.accumulate(embeddings, labels)
    resultant = loss.resultant_lengths()
    loss.update_centers()
    optimizer = torch.optim.LBFGS(loss.parameters(), line_search_fn="strong_wolfe", max_iter=50)

    def closure():
        optimizer.zero_grad()
        value = loss(embeddings, labels)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(mean_resultant_length(8, loss.kappa.detach().double()), resultant[0], rtol=1e-3, atol=0)
