# SPDX-License-Identifier: Apache-2.0
"""fasthash's losses inside pytorch-metric-learning.

Its miners and trainers take them as they are. Its cross-batch memory goes by a list of names, and its distributed
wrapper by a base class: `CrossBatchMemory` and `MetricLearningLoss` here take any loss.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

try:
    from pytorch_metric_learning import losses as _losses
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "fasthash.integrations.metric_learning needs pytorch-metric-learning: pip install pytorch-metric-learning"
    ) from error

__all__ = ["CrossBatchMemory", "MetricLearningLoss"]


class MetricLearningLoss(_losses.BaseMetricLossFunction):  # type: ignore[misc]
    """One of fasthash's losses where pytorch-metric-learning asks for one of its own.

    Its `DistributedLossWrapper` does; embedding regularizers come with the base class. The loss reduces itself, so a
    reducer has nothing left to reduce, and any will do.

    Args:
        loss: called as `loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)`.
        options: of the base class, such as `embedding_regularizer`.

    Raises:
        ValueError: in the call, labels that are not (B,) ids, and what the loss refuses.

    Example:
        >>> loss_function = DistributedLossWrapper(MetricLearningLoss(DPSHLoss()))
        >>> loss = loss_function(layer(features).logits, labels)
    """

    def __init__(self, loss: nn.Module, **options: Any) -> None:
        super().__init__(**options)
        self.loss = loss

    def compute_loss(
        self, embeddings: Tensor, labels: Tensor | None, indices_tuple: Any, ref_emb: Tensor, ref_labels: Tensor | None
    ) -> dict[str, dict[str, Any]]:
        """The value as the base class passes it on to a reducer; `ref_emb` is `embeddings` where none was given."""
        references = () if ref_emb is embeddings else (ref_emb, ref_labels)
        value = self.loss(embeddings, labels, indices_tuple, *references)
        return {"loss": {"losses": value, "indices": None, "reduction_type": "already_reduced"}}


class CrossBatchMemory(_losses.CrossBatchMemory):  # type: ignore[misc]
    """pytorch-metric-learning's cross-batch memory, for any loss that is called with indices and references.

    The latest `memory_size` embeddings are kept, and each batch is compared with all of them but itself. Unlike the
    base class it takes losses that its list does not name, such as fasthash's, and saves where it stands together with
    the memory, so that a training run goes on as if it had never stopped.

    Args:
        loss: called as `loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)`.
        embedding_size: K.
        memory_size: number of embeddings that are kept.
        miner: one of pytorch-metric-learning's, or None for all pairs.

    Raises:
        ValueError: in the call, what the loss refuses; losses over classes refuse references.

    Example:
        >>> loss_function = CrossBatchMemory(DPSHLoss(), embedding_size=64, memory_size=4096)
        >>> loss = loss_function(layer(features).logits, labels)
    """

    def __init__(
        self, loss: nn.Module, embedding_size: int, memory_size: int = 1024, miner: Any = None, **options: Any
    ):
        super().__init__(loss, embedding_size, memory_size, miner, **options)

    @classmethod
    def check_loss_support(cls, loss_name: str) -> None:
        """Takes any loss."""

    def get_extra_state(self) -> dict[str, Any]:
        """Where the next batch goes, which the base class forgets."""
        return {"queue_idx": self.queue_idx, "has_been_filled": self.has_been_filled}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Part of `load_state_dict`."""
        self.queue_idx, self.has_been_filled = state["queue_idx"], state["has_been_filled"]
