# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from fasthash.losses import CSQLoss, OrthoHashLoss, hadamard_centers, hadamard_matrix, hash_codebook
from fasthash.losses.hash_centers import mean_distance


def distances(codes):
    """(C, C) Hamming distances of ±1 codes."""
    return (codes.unsqueeze(1) != codes.unsqueeze(0)).sum(2)


def off_diagonal(codes):
    return distances(codes)[~torch.eye(len(codes), dtype=torch.bool)]


@pytest.mark.parametrize("order", [1, 2, 4, 16, 64])
def test_hadamard_rows_are_half_apart(order):
    matrix = hadamard_matrix(order)
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order))
    assert (matrix.abs() == 1).all()
    assert (off_diagonal(matrix) == order // 2).all()


def test_antipodes_are_all_bits_apart():
    centers = hadamard_centers(32, 16)
    found = distances(centers)
    for row in range(32):
        for other in range(32):
            expected = 0 if row == other else 16 if abs(row - other) == 16 else 8
            assert found[row, other] == expected


@pytest.mark.parametrize(("classes", "bits"), [(10, 12), (33, 16), (100, 48), (200, 64), (1000, 64)])
def test_random_centers_keep_their_promises(classes, bits):
    centers = hadamard_centers(classes, bits)
    assert centers.shape == (classes, bits)
    assert ((centers == -1).sum(1) == bits // 2).all()
    assert off_diagonal(centers).min() > bits / 4
    assert mean_distance(centers) >= bits / 2
    assert torch.equal(centers, hadamard_centers(classes, bits))
    assert not torch.equal(centers, hadamard_centers(classes, bits, seed=1))


def test_the_least_distance_goes_down_where_it_has_to():
    centers = hadamard_centers(20, 6)  # there are 20 balanced codes of 6 bits, 2 apart
    assert len(centers.unique(dim=0)) == 20
    assert off_diagonal(centers).min() == 2


def test_mean_distance():
    codes = torch.where(torch.randn(9, 12) > 0, 1.0, -1.0)
    assert mean_distance(codes) == pytest.approx(off_diagonal(codes).double().mean().item())
    assert mean_distance(codes[:1]) == 0.0


@pytest.mark.parametrize("method", ["bernoulli", "gaussian", "max_min", "hadamard"])
def test_codebooks(method):
    codes = hash_codebook(20, 32, method)
    assert codes.shape == (20, 32)
    assert codes.dtype == torch.float32
    assert (codes.abs() == 1).all()
    assert torch.equal(codes, hash_codebook(20, 32, method))
    if method != "hadamard":
        assert not torch.equal(codes, hash_codebook(20, 32, method, seed=1))


@pytest.mark.parametrize("method", ["bernoulli", "gaussian", "max_min"])
@pytest.mark.parametrize(("classes", "bits"), [(1, 1), (2, 1), (16, 4), (200, 16), (1000, 16)])
def test_no_two_classes_share_a_code(classes, bits, method):
    codes = hash_codebook(classes, bits, method)
    assert codes.shape == (classes, bits)
    assert len(codes.unique(dim=0)) == classes
    assert torch.equal(codes, hash_codebook(classes, bits, method))


def test_codes_that_are_distinct_stay_as_drawn():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 2, (1000, 16), generator=generator) * 2.0 - 1.0
    assert len(drawn.unique(dim=0)) < 1000
    changed = (hash_codebook(1000, 16) != drawn).any(1)
    assert changed.sum() == 1000 - len(drawn.unique(dim=0))


def test_max_min_codes_are_far_apart():
    assert off_diagonal(hash_codebook(3, 64, "max_min")).min() >= 0.61 * 64
    assert off_diagonal(hash_codebook(50, 32, "max_min")).min() > off_diagonal(hash_codebook(50, 32)).min()
    assert len(hash_codebook(16, 4, "max_min").unique(dim=0)) == 16


def test_losses_hold_them():
    assert torch.equal(CSQLoss(20, 16).centers, hadamard_centers(20, 16))
    assert torch.equal(CSQLoss(20, 12, seed=4).centers, hadamard_centers(20, 12, seed=4))
    assert torch.equal(OrthoHashLoss(20, 16, codebook="max_min", seed=3).codebook, hash_codebook(20, 16, "max_min", 3))
    given = hash_codebook(5, 8).to(torch.int8)
    assert torch.equal(OrthoHashLoss(5, 8, codebook=given).codebook, given.float())
    assert torch.equal(CSQLoss(5, 8, centers=given).centers, given.float())


def test_csq_targets_are_votes():
    loss = CSQLoss(4, 8)
    labels = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]])
    found = loss.targets(labels)
    centers = loss.centers
    assert torch.equal(found[0], centers[0])
    assert torch.equal(found[1], centers[:3].sum(0).sign())
    tied = centers[0] != centers[1]
    assert tied.any()
    assert torch.equal(found[2], torch.where(tied, loss.tie_breaker, centers[0]))


def test_csq_equals_binary_cross_entropy():
    loss = CSQLoss(6, 8, penalty_weight=0.0)
    labels = torch.arange(6)
    logits = torch.randn(6, 8)
    codes = logits.tanh()
    expected = torch.nn.functional.binary_cross_entropy((codes + 1) / 2, (loss.centers + 1) / 2)
    torch.testing.assert_close(loss(codes, labels), expected)
    of_logits = CSQLoss(6, 8, penalty_weight=0.0, inputs="logits")
    torch.testing.assert_close(of_logits(logits, labels), expected)


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_csq_gradient_on_the_very_wrong_side(backend):
    loss = CSQLoss(1, 2, penalty_weight=0.0, backend=backend)
    assert loss.centers.tolist() == [[1.0, 1.0]]
    codes = torch.tensor([[-1.0, 0.5]], requires_grad=True)
    value = loss(codes, torch.tensor([0]))
    value.backward()
    assert value.isfinite()
    assert codes.grad.tolist() == [[pytest.approx(-0.25 / 1e-7, rel=1e-5), pytest.approx(-0.25 / 0.75)]]
    logits = torch.tensor([[-80.0, 300.0]], requires_grad=True)
    value = CSQLoss(1, 2, penalty_weight=0.0, inputs="logits")(logits, torch.tensor([0]))
    value.backward()
    assert value.item() == pytest.approx(80.0)
    assert logits.grad.tolist() == [[-1.0, 0.0]]


def test_csq_refuses_logits_as_codes():
    text = r'CSQLoss: embeddings must be codes in \[-1, 1\] where inputs="codes", got \|h\| = 1.5'
    with pytest.raises(ValueError, match=text):
        CSQLoss(2, 2)(torch.tensor([[1.5, 0.0]]), torch.tensor([0]))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: hadamard_matrix(12), "hadamard_matrix: order must be a power of two, got 12"),
        (lambda: hadamard_matrix(0), "order must be a power of two, got 0"),
        (lambda: hadamard_centers(0, 8), "hadamard_centers: num_classes must be >= 1, got 0"),
        (lambda: hadamard_centers(2, 0), "bits must be >= 1, got 0"),
        (lambda: hadamard_centers(21, 6), "num_classes must be at most 20, the codes there are, got 21"),
        (lambda: hash_codebook(17, 4, "max_min"), "num_classes must be at most 16, the codes there are, got 17"),
        (lambda: hash_codebook(17, 4, "gaussian"), "num_classes must be at most 16, the codes there are, got 17"),
        (lambda: OrthoHashLoss(40, 4), "num_classes must be at most 16, the codes there are, got 40"),
        (lambda: hash_codebook(2, 4, "sobol"), "method must be one of 'bernoulli', .*, got 'sobol'"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()
