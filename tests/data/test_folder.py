# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from fasthash.data import DataError, ImageFolder, decode_image
from tests.images import CLASSES, write_folder, write_image


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", train=3, test=2)


def test_reads_both_splits(folder):
    splits = ImageFolder(folder).read()
    assert splits.classes == list(CLASSES)
    assert splits.train.names[:2] == ["bars/000.png", "bars/001.png"]
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert splits.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    images, labels = splits.train.__getitems__([4, 0])
    assert images.shape == (2, 3, 12, 12)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [1, 0]
    stored = np.asarray(Image.open(folder / "train" / "dots" / "001.png")).transpose(2, 0, 1)
    assert np.array_equal(images[0].numpy(), stored)


def test_grey_resized_jpeg(tmp_path):
    folder = write_folder(tmp_path, train=2, test=1, size=16, suffix=".jpg")
    splits = ImageFolder(folder, size=(8, 10), channels=1).read()
    assert splits.train.shape == (1, 8, 10)
    assert splits.train.image(0).shape == (1, 8, 10)


def test_images_beyond_the_cache_are_read_when_asked_for(folder):
    held, read = ImageFolder(folder).read().train, ImageFolder(folder, cache_mb=0).read().train
    assert held.pixels is not None
    assert read.pixels is None
    assert torch.equal(held.__getitems__([5, 1])[0], read.__getitems__([5, 1])[0])
    assert held.fingerprint() == read.fingerprint()
    assert held.channel_statistics() == read.channel_statistics()
    part = pickle.loads(pickle.dumps(read.subset(torch.tensor([5, 2]))))
    assert torch.equal(part.image(0), held.image(5))


def test_fingerprint_notices_another_file(folder):
    before = ImageFolder(folder).read().train.fingerprint()
    write_image(folder / "train" / "bars" / "new", 0, 77)
    assert ImageFolder(folder).read().train.fingerprint() != before


@pytest.mark.parametrize("cache_mb", [0, 64])
def test_broken_images_are_named_and_counted(folder, cache_mb):
    whole = (folder / "train" / "bars" / "001.png").read_bytes()
    (folder / "train" / "bars" / "000.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train" / "dots" / "002.png").write_bytes(b"")
    (folder / "test" / "waves" / "001.png").write_text("no image")
    splits = ImageFolder(folder, cache_mb=cache_mb).read()
    assert splits.train.broken == ["bars/000.png", "dots/002.png"]
    assert splits.test.broken == ["waves/001.png"]
    assert len(splits.train) == 7
    assert splits.train.names[0] == "bars/001.png"
    assert splits.train.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert np.array_equal(splits.train.image(0).numpy(), decode_image(folder / "train/bars/001.png", 3).numpy())


def test_broken_images_are_refused_by_choice(folder):
    (folder / "train" / "dots" / "002.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"dots/002\.png: expected an image .*, got an empty file"):
        ImageFolder(folder, on_broken="fail").read()


def test_a_class_of_broken_images_only(folder):
    for path in (folder / "test" / "dots").iterdir():
        path.write_text("no image")
    with pytest.raises(DataError, match="dots: expected images of this class, got only broken ones"):
        ImageFolder(folder).read()


def _remove(folder, *parts):
    shutil.rmtree(folder.joinpath(*parts))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: _remove(folder), "got no such folder"),
        (lambda folder: (_remove(folder), folder.write_text("")), "got a file"),
        (lambda folder: (_remove(folder), folder.mkdir()), r"got no train \(it holds: nothing\)"),
        (lambda folder: _remove(folder, "test"), r"got no test \(it holds: train\)"),
        (lambda folder: (_remove(folder, "train"), (folder / "train").mkdir()), "at least 2 classes, got none"),
        (lambda folder: [_remove(folder, "test", name) for name in CLASSES[1:]], "at least 2 classes, got only bars"),
        (lambda folder: _remove(folder, "test", "dots"), "test lacks dots"),
        (lambda folder: _remove(folder, "train", "dots"), "train lacks dots"),
        (
            lambda folder: [p.unlink() for p in (folder / "train" / "dots").iterdir()],
            r"dots: expected images .* got none",
        ),
        (lambda folder: write_image(folder / "train/dots/big", 1, 0, 20), "20 x 20 pixels; give an image size"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message):
        ImageFolder(folder).read()


def test_splits_of_different_sizes_are_refused_unless_resized(tmp_path):
    write_folder(tmp_path, train=2, test=1)
    shutil.rmtree(tmp_path / "test")
    write_folder(tmp_path / "other", train=0, test=1, size=20)
    shutil.move(tmp_path / "other" / "test", tmp_path / "test")
    with pytest.raises(DataError, match="expected 12 x 12 pixels as in train, got 20 x 20"):
        ImageFolder(tmp_path).read()
    assert ImageFolder(tmp_path, size=(16, 16)).read().test.shape == (3, 16, 16)


def test_files_that_are_no_images_are_passed_over(folder):
    (folder / "train" / "bars" / "notes.txt").write_text("hello")
    (folder / "train" / "bars" / ".hidden.png").write_text("hello")
    (folder / "train" / ".git").mkdir()
    splits = ImageFolder(folder).read()
    assert len(splits.train) == 9
    assert splits.train.broken == []


def test_read_below_and_files(folder):
    below = ImageFolder(folder).read_below(folder / "test")
    assert below.names[0] == "bars/000.png"
    assert set(below.labels.tolist()) == {-1}
    single = ImageFolder(folder).read_files([folder / "test" / "dots" / "001.png"])
    assert torch.equal(single.image(0), below.image(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "channels must be"),
        ({"on_broken": "x"}, "on_broken must be"),
        ({"size": (0, 4)}, "size must be"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ImageFolder("images", **options)


def test_modes_of_images(tmp_path):
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    assert torch.equal(decode_image(tmp_path / "deep.png", 1)[0], torch.from_numpy((ramp >> 8).astype(np.uint8)))
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert decode_image(tmp_path / "clear.png", 3)[:, 0, 0].tolist() == [10, 20, 30]
    Image.new("P", (4, 4)).save(tmp_path / "palette.png", transparency=b"\x00\x10")
    assert decode_image(tmp_path / "palette.png", 3).shape == (3, 4, 4)
    turned = Image.new("RGB", (6, 4))
    turned.save(tmp_path / "turned.jpg", exif=_orientation(turned, 6))
    assert decode_image(tmp_path / "turned.jpg", 3).shape == (3, 6, 4)


def _orientation(image, value):
    tags = image.getexif()
    tags[0x0112] = value
    return tags


def test_progress_counts_both_splits(folder):
    seen = []
    ImageFolder(folder, progress=lambda done, total: seen.append((done, total))).read()
    assert seen == [(9, 15), (15, 15)]
