"""Adding a variant takes one Python file and one YAML: a throw-away one is written here and run through the command."""

import textwrap

import pytest
from helpers import aelab as command_line

from aelab import files, models
from aelab.run.folder import load

PYTHON = '''
"""An autoencoder whose code is kept short."""

from aelab.models.autoencoder import Autoencoder


class Short(Autoencoder):
    """-log p(x | h) + weight * mean |h|^2."""

    def __init__(self, shape: tuple[int, ...], n_code: int, network: object, weight: float):
        super().__init__(shape, n_code, "linear", network, "bernoulli")
        self.weight = weight

    def loss_terms(self, x, out, weight=None):
        return {**super().loss_terms(x, out, weight), "length": self.weight * out.code.square().sum(1).mean()}
'''

YAML = """
# A throw-away variant.
defaults:
  - network: mlp
  - _self_
_target_: aelab.models.short.Short
n_code: 4      # code units
weight: 10.0   # of the code's squared length
"""


@pytest.fixture
def variant(tmp_path, monkeypatch):
    """The two files; models are found below aelab.models only, so the first folder is made a part of that package."""
    (tmp_path / "code").mkdir()
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "code" / "short.py").write_text(textwrap.dedent(PYTHON))
    (tmp_path / "conf" / "model" / "short.yaml").write_text(YAML)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "code")])
    yield f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    import sys

    sys.modules.pop("aelab.models.short", None)


def test_one_python_file_and_one_yaml_make_a_variant(variant, tmp_path, capsys):
    lengths = []
    for weight in (0, 10):
        folder = tmp_path / f"run{weight}"
        outcome = command_line(
            capsys,
            variant,
            "model=short",
            f"model.weight={weight}",
            "logger=csv",
            "train.epochs=2",
            f"hydra.run.dir={folder}",
        )
        assert outcome.status == 0, outcome.error
        metrics = files.read_json(folder / "metrics.json")
        assert {"test/length", "val/length", "train/length", "test/squared_error"} <= metrics.keys()
        model = load(folder)
        assert type(model).__name__ == "Short" and (folder / "figures" / "reconstructions.png").exists()
        from aelab.data.digits import digits

        lengths.append(float(model.encode(digits(0.2, 0).test_x).square().sum(1).mean()))
    assert metrics["test/length"] == pytest.approx(10 * lengths[1], rel=1e-3)
    assert lengths[1] < 0.5 * lengths[0]


def test_its_keys_are_checked_like_any_other_s(variant, tmp_path, capsys):
    outcome = command_line(capsys, variant, "model=short", "+model.wieght=1", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1
    assert "model.wieght" in outcome.error[-1] and "weight" in outcome.error[-1]
