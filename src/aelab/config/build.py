"""From a composed config to checked objects: the one place that instantiates a ``_target_``."""

import functools
import pickle
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aelab.config import schema
from aelab.config.check import OF_NODES, check_node, parameters
from aelab.config.messages import of_config
from aelab.config.overrides import plain
from aelab.config.targets import TARGET, locate
from aelab.errors import UserError


def build(node: Any, key: str, **extra: Any) -> Any:
    """Instantiate ``node`` (a mapping with ``_target_``) after every key and type in it was checked.

    ``key`` is where the node stands in the config, for messages; ``extra`` are arguments that no config can hold
    (tensors, shapes). Raises ``UserError`` for a target that is not there, an unknown or a missing key, and a value of
    the wrong type or out of range.
    """
    node = plain(node)
    check_node(node, key, given=frozenset(extra))
    make = _made({**node, "_partial_": True}, key)  # tensors never go through a config
    return make if node.get("_partial_", False) else make(**extra)


def _made(node: Any, key: str) -> Any:
    """What Hydra's ``instantiate`` makes of plain values: a node, and every node in it, is what its target returns.

    Ours, for Hydra makes a config of them first and copies that at every depth, which takes fifty times as long: of a
    chain's command as much as its composing. ``check_node`` has let pass what this knows.
    """
    if isinstance(node, list):
        return [_made(part, f"{key}.{number}") for number, part in enumerate(node)]
    if not isinstance(node, dict):
        return node
    parts = {name: _made(part, f"{key}.{name}") for name, part in node.items() if name not in OF_NODES}
    if TARGET not in node:
        return parts
    made = functools.partial(locate(node, key), **parts)
    return made if node.get("_partial_", False) else made()


def build_model(node: Any, shape: tuple[int, ...], layers: list[Any], n_classes: int | None) -> Any:
    """The model of ``node`` for samples of ``shape``; it is given ``n_classes`` if it asks for them.

    A class that is ``made_from_layers`` is given the ``layers``; any other stands on them: its input is their code.
    Raises ``UserError`` for one that the memory of this machine cannot hold, before it takes any.
    """
    from aelab.config.memory import WithinMemory

    made = made_from_layers(node)
    offers = {"shape": shape, "n_classes": n_classes}
    given = {name: value for name, value in offers.items() if asks_for(node, name)}
    with WithinMemory("model"):
        model = build(node, "model", **given, **({"below": layers} if made else {}))
    model.n_classes = n_classes
    model.below = [] if made else layers
    return model


def made_from_layers(node: Any) -> bool:
    """Whether the model of ``node`` is made from the layers below, as its class says, or stands on their output."""
    return getattr(locate(plain(node), "model"), "made_from_layers", False)


def asks_for(node: Any, argument: str) -> bool:
    """Whether the target of ``node`` takes ``argument``."""
    return argument in parameters(locate(plain(node), "model"))


def resolved(cfg: DictConfig) -> DictConfig:
    """``cfg`` with every interpolation resolved and every root key checked against the schema once more.

    ``++key=value`` passes Hydra's own check, and so does a typo in an experiment file; neither passes here.
    """
    return OmegaConf.create(values_of(cfg))


def values_of(cfg: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """``resolved``, as plain values; also of plain ones, whose root keys are checked."""
    try:
        said: Any = cfg
        if isinstance(cfg, DictConfig):
            said = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        nodes = {name: said[name] for name in schema.untyped() if isinstance(said.get(name), dict)}  # nothing to check
        whole = pickle.loads(_empty(schema.Config))
        whole.merge_with(said | dict.fromkeys(nodes))
        values: Any = OmegaConf.to_container(whole, throw_on_missing=True)  # a key that ~key took away
        return values | nodes
    except OmegaConfBaseException as error:
        raise UserError(of_config(error)) from error


@functools.cache
def _empty(known: type) -> bytes:
    """The schema before a value is in it, pickled: a copy takes a tenth of making it."""
    return pickle.dumps(OmegaConf.structured(known))
