"""The classification RBM against enumeration: p(y | x), both gradients, samples without a label, a whole run."""

import json

import pytest
import torch
from helpers import aelab
from test_energy import states

from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.models.classification_rbm import ClassificationRBM

N, CLASSES, HIDDEN = 4, 3, 2
PLAIN = {"discriminative": 0.0, "generative": 0.0, "unsupervised": 0.0, "sparsity": 0.0, "steps": 1}


def machine(**settings):
    torch.manual_seed(0)
    model = ClassificationRBM((N,), CLASSES, HIDDEN, weight_std=0.8, **{**PLAIN, "discriminative": 1.0, **settings})
    torch.nn.init.normal_(model.b_hidden)
    torch.nn.init.normal_(model.b_visible)
    return model


def log_joint(model):
    """−E summed over h: (x, y), every state of the inputs and every label, differentiable."""
    x, y, h = states(N).float(), torch.eye(CLASSES), states(HIDDEN).float()
    v = torch.cat([x.repeat_interleave(CLASSES, 0), y.repeat(len(x), 1)], 1)
    minus_energy = (v @ model.W) @ h.t() + (v @ model.b_visible)[:, None] + h @ model.b_hidden
    return minus_energy.logsumexp(1).view(len(x), CLASSES)


def gradients(loss, model):
    return torch.autograd.grad(loss, [model.W, model.b_hidden, model.b_visible])


def every_pair():
    x = states(N).float().repeat_interleave(CLASSES, 0)
    return Batch(x, torch.arange(CLASSES).repeat(2**N))


def test_label_probabilities_and_code_are_the_joints():
    model, x = machine(), states(N).float()
    p = log_joint(model).softmax(1)
    torch.testing.assert_close(model.classify(x), p)
    on = torch.stack([(x @ model.W[:N] + model.W[N + y] + model.b_hidden).sigmoid() for y in range(CLASSES)], 1)
    torch.testing.assert_close(model.encode(x), (p[:, :, None] * on).sum(1))


def test_the_discriminative_gradient_is_exact():
    model, batch = machine(), every_pair()
    expected = -log_joint(model).log_softmax(1).flatten().mean()
    loss = sum(model.batch_terms(batch, model(batch.x)).values())
    torch.testing.assert_close(loss, expected)
    for ours, exact in zip(gradients(loss, model), gradients(expected, model)):
        torch.testing.assert_close(ours, exact)


@pytest.mark.parametrize("labels", [True, False])
def test_many_gibbs_steps_give_the_generative_gradient(labels):
    """Of −log p(x, y) with labels, of −log p(x) without."""
    term = {"generative": 1.0} if labels else {"unsupervised": 1.0}
    model, pairs = machine(**{"discriminative": 0.0, "steps": 60, **term}), every_pair()
    pairs = pairs if labels else pairs._replace(y=torch.full_like(pairs.y, -1))
    many = Batch(pairs.x.repeat(800, 1), pairs.y.repeat(800))
    loss = sum(model.batch_terms(many, model(many.x)).values())
    joint = log_joint(model)
    of_data = joint.flatten().mean() if labels else joint.logsumexp(1).mean()
    for ours, exact in zip(gradients(loss, model), gradients(joint.logsumexp((0, 1)) - of_data, model)):
        torch.testing.assert_close(ours, exact, rtol=0, atol=0.015)


def test_a_sample_without_a_label_moves_the_unsupervised_term_alone():
    model = machine(generative=1.0)
    some, fewer = every_pair(), every_pair()
    some.y[::2] = -1
    labelled = Batch(fewer.x[1::2], fewer.y[1::2])
    for seen in (some, labelled):
        torch.manual_seed(1)
        terms = model.batch_terms(seen, model(seen.x))
        assert set(terms) == {"discriminative", "generative"}
    torch.testing.assert_close(
        model.batch_terms(some, model(some.x))["discriminative"],
        model.batch_terms(labelled, model(labelled.x))["discriminative"],
    )
    none = Batch(some.x, torch.full_like(some.y, -1))
    assert all(float(term.detach()) == 0 for term in model.batch_terms(none, model(none.x)).values())


def test_weights_that_leave_nothing_to_learn_are_refused():
    with pytest.raises(UserError, match=r"model\.discriminative"):
        machine(discriminative=0.0)
    with pytest.raises(UserError, match="labels"):
        ClassificationRBM((N,), None, HIDDEN, weight_std=0.1, **PLAIN)


def test_labels_that_it_could_not_learn_are_refused_before_training(capsys, tmp_path):
    given = ["model=classification_rbm", "train.epochs=1", "logger=csv", f"hydra.run.dir={tmp_path / 'run'}"]
    outcome = aelab(capsys, *given, "data.mix=0.5")
    assert outcome.status == 1 and "data.mix: a mixture of two samples has no label of its own" in outcome.error[-1]
    rows = "x,y,kind\n" + "0.1,0.9,a\n0.8,0.2,b\n" * 20
    (tmp_path / "train.csv").write_text(rows)
    (tmp_path / "test.csv").write_text(rows + "0.5,0.5,c\n")
    table = ["data=table", f"data.path={tmp_path / 'train.csv'}", f"data.test_path={tmp_path / 'test.csv'}"]
    outcome = aelab(
        capsys, *given, *table, "data.label=kind", "data.scale=minmax", "data.clip=[0,1]", "train.batch_size=10"
    )
    assert outcome.status == 1 and "labels that its training set lacks" in outcome.error[-1], outcome


def test_it_learns_from_few_labels_and_many_samples(capsys, tmp_path):
    outcome = aelab(
        capsys, "model=classification_rbm", "model.n_hidden=50", "model.unsupervised=0.01", "data.labelled=200",
        "train.epochs=6", "train.batch_size=32", "optimizer.lr=0.02", "logger=csv", "evaluate.probe.c=0.01",
        f"hydra.run.dir='{tmp_path / 'run'}'",
    )  # fmt: skip
    assert outcome.status == 0, outcome.error
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test/class_error"] < 25 and metrics["test/cross_entropy"] < 1
    assert (tmp_path / "run" / "figures" / "generated.png").exists()


def test_real_values_are_refused_by_what_a_person_can_set(capsys, tmp_path):
    (tmp_path / "people.csv").write_text("age,size,kind\n" + "30,1.7,a\n40,1.8,b\n50,1.6,a\n" * 20)
    given = ["model=classification_rbm", "data=table", f"data.path={tmp_path / 'people.csv'}", "data.label=kind",
             "train.batch_size=10", "train.epochs=1", "logger=csv", f"hydra.run.dir={tmp_path / 'run'}"]  # fmt: skip
    outcome = aelab(capsys, *given)
    assert outcome.status == 1
    assert "data: ClassificationRBM needs inputs in [0, 1]" in outcome.error[-1]
    remedy = outcome.error[-1].partition(" by ")[2].split()
    assert len(remedy) == 2 and aelab(capsys, *given, *remedy).status == 0
