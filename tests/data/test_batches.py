# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash.data import Augmentation, PKBatchSampler, digits
from fasthash.data.images import LabelledImages

LABELS = torch.arange(10).repeat_interleave(37)


def test_a_batch_has_p_classes_of_k_images():
    for batch in PKBatchSampler(LABELS, 4, 5, seed=3):
        classes, counts = LABELS[batch].unique(return_counts=True)
        assert len(classes) == 4
        assert set(counts.tolist()) == {5}
        assert len(set(batch)) == 20


def test_an_epoch_shows_nearly_every_image_once():
    sampler = PKBatchSampler(LABELS, 5, 4)
    seen = [position for batch in sampler for position in batch]
    assert len(seen) == len(set(seen)) == len(sampler) * 20
    assert len(seen) > 0.9 * len(LABELS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 5), st.integers(0, 17))
def test_any_step_of_any_epoch_can_be_taken_up(seed, epoch, step):
    sampler, other = (PKBatchSampler(LABELS, 5, 4, seed) for _ in range(2))
    sampler.start_at(epoch)
    other.start_at(epoch, step)
    assert list(sampler)[step:] == list(other)
    assert len(other) == len(sampler) - step


def test_epochs_and_seeds_differ():
    first, second = PKBatchSampler(LABELS, 5, 4, 1), PKBatchSampler(LABELS, 5, 4, 2)
    assert list(first) != list(second)
    before = list(first)
    first.start_at(1)
    assert list(first) != before


def test_small_and_uneven_classes():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2])
    batches = list(PKBatchSampler(labels, 3, 4))
    assert len(batches) == 4
    for batch in batches:
        assert labels[batch].bincount().tolist() == [4, 4, 4]


def test_fewer_classes_than_asked_for():
    assert PKBatchSampler(LABELS, 64, 2).classes_per_batch == 10


@pytest.mark.parametrize(("labels", "p", "k"), [([0, 0], 2, 2), ([0, 1], 1, 2), ([0, 1], 2, 1)])
def test_batches_without_triplets_are_refused(labels, p, k):
    with pytest.raises(ValueError, match="at least 2"):
        PKBatchSampler(torch.tensor(labels), p, k)


def test_augmentation_follows_from_seed_epoch_and_step():
    images = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    augment = Augmentation(flip=True, pad=2, seed=5)
    torch.manual_seed(1)
    once = augment(images, 3, 7)
    torch.manual_seed(2)
    assert torch.equal(once, augment(images, 3, 7))
    assert not torch.equal(once, augment(images, 3, 8))
    assert not torch.equal(once, augment(images, 4, 7))


def test_augmentation_off_changes_nothing():
    images = torch.rand(4, 1, 5, 6)
    assert Augmentation()(images, 0, 0) is images


def test_shift_equals_pad_and_crop():
    images = torch.randint(1, 256, (64, 2, 5, 7), dtype=torch.uint8)
    shifted = Augmentation(pad=2, seed=1)(images, 0, 0)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    crops = [padded[:, :, top : top + 5, left : left + 7] for top in range(5) for left in range(5)]
    matches = torch.stack([(shifted == crop).flatten(1).all(1) for crop in crops])
    assert bool(matches.any(0).all())
    assert int(matches.any(1).sum()) > 10  # many of the 25 shifts were drawn


def test_flip_mirrors_about_half():
    images = torch.arange(6.0).expand(400, 1, 1, 6)
    flipped = Augmentation(flip=True)(images, 0, 0)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert bool((mirrored | (flipped == images).flatten(1).all(1)).all())
    assert 150 < int(mirrored.sum()) < 250


def test_digits_keep_queries_apart():
    splits = digits(seed=4, queries_per_class=20)
    assert len(splits.test) == 200
    assert splits.test.labels.bincount().tolist() == [20] * 10
    assert len(splits.train) == 1797 - 200
    assert not set(splits.train.names) & set(splits.test.names)
    assert splits.train.pixels.max() == 255
    assert digits(4, 20).test.names == splits.test.names
    assert digits(5, 20).test.names != splits.test.names
    with pytest.raises(ValueError, match="queries_per_class must be between 1 and 173"):
        digits(queries_per_class=0)


def test_labelled_images_check_lengths():
    with pytest.raises(ValueError, match="one length"):
        LabelledImages(torch.zeros(2), ["a"], ["x"], (1, 2, 2), torch.zeros(2, 1, 2, 2))
    with pytest.raises(ValueError, match="exactly one"):
        LabelledImages(torch.zeros(1), ["a"], ["x"], (1, 2, 2))


def test_channel_statistics():
    splits = digits()
    mean, deviation = splits.train.channel_statistics()
    pixels = splits.train.pixels.double() / 255
    assert mean[0] == pytest.approx(float(pixels.mean()))
    assert deviation[0] == pytest.approx(float(pixels.std(correction=0)))
