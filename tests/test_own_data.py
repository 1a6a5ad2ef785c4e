"""A person's own data through the whole command: nothing leaks, categories are probabilities, holes cost nothing."""

import numpy as np
import pytest
import torch
from fake_data import write_own
from helpers import aelab, composed

from aelab import files
from aelab.config.overrides import plain
from aelab.data.parts import Batch
from aelab.functional import likelihood as nll
from aelab.models.base import Model
from aelab.runs import folder as run_folder
from aelab.runs import stages
from aelab.runs.sources import Sources

QUICK = ("logger=csv", "train.epochs=2", "train.batch_size=16", "evaluate.probe.c=0.01", "data.validation=0.2")
SMALL = (*QUICK, "model.network.widths=[8]", "model.n_code=2", "model.likelihood=gaussian")


class Halves(Model):
    """Puts out half of its input."""

    def __init__(self, n_input: int, likelihood: str, categories: tuple[int, ...]):
        super().__init__((n_input,), likelihood)
        self.encoder = self.decoder = torch.nn.Identity()
        self.categories = categories

    def output(self, code):
        return code / 2


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("masked", [False, True])
def test_loss_is_that_of_each_column_summed(likelihood, masked):
    """Numbers by the model's likelihood, each category by the cross-entropy of its softmax, nothing where masked."""
    numbers, places = torch.rand(7, 2), torch.randint(0, 3, (7, 2))
    x = torch.cat([numbers, *(torch.eye(3)[place] for place in places.T)], 1)
    observed = torch.ones(7, 8, dtype=torch.bool)
    if masked:
        observed[:3, 1] = observed[2:5, 5:] = False
        x[2:5, 5:] = 0
    model, logits = Halves(8, likelihood, (3, 3)), x / 2
    single = nll.bernoulli_per_sample if likelihood == "bernoulli" else lambda m, x: nll.gaussian_per_sample(m, x, 1.0)
    expected = sum(single(logits[:, i : i + 1], x[:, i : i + 1]) * observed[:, i] for i in range(2))
    for column, start in enumerate((2, 5)):
        cost = torch.nn.functional.cross_entropy(logits[:, start : start + 3], places[:, column], reduction="none")
        expected = expected + cost * observed[:, start]
    terms = model.batch_terms(Batch(x, None, observed if masked else None), model(x))
    torch.testing.assert_close(terms["reconstruction"], expected.mean())
    mean = model.mean(model(x).output)
    torch.testing.assert_close(mean[:, 2:5].sum(1), torch.ones(7))
    constant = model.mean(model.constant_output(torch.tensor([0.3, 0.6, 0.2, 0.3, 0.5, 0.1, 0.1, 0.8])))
    torch.testing.assert_close(constant, torch.tensor([0.3, 0.6, 0.2, 0.3, 0.5, 0.1, 0.1, 0.8]))


MLP = "model.network.widths=[8] model.likelihood=gaussian"
MODELS = {
    "autoencoder": f"model.n_code=2 {MLP}",
    "sparse": "model.n_code=2 model.likelihood=gaussian",
    "top_k": "model.n_code=4 model.k=2 model.k_start=2 model.k_auxiliary=1 model.likelihood=gaussian",
    "contractive": "model.n_code=2 model.likelihood=gaussian",
    "vae": f"model.n_code=2 evaluate.nll_samples=20 {MLP}",
    "hierarchical_vae": f"model.n_code=2 model.n_latent=3 evaluate.nll_samples=20 {MLP}",
    "linear": "model.n_code=2",
    "rbm": "model.n_hidden=3 model.visible=gaussian data.missing=fill",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path)
    return tmp_path


@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_a_table_with_categories_and_holes(model, own, capsys):
    lines = (own / "table.csv").read_text().splitlines()
    lines[1:] = [line.replace("smith", "") if i % 7 == 0 else line for i, line in enumerate(lines[1:])]
    (own / "table.csv").write_text("\n".join(lines))
    given = ("data=table", "data.path=table.csv", "data.exclude=[household]", "data.label=kind", "data.missing=mask")
    outcome = aelab(capsys, *QUICK, f"model={model}", *given, *MODELS[model].split(), "hydra.run.dir=run")
    assert outcome.status == 0, outcome.error
    assert np.isfinite(list(files.read_json(own / "run" / "metrics.json").values())).all()
    loaded = run_folder.load(own / "run")
    assert loaded.categories == ((4,) if loaded.softmax else ())


def test_a_model_that_needs_every_value_says_so(own, capsys):
    (own / "holes.csv").write_text((own / "table.csv").read_text().replace("smith", ""))
    given = ("data=table", "data.path=holes.csv", "data.exclude=[household]", "data.missing=mask", "hydra.run.dir=run")
    outcome = aelab(capsys, *QUICK, "model=rbm", "model.visible=gaussian", *given)
    assert outcome.status == 1 and outcome.error[-1].startswith("aelab: data.missing: ") and "fill" in outcome.error[-1]


def test_nothing_of_the_test_rows_reaches_the_model(own, capsys):
    """Test rows and labels permuted: the same weights, bit for bit, and every figure at chance."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 400)
    x = (np.where(kind, 3.0, -3.0)[:, None] * np.array([1, -1, 1, -1, 1, -1])) + 0.3 * rng.normal(size=(400, 6))
    part = np.where(np.arange(400) < 200, "train", "test")
    np.savez("whole.npz", x=x, kind=kind, part=part)
    shuffled, order = x.copy(), 200 + rng.permutation(200)
    shuffled[200:] = np.stack([rng.permutation(column) for column in x[200:].T], 1)
    np.savez("permuted.npz", x=shuffled, kind=np.concatenate([kind[:200], kind[order]]), part=part)
    metrics, weights = [], []
    for name in ("whole", "permuted"):
        outcome = aelab(
            capsys, *SMALL, "train.epochs=30", "optimizer.lr=0.01", "data=array", f"data.path={name}.npz",
            "data.label=kind", "data.split_column=part", f"hydra.run.dir={name}",
        )  # fmt: skip
        assert outcome.status == 0, outcome.error
        metrics.append(files.read_json(own / name / "metrics.json"))
        weights.append(run_folder.read_checkpoint(own / name, "last", "test")["state_dict"])
        assert (own / name / "schema.json").exists()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert (own / "whole" / "schema.json").read_bytes() == (own / "permuted" / "schema.json").read_bytes()
    assert metrics[0]["test/knn_error"] < 5 < 40 < metrics[1]["test/knn_error"]
    assert metrics[0]["test/probe_error"] < 5 < 40 < metrics[1]["test/probe_error"]
    assert metrics[0]["test/squared_error"] < 1 < 4 < metrics[1]["test/squared_error"], "6 is a constant's"


def test_a_stage_is_found_by_what_is_in_the_files_wherever_they_lie(own):
    def key(path: str, *more: str) -> str:
        cfg = composed("data=images", f"data.path={path}", *more)
        return stages.key_of(cfg, Sources().fingerprint(plain(cfg.data)), None)

    first = key("images")
    (own / "images").rename(own / "moved")
    assert key("moved") == first != key("moved", "data.size=4")
    (own / "moved" / "a" / "000.png").unlink()
    assert key("moved") != first
