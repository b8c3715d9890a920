# SPDX-License-Identifier: Apache-2.0
"""fasthash's losses in the wrappers of pytorch-metric-learning, the real package."""

from __future__ import annotations

import pytest
import torch

pml = pytest.importorskip("pytorch_metric_learning.losses")
from pytorch_metric_learning import miners  # noqa: E402

from fasthash.integrations.metric_learning import CrossBatchMemory  # noqa: E402
from fasthash.losses import CSQLoss, DPSHLoss  # noqa: E402
from tests.losses.contract import BITS, LOSSES, batch  # noqa: E402

PAIRS = sorted(name for name, entry in LOSSES.items() if entry.pairs and not entry.needs_items)


@pytest.mark.parametrize("name", PAIRS)
def test_a_batch_meets_all_of_the_memory_but_itself(name):
    entry = LOSSES[name]
    memory = CrossBatchMemory(entry(), BITS, memory_size=60)
    for seed in range(4):  # 96 embeddings go through 60 places
        embeddings, labels = batch(entry, seed=seed)
        value = memory(embeddings, labels)
        assert value.isfinite()
        assert torch.autograd.grad(value, embeddings)[0].abs().sum() > 0
        if seed == 1:
            stored, stored_labels = memory.embedding_memory[:48], memory.label_memory[:48]
            alike = labels[:, None] == stored_labels[None]
            itself = torch.zeros(24, 48, dtype=torch.bool)
            itself[:, 24:] = torch.eye(24, dtype=torch.bool)
            indices = (*torch.where(alike & ~itself), *torch.where(~alike))
            torch.testing.assert_close(value, entry()(embeddings, labels, indices, stored, stored_labels))


def test_it_is_theirs_for_a_loss_of_theirs():
    entry = LOSSES["TripletMarginLoss"]
    miner = miners.TripletMarginMiner(0.2, type_of_triplets="semihard")
    ours, theirs = (kind(pml.TripletMarginLoss(), BITS, 60, miner) for kind in (CrossBatchMemory, pml.CrossBatchMemory))
    for seed in range(4):
        embeddings, labels = batch(entry, seed=seed)
        assert torch.equal(ours(embeddings, labels), theirs(embeddings, labels))


def test_a_saved_memory_goes_on_where_it_stood():
    entry = LOSSES["DPSHLoss"]
    memory = CrossBatchMemory(DPSHLoss(), BITS, 60)
    for seed in range(3):
        memory(*batch(entry, seed=seed))
    other = CrossBatchMemory(DPSHLoss(), BITS, 60)
    other.load_state_dict(memory.state_dict())
    for seed in (3, 4):
        assert torch.equal(memory(*batch(entry, seed=seed)), other(*batch(entry, seed=seed)))


def test_a_loss_over_classes_refuses_the_memory():
    embeddings, labels = batch(LOSSES["CSQLoss"])
    with pytest.raises(ValueError, match=r"^CSQLoss: ref_emb must be None"):
        CrossBatchMemory(CSQLoss(4, BITS), BITS)(embeddings, labels)
