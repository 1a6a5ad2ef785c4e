"""From a composed config to checked objects: the one place that instantiates a ``_target_``."""

import functools
import inspect
import types
import typing
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aelab.config.messages import of_config, suggest
from aelab.errors import UserError

# What a config, which may be a stranger's run folder, can name: where mathematics stands, not what writes or runs.
ALLOWED_TARGETS = ("aelab.", "torch.optim.", "torch.nn.", "pytorch_lightning.callbacks.", "pytorch_lightning.loggers.")
MACHINERY = tuple(f"aelab.{m}." for m in ("app", "config", "files", "locks", "run", "sweep"))
OFFERED = ("aelab.run.stopping.", "aelab.sweep.pruning.")  # the callbacks among it, which conf/ names


def build(node: Any, key: str, **extra: Any) -> Any:
    """Instantiate ``node`` (a mapping with ``_target_``) after every key and type in it was checked.

    ``key`` is where the node stands in the config, for messages; ``extra`` are arguments that no config can hold
    (tensors, shapes). Raises ``UserError`` for a target that is not allowed, an unknown or a missing key, and a value
    of the wrong type.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    node = _plain(node)
    check_node(node, key, given=set(extra))
    try:
        make = instantiate({**node, "_partial_": True}, _convert_="all")  # tensors never go through a config
    except InstantiationException as error:  # a part of this node failed; what it said is in the chain of causes
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        raise cause or error from None
    # Hydra's partial looks its target over again at each call, 0.4 ms that a schedule would cost every minibatch
    make = functools.partial(make.func, *make.args, **make.keywords)
    return make if node.get("_partial_", False) else make(**extra)


def build_model(node: Any, shape: tuple[int, ...], layers: list, n_classes: int | None) -> Any:
    """The model of ``node`` for samples of ``shape``; it is given ``n_classes`` if it asks for them.

    A class that is ``made_from_layers`` is given the ``layers``; any other stands on them: its input is their code.
    """
    made = made_from_layers(node)
    offers = {"shape": shape, "n_classes": n_classes}
    given = {name: value for name, value in offers.items() if asks_for(node, name)}
    model = build(node, "model", **given, **({"below": layers} if made else {}))
    model.n_classes = n_classes
    model.below = [] if made else layers
    return model


def made_from_layers(node: Any) -> bool:
    """Whether the model of ``node`` is made from the layers below, as its class says, or stands on their output."""
    return getattr(locate(_plain(node), "model"), "made_from_layers", False)


def asks_for(node: Any, argument: str) -> bool:
    """Whether the target of ``node`` takes ``argument``."""
    return argument in inspect.signature(locate(_plain(node), "model")).parameters


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def check_node(node: dict, key: str, given: set[str] = frozenset()) -> None:
    """Raise ``UserError`` unless every key of ``node``, and of the nodes in it, fits the signature of its target."""
    target = locate(node, key)
    partial = node.get("_partial_", False)
    signature = inspect.signature(target)
    hints = _hints(target)
    names = [n for n in signature.parameters if n != "self"]
    values = {k: v for k, v in node.items() if k not in ("_target_", "_partial_")}
    for name, value in values.items():
        where = f"{key}.{name}"
        if name not in names or name in given:
            raise UserError(f"{where}: no such key{suggest(name, set(names) - given)}")
        if isinstance(value, dict) and "_target_" in value:
            check_node(value, where)
        elif not _fits(value, hints.get(name, Any)):
            raise UserError(f"{where}: expected {_describe(hints[name])}, got {value!r}")
    needed = [p for p in signature.parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    missing = [p.name for p in needed if p.name not in (*values, *given, "self")]
    if missing and not partial:
        raise UserError(f"{key}.{missing[0]}: missing; it has no default, add {key}.{missing[0]}=VALUE")


def locate(node: dict, key: str) -> Any:
    """The object that ``_target_`` names; refuses what was not made to be named in a config.

    Where it was defined counts, not by which name it is reached: ``aelab.run.train.subprocess.run`` is not aelab's.
    """
    from hydra.utils import get_object

    name = node.get("_target_") if isinstance(node, dict) else None
    if not isinstance(name, str):
        raise UserError(f"{key}: has no _target_; choose one of the options of this group, see aelab --help")
    refusal = f"{key}._target_: {name} is no part that aelab, torch.optim or torch.nn offers and is not run; take one"
    if not name.startswith(ALLOWED_TARGETS):
        raise UserError(refusal)
    try:
        target = get_object(name)
    except Exception as error:  # hydra wraps whatever the import raised
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{key}._target_: cannot find {name} ({reason})") from error
    home = f"{getattr(target, '__module__', '')}."
    machinery = home.startswith(MACHINERY) and home not in OFFERED
    if not callable(target) or not home.startswith(ALLOWED_TARGETS) or machinery:
        raise UserError(refusal)
    return target


def check(cfg: DictConfig) -> None:
    """Raise ``UserError`` for a root value that no type can rule out."""
    if not 0 <= cfg.seed < 2**32:
        raise UserError(f"seed: must be from 0 to {2**32 - 1}, got {cfg.seed}")
    if not 30 <= cfg.figures.dpi <= 1200:
        raise UserError(f"figures.dpi: must be from 30 to 1200, got {cfg.figures.dpi}; 200 is for print")
    at_least = {"train.epochs": 0, "train.batch_size": 1, "evaluate.nll_samples": 0}
    for key, least in at_least.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and value < least:
            raise UserError(f"{key}: must be at least {least}, got {value}")
    choices = {
        "direction": ("minimize", "maximize"),
        "train.mode": ("auto", "min", "max"),
        "evaluate.weights": ("last", "best"),
        "figures.format": ("png", "pdf", "svg"),
    }
    for key, known in choices.items():
        value = OmegaConf.select(cfg, key)
        if value not in known:
            raise UserError(f"{key}: expected {' or '.join(known)}, got {value!r}")
    if cfg.train.clip is not None and cfg.train.clip <= 0:
        raise UserError(f"train.clip: must be above 0, got {cfg.train.clip}")
    for group in ("callbacks", "evaluate"):  # several nodes by name, and of evaluate two plain keys
        for name, node in _plain(cfg[group]).items():
            if node is None or (group, name) in (("evaluate", "weights"), ("evaluate", "nll_samples")):
                continue
            if not isinstance(node, dict):
                raise UserError(f"{group}.{name}: expected a node with _target_, or null to leave it out, got {node!r}")
            check_node(node, f"{group}.{name}")


def resolved(cfg: DictConfig) -> DictConfig:
    """``cfg`` with every interpolation resolved and every root key checked against the schema once more.

    ``++key=value`` passes Hydra's own check, and so does a typo in an experiment file; neither passes here.
    """
    from aelab.config.schema import Config

    try:
        plain = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))
        whole = OmegaConf.merge(OmegaConf.structured(Config), plain)
        OmegaConf.to_container(whole, throw_on_missing=True)  # a key that ~key took away
    except OmegaConfBaseException as error:
        raise UserError(of_config(error)) from error
    return plain


def _hints(target: Any) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):  # a foreign signature that only a type checker can read
        return {}


def _fits(value: Any, hint: Any) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, a) for a in args)
    if origin is typing.Literal:
        return value in args
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return False
        if origin is tuple and Ellipsis not in args:
            return len(value) == len(args) and all(map(_fits, value, args))
        return all(_fits(v, args[0]) for v in value) if args else True
    if hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if hint is dict or origin is dict:
        return isinstance(value, dict)
    return not inspect.isclass(hint) or isinstance(value, hint)


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = typing.get_args(hint)
        return " or ".join(_describe(a) for a in [a for a in kinds if _is_plain(a)] or kinds)
    if typing.get_origin(hint) is tuple:
        return f"[{', '.join(map(_describe, typing.get_args(hint)))}]"
    if hint is type(None):
        return "null"
    return str(hint) if typing.get_args(hint) else getattr(hint, "__name__", str(hint))


def _is_plain(hint: Any) -> bool:
    return hint in (int, float, bool, str, type(None)) or typing.get_origin(hint) in (list, tuple, typing.Literal)
