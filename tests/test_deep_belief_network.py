"""The deep belief network as a model: the stack it starts as, what up-down moves, labels, runs and errors."""

from itertools import pairwise

import pytest
import torch
from helpers import composed
from omegaconf import OmegaConf
from test_energy import states

from aelab.config.build import build_model
from aelab.data.arrays import Arrays
from aelab.data.batches import Data
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.models.deep_belief_network import DeepBeliefNetwork
from aelab.models.training import Training
from aelab.rbm.energy import free_energy
from aelab.rbm.layer import Layer, decode_through, encode_through
from aelab.rbm.wake_sleep import up_down
from aelab.results import figures
from aelab.runs.folder import load, read_checkpoint, read_layers
from aelab.runs.train import train

CONFIG = dict(
    labels=False, learning_rate=0.1, momentum=0.5, weight_decay=0.01, steps=2, top_only_epochs=0, fantasy_steps=5
)


def stack(*widths, visible="bernoulli", log_var=None):
    units = [visible, *["bernoulli"] * len(widths)]
    shapes = list(pairwise(widths))
    layers = [
        Layer(torch.randn(a, b), torch.randn(b), torch.randn(a), "bernoulli", u) for (a, b), u in zip(shapes, units)
    ]
    return [layers[0]._replace(log_var_visible=log_var), *layers[1:]]


def network(below, n_classes=None, epochs=10, **changed):
    net = DeepBeliefNetwork((len(below[0].W),), below, n_classes, **{**CONFIG, **changed})
    net.training_plan = Training(None, lambda progress: 1.0, None, None, epochs, 0)
    return net


def test_at_first_it_is_the_stack():
    below, x = stack(6, 5, 4, 3), torch.rand(7, 6)
    net = network(below)
    torch.testing.assert_close(net.encode(x), encode_through(below, x))
    torch.testing.assert_close(net.reconstruct(x), decode_through(below, encode_through(below, x)))
    for n, means in enumerate(net.features(x), 1):
        torch.testing.assert_close(means, encode_through(below[:n], x))
    for ours, theirs in zip(net.learned_layers(), below):
        assert all(torch.equal(a, b) for a, b in zip(ours[:3], theirs[:3])) and ours[3:] == theirs[3:]


def test_it_generates_the_exact_distribution():
    below, n = stack(3, 3, 3), 30_000
    p_s = torch.softmax(-free_energy(states(3).float(), below[1]), 0)
    mean = torch.sigmoid(states(3).float() @ below[0].W.t() + below[0].b_visible)
    p = p_s @ torch.where(states(3)[None].bool(), mean[:, None], 1 - mean[:, None]).prod(-1)
    v = torch.bernoulli(network(below).generate(n, 40))
    count = torch.bincount((v @ torch.tensor([4.0, 2, 1])).long(), minlength=8)
    assert ((count - n * p) ** 2 / (n * p)).sum() < 29.9  # one in 10,000, 7 degrees of freedom


@pytest.mark.parametrize("n_labels", [0, 2])
@pytest.mark.parametrize("widths", [(6, 5, 4, 3), (6, 4)])
def test_a_step_follows_the_gradient_with_momentum_and_decay(widths, n_labels):
    below, x, y = stack(*widths), torch.rand(8, 6).round(), torch.arange(8) % 2
    net = network(below, n_labels or None, labels=n_labels > 0)
    label = torch.eye(2)[y] if n_labels else None
    velocity = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    expected = {name: p.detach().clone() for name, p in net.named_parameters()}
    for seed in range(2):
        torch.manual_seed(seed)
        step = up_down(x, label, net.recognition(), net.generative(), net.top_rbm(), 2)
        gradients = {f"top.{n}": g for n, g in enumerate(step.top[:3])}
        for n, (up, down) in enumerate(zip(step.recognition, step.generative)):
            gradients |= {f"up_W.{n}": up[0], f"up_b.{n}": up[1], f"down_W.{n}": down[0], f"down_b.{n}": down[1]}
        torch.manual_seed(seed)
        net.minibatch_step(Batch(x, y), None)
        for name, parameter in net.named_parameters():
            decay = 0.01 if parameter.ndim == 2 else 0.0
            velocity[name] = 0.5 * velocity[name] + gradients[name] - decay * expected[name]
            expected[name] = expected[name] + 0.1 * velocity[name]
            torch.testing.assert_close(parameter.detach(), expected[name])


def test_at_first_only_the_top_learns():
    net = network(stack(6, 5, 4), top_only_epochs=1)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    net.minibatch_step(Batch(torch.rand(8, 6), None), None)
    moved = {name for name, p in net.named_parameters() if not torch.equal(p.detach(), before[name])}
    assert moved == {"top.0", "top.1", "top.2"}


def test_labels_start_undecided_and_are_learned():
    """Four classes of 6 bits each: chance is 75 % wrong; the RBMs below are random and stay so."""
    y = torch.arange(200) % 4
    prototypes = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]])
    x = (torch.rand(200, 6) < 0.05 + 0.9 * prototypes[y]).float()
    net = network(stack(6, 20, 20), 4, labels=True, weight_decay=0.0)
    torch.testing.assert_close(net.classify(x), torch.full((200, 4), 0.25))
    for _ in range(300):
        net.minibatch_step(Batch(x, y), None)
    assert float((net.classify(x).argmax(1) != y).float().mean()) < 0.15
    drawn = net.generate(200, 50, label=1) > 0.5
    assert float((drawn.float() - prototypes[1]).abs().mean()) < 0.25
    assert net.encode(x).shape == (200, 20) and net.learned_layers()[-1].W.shape == (20, 20)


def test_gaussian_inputs_keep_their_variances():
    log_var = torch.randn(6)
    below, x = stack(6, 5, 4, visible="gaussian", log_var=log_var), torch.randn(7, 6)
    net = network(below)
    torch.testing.assert_close(net.encode(x), encode_through(below, x))
    mean = net(x).output
    expected = -torch.distributions.Normal(mean, (log_var / 2).exp()).log_prob(x).sum(-1).mean()
    torch.testing.assert_close(net.negative_log_likelihood(mean, x), expected)
    net.minibatch_step(Batch(x, None), None)
    assert torch.equal(net.log_var_visible, log_var)
    alone = network(stack(6, 4, visible="gaussian", log_var=log_var))
    assert torch.equal(alone.top_rbm().log_var_visible, log_var)


KEYS = {
    "labels=true": [], "learning_rate=0.02": [], "momentum=0.1": [], "weight_decay=0.1": [], "steps=1": [],
    "top_only_epochs=1": [],
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_every_key_changes_what_is_learned(key):
    def learned(*overrides):
        torch.manual_seed(0)
        node = composed("model=deep_belief_network", "model.labels=false", *[f"model.{o}" for o in overrides]).model
        net = build_model(node, (6,), below, 3)
        net.training_plan = Training(None, lambda progress: 1.0, None, None, 10, 0)
        for seed in range(3):
            torch.manual_seed(seed)
            net.minibatch_step(Batch(x, torch.arange(8) % 3), None)
        return list(net.parameters())

    below, x = stack(6, 5, 4), torch.rand(8, 6)
    pairs = zip(learned(), learned(key))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"labels": True}, "model.labels: this data set has no labels"),
    ],
)
def test_values_that_make_no_sense_are_refused(change, key):
    with pytest.raises(UserError, match=key):
        network(stack(6, 5, 4), **change)


def test_stacks_that_make_no_net_are_refused():
    with pytest.raises(UserError, match="below"):
        DeepBeliefNetwork((6,), [], None, **CONFIG)
    with pytest.raises(UserError, match="below: layer 1 takes 6 units, but the data has 5"):
        DeepBeliefNetwork((5,), stack(6, 4), None, **CONFIG)
    gaussian = [*stack(6, 5), stack(5, 4)[0]._replace(visible="gaussian")]
    with pytest.raises(UserError, match=r"model\.labels: .*gaussian"):
        network(gaussian, 3, labels=True)
    x = torch.rand(20, 6)
    data = Data(
        Arrays(x, None, x, None, (6,), True), name="noise", root=None, cache="", download=False, validation=1,
        train_size=None, labelled=None, binarize="none", shift=0, mirror="none", rotate=0.0, zoom=0.0, mix=0.0, seed=0,
        batch_size=10, below=[],
    )  # fmt: skip
    rectified = [layer._replace(hidden="relu") for layer in stack(6, 5)]
    with pytest.raises(UserError, match=r"train\.epochs: .*relu"):
        network(rectified).initialize_from(data)
    network(rectified, epochs=0).initialize_from(data)


def test_a_run_on_the_digits_classifies_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    """Two RBMs, then up-down with labels: well below the 90 % of chance."""
    drawn = figures.run_figures
    common = ["logger=csv", "schedule=constant", "evaluate.probe=null", "evaluate.knn=null", "train.epochs=8"]

    def run(name, *overrides):
        monkeypatch.setattr(figures, "run_figures", drawn if name == "whole" else lambda *_: {})
        cfg, folder = composed(*common, *overrides), tmp_path / name
        folder.mkdir(exist_ok=True)
        OmegaConf.save(cfg, folder / "config.yaml")
        return train(cfg, folder, "aelab")

    run("rbm1", "model=rbm", "model.n_hidden=60", "train.batch_size=100")
    run("rbm2", "model=rbm", "model.n_hidden=60", "train.batch_size=100", f"below={tmp_path / 'rbm1'}")
    net = ["model=deep_belief_network", "model.labels=true", "model.learning_rate=0.05", "model.top_only_epochs=4"]
    net += ["model.fantasy_steps=10", f"below={tmp_path / 'rbm2'}", "train.batch_size=20"]
    metrics = run("whole", *net)
    assert metrics["test/class_error"] < 20
    assert (tmp_path / "whole" / "figures" / "generated.png").exists()
    assert [layer.W.shape[1] for layer in read_layers(tmp_path / "whole", "test")] == [60, 60]
    torch.testing.assert_close(load(tmp_path / "whole").classify(torch.rand(3, 64)).sum(1), torch.ones(3))

    start = DeepBeliefNetwork.on_train_epoch_start

    def killed(self):
        if self.current_epoch == 5:
            raise KeyboardInterrupt
        start(self)

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(DeepBeliefNetwork, "on_train_epoch_start", killed)
        run("killed", *net)
    assert run("killed", *net, f"resume={tmp_path / 'killed'}") == metrics
    before, after = (read_checkpoint(tmp_path / n, "last", "test")["state_dict"] for n in ("whole", "killed"))
    assert all(torch.equal(before[name], after[name]) for name in before)
