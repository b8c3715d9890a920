# SPDX-License-Identifier: Apache-2.0
"""The triplet losses beside and inside pytorch-metric-learning, and beside sentence-transformers."""

from __future__ import annotations

import inspect
import itertools
import warnings

import pytest
import torch
from torch import multiprocessing

from fasthash import losses
from fasthash.losses import TripletHardLoss, TripletMarginLoss, TripletSemiHardLoss

pml = pytest.importorskip("pytorch_metric_learning")
from pytorch_metric_learning import losses as pml_losses  # noqa: E402
from pytorch_metric_learning import miners  # noqa: E402
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance  # noqa: E402
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer, SumReducer  # noqa: E402
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper  # noqa: E402


def batch(rows=48, width=16, classes=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return embeddings.requires_grad_(), torch.randint(0, classes, (rows,), generator=generator)


def expect_same(ours, theirs, embeddings):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    gradients = [torch.autograd.grad(value, embeddings, retain_graph=True)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("margin", [0.05, 0.4])
@pytest.mark.parametrize(("swap", "smooth_loss"), [*itertools.product((False, True), repeat=2)])
def test_equals_theirs(margin, swap, smooth_loss):
    embeddings, labels = batch()
    options = {"margin": margin, "swap": swap, "smooth_loss": smooth_loss}
    ours = TripletMarginLoss(**options)(embeddings, labels)
    expect_same(ours, pml_losses.TripletMarginLoss(**options)(embeddings, labels), embeddings)


def test_defaults_and_positions_of_arguments_are_theirs():
    embeddings, labels = batch()
    expect_same(TripletMarginLoss()(embeddings, labels), pml_losses.TripletMarginLoss()(embeddings, labels), embeddings)
    given = (0.3, True, False, "all")
    expect_same(
        TripletMarginLoss(*given)(embeddings, labels),
        pml_losses.TripletMarginLoss(*given)(embeddings, labels),
        embeddings,
    )


@pytest.mark.parametrize("name", ["TripletMarginLoss", "CosFaceLoss"])
def test_each_of_their_options_is_ours_or_says_what_is(name):
    ours, theirs = getattr(losses, name), getattr(pml_losses, name)
    sizes = {} if name == "TripletMarginLoss" else {"num_classes": 4, "embedding_size": 8}
    named = {option for kind in theirs.__mro__ for option in inspect.signature(kind.__init__).parameters}
    others = named - set(inspect.signature(ours.__init__).parameters) - {"args", "kwargs"}
    assert {"reducer", "embedding_regularizer", "collect_stats"} <= others
    for option in others:
        with pytest.raises(ValueError, match=f"^{name}: {option} must be left out: "):
            ours(**sizes, **{option: None})
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        ours(**sizes, nonsense=1)


def test_options_of_the_same_name_name_their_values():
    for options, text in (
        ({"distance": LpDistance(power=2)}, r"distance must be one of 'euclidean', 'sqeuclidean', got LpDistance\(\)"),
        ({"triplets_per_anchor": 100}, "triplets_per_anchor must be 'all', got 100"),
    ):
        with pytest.raises(ValueError, match=f"^TripletMarginLoss: {text}"):
            TripletMarginLoss(**options)


@pytest.mark.parametrize(
    ("reduction", "reducer"), [("avg_nonzero", AvgNonZeroReducer()), ("mean", MeanReducer()), ("sum", SumReducer())]
)
def test_reductions_are_their_reducers(reduction, reducer):
    embeddings, labels = batch()
    theirs = pml_losses.TripletMarginLoss(reducer=reducer)(embeddings, labels)
    expect_same(TripletMarginLoss(reduction=reduction)(embeddings, labels), theirs, embeddings)


def test_hard_triplets_are_those_of_their_miner():
    embeddings, labels = batch()
    mined = miners.BatchHardMiner()(embeddings.detach(), labels)
    theirs = pml_losses.TripletMarginLoss(0.2, reducer=MeanReducer())(embeddings, labels, mined)
    expect_same(TripletHardLoss(0.2)(embeddings, labels), theirs, embeddings)


@pytest.mark.parametrize("swap", [False, True])
def test_cosines_are_squared_distances_of_half_the_size(swap):
    embeddings, labels = batch()
    ours = TripletMarginLoss(0.4, swap, distance="sqeuclidean")(embeddings, labels)
    theirs = pml_losses.TripletMarginLoss(0.2, swap, distance=CosineSimilarity())(embeddings, labels)
    expect_same(ours, 2 * theirs, embeddings)


def test_cosface_is_theirs():
    embeddings, labels = batch()
    ours, theirs = losses.CosFaceLoss(6, 16).double(), pml_losses.CosFaceLoss(6, 16).double()
    theirs.load_state_dict({"W": ours.weight.detach().T})
    expect_same(ours(embeddings, labels), theirs(embeddings, labels), embeddings)


def test_squared_distances_without_normalisation_equal_theirs():
    embeddings, labels = batch()
    codes = embeddings.tanh()
    ours = TripletMarginLoss(8.0, distance="sqeuclidean", normalize_embeddings=False, reduction="mean")
    theirs = pml_losses.TripletMarginLoss(
        8.0, distance=LpDistance(normalize_embeddings=False, power=2), reducer=MeanReducer()
    )
    expect_same(ours(codes, labels), theirs(codes, labels), embeddings)


def test_reference_embeddings_equal_theirs():
    embeddings, labels = batch()
    items, item_labels = batch(70, seed=1)
    ours = TripletMarginLoss(0.2)(embeddings, labels, None, items, item_labels)
    theirs = pml_losses.TripletMarginLoss(0.2)(embeddings, labels, None, items, item_labels)
    expect_same(ours, theirs, embeddings)
    expect_same(ours, theirs, items)


MINERS = {
    "semihard": lambda: miners.TripletMarginMiner(0.2, type_of_triplets="semihard"),
    "hard": lambda: miners.TripletMarginMiner(0.2, type_of_triplets="hard"),
    "batch_hard": miners.BatchHardMiner,
    "pairs": miners.PairMarginMiner,
    "multi_similarity": miners.MultiSimilarityMiner,
}


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("swap", [False, True])
def test_what_their_miners_return_means_the_same(miner, swap):
    embeddings, labels = batch()
    indices = MINERS[miner]()(embeddings.detach(), labels)
    assert len(indices[0]) > 0
    ours = TripletMarginLoss(0.2, swap)(embeddings, labels, indices)
    expect_same(ours, pml_losses.TripletMarginLoss(0.2, swap)(embeddings, labels, indices), embeddings)


@pytest.mark.parametrize("miner", [None, "semihard", "pairs"])
def test_inside_their_cross_batch_memory(miner):
    """Also once the memory has gone round: 3 batches of 48 in 100 places."""
    wrapped = [
        pml_losses.CrossBatchMemory(loss(0.2), 16, memory_size=100, miner=MINERS[miner]() if miner else None)
        for loss in (TripletMarginLoss, pml_losses.TripletMarginLoss)
    ]
    for seed in range(4):
        embeddings, labels = batch(seed=seed)
        expect_same(*(each(embeddings, labels) for each in wrapped), embeddings)


def _distributed(rank, path, queue):
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    embeddings, labels = batch(24, seed=rank)
    results = []
    for loss in (TripletMarginLoss, pml_losses.TripletMarginLoss):
        wrapper = DistributedLossWrapper(pml_losses.CrossBatchMemory(loss(0.2), 16, memory_size=100))
        results.append(torch.autograd.grad(wrapper(embeddings, labels), embeddings)[0].numpy())
    gathered = TripletMarginLoss(0.2, gather=True)(embeddings, labels)
    results.append(torch.autograd.grad(gathered, embeddings)[0].numpy())
    queue.put((rank, results))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_inside_their_distributed_wrapper_and_with_gather(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    spawned = torch.multiprocessing.spawn(_distributed, (str(tmp_path / "store"), queue), nprocs=2, join=False)
    by_rank = dict(queue.get() for _ in range(2))
    spawned.join()
    joined = [batch(24, seed=rank) for rank in range(2)]
    leaf = torch.cat([embeddings.detach() for embeddings, _ in joined]).requires_grad_()
    loss = TripletMarginLoss(0.2)(leaf, torch.cat([labels for _, labels in joined]))
    whole = torch.autograd.grad(loss, leaf)[0]
    for rank in range(2):
        ours, theirs, gathered = (torch.as_tensor(each) for each in by_rank[rank])
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)
        # Every rank computes the joined loss: world-size times the gradient before the mean that DDP takes.
        torch.testing.assert_close(gathered, 2 * whole[24 * rank : 24 * rank + 24], rtol=1e-7, atol=1e-10)


def _sentence_transformers(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(pytest.importorskip("sentence_transformers.losses"), name)


SENTENCE_LOSSES = {
    "BatchAllTripletLoss": TripletMarginLoss,
    "BatchSemiHardTripletLoss": TripletSemiHardLoss,
    "BatchHardTripletLoss": TripletHardLoss,
    "BatchHardSoftMarginTripletLoss": lambda margin, **options: TripletHardLoss(0.0, smooth_loss=True, **options),
}


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("margin", [0.1, 5.0])
@pytest.mark.parametrize("name", SENTENCE_LOSSES)
def test_sentence_transformers_losses_equal_ours(name, margin, unit):
    embeddings, labels = batch()
    theirs = _sentence_transformers(name)(None, **({} if "SoftMargin" in name else {"margin": margin}))
    rows = torch.nn.functional.normalize(embeddings) if unit else embeddings
    expected = theirs.compute_loss_from_embeddings([rows], labels)
    value = SENTENCE_LOSSES[name](margin, normalize_embeddings=unit)(embeddings, labels)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-9)
    gradients = [torch.autograd.grad(each, embeddings, retain_graph=True)[0] for each in (value, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["BatchAllTripletLoss", "BatchSemiHardTripletLoss", "BatchHardTripletLoss"])
def test_cosine_distances_of_sentence_transformers(name):
    embeddings, labels = batch()
    cosine = _sentence_transformers("BatchHardTripletLossDistanceFunction").cosine_distance
    theirs = _sentence_transformers(name)(None, distance_metric=cosine, margin=0.2)
    expected = 2 * theirs.compute_loss_from_embeddings([embeddings], labels)
    value = SENTENCE_LOSSES[name](0.4, distance="sqeuclidean")(embeddings, labels)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
