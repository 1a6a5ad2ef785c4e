"""What the defaults are worth on the digits: every model and chain, as it is, held to what it is there to show.

Figures are of the test set. Bounds are the worst of three seeds, with room for another machine's rounding; the defaults
themselves were chosen on validation sets.
"""

import pytest
from helpers import OPTIONS, composed

from aelab import files
from aelab.api import run as run_command
from aelab.runs.train import train

BITS = "data.binarize=threshold"  # a likelihood is one of bits
MODELS = {
    "linear": ([], ["squared_error < 1.02 * pca_squared_error"]),  # it is PCA
    "autoencoder": ([], ["squared_error < 0.6 * pca_squared_error"]),  # more than PCA with as many units
    "single_layer": (["corruption=masking"], ["psnr_gained > 3", "probe_error < 6"]),  # it mends what was masked
    "rbm": ([BITS, "schedule=constant", "train.batch_size=100"], ["log_likelihood_lower > -23"]),  # pixels alone: -24.6
    "sparse": ([], ["5 < l0 < 15", "dead_fraction < 0.35", "squared_error < 0.9"]),  # of 128 units
    "top_k": ([], ["l0 == 10", "dead_fraction < 0.1", "squared_error < 0.8"]),  # PCA with 10 units: 1.3
    "contractive": ([], ["squared_error < 0.9", "probe_error < 5"]),
    "vae": ([], ["elbo > -25", "kl > 2.5", "active_units >= 4"]),  # the mean image: -27.2
    "flow_prior_vae": (["train.epochs=50"], ["elbo > -24.8", "kl > 2.5", "active_units >= 4"]),
    "hierarchical_vae": ([], ["elbo > -25.4", "kl > 2.5", "active_units >= 4"]),
}
CHAINS = {
    # A linear classifier on the pixels makes 3.3 to 3.9 % errors, the net without pretraining 3.1.
    "stacked_denoising": (["evaluate=[]"], ["class_error < 3.9"]),
    # Before up-down the bound is -19.3, of pixels on their own -24.6.
    "deep_belief_network": (
        [BITS, "evaluate=[likelihood]"],
        ["bound_lower > -18.9", "bound_upper - bound_lower < 2"],
    ),
    "why_pretraining": (
        ["chain.stages=[rbm,pretrained,small]", "evaluate=[pca]", "callbacks@chain.pretrained.callbacks=none"],
        ["squared_error < 0.85 * pca_squared_error", "small > 4.5"],  # the mean image: 4.74
    ),
    "deep_autoencoder": (["evaluate=[pca]"], ["squared_error < 0.65 * pca_squared_error"]),
}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})
    monkeypatch.setattr("aelab.runs.chain.draw_stages", lambda *_: None)


def failed(claims: list[str], metrics: dict[str, float]) -> list[str]:
    figures = {name.removeprefix("test/"): value for name, value in metrics.items() if name.startswith("test/")}
    return [claim for claim in claims if not eval(claim, {}, figures)]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_shows_its_point(model, tmp_path):
    overrides, claims = MODELS[model]
    metrics = train(composed(f"model={model}", "logger=csv", "evaluate.knn=null", *overrides), tmp_path, "aelab")
    assert not failed(claims, metrics), metrics


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_shows_its_point(chain, tmp_path):
    overrides, claims = CHAINS[chain]
    folders = f"chain.store='{tmp_path / 'store'}'", f"hydra.run.dir='{tmp_path / 'chain'}'"
    outcome = run_command([f"chain={chain}", "logger=csv", *overrides, *folders])
    stages = files.read_json(tmp_path / "chain" / "chain.json")["stages"]
    errors = {f"test/{name}": stage["metrics"].get("test/squared_error") for name, stage in stages.items()}
    metrics = {**outcome.metrics, **errors}
    assert not failed(claims, metrics), metrics


def test_every_chain_and_model_of_the_digits_is_held():
    options = {tuple(option.split("=")) for option in OPTIONS}
    elsewhere = {"rating_rbm", "replicated_softmax", "deep_autoencoder", "deep_belief_network", "classifier"}
    assert {name for group, name in options if group == "model"} - elsewhere - set(MODELS) == {"classification_rbm"}
    assert {name for group, name in options if group == "chain"} - {"none"} == set(CHAINS)
