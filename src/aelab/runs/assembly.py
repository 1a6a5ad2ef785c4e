"""What a run is put together from: its data, and its model in training."""

from math import prod
from typing import Any

from omegaconf import DictConfig

from aelab.config.build import build, build_model, made_from_layers
from aelab.data.batches import Data
from aelab.models.base import Model
from aelab.models.training import Training
from aelab.rbm.layer import Layer, check_fit


def build_data(cfg: DictConfig, layers: list[Layer], source: Any = None) -> Data:
    """The data of a run that stands on ``layers``; ``source`` are the samples, where they were read already."""
    node, known = cfg.data, {}
    if source is not None:
        node, known = {key: value for key, value in node.items() if key != "source"}, {"source": source}
    below = [] if made_from_layers(cfg.model) else layers
    return build(node, "data", seed=cfg.seed, batch_size=cfg.train.batch_size, below=below, **known)


def build_in_training(cfg: DictConfig, data: Data, layers: list[Layer]) -> Model:
    """The model of a run for ``data``, with all that its training needs."""
    if made_from_layers(cfg.model):
        check_fit(layers, "below", prod(data.shape))
    model = build_model(cfg.model, data.shape, layers, data.n_classes)
    if model.softmax and not data.below:
        model.categories = tuple(data.schema.categories)
    model.training_plan = training_of(cfg, data)
    model.corruption = model.training_plan.corruption
    return model


def training_of(cfg: DictConfig, data: Data) -> Training:
    """How a model is trained on ``data``."""
    return Training(
        optimizer=build(cfg.optimizer, "optimizer"),
        schedule=build(cfg.schedule, "schedule"),
        corruption=build(cfg.corruption, "corruption").bind(data.shape, data.ends),
        clip=cfg.train.clip,
        epochs=cfg.train.epochs,
        seed=cfg.seed,
    )
