"""How well topics predict documents that they were not learned from: perplexity per word, beside simpler models."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from aelab.data.batches import Data
from aelab.data.documents import WordSchema
from aelab.models.base import Model
from aelab.models.replicated_softmax import ReplicatedSoftmax, frequencies
from aelab.progress import bar
from aelab.ranges import AtLeastTwo, Count, Inside, Interval, Natural
from aelab.rbm import replicated_softmax as rs
from aelab.rbm.bracket import Sampling, bracket_log_z
from aelab.rbm.layer import Layer
from aelab.rbm.partition import LIMIT
from aelab.rbm.temperatures import by_sample_size
from aelab.results.metrics import labelled_codes


@dataclass(frozen=True)
class Perplexity:
    """exp(−Σ log p(document) / Σ words) over the test documents, of models of documents.

    ``perplexity`` where log Z can be summed; else ``perplexity_lower`` and ``…_upper`` of the first ``documents`` ones,
    between which it lies, from annealing in both directions for each length. ``unigram_perplexity``: of the training
    words' frequencies. ``lda_perplexity``: of scikit-learn's LDA with as many topics, fitted on the same training
    documents, by ``lda_samples`` importance samples of each document's topics: a bound from above.
    """

    exact: Annotated[int, Interval(0, LIMIT)]
    documents: Count
    runs: AtLeastTwo
    step_ess: Inside
    ensembles: AtLeastTwo
    burn_in: Count
    draws: Count
    thin: Count
    lda_samples: Natural

    def __call__(self, model: Model, data: Data) -> dict[str, float]:
        if not isinstance(model, ReplicatedSoftmax):
            return {}
        train, x = data.train.x, data.test.x[data.test.x.sum(1) > 0]
        rbm, frequency = model.value(), frequencies(train)
        found = {"unigram_perplexity": perplexity(x @ frequency.log(), x)}
        if rbm.W.shape[1] <= self.exact:
            found["perplexity"] = perplexity(exact_log_p(x, rbm), x)
        else:
            few = x[: self.documents]
            low, high = self.bounds(few, rbm, frequency)
            found |= {"perplexity_lower": perplexity(high, few), "perplexity_upper": perplexity(low, few)}
        if self.lda_samples:
            found["lda_perplexity"] = perplexity(lda_log_p(train, x, rbm.W.shape[1], self.lda_samples), x)
        return found

    def bounds(self, x: Tensor, rbm: Layer, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """log p of each document between two bounds, each (documents,)."""
        log_f, each = -rs.free_energy(x, rbm).double(), rs.lengths(x)[:, 0].long()
        log_z = torch.zeros(2, len(x), dtype=torch.float64)
        sampling = Sampling(self.ensembles, self.burn_in, self.draws, self.thin)
        for D in bar(each.unique().tolist(), "log Z, lengths of documents"):
            path = rs.path_of_length(rbm, D, frequency)
            bracket = bracket_log_z(path, by_sample_size(path, self.step_ess, self.runs), self.runs, sampling, None)
            log_z[:, each == D] = torch.tensor(bracket.bounds, dtype=torch.float64)[:, None]
        return log_f - log_z[1].to(log_f), log_f - log_z[0].to(log_f)


@dataclass(frozen=True)
class Retrieval:
    """``retrieval_precision`` of documents: how many of the ``neighbours`` nearest training ones share a label.

    Nearest by the angle between codes; the part with the test document's own label, averaged over test documents.
    """

    neighbours: Count

    def __call__(self, model: Model, data: Data) -> dict[str, float]:
        labelled = labelled_codes(model, data) if isinstance(data.schema, WordSchema) else None
        if labelled is None:
            return {}
        x, y, x_test, y_test = labelled
        unit, unit_test = (torch.nn.functional.normalize(code, dim=1) for code in (x, x_test))
        right = [
            (y[(part @ unit.t()).topk(min(self.neighbours, len(x)), 1).indices] == own[:, None]).float().mean(1)
            for part, own in zip(unit_test.split(1000), y_test.split(1000))
        ]
        return {"retrieval_precision": float(torch.cat(right).mean())}


def perplexity(log_p: Tensor, x: Tensor) -> float:
    """exp(−Σ log p / Σ words) of documents x (documents, words) and their log p (documents,)."""
    return math.exp(-float(log_p.double().sum()) / float(x.double().sum()))


def exact_log_p(x: Tensor, rbm: Layer) -> Tensor:
    """log p of each document, its words in their order, (documents,), float64, nats."""
    unique, which = rs.lengths(x)[:, 0].unique(return_inverse=True)
    return -rs.free_energy(x.double(), rbm.to(torch.float64)) - rs.log_z_exact(rbm, unique)[which]


def lda_log_p(train: Tensor, x: Tensor, topics: int, samples: int) -> Tensor:
    """log p of each document x (documents, words) by latent Dirichlet allocation, at least, (documents,), nats.

    Topics are sklearn's, fitted to ``train``, at their means. Of each document log 1/S Σ_s p(words | θ_s) p(θ_s)/q(θ_s)
    with S = ``samples`` draws from its variational posterior q: nearer to the truth than sklearn's own bound, which
    also counts the uncertainty of the topics against the test documents.
    """
    from sklearn.decomposition import LatentDirichletAllocation
    from torch.distributions import Dirichlet

    lda = LatentDirichletAllocation(topics, random_state=0).fit(train.cpu().numpy())
    words = torch.from_numpy(lda.components_ / lda.components_.sum(1, keepdims=True)).double()
    mean, prior = torch.from_numpy(lda.transform(x.cpu().numpy())), lda.doc_topic_prior_
    log_p = []
    for document, share in zip(x.cpu().double(), mean.double()):
        posterior = Dirichlet((share * (document.sum() + topics * prior)).clamp(min=1e-6))
        theta = posterior.sample((samples,)).clamp(min=1e-300)
        theta = theta / theta.sum(1, keepdim=True)
        present = document > 0
        log_w = (theta @ words[:, present]).log() @ document[present]
        log_w += Dirichlet(torch.full_like(share, prior)).log_prob(theta) - posterior.log_prob(theta)
        log_p.append(log_w.logsumexp(0) - math.log(samples))
    return torch.stack(log_p)
