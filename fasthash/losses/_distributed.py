# SPDX-License-Identifier: Apache-2.0
"""The joined batch of all ranks of a distributed run."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks


def gather_batch(name: str, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and labels of all ranks, one rank after the other, with the gradient of the embeddings.

    Every rank computes the loss of the joined batch. The backward of the gathering adds up the gradients of all ranks,
    so a rank's embeddings get world-size times the gradient of that loss; the mean that DistributedDataParallel takes
    over the ranks makes parameters' gradients those of one process with the joined batch. Without it they are
    world-size times as large.

    Args:
        name: of the loss, for the error text.
        embeddings: (B, K) of this rank; all ranks have the same B and K.
        labels: (B,) or (B, C) of this rank.

    Raises:
        RuntimeError: no process group is initialised.
        ValueError: ranks have batches of different sizes.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        raise RuntimeError(f"{name}: gather=True needs torch.distributed.init_process_group() first")
    ranks = distributed.get_world_size()
    sizes = [torch.empty(1, dtype=torch.int64, device=embeddings.device) for _ in range(ranks)]
    distributed.all_gather(sizes, torch.tensor([embeddings.shape[0]], device=embeddings.device))
    lengths = [int(size) for size in sizes]
    _checks.require(len(set(lengths)) == 1, name, "embeddings", "as many on every rank where gather=True", lengths)
    from torch.distributed.nn.functional import all_gather  # warns where torch is built without torch.distributed

    parts = [torch.empty_like(labels) for _ in range(ranks)]
    distributed.all_gather(parts, labels.contiguous())
    joined = torch.cat(all_gather(embeddings.contiguous()))  # type: ignore[no-untyped-call]
    return joined, torch.cat(parts)
