"""The replicated softmax against enumeration: log p of every sequence, both phases, log Z of every length."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from test_energy import states

from aelab.config.build import build
from aelab.data.documents import WordSchema
from aelab.data.parts import Batch, Split
from aelab.models.replicated_softmax import ReplicatedSoftmax, frequencies, halves
from aelab.rbm import replicated_softmax as rs
from aelab.rbm.layer import Layer
from aelab.results.perplexity import Perplexity, Retrieval, exact_log_p, lda_log_p, perplexity

WORDS, HIDDEN = 3, 2
SETTINGS = dict(exact=20, documents=9, runs=100, step_ess=0.999, ensembles=10, burn_in=60, draws=3, thin=3)


def machine(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    W, b, a = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((WORDS, HIDDEN), (HIDDEN,), (WORDS,)))
    return Layer(W, 0.3 * b, a, "bernoulli", "bernoulli").to(dtype)


def sequences(D):
    """Counts of every sequence of D words, (WORDS^D, WORDS)."""
    return torch.stack([
        torch.bincount(torch.tensor(words), minlength=WORDS)
        for words in itertools.product(range(WORDS), repeat=D)
    ]).double()  # fmt: skip


def joint(v, rbm):
    """−E of every pair (documents, hidden states)."""
    h, D = states(HIDDEN).to(v), v.sum(1, keepdim=True)
    return v @ rbm.W @ h.t() + (v @ rbm.b_visible)[:, None] + D * (h @ rbm.b_hidden)


@pytest.mark.parametrize("D", [1, 4])
def test_probabilities_of_all_sequences_sum_to_one(D):
    rbm, v = machine(), sequences(D)
    torch.testing.assert_close(-rs.free_energy(v, rbm), joint(v, rbm).logsumexp(1))
    log_z = rs.log_z_exact(rbm, torch.tensor([D]))
    assert float(log_z) == pytest.approx(float(joint(v, rbm).flatten().logsumexp(0)), abs=1e-9)
    assert float(exact_log_p(v, rbm).exp().sum()) == pytest.approx(1)


def test_one_pass_serves_all_lengths():
    rbm, D = machine(), torch.tensor([1, 2, 5])
    alone = torch.cat([rs.log_z_exact(rbm, d[None]) for d in D])
    torch.testing.assert_close(rs.log_z_exact(rbm, D), alone)


def test_gibbs_sampling_keeps_lengths_and_leaves_the_distribution_unchanged():
    torch.manual_seed(0)
    rbm, v = machine(torch.float32), sequences(3).float()
    p = exact_log_p(v, rbm).exp()
    drawn = v[torch.multinomial(p, 40_000, replacement=True)]
    drawn[::2] = torch.tensor([1.0, 0.0, 0.0])  # documents of another length in the same batch
    after = rs.gibbs_step(drawn, rbm)
    assert torch.equal(after.sum(1), drawn.sum(1))
    torch.testing.assert_close(after[1::2].mean(0), (p.float() @ v), rtol=0, atol=0.03)


def test_the_gradient_of_many_steps_is_the_likelihoods():
    torch.manual_seed(0)
    model = ReplicatedSoftmax((WORDS,), HIDDEN, steps=40, weight_std=0.8)
    v = sequences(2).float()
    many = v.repeat(3000, 1)
    loss = sum(model.batch_terms(Batch(many, None), model(many)).values())
    rbm = model.machine()
    log_z = joint(v, rbm).flatten().logsumexp(0)
    exact = (log_z + rs.free_energy(v, rbm).mean()) / 2  # per word
    parameters = list(model.parameters())
    for ours, theirs in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(exact, parameters)):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)


def test_log_z_of_a_length_lies_between_the_bounds():
    torch.manual_seed(0)
    rbm, v = machine(torch.float32), sequences(5).float()[[3, 80, 200]]
    evaluator = Perplexity(lda_samples=0, **SETTINGS)
    low, high = evaluator.bounds(v, rbm, frequencies(v))
    exact = exact_log_p(v, rbm)
    assert (low < exact).all() and (exact < high).all() and (high - low).max() < 0.5


def test_perplexity_beside_frequencies_and_lda():
    """Documents of two kinds that share no word: topics halve the perplexity of plain frequencies."""
    torch.manual_seed(0)
    kinds = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    x = torch.distributions.Multinomial(20, kinds.repeat(30, 1)).sample()
    model = ReplicatedSoftmax((4,), 1, steps=1, weight_std=0.0)
    W = torch.tensor([6.0, 6.0, -6.0, -6.0])[:, None]
    model.W.data.copy_(W)
    model.b_visible.data.copy_(-W[:, 0] / 2)  # the unit on: the first two words; off: the others
    data = SimpleNamespace(train=Split(x, None), test=Split(x[:10], None))
    found = Perplexity(lda_samples=300, **SETTINGS)(model, data)
    assert found["unigram_perplexity"] == pytest.approx(4, abs=0.05)
    expected = 2 * 2 ** (1 / 20)  # two words, and one bit per document
    assert found["perplexity"] == pytest.approx(expected, abs=0.02)
    between = Perplexity(lda_samples=0, **SETTINGS | {"exact": 0})(model, data)
    assert between["perplexity_lower"] < found["perplexity"] < between["perplexity_upper"]


def test_lda_is_estimated_near_its_exact_probability():
    """One topic leaves nothing to sample: the words are independent draws from it."""
    x = torch.distributions.Multinomial(30, torch.tensor([0.2, 0.3, 0.5])).sample((40,))
    log_p = lda_log_p(x, x[:5], 1, 20)
    smoothed = x.sum(0).double() + 1
    torch.testing.assert_close(log_p, (x[:5].double() @ (smoothed / smoothed.sum()).log()), rtol=0.02, atol=0.0)
    assert perplexity(log_p, x[:5]) < 3.1


def test_retrieval_counts_equal_labels_among_the_nearest():
    x = torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 3]])
    train, test = Split(x, torch.tensor([0, 0, 1, 0])), Split(x[:3] * 5, torch.tensor([0, 0, 1]))
    schema = WordSchema(shape=(2,), unit_interval=False, words=["a", "b"])
    data = SimpleNamespace(train=train, test=test, train_for_evaluation=train, schema=schema)
    model = SimpleNamespace(encode=lambda x: x)
    assert Retrieval(neighbours=2)(model, data) == {"retrieval_precision": pytest.approx((1 + 1 + 0.5) / 3)}


def test_other_models_have_no_perplexity():
    assert Perplexity(lda_samples=0, **SETTINGS)(build_autoencoder(), None) == {}


def build_autoencoder():
    from helpers import small

    return build(small("model=autoencoder").model, "model", shape=(8, 8))


def test_words_that_a_unit_raises_most():
    model = ReplicatedSoftmax((3,), 2, steps=1, weight_std=0.0)
    model.W.data.copy_(torch.tensor([[0.0, 5], [1, 2], [3, -1]]))
    assert model.top_words(2).tolist() == [[2, 1], [0, 1]]
    assert math.isclose(float(frequencies(torch.tensor([[2.0, 0, 1]])).sum()), 1, rel_tol=1e-6)


def test_validation_completes_documents_of_which_it_was_shown_one_half():
    model = ReplicatedSoftmax((4,), 2, steps=1, weight_std=1.0).eval()
    x = torch.tensor([[3.0, 0, 1, 2], [0, 0, 5, 0], [0, 1, 0, 0]])
    one, other = halves(x)
    assert torch.equal(one + other, x) and bool((one >= 0).all() and (other >= 0).all())
    assert one.sum(1).tolist() == [3, 2, 0] and other.sum(1).tolist() == [3, 3, 1]
    with torch.no_grad():
        terms = model.batch_terms(Batch(x, None), model(x))
        p = model.output(model.encode(one))
    told = sum(-math.log(p[i, word]) * other[i, word] for i in range(3) for word in range(4))
    assert model.whole_terms(terms, Split(x, None))["completion"] == pytest.approx(float(told) / 7, rel=1e-5)
