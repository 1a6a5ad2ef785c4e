"""Splits by seed, the order of samples, shares of several devices, fresh draws: whole batches and nothing else."""

import numpy as np
import pytest
import torch

from aelab.data.arrays import Arrays
from aelab.data.batches import Data
from aelab.data.loaders import Chunks, seed_of
from aelab.data.parts import Split
from aelab.errors import UserError
from aelab.rbm.layer import Layer


def made(n: int = 100, n_test: int = 20) -> Arrays:
    """Sample i is i / 1000 everywhere, on 3 x 4 pixels, labelled i; test samples go on where training ends."""
    x = (torch.arange(n + n_test, dtype=torch.float32) / 1000)[:, None].repeat(1, 12)
    y = torch.arange(n + n_test)
    return Arrays(x[:n], y[:n], x[n:], y[n:], (3, 4), True)


def data(**changes) -> Data:
    settings = {
        "validation": 0.2,
        "train_size": None,
        "labelled": None,
        "binarize": "none",
        "seed": 0,
        "batch_size": 16,
    }
    settings |= {"shift": 0, "mirror": "none", "rotate": 0.0, "zoom": 0.0, "mix": 0.0}
    settings |= {"source": made(), "name": "made", "root": None, "cache": "", "download": False, "below": []}
    return Data(**{**settings, **changes})


def chunks(split: Split, batch_size: int, epoch: int = 0, rank: int = 0, world: int = 1, seed: int = 0) -> Chunks:
    device = torch.device("cpu")
    return Chunks(split, batch_size, seed, lambda: epoch, rank, world, lambda x: x, 20, device, on_disk=False)


def labels(loader: Chunks) -> list[list[int]]:
    return [batch.y.tolist() for chunk in loader for batch in chunk]


def test_splits_are_disjoint_complete_and_by_seed():
    first, again, another = data(), data(), data(seed=1)
    assert sorted([*first.train.y.tolist(), *first.val.y.tolist()]) == list(range(100))
    assert len(first.val.y) == 20 and first.test.y.tolist() == list(range(100, 120))
    assert first.val.y.equal(again.val.y) and not first.val.y.equal(another.val.y)
    assert len(data(validation=7).val.y) == 7
    short = data(train_size=30)
    assert short.train.y.equal(first.train.y[:30]) and short.val.y.equal(first.val.y)


def test_the_first_samples_come_as_a_minibatch_would_wherever_the_others_lie():
    split, device = data().train, torch.device("meta")
    loader = Chunks(split, 16, 0, lambda: 0, 0, 1, lambda x: x + 1, 20, device, on_disk=True)
    first = loader.first(3)
    assert first.x.device == first.y.device == device and first.x.shape == (3, split.x.shape[1])
    assert chunks(split, 16).first(3).y.equal(split.y[:3])


def test_every_sample_once_an_epoch_in_an_order_of_its_own():
    split = data().train
    loader = chunks(split, 16)
    epochs = [labels(chunks(split, 16, epoch)) for epoch in range(3)]
    assert [len(batch) for batch in epochs[0]] == [16] * 5 and loader.n_batches == 5
    for batches in epochs:
        assert sorted(y for batch in batches for y in batch) == sorted(split.y.tolist())
    assert epochs[0] != epochs[1] != epochs[2]
    assert labels(loader) == epochs[0] and labels(chunks(split, 16, seed=1)) != epochs[0]


def test_a_long_epoch_comes_in_chunks_of_minibatches():
    split = Split(torch.rand(95, 2), torch.arange(95))
    loader = chunks(split, 2)
    assert loader.n_batches == 48 and len(loader) == 3
    assert [len(list(chunk)) for chunk in loader] == [20, 20, 8]


@pytest.mark.parametrize("n", [96, 90, 97])
def test_ranks_together_see_what_one_process_sees(n):
    """97 samples in batches of 16 leave a last batch of one, too few for two: nobody sees it."""
    split = Split(torch.rand(n, 2), torch.arange(n))
    alone = labels(chunks(split, 16))
    shares = [labels(chunks(split, 16, rank=rank, world=2)) for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) == (n if n != 97 else 96) // 16 + bool(n == 90)
    for whole, mine, yours in zip(alone, *shares):
        assert len(mine) == len(yours) and sorted(mine + yours) == sorted(whole)
    with pytest.raises(UserError, match=r"^train\.batch_size: 15 cannot be shared by 2"):
        chunks(split, 15, world=2)


def test_threshold_and_bernoulli():
    grey = made()._replace(train_x=torch.full((100, 12), 0.75), test_x=torch.full((20, 12), 0.25))
    fixed = data(source=grey, binarize="threshold")
    assert fixed.train.x.unique().tolist() == [1] and fixed.test.x.unique().tolist() == [0]
    drawn = data(source=grey, binarize="bernoulli")
    assert drawn.test.x.unique().tolist() == [0, 1] and drawn.val.x.unique().tolist() == [0, 1]
    assert drawn.test.x.equal(data(source=grey, binarize="bernoulli").test.x)
    assert drawn.train.x.unique().tolist() == [0.75], "the grey levels stay, to be drawn from each time"
    many = drawn._augment(torch.full((4000, 12), 0.75))
    assert many.unique().tolist() == [0, 1] and abs(float(many.mean()) - 0.75) < 5 * (0.75 * 0.25 / many.numel()) ** 0.5
    assert not many.equal(drawn._augment(torch.full((4000, 12), 0.75)))


def test_the_test_set_is_one_whatever_the_seed_and_evaluators_train_on_samples_like_it():
    grey = made()._replace(train_x=torch.rand(100, 12), test_x=torch.rand(20, 12))
    first, another = (data(source=grey, binarize="bernoulli", seed=seed) for seed in (0, 1))
    assert first.test.x.equal(another.test.x) and not first.val.x.equal(another.val.x)
    bits = first.train_for_evaluation
    assert bits.x.unique().tolist() == [0, 1] and bits.y.equal(first.train.y)
    assert bits.x.equal(first.train_for_evaluation.x), "one draw, not another at each look"
    assert ((bits.x == 1) <= (first.train.x > 0)).all() and first.pca(3).mean.equal(bits.x.double().mean(0))
    for binarize in ("none", "threshold"):
        plain = data(source=grey, binarize=binarize)
        assert plain.train_for_evaluation is plain.train


@pytest.mark.parametrize("hidden", ["bernoulli", "gaussian", "relu"])
def test_what_the_model_sees_has_ends(hidden):
    x = torch.randn(100, 12)
    real = data(source=made()._replace(train_x=x, test_x=x[:20], unit_interval=False))
    assert not real.unit_interval and real.ends[0].equal(real.train.x.amin(0))
    assert [float(end) for end in data().ends] == [0, 1]
    on_top = data(below=[Layer(torch.randn(12, 5), torch.zeros(5), torch.zeros(12), hidden, "bernoulli")])
    low, high = on_top.ends
    assert on_top.unit_interval == (hidden == "bernoulli")
    assert (on_top.train.x >= low).all() and (on_top.train.x <= high).all()


def test_seeds_of_neighbours_have_nothing_in_common():
    seeds = {seed_of(seed, epoch, rank) for seed in range(10) for epoch in range(10) for rank in range(10)}
    assert len(seeds) == 1000
    bits = [bin(seed_of(0, e) ^ seed_of(0, e + 1)).count("1") for e in range(200)]
    assert 20 < np.mean(bits) < 43  # of 63


def test_only_the_labels_that_are_kept_are_shown():
    kept, whole = data(labelled=10).train, data().train
    assert kept.x.equal(whole.x) and int((kept.y >= 0).sum()) == 10
    assert kept.y[kept.y >= 0].equal(whole.y[kept.y >= 0])
    for wrong in (0, 81):
        with pytest.raises(UserError, match=r"data\.labelled"):
            data(labelled=wrong)
    unlabelled = made()._replace(train_y=None, test_y=None)
    with pytest.raises(UserError, match=r"data\.labelled"):
        data(source=unlabelled, labelled=3)
