# SPDX-License-Identifier: Apache-2.0
"""fasthash's losses in the wrappers of pytorch-metric-learning, the real package."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import distributed

pml = pytest.importorskip("pytorch_metric_learning.losses")
from pytorch_metric_learning import miners, reducers, regularizers, trainers  # noqa: E402
from pytorch_metric_learning.utils import loss_and_miner_utils  # noqa: E402
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper  # noqa: E402

from fasthash import losses  # noqa: E402
from fasthash.integrations.metric_learning import CrossBatchMemory, MetricLearningLoss  # noqa: E402
from fasthash.losses import CSQLoss, DPSHLoss  # noqa: E402
from tests.losses.contract import BITS, LOSSES, batch, names_against, value_and_gradient  # noqa: E402

PAIRS = names_against("items")


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


@pytest.mark.parametrize(
    "miner",
    [miners.TripletMarginMiner(0.5, type_of_triplets="semihard"), miners.BatchHardMiner(), miners.HDCMiner(0.5)],
)
@pytest.mark.parametrize("name", PAIRS)
def test_their_miners_choose_for_every_loss(name, miner):
    """With a memory, and without."""
    entry = LOSSES[name]
    memory = CrossBatchMemory(entry(), BITS, memory_size=60, miner=miner)
    for seed in range(3):
        embeddings, labels = batch(entry, seed=seed)
        for value in (memory(embeddings, labels), entry()(embeddings, labels, miner(embeddings, labels))):
            assert value.isfinite()
            assert torch.autograd.grad(value, embeddings)[0].abs().sum() > 0


def test_triplets_are_the_pairs_that_theirs_make_of_them():
    embeddings, labels = batch(LOSSES["DPSHLoss"])
    triplets = miners.TripletMarginMiner(0.2, type_of_triplets="semihard")(embeddings, labels)
    pairs = loss_and_miner_utils.convert_to_pairs(triplets, labels)
    found, expected = (losses.relation_from_indices(each, 24, 24) for each in (triplets, pairs))
    assert torch.equal(found, expected)
    assert 0 < found.count_nonzero() < 24 * 23


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


def test_a_mask_says_what_is_kept():
    entry = LOSSES["DPSHLoss"]
    memory = CrossBatchMemory(entry(), BITS, 60)
    embeddings, labels = batch(entry)
    mask = torch.arange(24) % 3 == 0
    value = memory(embeddings, labels, enqueue_mask=mask)
    kept, of_kept = embeddings[mask].detach(), labels[mask]
    torch.testing.assert_close(value, entry()(embeddings[~mask], labels[~mask], None, kept, of_kept))
    assert torch.equal(memory.embedding_memory[:8], kept)
    gradient = torch.autograd.grad(value, embeddings)[0].abs().sum(1)
    assert torch.equal(gradient > 0, ~mask)


def test_theirs_takes_those_of_the_same_name_only():
    """What `CrossBatchMemory` is there for; where this fails, they take more by now."""
    taken = set(pml.CrossBatchMemory.supported_losses()) & set(losses.__all__)
    assert taken == {"TripletMarginLoss"}


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("reducer", [None, reducers.AvgNonZeroReducer(), reducers.DoNothingReducer()], ids=type)
def test_as_one_of_theirs_a_loss_stays_what_it_was(name, reducer):
    entry = LOSSES[name]
    wrapped = copy.deepcopy(MetricLearningLoss(entry(), reducer=reducer))
    assert isinstance(wrapped, pml.BaseMetricLossFunction)
    if isinstance(reducer, reducers.DoNothingReducer):
        embeddings, labels = batch(entry)
        found = wrapped(embeddings, labels)["loss"]
        assert (found["indices"], found["reduction_type"]) == (None, "already_reduced")
        assert torch.equal(found["losses"], entry()(embeddings, labels))
        return
    found, expected = (value_and_gradient(loss, *batch(entry)) for loss in (wrapped, entry()))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_as_one_of_theirs_it_takes_regularizers_references_and_indices():
    entry = LOSSES["DPSHLoss"]
    (embeddings, labels), (items, item_labels) = batch(entry), batch(entry, 40, seed=1)
    loss = MetricLearningLoss(
        entry(), embedding_regularizer=regularizers.LpRegularizer(), embedding_reg_weight=0.5, reducer=None
    )
    length = embeddings.norm(dim=1).mean()
    torch.testing.assert_close(loss(embeddings, labels), entry()(embeddings, labels) + 0.5 * length)
    found = MetricLearningLoss(entry())(embeddings, labels, None, items, item_labels)
    assert torch.equal(found, entry()(embeddings, labels, None, items, item_labels))
    indices = miners.PairMarginMiner()(embeddings, labels)
    assert torch.equal(MetricLearningLoss(entry())(embeddings, labels, indices), entry()(embeddings, labels, indices))
    with pytest.raises(ValueError, match="labels must be a 1D tensor"):
        loss(embeddings, torch.nn.functional.one_hot(labels))


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # theirs, in its progress bar
@pytest.mark.parametrize("name", PAIRS)
def test_their_trainer_trains_with_it(name):
    """It multiplies the loss by its weight in place."""
    torch.manual_seed(0)
    entry = LOSSES[name]
    dataset = torch.utils.data.TensorDataset(torch.randn(48, 8), torch.randint(0, 4, (48,)))
    trunk = torch.nn.Sequential(torch.nn.Linear(8, BITS), torch.nn.Tanh())
    before = trunk[0].weight.detach().clone()
    trainers.MetricLossOnly(
        {"trunk": trunk},
        {"trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=1.0)},
        24,
        {"metric_loss": entry()},
        dataset,
        loss_weights={"metric_loss": 0.5},
        dataloader_num_workers=0,
    ).train()
    assert trunk[0].weight.isfinite().all()
    assert not torch.equal(trunk[0].weight, before)


def _in_their_wrapper(rank, path, queue):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    part = slice(rank * 12, rank * 12 + 12)
    for name, entry in sorted(LOSSES.items()):
        embeddings, labels = batch(entry)
        mine = embeddings.detach()[part].clone().requires_grad_()
        value, (gradient, *_) = value_and_gradient(
            DistributedLossWrapper(MetricLearningLoss(entry())), mine, labels[part]
        )
        queue.put((rank, name, value.item(), gradient.tolist()))
    for name in PAIRS:
        entry = LOSSES[name]
        embeddings, labels = batch(entry)
        memory = DistributedLossWrapper(CrossBatchMemory(entry(), BITS, 60))
        mine = embeddings.detach()[part].clone().requires_grad_()
        value, (gradient, *_) = value_and_gradient(memory, mine, labels[part])
        queue.put((rank, f"{name} with a memory", value.item(), gradient.tolist()))
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    path = str(tmp_path_factory.mktemp("meet") / "store")
    workers = [context.Process(target=_in_their_wrapper, args=(rank, path, queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=120) for _ in range(2 * (len(LOSSES) + len(PAIRS)))]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    return {(rank, name): (value, torch.tensor(gradient)) for rank, name, value, gradient in answers}


@pytest.mark.skipif(not distributed.is_available(), reason="torch without torch.distributed")
@pytest.mark.parametrize("name", [*sorted(LOSSES), *(f"{name} with a memory" for name in PAIRS)])
def test_two_ranks_in_their_wrapper_learn_what_one_process_learns(wrapped, name):
    """They multiply the value by the number of ranks; each gets the gradient of its own part from it."""
    entry = LOSSES[name.split()[0]]
    # They put other ranks' items after a rank's own; as the fused losses sum in order, bits may differ.
    for rank in range(2):
        embeddings, labels = batch(entry)
        order = torch.arange(24).roll(-12 * rank)
        loss = CrossBatchMemory(entry(), BITS, 60) if "memory" in name else entry()
        leaf = embeddings.detach()[order].requires_grad_()
        expected, (gradient, *_) = value_and_gradient(loss, leaf, labels[order])
        value, found = wrapped[rank, name]
        assert value == pytest.approx(2 * expected.item(), rel=1e-5)
        torch.testing.assert_close(found, 2 * gradient[:12], rtol=1e-4, atol=1e-6)


def test_without_their_package_the_import_says_what_is_missing():
    hidden = "import sys; sys.modules['pytorch_metric_learning'] = None\n"
    command = hidden + "import fasthash.losses\nimport fasthash.integrations.metric_learning"
    run = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert run.returncode == 1
    assert "ImportError: fasthash.integrations.metric_learning needs pytorch-metric-learning: pip install" in run.stderr
