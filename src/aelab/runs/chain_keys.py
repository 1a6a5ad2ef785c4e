"""The keys of a chain: which there are, what they may hold, and what beside a chain would reach no stage."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from aelab.config.messages import suggest
from aelab.config.overrides import key_typed, place_of
from aelab.config.schema import role_of_override, roots
from aelab.errors import UserError

# all other keys of a chain are stages and constants
OF_CHAIN = {"store": str, "also": str | None, "fresh": bool, "baseline": bool, "stages": list}
OF_STAGE = {"like": str, "when": object, "baseline": bool, "for_each": dict, "first": dict, "last": dict}
OF_ORDINARY_RUNS = {  # beside a chain they reach no stage, since
    "below": "each stands on the one before it",
    "start_from": "each starts from what it stands on; give start_from to the run that is to be fine-tuned, alone",
}
WIDTHS = ("model.n_code", "model.n_hidden")  # each layer's is taken from chain.widths
WORDS: dict[Any, str] = {
    str: "text",
    str | None: "text or null",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def of_run() -> list[str]:
    """The root keys that a stage may say: its own groups, and what all stages share where it wants another value."""
    return [*own_groups(), *roots(shared=True)]


def own_groups() -> list[str]:
    """The root keys that every stage has for itself."""
    changing = [*roots(changes="weights", shared=False), *roots(changes="evaluation", shared=False)]
    return [root for root in changing if root not in (*OF_ORDINARY_RUNS, "chain")]


def check_chain(chain: dict[str, Any], unresolved: dict[str, Any], declared: Callable[[], Iterable[str]]) -> None:
    """Raise ``UserError`` for a key of a chain that means nothing, or holds what it cannot.

    ``declared`` gives the keys that the chain's own file has; it is asked for what nothing in the chain refers to.
    """
    for key, kind in OF_CHAIN.items():
        check_kind(f"chain.{key}", chain.get(key), kind)
    asked = chain["stages"]
    if not asked or not all(isinstance(name, str) for name in asked) or len(set(asked)) < len(asked):
        raise UserError(
            f"chain.stages: expected names of stages, each once, got {asked}; take some of those in conf/chain"
        )
    stages = [key for key, node in chain.items() if key not in OF_CHAIN and is_stage(node)]
    for name in asked:
        if name not in stages:
            raise UserError(f"chain.stages: there is no stage {name!r}{suggest(name, stages)}")
    for key, node in chain.items():
        others = str({name: node for name, node in unresolved.items() if name != key})
        if key in stages or kind_of(key, stages):
            check_stage(f"chain.{key}", node, [name for name in stages if name != key])
        elif key not in OF_CHAIN and f"${{chain.{key}" not in others and key not in declared():
            raise UserError(f"chain.{key}: no such key{suggest(key, set(chain) - {key})}")


def is_stage(node: Any) -> bool:
    """Whether a node of a chain says a stage: it has a model, or is like another one."""
    return isinstance(node, dict) and ("like" in node or "_target_" in (node.get("model") or {}))


def kind_of(name: str, stages: list[str]) -> str | None:
    """rbm for rbm3: the stage of which ``name`` is one repetition, if there is such a stage."""
    kind = name.rstrip("0123456789")
    return kind if kind != name and kind in stages else None


def check_stage(where: str, node: Any, others: list[str]) -> None:
    check_kind(where, node, dict)
    for key, value in node.items():
        if key not in (*OF_STAGE, *of_run()):
            raise UserError(f"{where}.{key}: no such key{suggest(key, [*OF_STAGE, *of_run()])}")
        if value is not None and key in OF_STAGE:
            check_kind(f"{where}.{key}", value, OF_STAGE[key])
        elif key not in (*OF_STAGE, "seed") and not isinstance(value, dict):
            chosen = f"an option is chosen by {key}@{where}.{key}={value}"
            raise UserError(f"{where}.{key}: expected settings {{key: value}}, got {value!r}; {chosen}")
    for end in ("first", "last"):
        for key in node.get(end) or {}:
            if key not in of_run():
                raise UserError(f"{where}.{end}.{key}: no such key{suggest(key, of_run())}")
    if node.get("like") not in (None, *others):
        raise UserError(f"{where}.like: there is no other stage {node['like']!r}{suggest(node['like'], others)}")


def check_kind(key: str, value: Any, kind: Any) -> None:
    if not isinstance(value, kind):
        raise UserError(f"{key}: expected {WORDS[kind]}, got {value!r}")


def check_no_chain(chain: dict[str, Any]) -> None:
    """Raise ``UserError`` for what the keys of a chain cannot hold, and for stages where there is no chain."""
    for key, kind in OF_CHAIN.items():
        if key != "stages":
            check_kind(f"chain.{key}", chain.get(key), kind)
    if chain["stages"] is not None:
        raise UserError("chain.stages: this run is no chain; choose one, as chain=deep_autoencoder, or leave it out")


def check_single(chain: dict[str, Any], names: list[str]) -> None:
    """Raise ``UserError`` for settings of a single stage that there is not, such as chain.rbm9."""
    stages = [key for key, node in chain.items() if is_stage(node)]
    for key in chain:
        kind = kind_of(key, stages)
        if kind and kind in chain["stages"] and key not in (*stages, *names):
            raise UserError(f"chain.{key}: there is no such stage; there are {', '.join(names)}")


def refuse_what_reaches_no_stage(given: list[str], chain: str, stages: dict[str, dict[str, Any]]) -> None:
    """Raise ``UserError`` for an override, typed or of an experiment, of what each of ``stages`` has for itself."""
    for override in given:
        word = key_typed(override)
        group, _, package = word.partition("@")
        root = re.split("[./]", package or group)[0]
        if root not in (*own_groups(), *OF_ORDINARY_RUNS) or role_of_override(override).changes == "nothing":
            continue
        if root in OF_ORDINARY_RUNS:
            raise UserError(f"{root}: beside chain={chain} it reaches no stage; {OF_ORDINARY_RUNS[root]}")
        path = place_of(override)
        is_group = "/" in word or "@" in word or "." not in word
        prefix = f"{group}@" if is_group else ""
        having = [stage for stage, node in stages.items() if is_group or path in keys_of(node)]
        keys = " or ".join(f"{prefix}chain.{stage}.{path}" for stage in having or stages)
        if path in WIDTHS:
            keys = "chain.widths=[…], which ends with the code's"
        raise UserError(f"{word}: beside chain={chain} it reaches no stage, for each has its own; say {keys}")


def keys_of(node: dict[str, Any]) -> set[str]:
    """The dotted keys below a stage's node, nodes and values."""
    found: set[str] = set()
    for key, value in node.items():
        found |= {key, *(f"{key}.{below}" for below in (keys_of(value) if isinstance(value, dict) else ()))}
    return found
