# SPDX-License-Identifier: Apache-2.0
"""What losses over embeddings take, checked and turned into what operators take."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fasthash import _checks, ops
from fasthash._autocast import without_autocast
from fasthash._labels import as_ids, check_kind
from fasthash._labels import check_labels as check_kinds
from fasthash.losses._distributed import gather_batch
from fasthash.losses.relation import relation_from_indices, relation_from_labels, relation_from_similarity

_NOT_SHOWN = ("training", "check_finite", "gather", "backend")


def shown_options(loss: nn.Module, **others: object) -> str:
    """What print() shows of a loss: its attributes that are plain values, and `others`."""
    plain = (bool, int, float, str, type(None))
    held = {name: value for name, value in vars(loss).items() if isinstance(value, plain)}
    options = {name: value for name, value in held.items() if name[0] != "_" and name not in _NOT_SHOWN} | others
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value!r}" for name, value in options.items()
    )


def check_embeddings(name: str, embeddings: Tensor, ref_emb: Tensor | None, check_finite: bool | None) -> None:
    """Refuses anything but (A, K) and (M, K) of floating dtypes on one device, and NaN where checking is on.

    Args:
        name: of the loss, for the error text.
        embeddings: (A, K), not empty.
        ref_emb: (M, K), not empty, or None.
        check_finite: see `_checks.require_finite`.
    """
    _checks.require_dtype(name, "embeddings", embeddings, _checks.FLOATS)
    shape = tuple(embeddings.shape)
    shaped = embeddings.dim() == 2 and embeddings.numel() > 0
    _checks.require(shaped, name, "embeddings", "of shape (batch, bits) and not empty", shape)
    _checks.require_finite(check_finite, name, "embeddings", embeddings)
    if ref_emb is None:
        return
    _checks.require_dtype(name, "ref_emb", ref_emb, _checks.FLOATS)
    fits = ref_emb.dim() == 2 and ref_emb.shape[0] > 0 and ref_emb.shape[1] == shape[1]
    _checks.require(fits, name, "ref_emb", lambda: f"of shape (items, {shape[1]}) and not empty", tuple(ref_emb.shape))
    _checks.require_same_device(name, "ref_emb", ref_emb, embeddings.device)
    _checks.require_finite(check_finite, name, "ref_emb", ref_emb)


def relation_of(
    name: str,
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Sequence[Tensor] | None,
    ref_emb: Tensor | None,
    ref_labels: Tensor | None,
    similarity: Tensor | None = None,
    *,
    check_finite: bool | None,
) -> Tensor:
    """The relation (A, M) int8 from whichever of labels, similarity and indices was given; see `losses.relation`."""
    anchors = embeddings.shape[0]
    items = anchors if ref_emb is None else ref_emb.shape[0]
    if indices_tuple is not None:
        relation = relation_from_indices(indices_tuple, anchors, items)
    elif similarity is not None:
        _checks.require(labels is None, name, "labels", "None where similarity is given", "both")
        _checks.require_tensor(name, "similarity", similarity)
        shape = tuple(similarity.shape)
        _checks.require(shape == (anchors, items), name, "similarity", lambda: f"of shape {(anchors, items)}", shape)
        if similarity.is_floating_point():
            _checks.require_finite(check_finite, name, "similarity", similarity)
        relation = relation_from_similarity(similarity, exclude_self=ref_emb is None, check_finite=False)
    else:
        labels = check_labels(name, labels, ref_labels, embeddings, ref_emb, check_finite)
        relation = relation_from_labels(labels, ref_labels, check_finite=False)
    _checks.require_same_device(name, "labels, similarity or indices_tuple", relation, embeddings.device)
    return relation


def gather_alone(
    name: str, embeddings: Tensor, labels: Tensor | None, *others: Sequence[Tensor] | Tensor | None
) -> tuple[Tensor, Tensor]:
    """`gather_batch` of a loss that was called with embeddings and labels alone."""
    expected = "False where indices_tuple, ref_emb or similarity is given"
    _checks.require(all(other is None for other in others), name, "gather", expected, "True")
    return gather_batch(name, embeddings, check_labels(name, labels, None, embeddings, None, False))


def check_labels(
    name: str,
    labels: Tensor | None,
    ref_labels: Tensor | None,
    embeddings: Tensor,
    ref_emb: Tensor | None,
    check_finite: bool | None,
) -> Tensor:
    """Refuses labels that are missing, or of a kind, length or device that does not fit, and NaN where checking is on.

    Returns those of the anchors.

    Args:
        name: of the loss, for the error text.
        labels: (A,) or (A, C), or None.
        ref_labels: (M,) or (M, C); None where `ref_emb` is.
        embeddings: (A, K).
        ref_emb: (M, K), or None.
        check_finite: see `_checks.require_finite`; of multi-hot rows.
    """
    if labels is None:
        raise ValueError(f"{name}: labels must be given where similarity and indices_tuple are not, got None")
    _require_length(name, labels, "labels", len(embeddings))
    given = ref_labels is not None
    expected = "None where ref_emb is None, and given where it is not"
    _checks.require(given is (ref_emb is not None), name, "ref_labels", expected, "a tensor" if given else "None")
    if ref_labels is not None and ref_emb is not None:
        _require_length(name, ref_labels, "ref_labels", len(ref_emb))
    others = labels if ref_labels is None else ref_labels
    check_kinds(name, ("labels", "ref_labels"), labels, others, check_finite)
    _checks.require_same_device(name, "labels", labels, embeddings.device)
    return labels


def packed_labels(name: str, labels: Tensor | None) -> Tensor:
    """1-D ids as int64; multi-hot rows of any dtype, set where > 0, as packed bits, whatever their values."""
    if labels is None:
        raise ValueError(f"{name}: labels must be given, got None")
    check_kind(name, "labels", labels, False)
    return ops.pack_codes(labels > 0) if labels.dim() == 2 else as_ids(labels)


def squared_distances(anchors: Tensor, items: Tensor) -> Tensor:
    """(A, M) squared Euclidean distances `|a|^2 + |b|^2 - 2 a·b` of (A, K) and (M, K), never below 0.

    Half precisions and autocast regions are computed in float32: the difference of large numbers needs its digits.
    """
    dtype = torch.float64 if anchors.dtype == torch.float64 else torch.float32
    with without_autocast(anchors):
        a, b = anchors.to(dtype), items.to(dtype)
        norms = a.square().sum(1, keepdim=True) + b.square().sum(1)
        return torch.addmm(norms, a, b.T, alpha=-2).clamp(min=0)


def _require_length(name: str, labels: Tensor, argument: str, length: int) -> None:
    _checks.require_tensor(name, argument, labels)
    fits = labels.dim() > 0 and labels.shape[0] == length
    _checks.require(fits, name, argument, lambda: f"of length {length}", tuple(labels.shape))
