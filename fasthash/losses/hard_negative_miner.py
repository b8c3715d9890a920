# SPDX-License-Identifier: Apache-2.0
"""Hard triplets found by searching binary codes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from fasthash import _checks, ops
from fasthash._labels import as_comparable, as_ids, check_labels, shares_label
from fasthash.losses._inputs import check_embeddings

_NAME = "HardNegativeMiner"
_REASON = "HardNegativeMiner searches once for each label it finds: call it beside the graph"
_eager = torch.compiler.disable(reason=_REASON)  # type: ignore[no-untyped-call]


class Bank(Protocol):
    """What a miner can search: `DiscreteCodes` is one."""

    @property
    def labels(self) -> Tensor:
        """(N,) integer class ids, or (N, ceil(C / 8)) uint8 packed multi-hot rows."""

    def packed(self) -> Tensor:
        """(N, ceil(K / 8)) uint8 packed codes."""


class _Items(NamedTuple):
    """What is searched: codes (N, W), labels as `as_comparable` makes them, and the items' own places (B,) or None."""

    codes: Tensor
    labels: Tensor
    own: Tensor | None


class HardNegativeMiner(nn.Module):
    """Finds, for each anchor, the nearest codes without a common label and the farthest ones with a common label.

    The signs of the embeddings are the anchors' codes. The search is exact: `hamming_topk` with the other classes (or
    the own one) as a mask, once for each distinct label of the batch; among equal distances the lower index comes
    first. The triplets join each of the chosen positives of an anchor with each of its chosen negatives.

        miner = HardNegativeMiner((codes, labels))
        triplets = miner(embeddings, batch_labels)
        loss = TripletMarginLoss()(embeddings, batch_labels, triplets, bank_embeddings, labels)

    Without a bank it searches what it is called with, as the miners of pytorch-metric-learning do: `ref_emb`, or the
    batch itself. So it is a miner for their `CrossBatchMemory` too.

    Args:
        bank: a pair of packed codes (N, ceil(K / 8)) uint8 and their labels, (N,) ids or (N, C) multi-hot; or an object
            with `packed()` and `labels` such as `DiscreteCodes`, looked at anew in each call; or None.
        negatives: how many of the nearest negatives of an anchor are taken.
        positives: how many of its farthest positives.
        check_finite: refuse NaN and infinite embeddings; see `TripletMarginLoss`.

    torch.compile: how often it searches, and how many triplets there are, is known from the labels' values alone. It
    runs as it is; call it beside what `fullgraph=True` compiles, such as the loss that takes its triplets.

    Raises:
        ValueError: numbers below 1, or a bank that is none of those; what the call refuses is listed at `forward`.

    Source: hard negatives by distance as in Hermans et al., arXiv 1703.07737; that they are searched by Hamming
    distance in a bank of codes is this library's own.
    """

    def __init__(
        self,
        bank: tuple[Tensor, Tensor] | Bank | None = None,
        negatives: int = 1,
        positives: int = 1,
        check_finite: bool | None = None,
    ) -> None:
        super().__init__()
        _checks.require(negatives >= 1, _NAME, "negatives", "at least 1", negatives)
        _checks.require(positives >= 1, _NAME, "positives", "at least 1", positives)
        known = bank is None or (isinstance(bank, tuple) and len(bank) == 2) or hasattr(bank, "packed")
        expected = "None, a pair (codes, labels) or an object with packed() and labels"
        _checks.require(known, _NAME, "bank", expected, type(bank).__name__)
        if isinstance(bank, tuple):
            _checks.require_packed(_NAME, "bank", bank[0])
            length = len(bank[0])
            _checks.require(len(bank[1]) == length, _NAME, "bank", f"of {length} codes and labels", len(bank[1]))
        self.bank = bank
        self.negatives = negatives
        self.positives = positives
        self.check_finite = check_finite

    @_eager  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        *,
        positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Triplets of a batch, for the `indices_tuple` of a loss.

        Args:
            embeddings: (B, K) of the anchors.
            labels: (B,) integer ids or (B, C) multi-hot rows.
            ref_emb: (M, K) to search in; only without a bank. None searches the batch itself, where no item is its own
                positive.
            ref_labels: labels of `ref_emb`.
            positions: (B,) int64 places of the anchors in the bank or in `ref_emb`, which are not their positives; -1
                for an anchor that is not there.

        Returns:
            Anchors, positives and negatives, (T,) int64 each: by anchor, then positive, then negative. An anchor that
            lacks either has no triplet.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit, values that are not finite, or `ref_emb` with a bank.
        """
        check_embeddings(_NAME, embeddings, ref_emb, self.check_finite)
        length = len(embeddings)
        _checks.require(labels.shape[:1] == (length,), _NAME, "labels", f"of length {length}", tuple(labels.shape))
        items = self._items(embeddings, labels, ref_emb, ref_labels, positions)
        anchor_labels = as_comparable(_ids(labels))
        nearest = ops.pack_codes(embeddings >= 0)
        farthest = ops.pack_codes(embeddings < 0)  # the complement: near to it is far from the code
        distinct, group_of = torch.unique(anchor_labels, dim=0, return_inverse=True)
        parts = []
        for group in range(len(distinct)):
            rows = (group_of == group).nonzero().squeeze(1)
            related = shares_label(distinct[group : group + 1], items.labels).squeeze(0)
            negatives = _found(nearest[rows], items.codes, ~related, self.negatives)
            own = None if items.own is None else items.own[rows]
            positives = _found(farthest[rows], items.codes, related, self.positives, own)
            parts.append(_joined(rows, positives, negatives))
        anchors, positives, negatives = (torch.cat(each) for each in zip(*parts, strict=True))
        order = anchors.argsort(stable=True)
        return anchors[order], positives[order], negatives[order]

    def _items(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None,
        ref_labels: Tensor | None,
        positions: Tensor | None,
    ) -> _Items:
        own = positions
        if self.bank is not None:
            _checks.require(ref_emb is None, _NAME, "ref_emb", "None where there is a bank", "a tensor")
            codes, item_labels = self._of_bank(labels)
            width = -(-embeddings.shape[1] // 8)
            _checks.require(codes.shape[1] == width, _NAME, "bank", f"of {width} bytes a code", codes.shape[1])
        elif ref_emb is None:
            codes, item_labels = ops.pack_codes(embeddings >= 0), labels
            own = torch.arange(len(embeddings), device=embeddings.device) if own is None else own
        else:
            item_labels = torch.empty(0) if ref_labels is None else ref_labels
            got = None if ref_labels is None else tuple(ref_labels.shape)
            length = len(ref_emb)
            _checks.require(len(item_labels) == length, _NAME, "ref_labels", f"of length {length}", got)
            codes = ops.pack_codes(ref_emb >= 0)
        check_labels(_NAME, ("labels", "labels of the items"), labels, item_labels, self.check_finite)
        for name, tensor in (("labels", labels), ("bank", codes)):
            _checks.require_same_device(_NAME, name, tensor, embeddings.device)
        if own is not None:
            fits = own.shape == (len(embeddings),) and own.dtype == torch.int64
            shape = f"int64 of shape ({len(embeddings)},)"
            _checks.require(fits, _NAME, "positions", shape, f"{own.dtype} of shape {tuple(own.shape)}")
        return _Items(codes, as_comparable(_ids(item_labels)), own)

    def _of_bank(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.bank, tuple):
            return self.bank
        assert self.bank is not None
        codes, item_labels = self.bank.packed(), self.bank.labels
        if item_labels.dim() == 2:
            bits = ops.unpack_codes(item_labels, 8 * item_labels.shape[1], torch.int8) > 0
            item_labels = bits[:, : labels.shape[-1]]
        return codes, item_labels

    def extra_repr(self) -> str:
        """Shown by print(miner)."""
        return f"negatives={self.negatives}, positives={self.positives}"


def _ids(labels: Tensor) -> Tensor:
    ids: Tensor = as_ids(labels)
    return ids


def _found(queries: Tensor, codes: Tensor, allowed: Tensor, count: int, own: Tensor | None = None) -> Tensor:
    """(G, count) places of the nearest codes that are allowed and not the query's own, -1 where there are no more."""
    allow = ops.pack_codes(allowed.unsqueeze(0)).squeeze(0)
    wanted = count + (own is not None)
    found = ops.hamming_topk(queries, codes, min(wanted, len(codes)), allow=allow).ids
    if own is not None:
        found = torch.where(found == own.unsqueeze(1), -1, found)
        found = found.gather(1, (found < 0).to(torch.uint8).argsort(dim=1, stable=True))
    return found[:, :count]


def _joined(rows: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every found positive of a row with every found negative of it."""
    valid = (positives >= 0).unsqueeze(2) & (negatives >= 0).unsqueeze(1)
    group, p, n = valid.nonzero(as_tuple=True)
    return rows[group], positives[group, p], negatives[group, n]
