# SPDX-License-Identifier: Apache-2.0
"""Codes with what they stand for, in one file."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fasthash.errors import FileFormatError
from fasthash.files import atomic_write

FORMAT = "fasthash.codes"
VERSION = 1


@dataclass
class CodeSet:
    """The packed codes of a set of images, and which images they are.

    Attributes:
        codes: (N, ceil(bits / 8)) uint8, in the order of `numpy.packbits`.
        bits: Code length.
        labels: (N,) int64 that index ``classes``; -1 where the class is not known.
        classes: Class names.
        names: Path of each image, relative to ``root``.
        root: Folder the images lie in, or what stands for it.
    """

    codes: Tensor
    bits: int
    labels: Tensor
    classes: list[str]
    names: list[str]
    root: str

    def __post_init__(self) -> None:
        expected = (len(self.names), -(-self.bits // 8))
        if self.codes.shape != expected or self.codes.dtype != torch.uint8 or len(self.labels) != len(self.names):
            raise ValueError(
                f"CodeSet: codes must be {expected} uint8 for {len(self.names)} names and {self.bits} bits, "
                f"got {tuple(self.codes.shape)} {self.codes.dtype} and {len(self.labels)} labels"
            )

    def class_name(self, index: int) -> str:
        """The class of image ``index`` in words; "" where it is not known."""
        label = int(self.labels[index])
        return self.classes[label] if label >= 0 else ""

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file; an older one survives whatever goes wrong.

        Its tensors are ``codes``, ``labels`` and ``names`` (UTF-8 bytes, each name ended by a zero byte).
        """
        joined = "".join(f"{name}\0" for name in self.names).encode("utf-8", "surrogateescape")
        tensors = {
            "codes": self.codes.contiguous(),
            "labels": self.labels.contiguous(),
            "names": torch.from_numpy(np.frombuffer(joined, dtype=np.uint8).copy()),
        }
        facts = json.dumps({"bits": self.bits, "classes": self.classes, "root": self.root})
        with atomic_write(path) as file:
            file.write(safetensors.torch.save(tensors, {"format": FORMAT, "version": str(VERSION), "facts": facts}))

    @classmethod
    def load(cls, path: str | Path) -> CodeSet:
        """Reads a file that `save` wrote.

        Raises:
            FileNotFoundError: there is none.
            fasthash.errors.FileFormatError: it is truncated, or not a fasthash codes file of a version known here.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(errno.ENOENT, "expected a codes file, got no such file", str(path))
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT or metadata.get("version") != str(VERSION):
                    came = f"{metadata.get('format', 'a foreign file')} {metadata.get('version', '')}".strip()
                    raise FileFormatError(f"{path}: expected {FORMAT} {VERSION}, got {came}")
                codes, labels, names = (file.get_tensor(name) for name in ("codes", "labels", "names"))
            facts = json.loads(metadata["facts"])
            split = names.numpy().tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
            return cls(codes, facts["bits"], labels, facts["classes"], split, facts["root"])
        except FileFormatError:
            raise
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
            raise FileFormatError(f"{path}: expected a fasthash codes file, got a truncated or foreign one") from error
