# SPDX-License-Identifier: Apache-2.0
"""What losses over classes refuse."""

import math

import pytest
import torch

from fasthash.losses import CosFaceLoss, CSQLoss, DCWHLoss, SoftmaxHashLoss, VonMisesFisherLoss
from tests.losses.class_level import BITS, CLASSES, MAKERS, batch, make


@pytest.mark.parametrize(
    ("make_loss", "text"),
    [
        (lambda: SoftmaxHashLoss(0, 4), "SoftmaxHashLoss: num_classes must be >= 1, got 0"),
        (lambda: SoftmaxHashLoss(4, 0), "embedding_size must be >= 1, got 0"),
        (lambda: SoftmaxHashLoss(4, 4, 0.0), "temperature must be a finite number > 0, got 0.0"),
        (lambda: SoftmaxHashLoss(4, 4, backend="cuda"), "backend must be one of 'fused', 'reference', got 'cuda'"),
        (lambda: CosFaceLoss(4, 4, math.inf), "margin must be a finite number, got inf"),
        (lambda: CosFaceLoss(4, 4, 0.1, -1.0), "scale must be a finite number > 0, got -1.0"),
        (lambda: MAKERS["greedy"]().__class__(4, 4, math.nan), "penalty_weight must be a finite number >= 0, got nan"),
        (
            lambda: MAKERS["ddh"]().__class__(4, 4, math.nan),
            "DDHLoss: penalty_weight must be a finite number >= 0, got nan",
        ),
        (lambda: CSQLoss(4, 4, math.nan), "penalty_weight must be a finite number >= 0, got nan"),
        (lambda: CSQLoss(4, 4, inputs="bits"), "inputs must be one of 'codes', 'logits', got 'bits'"),
        (lambda: CSQLoss(4, 4, centers=torch.ones(3, 4)), r"centers must be of shape \(4, 4\), got \(3, 4\)"),
        (lambda: CSQLoss(4, 4, centers=torch.zeros(4, 4)), "centers must be of values -1 and 1, got others"),
        (lambda: MAKERS["ortho"](codebook="x"), "codebook"),
        (lambda: DCWHLoss(4, 4, variance=0.0), "variance must be a finite number > 0, got 0.0"),
        (lambda: DCWHLoss(4, 4, cube=math.nan), "cube must be a finite number >= 0, got nan"),
        (lambda: DCWHLoss(4, 4, stage="third"), "stage must be one of 'establish', 'refine', 'both', got 'third'"),
        (lambda: DCWHLoss(4, 4, update="sgd"), "update must be one of 'mean', 'gradient', got 'sgd'"),
        (lambda: VonMisesFisherLoss(4, 1), "embedding_size must be >= 2, got 1"),
        (lambda: VonMisesFisherLoss(4, 4, 0.0), "kappa must be a finite number > 0, got 0.0"),
        (lambda: VonMisesFisherLoss(4, 4, learn_kappa="all"), "learn_kappa must be one of 'none', 'shared', 'class'"),
        (lambda: VonMisesFisherLoss(4, 4, likelihood_weight=math.nan), "likelihood_weight must be a finite number"),
    ],
)
def test_bad_options(make_loss, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make_loss()


@pytest.mark.parametrize("name", ["softmax", "vmf", "csq", "greedy"])
@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"embeddings": torch.zeros(0, BITS)}, "embeddings must be of shape .* not empty"),
        ({"embeddings": torch.zeros(9)}, r"embeddings must be of shape \(batch, bits\)"),
        ({"embeddings": torch.zeros(9, BITS, dtype=torch.int64)}, "embeddings must be a tensor of dtype"),
        ({"embeddings": torch.zeros(9, BITS + 1)}, "embeddings must be of 6 columns, got 7"),
        ({"labels": None}, "labels must be given, got None"),
        ({"labels": torch.zeros(8, dtype=torch.int64)}, r"labels must be 9 ids or 9 multi-hot rows, got \(8,\)"),
        ({"labels": torch.zeros(9, 2, 2)}, r"labels must be 1-D ids or 2-D multi-hot rows, got \(9, 2, 2\)"),
        ({"labels": torch.zeros(9)}, "labels must be integer ids where 1-D, got float32"),
        ({"labels": torch.zeros(9, CLASSES + 1)}, r"labels must be of shape \(9, 7\), got \(9, 8\)"),
        ({"labels": torch.full((9,), CLASSES)}, r"labels must be ids in 0..6, got 7..7"),
        ({"labels": torch.full((9,), -100)}, r"labels must be ids in 0..6, got -100..-100"),
        ({"labels": torch.zeros(9, dtype=torch.int64, device="meta")}, "labels must be on cpu, got meta"),
        ({"ref_emb": torch.zeros(9, BITS)}, "ref_emb must be None in a loss over classes, got a tensor"),
        ({"ref_labels": torch.zeros(9)}, "ref_labels must be None in a loss over classes, got a tensor"),
    ],
)
def test_bad_arguments(name, kwargs, text):
    embeddings, ids = batch()
    with pytest.raises(ValueError, match=text):
        make(name)(**{"embeddings": embeddings, "labels": ids, **kwargs})


def test_indices_and_gather_exclude_each_other():
    embeddings, ids = batch()
    with pytest.raises(ValueError, match="indices_tuple must be None where gather=True, got a tuple"):
        make("softmax", gather=True)(embeddings, ids, (ids, ids, ids))


def test_gather_needs_a_process_group():
    with pytest.raises(RuntimeError, match="gather=True needs"):
        make("softmax", gather=True)(*batch())
