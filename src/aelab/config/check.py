"""Whether a value fits the type that a signature or the schema gives it: every key of a config, before it is built."""

import inspect
import types
import typing
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal

from omegaconf import DictConfig

from aelab.config import schema
from aelab.config.messages import suggest
from aelab.config.overrides import key_typed, place_of, plain
from aelab.config.targets import CONF, TARGET, locate
from aelab.errors import UserError
from aelab.ranges import OF_OPTIMIZERS

RANGE = "must be"  # how a message begins that tells a range, not a type
OF_NODES = (TARGET, "_partial_")  # keys that say what a node is, not what its target is given
HYDRAS = ("_args_", "_convert_", "_recursive_")  # its other words for that, which no config here needs


def check(cfg: DictConfig) -> None:
    """Raise ``UserError`` for a root value outside its range, or a callback or evaluator its target would refuse."""
    check_root(cfg)
    for group in ("callbacks", "evaluate"):
        if not isinstance(plain(cfg[group]), dict):
            raise UserError(f"{group}: expected settings {{name: node}}, got {cfg[group]!r}; leave one out by its name")
    for name, hint in schema.EVALUATE.items():
        if reason := misfit(cfg.evaluate.get(name), hint):
            raise UserError(f"evaluate.{name}: {reason}")
    for group in ("callbacks", "evaluate"):  # several nodes by name
        for name, node in plain(cfg[group]).items():
            if isinstance(node, dict):
                check_node(node, f"{group}.{name}")
            elif node is not None and name not in schema.EVALUATE:
                where = f"{group}.{name}"
                raise UserError(f"{where}: expected a node with {TARGET}, or null to leave it out, got {node!r}")


def refuse_of_other_tasks(task: str, overrides: list[str]) -> None:
    """Raise ``UserError`` for a setting that ``task`` never reads, and so would seem to obey."""
    for override in overrides:
        tasks = schema.role_of(place_of(override).partition(".")[0]).tasks
        if tasks and task not in tasks:
            only = ", ".join(tasks)
            raise UserError(f"{key_typed(override)}: task={task} has no use for it, only task={only}; leave it out")


def check_root(cfg: DictConfig) -> None:
    """Raise ``UserError`` for a value outside its range in what is no option of a group."""
    _check_typed(schema.Config, cfg, "")


def _check_typed(known: Any, node: DictConfig, prefix: str) -> None:
    for name, hint in typing.get_type_hints(known, include_extras=True).items():
        if is_dataclass(hint):
            _check_typed(hint, node[name], f"{prefix}{name}.")
        elif hint is not Any and (reason := misfit(plain(node[name]), hint)):
            raise UserError(f"{prefix}{name}: {reason}")


def check_node(node: dict[str, Any], key: str, given: frozenset[str] = frozenset()) -> None:
    """Raise ``UserError`` unless every key of ``node``, and of the nodes in it at any depth, fits its target.

    ``given`` are arguments that no config can hold: they are neither asked for nor taken from it.
    """
    target = locate(node, key)
    known = parameters(target)
    values = {name: value for name, value in node.items() if name not in OF_NODES}
    for name, value in values.items():
        where = f"{key}.{name}"
        if name in given or name in HYDRAS or (name not in known and not takes_any(target)):
            raise UserError(f"{where}: no such key{suggest(name, set(known) - given)}")
        check_parts(value, where)
        hint = known[name].annotation if name in known else Any
        if reason := misfit(value, hint):
            is_group = (CONF / "/".join(where.split(".")[-2:])).is_dir()
            wants_node = is_group and isinstance(value, str) and not _is_plain(hint)
            remedy = f"; an option of a group is chosen by {where.replace('.', '/')}={value}" if wants_node else ""
            raise UserError(f"{where}: {reason}{remedy}")
    missing = [p.name for p in known.values() if p.default is p.empty and p.name not in {*values, *given}]
    if missing and not node.get("_partial_", False):
        raise UserError(f"{key}.{missing[0]}: missing; it has no default, add {key}.{missing[0]}=VALUE")


def check_parts(value: Any, key: str) -> None:
    """``check_node`` of every node in ``value``, however deep it stands in lists and mappings."""
    if isinstance(value, dict) and TARGET in value:
        check_node(value, key)
    elif isinstance(value, (dict, list)):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            check_parts(part, f"{key}.{name}")


def parameters(target: Any) -> dict[str, inspect.Parameter]:
    """Name → parameter, with its evaluated type, of everything that ``target`` can be given by name.

    Where a class hands ``**rest`` on to its base, the base's are among them.
    """
    found: dict[str, inspect.Parameter] = {}
    for function in _functions(target):
        hints = _hints(function)
        optimizer = getattr(function, "__module__", "").startswith("torch.optim")
        for p in list(inspect.signature(function).parameters.values())[inspect.isclass(target) :]:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in found:
                hint = OF_OPTIMIZERS.get(p.name) if optimizer else None
                found[p.name] = p.replace(annotation=hint or hints.get(p.name, Any))
    return found


def takes_any(target: Any) -> bool:
    """Whether ``target`` takes arguments of any name."""
    return _takes_rest(_functions(target)[-1])


def _functions(target: Any) -> list[Any]:
    """The function that is called; of a class its constructor and those of its bases that it hands ``**rest`` on to."""
    if not inspect.isclass(target):
        return [target]
    constructors = [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
    last = next((n for n, function in enumerate(constructors) if not _takes_rest(function)), len(constructors) - 1)
    return [function for function in constructors[: last + 1] if function is not object.__init__] or [lambda self: None]


def _takes_rest(function: Any) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # a foreign signature that only a type checker can read
        return {}


def misfit(value: Any, hint: Any) -> str | None:
    """Why ``value`` is none of ``hint``, as the end of a message; None if it is."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return misfit(value, args[0]) or _out_of_range(value, args[1:])
    if origin in (typing.Union, types.UnionType):
        reasons = [misfit(value, arm) for arm in args]
        if None in reasons:
            return None
        # a number out of range is told the range, and only what is of no type at all the types
        return next((r for r in reasons if r and RANGE in r), _expected(value, hint))
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        many = origin is list or Ellipsis in args
        if not many and len(args) != len(value):
            return _expected(value, hint)
        reasons = [misfit(part, arm) for part, arm in zip(value, args[:1] * len(value) if many else args)]
        reason = next((r for r in reasons if r), None)
        if reason is None or RANGE not in reason:
            return reason and _expected(value, hint)
        return f"each {reason.partition(', got')[0]}, got {value!r}"
    return None if _is_a(value, hint) else _expected(value, hint)


def _out_of_range(value: Any, markers: tuple[Any, ...]) -> str | None:
    for marker in markers:
        if wanted := marker.wrong(value):
            return f"{RANGE} {wanted}, got {value!r}"
    return None


def _is_a(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if isinstance(value, dict) and TARGET in value:  # a node: what it makes is seen when it is made
        return not _is_plain(hint)
    if origin is Literal:
        return any(value == name and type(value) is type(name) for name in typing.get_args(hint))  # True is no 1
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool) and value == value
    if origin in (list, tuple, dict):
        return isinstance(value, origin)
    if getattr(hint, "_is_protocol", False):  # what an object can do; a config says such a one by a node
        return not isinstance(value, (str, int, float, list, dict, type(None)))
    return value is None if hint in (None, type(None)) else not inspect.isclass(hint) or isinstance(value, hint)


def _expected(value: Any, hint: Any) -> str:
    return f"expected {_describe(hint)}, got {value!r}"


def _describe(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _describe(args[0])
    if origin is Literal:
        return ("one of " if len(args) > 1 else "") + ", ".join(map(str, args))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(arm) for arm in [arm for arm in args if _is_plain(arm)] or args)
    if origin is tuple:
        return f"[{', '.join(map(_describe, args))}]"
    if hint is type(None):
        return "null"
    return f"{origin.__name__}[{', '.join(map(_describe, args))}]" if origin else getattr(hint, "__name__", str(hint))


def _is_plain(hint: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        return _is_plain(typing.get_args(hint)[0])
    return hint in (int, float, bool, str, type(None)) or typing.get_origin(hint) in (list, tuple, Literal)
