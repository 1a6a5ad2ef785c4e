"""Why pretraining was needed, at a tiny size: the gradient dies from small weights, and lives from the other starts."""

from itertools import pairwise

import pytest
from helpers import aelab as run_command
from omegaconf import OmegaConf
from tiny_chain import no_figures, quick  # noqa: F401 - a fixture

from aelab.files import read_json
from aelab.results import study_figures
from aelab.results.statistics import by_layer
from aelab.runs import folder as run_folder
from aelab.runs.chain import beside, draw_stages
from aelab.runs.epochs import Epochs
from aelab.runs.stages import Stage

STARTS = ["pretrained", "small", "sparse", "echo_state"]
TINY = (
    "experiment=why_pretraining", "logger=csv", "data.train_size=60", "data.validation=20", "chain.widths=[12,12,12,3]",
    "chain.rbm.train.epochs=15", "chain.rbm.train.batch_size=10", "chain.rbm.model.recipe.learning_rate=0.3",
    "chain.pretrained.train.epochs=2", "chain.pretrained.train.batch_size=20",
)  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """The chain's own figure, to be looked into."""
    made, draw = [], study_figures.starts_compared
    monkeypatch.setattr(study_figures, "starts_compared", lambda histories: made.append(draw(histories)) or made[-1])
    return made


@quick
def test_the_gradient_dies_from_small_weights_and_lives_from_the_other_starts(capsys, tmp_path, drawn):
    folder = tmp_path / "chain"
    outcome = run_command(capsys, *TINY, f"hydra.run.dir='{folder}'", f"chain.store='{tmp_path / 'store'}'")
    assert outcome.status == 0, outcome.error

    runs = {name: next((folder / "stages").glob(f"*-{name}")) for name in STARTS}
    histories = {name: run_folder.read_history(run) for name, run in runs.items()}
    norms = {name: [c["gradient_norm"][0] for c in by_layer(h).values()] for name, h in histories.items()}
    small = norms["small"]
    assert len(small) == 8  # four layers up, four down
    assert all(below < above for below, above in pairwise(small))
    for alive in ("pretrained", "sparse", "echo_state"):
        assert norms[alive][0] > 1e4 * small[0], norms
        assert norms[alive][0] > 1e-3 * norms[alive][-1], norms

    of_chain = read_json(folder / "metrics.json")
    for name in STARTS[1:]:
        assert of_chain[f"test/{name}_squared_error"] == read_json(runs[name] / "metrics.json")["test/squared_error"]
    assert (folder / "figures" / "gradients.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    start, lowest, loss = figure.axes
    for axis in figure.axes:
        assert [line.get_label() for line in axis.lines] == STARTS
    for name, *lines in zip(STARTS, start.lines, lowest.lines, loss.lines):
        assert list(lines[0].get_ydata()) == norms[name]
        assert list(lines[1].get_ydata()) == histories[name]["statistics/encoder.0/gradient_norm"]
        assert list(lines[2].get_ydata()) == histories[name]["val/loss"]
    assert start.get_yscale() == lowest.get_yscale() == "log"


def test_one_stage_with_statistics_is_no_comparison(tmp_path, drawn):
    rows = {"watched": {"statistics/encoder.0/gradient_norm": 1.0}, "plain": {}}
    for name, columns in rows.items():
        (tmp_path / name).mkdir()
        table = Epochs([{"epoch": 0, "val/loss": 1.0, **columns}]).table
        run_folder.write_history(tmp_path / name / "history.csv", table)
    stages = {name: Stage(tmp_path / name, "key", {}, {}, found=False) for name in rows}
    draw_stages(tmp_path, stages, "a chain", OmegaConf.create({"format": "png", "dpi": 50}))
    assert not drawn and (tmp_path / "figures" / "losses.png").exists()


def test_a_stage_that_is_only_compared_with_gives_its_errors_under_its_name(tmp_path):
    measured = {"test/squared_error": 3.0, "test/class_error": 2.0, "val/loss": 1.0}
    compared = {"small": Stage(tmp_path, "key", measured, {}, found=False)}
    assert beside(compared) == {"test/small_squared_error": 3.0, "test/small_class_error": 2.0}
