"""A finished run measured again: its weights as they were, evaluators of the present command, its data or other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aelab import files, log
from aelab.config.overrides import plain
from aelab.config.targets import refuse_strangers
from aelab.data.parts import Split
from aelab.errors import UserError
from aelab.results.evaluation import build_evaluators, evaluate, finite
from aelab.runs import folder as run_folder
from aelab.runs.assembly import build_data
from aelab.watch.wandb_run import tell_later


@torch.no_grad()
def measure_again(folder: Path, nodes: dict[str, Any], trust: Sequence[str]) -> dict[str, float]:
    """``test/…`` of the evaluators that ``nodes`` says, likelihoods all, added to the run's metrics.json and W&B run.

    The weights are those that the run was tested with; ``trust`` is :func:`aelab.load`'s. Raises ``UserError`` for a
    folder that holds no finished run.
    """
    folder = run_folder.last_stage(folder, "run")
    cfg = run_folder.read_config(folder, "run")
    run_folder.refuse_links(folder, "run")
    refuse_strangers({"data": plain(cfg)["data"]}, trust, "run")
    path = folder / "metrics.json"
    if not path.exists():
        raise UserError(f"run: {folder} holds no finished run; finish it first, aelab resume={folder}")
    with run_folder.claimed(folder, "run"):
        evaluators = build_evaluators(nodes)
        model = run_folder.load(folder, cfg.evaluate.weights, trust, "run")
        layers = run_folder.read_layers(folder, "run", "below.pt") if (folder / "below.pt").exists() else []
        with log.phase(f"reading {cfg.data.name}"):
            data = build_data(cfg, layers)
        torch.manual_seed(0)
        found: dict[str, float] = {}
        with log.phase("measuring the likelihood"):
            for evaluator in evaluators.values():
                found |= {f"test/{figure}": float(value) for figure, value in evaluator(model, data).items()}
        if not found:
            raise UserError(
                f"run: {folder} has no likelihood; it needs an RBM of bits or Gaussian inputs, a variational "
                "autoencoder, or a model of documents"
            )
        metrics, timing = files.read_json(path) | finite(found), files.read_json(folder / "timing.json")
        path.unlink()  # as long as it is not there, the folder's sums are not held against it
        run_folder.finish(folder, metrics, timing)
        tell_later(cfg, folder, finite(found))
    return found


def evaluate_again(
    folder: Path, nodes: dict[str, Any], test: Split | None, trust: Sequence[str]
) -> dict[str, float]:  # fmt: skip
    """``test/…`` of all evaluators of the node ``evaluate``, on the rows ``test``, or the run's own test set for None.

    Probe, neighbours and PCA are fitted on the run's training rows, as they were for its own figures. Nothing of the
    run is changed. ``nodes`` are the person's own; of a foreign folder's see ``refuse_strangers``.
    """
    cfg = run_folder.read_config(folder, "run")
    run_folder.refuse_links(folder, "run")
    refuse_strangers({"data": plain(cfg)["data"]}, trust, "run")
    evaluators = build_evaluators(nodes)
    model = run_folder.load(folder, cfg.evaluate.weights, trust, "run")
    layers = run_folder.read_layers(folder, "run", "below.pt") if (folder / "below.pt").exists() else []
    with log.phase(f"reading {cfg.data.name}"):
        data = build_data(cfg, layers)
    if test is not None:
        data.test_on(test)
    with log.phase("testing"):
        found = evaluate(model, data, evaluators)
    return {name: value for name, value in found.items() if name.startswith("test/")}
