"""The root config as dataclasses: an unknown root key or a wrong type fails wherever it stands.

Defaults stand in conf/ only. The nodes typed ``Any`` are the config groups whose options name a ``_target_``: their
keys are checked against that target's signature, see :mod:`aelab.config.build`.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Train:
    epochs: int = MISSING
    batch_size: int = MISSING
    clip: float | None = MISSING
    monitor: str = MISSING
    patience: int | None = MISSING
    statistics: bool = MISSING


@dataclass
class Evaluate:
    weights: str = MISSING
    probe: bool = MISSING
    probe_c: float = MISSING
    probe_scale: str = MISSING
    knn: int = MISSING


@dataclass
class Hardware:
    accelerator: str = MISSING
    devices: int = MISSING
    num_nodes: int = MISSING
    strategy: str = MISSING
    precision: str = MISSING
    threads: int | None = MISSING


@dataclass
class Trial:
    """Filled in by the Optuna sweeper: where a job reports its validation metric, to be pruned."""

    storage: str | None = MISSING
    study: str | None = MISSING
    number: int | None = MISSING
    metric: str = MISSING


@dataclass
class Config:
    task: str = MISSING
    seed: int = MISSING
    resume: str | None = MISSING
    below: str | None = MISSING
    objective: str = MISSING
    direction: str = MISSING
    train: Train = field(default_factory=Train)
    evaluate: Evaluate = field(default_factory=Evaluate)
    hardware: Hardware = field(default_factory=Hardware)
    trial: Trial = field(default_factory=Trial)
    model: Any = MISSING
    data: Any = MISSING
    corruption: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    logger: Any = MISSING
    chain: Any = MISSING
    delete: list[str] = MISSING
    runs: str | None = MISSING


def register() -> None:
    """Put the schema where the defaults list of conf/config.yaml finds it, and the resolver that names folders."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("what", lambda chain, model: model if chain == "none" else chain, replace=True)
    ConfigStore.instance().store(name="schema", node=Config)
