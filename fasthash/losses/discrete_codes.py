# SPDX-License-Identifier: Apache-2.0
"""The codes of all training items as free variables, learned in turns with a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fasthash import _checks, ops
from fasthash._autocast import without_autocast
from fasthash._labels import check_kind
from fasthash.losses._inputs import packed_labels
from fasthash.ops.discrete_code_update import LabelGroups, balance, group_labels

_NAME = "DiscreteCodes"


class DiscreteCodes(nn.Module):
    """Binary codes V of N training items, and what a loss over all of them needs: in O(K^2) for each anchor.

    Alternating optimisation, as ADSH and ExchNet do it: sample items, train the network against fixed codes, then
    update all codes against what the network says of the sample.

        codes = DiscreteCodes(labels, bits=48)
        loss_function = AsymmetricHashLoss()
        for _ in range(rounds):
            positions = codes.sample(2000)
            for images, at in batches(positions):
                loss_function(network(images), ref_codes=codes, positions=at).backward()
                ...
            codes.update(encode(network, positions), positions)
        index.add(codes.packed())

    Codes and labels are buffers in `state_dict`; sums over codes are made anew when it is loaded.

    Args:
        labels: (N,) integer class ids, or (N, C) multi-hot rows of any dtype, set where > 0.
        bits: K, at most 1024.
        codes: (N, K) int8 to begin with; None draws them at random, from torch's generator.
        dissimilar: what a pair without a common label counts as, negative; None balances all N * N pairs, so that
            their similarities sum to 0. Losses and updates use the same number.
        quantization: weight of the distance between a sample's relaxed code and its own code, in updates; a loss has
            its own.

    Raises:
        ValueError: labels or codes that are not as described.

    Source: Jiang, Li, "Asymmetric Deep Supervised Hashing", AAAI 2018; Cui et al., "ExchNet", ECCV 2020.
    """

    codes: Tensor
    labels: Tensor
    group_of: Tensor
    group_labels: Tensor
    sizes: Tensor
    gram: Tensor
    sums: Tensor
    similar: Tensor

    def __init__(
        self,
        labels: Tensor,
        bits: int,
        *,
        codes: Tensor | None = None,
        dissimilar: float | None = None,
        quantization: float = 0.0,
    ) -> None:
        super().__init__()
        _checks.require(1 <= bits <= 1024, _NAME, "bits", "in 1..1024", bits)
        if dissimilar is not None:
            _checks.require_finite_number(_NAME, "dissimilar", dissimilar, nonnegative=True)
        _checks.require_finite_number(_NAME, "quantization", quantization, nonnegative=True)
        self.bits, self.dissimilar, self.quantization = bits, dissimilar, quantization
        check_kind(_NAME, "labels", labels)
        self.register_buffer("labels", packed_labels(_NAME, labels))
        if codes is None:
            codes = torch.randint(0, 2, (len(labels), bits), device=labels.device, dtype=torch.int8) * 2 - 1
        shape = (len(labels), bits)
        _checks.require_dtype(_NAME, "codes", codes, (torch.int8,))
        _checks.require(codes.shape == shape, _NAME, "codes", f"of shape {shape}", tuple(codes.shape))
        self.register_buffer("codes", codes.clone())
        for name in ("group_of", "group_labels", "sizes", "gram", "sums", "similar"):
            self.register_buffer(name, None, persistent=False)
        self._group()
        self.register_load_state_dict_post_hook(DiscreteCodes._loaded)  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        """Number of items."""
        return len(self.codes)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """(count,) int64 positions of different items, at random; all of them where there are fewer."""
        _checks.require(count >= 1, _NAME, "count", "at least 1", count)
        device = self.codes.device if generator is None else generator.device
        return torch.randperm(len(self), generator=generator, device=device)[:count].to(self.codes.device)

    @torch.no_grad()
    def update(self, relaxed: Tensor, positions: Tensor, sweeps: int = 1, check_finite: bool | None = None) -> Tensor:
        """Goes through all bits of all codes, so that the loss of a sample falls; see `ops.discrete_code_update`.

        Args:
            relaxed: (S, K) relaxed codes of the sample, as the network gives them.
            positions: (S,) int64, which item each of them is, no one twice.
            sweeps: how often to go through all bits.
            check_finite: refuse NaN and infinite relaxed codes; None does so on the CPU.

        Returns:
            () int64, how many entries of the codes changed.
        """
        _checks.require_dtype(_NAME, "relaxed", relaxed, _checks.FLOATS)
        shape = (len(positions), self.bits)
        _checks.require(relaxed.shape == shape, _NAME, "relaxed", f"of shape {shape}", tuple(relaxed.shape))
        _checks.require_finite(check_finite, _NAME, "relaxed", relaxed)
        self.check_positions(_NAME, positions, relaxed)
        updated = ops.discrete_code_update(
            self.codes,
            relaxed.detach(),
            LabelGroups(self.group_of, self.group_labels, self.sizes),
            self.labels[positions],
            positions=positions,
            quantization=self.quantization,
            dissimilar=self.dissimilarity(),
            sweeps=sweeps,
        )
        self.codes.copy_(updated.codes)
        self._sum()
        return updated.changed

    def check_positions(self, op: str, positions: Tensor, rows: Tensor) -> None:
        """Refuses anything but one int64 position for each row; what is no item on the CPU, where nobody compiles.

        Args:
            op: name in the error text.
            positions: to be (B,).
            rows: (B, K).
        """
        _checks.require_dtype(op, "positions", positions, (torch.int64,))
        fits = positions.shape == rows.shape[:1]
        _checks.require(fits, op, "positions", "of shape (batch,)", tuple(positions.shape))
        if positions.device.type == "cpu" and positions.numel() and not torch.compiler.is_compiling():
            low, high = (int(value) for value in positions.aminmax())
            last = len(self) - 1
            _checks.require(low >= 0 and high <= last, op, "positions", f"in 0..{last}", f"{low}..{high}")

    def dissimilarity(self) -> Tensor:
        """() float64 b: a pair without a common label has the similarity -b."""
        if self.dissimilar is not None:
            return torch.full((), self.dissimilar, dtype=torch.float64, device=self.codes.device)
        return balance(self.similar, len(self) * len(self))

    def related_sums(self, labels: Tensor | None, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, K) and (B,) float64: sum and number of the codes that share a label with each anchor.

        The anchors are named by `positions` among the items, or else by their labels.
        """
        if positions is not None and self.labels.dim() == 1:
            found = self.sums[self.group_of[positions]].double()
        elif self.labels.dim() == 1:
            found = self._by_id(labels)
        else:
            asked = packed_labels(_NAME, labels) if positions is None else self.labels[positions]
            found = ops.label_sums(self.sums.double(), self.group_labels, asked).sums
        return found[:, :-1], found[:, -1]

    def packed(self) -> Tensor:
        """(N, ceil(K / 8)) uint8 packed codes, for search."""
        return ops.pack_codes(self.codes >= 0)

    def extra_repr(self) -> str:
        """Shown by print(codes)."""
        return f"{len(self)} items, bits={self.bits}, dissimilar={self.dissimilar}, quantization={self.quantization}"

    def _by_id(self, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise ValueError(f"{_NAME}: labels or positions must be given, got neither")
        asked = packed_labels(_NAME, labels)
        _checks.require(asked.dim() == 1, _NAME, "labels", "1-D ids like those of the items", tuple(labels.shape))
        place = torch.searchsorted(self.group_labels, asked).clamp(max=len(self.group_labels) - 1)
        known = self.group_labels[place] == asked
        return torch.where(known.unsqueeze(1), self.sums[place], 0).double()

    def _group(self) -> None:
        self.group_of, self.group_labels, self.sizes = group_labels(self.labels)
        if self.labels.dim() == 1:
            self.similar = self.sizes.square().sum()
        else:
            related = ops.label_sums(self.sizes.double().unsqueeze(1), self.group_labels, self.group_labels)
            self.similar = (related.sums[:, 0] * self.sizes).sum().long()
        self._sum()

    def _sum(self) -> None:
        """Sums over codes are whole numbers: exact in float32 up to 2^24 items, and kept as such."""
        with without_autocast(self.codes):
            v = self.codes.to(torch.float32 if len(self) < 2**24 else torch.float64)
            self.gram = (v.T @ v).long()
        one = torch.ones(len(self), 1, dtype=torch.int8, device=self.codes.device)
        every = torch.arange(len(self.sizes), device=self.codes.device)
        self.sums = ops.label_sums(torch.cat((self.codes, one), 1), self.group_of, every).sums.long()

    @staticmethod
    def _loaded(module: nn.Module, _: Any) -> None:
        assert isinstance(module, DiscreteCodes)
        module._group()
