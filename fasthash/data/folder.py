# SPDX-License-Identifier: Apache-2.0
"""Images from folders: ``DIR/train/<class>/*`` and ``DIR/test/<class>/*``, or any files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fasthash.data.decode import decode_image, is_image_name
from fasthash.data.errors import DataError
from fasthash.data.images import ImageSplits, LabelledImages

DEFAULT_CACHE_MB = 2048
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageFolder:
    """Reads labelled images from a folder of class folders.

    Every image is decoded once on reading, by ``torch.get_num_threads()`` threads, which finds the broken ones. A split
    that takes no more than ``cache_mb`` MiB of pixels stays in memory; a larger one is decoded again when asked for.

    Attributes:
        root: The folder with ``train`` and ``test`` in it.
        size: ``(H, W)`` that all images are resized to; None where they share one size already.
        channels: 3 for RGB, 1 for grey.
        on_broken: "skip" leaves undecodable files out and lists them in ``broken``; "fail" refuses, naming the first.
        cache_mb: Largest number of MiB of pixels a split may hold in memory.
        progress: Called now and then as ``progress(done, total)``.
    """

    root: str | Path
    size: tuple[int, int] | None = None
    channels: int = 3
    on_broken: str = "skip"
    cache_mb: int = DEFAULT_CACHE_MB
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"ImageFolder: channels must be 1 (grey) or 3 (RGB), got {self.channels}")
        if self.on_broken not in ("skip", "fail"):
            raise ValueError(f'ImageFolder: on_broken must be "skip" or "fail", got "{self.on_broken}"')
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"ImageFolder: size must be positive (height, width), got {self.size}")

    def read(self) -> ImageSplits:
        """Both splits.

        Raises:
            DataError: the folder is missing or empty, lacks ``train`` or ``test``, has one class only, different
                classes in the two, an empty class, images of several sizes with no ``size`` given, or a broken image
                under ``on_broken="fail"``.
        """
        found = {split: self._list_split(split) for split in ("train", "test")}
        train_classes, test_classes = (list(found[split]) for split in ("train", "test"))
        if train_classes != test_classes:
            raise DataError(_difference(Path(self.root), train_classes, test_classes))
        counts = [sum(len(files) for files in found[split].values()) for split in ("train", "test")]
        train = self._part(0, sum(counts))._load(Path(self.root, "train"), found["train"])
        test = self._part(counts[0], sum(counts))._load(Path(self.root, "test"), found["test"])
        if train.shape != test.shape:
            raise DataError(
                f"{Path(self.root, 'test')}: expected {_pixels(train.shape)} as in train, got {_pixels(test.shape)}; "
                "give an image size to resize all images to"
            )
        return ImageSplits(train, test)

    def read_split(self, split: str) -> LabelledImages:
        """One split, "train" or "test".

        Raises:
            DataError: as for `read`, as far as this split goes.
        """
        return self._load(Path(self.root, split), self._list_split(split))

    def read_files(self, files: Iterable[str | Path]) -> LabelledImages:
        """Any image files, whatever ``root`` is; all carry the label -1, and names are the paths as given.

        Raises:
            DataError: no file, or a broken image under ``on_broken="fail"``.
        """
        paths = [str(path) for path in files]
        if not paths:
            raise DataError("expected at least one image file, got none")
        return self._decode_all(paths, paths, torch.full((len(paths),), -1), [])

    def read_below(self, folder: str | Path) -> LabelledImages:
        """All images below ``folder``, at any depth, labelled -1; names are paths relative to it.

        Raises:
            DataError: the folder is missing or holds no image.
        """
        names = _images_below(_existing_folder(Path(folder), "images"))
        if not names:
            raise DataError(f"{folder}: expected images (JPEG, PNG, ...) in it, got none")
        paths = [str(Path(folder, name)) for name in names]
        return self._decode_all(paths, names, torch.full((len(paths),), -1), [])

    def _part(self, before: int, total: int) -> ImageFolder:
        """A copy whose progress counts on from ``before`` and up to ``total``."""
        if self.progress is None:
            return self
        report = self.progress
        return replace(self, progress=lambda done, _: report(before + done, total))

    def _list_split(self, split: str) -> dict[str, list[str]]:
        """Class name -> its files, relative to the class folder, all in sorted order."""
        root = _existing_folder(Path(self.root), "train and test folders")
        folder = root / split
        if not folder.is_dir():
            held = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
            raise DataError(f"{root}: expected folders train and test in it, got no {split} (it holds: {held})")
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if len(names) < 2:
            came = f"only {names[0]}" if names else "none"
            raise DataError(f"{folder}: expected a folder for each of at least 2 classes, got {came}")
        files = {name: _images_below(folder / name) for name in names}
        empty = [name for name in names if not files[name]]
        if empty:
            raise DataError(f"{folder / empty[0]}: expected images (JPEG, PNG, ...) of this class, got none")
        return files

    def _load(self, folder: Path, files: dict[str, list[str]]) -> LabelledImages:
        names = [f"{label}/{name}" for label, held in files.items() for name in held]
        labels = torch.tensor([number for number, held in enumerate(files.values()) for _ in held])
        loaded = self._decode_all([str(folder / name) for name in names], names, labels, list(files))
        for number, label in enumerate(files):
            if not bool((loaded.labels == number).any()):
                raise DataError(f"{folder / label}: expected images of this class, got only broken ones")
        return loaded

    def _decode_all(self, paths: list[str], names: list[str], labels: Tensor, classes: list[str]) -> LabelledImages:
        """Decodes every file once; keeps the pixels where they fit, and leaves out what is broken."""
        decode = _Decoder(self.channels, self.size)
        pixels: Tensor | None = None
        good: list[int] = []
        for position, outcome in _decode_in_threads(decode, paths):
            if self.progress is not None and (position % 100 == 99 or position + 1 == len(paths)):
                self.progress(position + 1, len(paths))
            if isinstance(outcome, DataError):
                if self.on_broken == "fail":
                    raise outcome
                continue
            if not good:
                decode.first = outcome.shape, paths[position]
                if outcome.numel() * len(paths) <= self.cache_mb * 2**20:
                    pixels = torch.empty(len(paths), *outcome.shape, dtype=torch.uint8)
            decode.check_shape(outcome, paths[position])
            if pixels is not None:
                pixels[len(good)] = outcome
            good.append(position)
        if decode.first is None:
            raise DataError(f"{paths[0]}: expected images that Pillow can decode, got none among {len(paths)} files")
        return _assemble(decode, paths, names, labels, classes, good, pixels)


class _Decoder:
    """Decodes path -> (C, H, W) uint8 and holds all images to one shape; can be sent to a worker process."""

    def __init__(self, channels: int, size: tuple[int, int] | None) -> None:
        self.channels, self.size = channels, size
        self.first: tuple[torch.Size, str] | None = None

    def __call__(self, path: str) -> Tensor:
        return decode_image(path, self.channels, self.size)

    def check_shape(self, image: Tensor, path: str) -> None:
        assert self.first is not None
        shape, first_path = self.first
        if image.shape != shape:
            raise DataError(
                f"{path}: expected {_pixels(shape)} as in {first_path}, got {_pixels(image.shape)}; "
                "give an image size to resize all images to"
            )


@dataclass
class _FileReader:
    """Reads image ``i`` of a list of files."""

    decode: _Decoder
    paths: list[str]

    def __call__(self, index: int) -> Tensor:
        return self.decode(self.paths[index])


def _assemble(
    decode: _Decoder,
    paths: list[str],
    names: list[str],
    labels: Tensor,
    classes: list[str],
    good: list[int],
    pixels: Tensor | None,
) -> LabelledImages:
    """The set of the ``good`` positions."""
    assert decode.first is not None
    kept = set(good)
    sizes = repr([os.path.getsize(paths[position]) for position in good])
    channels, height, width = decode.first[0]
    return LabelledImages(
        labels=labels[good],
        classes=classes,
        names=[names[position] for position in good],
        shape=(channels, height, width),
        pixels=None if pixels is None else pixels[: len(good)],
        read=_FileReader(decode, [paths[position] for position in good]) if pixels is None else None,
        broken=[names[position] for position in range(len(paths)) if position not in kept],
        content=hashlib.sha256(sizes.encode()).hexdigest(),
    )


def _decode_in_threads(decode: _Decoder, paths: list[str]) -> Iterable[tuple[int, Tensor | DataError]]:
    """(position, image or what is wrong with it), in order; at most a few hundred images wait to be taken."""

    def attempt(path: str) -> Tensor | DataError:
        try:
            return decode(path)
        except DataError as error:
            return error

    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        for start in range(0, len(paths), 256):
            yield from enumerate(pool.map(attempt, paths[start : start + 256]), start)


def _pixels(shape: Sequence[int]) -> str:
    """A (C, H, W) shape in words, height first."""
    return f"{shape[1]} x {shape[2]} pixels"


def _existing_folder(folder: Path, content: str) -> Path:
    if not folder.exists():
        raise DataError(f"{folder}: expected a folder with {content}, got no such folder")
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with {content}, got a file")
    return folder


def _images_below(folder: Path) -> list[str]:
    """Image files at any depth, relative to ``folder`` with forward slashes, sorted."""
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name).relative_to(folder).as_posix() for name in files if is_image_name(name)]
    return sorted(found)


def _difference(root: Path, train: Sequence[str], test: Sequence[str]) -> str:
    """The error text for classes that are on one side only."""
    missing = [name for name in train if name not in set(test)]
    surplus = [name for name in test if name not in set(train)]
    parts = [
        f"{which} lacks {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for which, names in (("test", missing), ("train", surplus))
        if names
    ]
    return f"{root}: expected the same classes in train and test, got a difference: {'; '.join(parts)}"
