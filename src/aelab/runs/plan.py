"""What a chain will do: the stages that its YAML names, spelled out as the configs of ordinary runs.

A stage is a node of the chain under the stage's name, put together by Hydra: an ordinary run's groups (model, train,
optimizer …) and how it is repeated; conf/chain/_stage.yaml says what each key means.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from aelab.config.build import values_of
from aelab.config.overrides import leaves
from aelab.config.schema import roots
from aelab.config.targets import TARGET
from aelab.errors import UserError
from aelab.runs.chain_keys import check_chain, check_single, of_run, own_groups

UNITS = ("model.n_code", "model.n_hidden")


class Part(NamedTuple):
    """Settings that a stage is put together from, and where they stand in the chain: all of them, or by key."""

    says: dict[str, Any]
    where: str
    by_key: dict[str, str]

    def place_of(self, key: str) -> str | None:
        """Where a dotted key of an ordinary run stands in the chain, if this part says it."""
        node: Any = self.says
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                return None
            node = node[name]
        if isinstance(node, dict) and TARGET not in node:
            return None  # a few keys of it: what it is was said elsewhere
        return self.by_key.get(key, f"{self.where}.{key}")


class Plan(NamedTuple):
    """One stage before it is run: ``config`` is an ordinary run's, plain; ``options`` what it takes of each group.

    ``words`` say what it is. ``below`` is the stage whose layers it stands on; a ``baseline`` is only compared with,
    and nothing stands on it.
    """

    name: str
    config: dict[str, Any]
    options: dict[str, Any]
    parts: list[Part]
    words: str
    below: str | None
    baseline: bool

    def own_places(self) -> list[str]:
        """Where the stage's own groups stand in the chain, without those of a stage that it is like."""
        kinds = {f"chain.{self.name}", f"chain.{self.name.rstrip('0123456789')}"}
        return [part.where for part in self.parts if ".".join(part.where.split(".")[:2]) in kinds]

    def of_chain(self, line: str) -> str:
        """What an ordinary run says of one of its keys, said of the chain's key; of no chain's, as it is."""
        if not self.parts:
            return line
        key, colon, rest = line.partition(":")
        dotted = key.replace("/", ".")
        places = [place for part in self.parts if (place := part.place_of(dotted))]
        if not places and dotted.partition(".")[0] in own_groups():
            places = [f"{self.parts[0].where}.{dotted}"]
        if places:
            key = f"{key}@{places[-1]}" if "/" in key else places[-1]
        return f"stage {self.name}: {key}{colon}{rest}"


def plan(cfg: DictConfig, choices: dict[str, Any], declared: Callable[[], Iterable[str]]) -> list[Plan]:
    """The stages of ``cfg.chain`` in order, repeated ones spelled out (name1, name2 …).

    ``choices`` are the options that Hydra chose in each config group, ``declared`` gives the keys of the chain's own
    file. Raises ``UserError`` naming the chain's key.
    """
    unresolved: Any = OmegaConf.to_container(cfg.chain, resolve=False)
    root = values_of(cfg)
    chain = root["chain"]
    check_chain(chain, unresolved, declared)
    root |= {"chain": {"stages": None}, "resume": None, "below": None, "start_from": None}
    root["callbacks"] = {}  # stages have their own; what stands here is the sweeper's, for the main stage alone
    plans: list[Plan] = []
    below = None
    for kind in chain["stages"]:
        node = chain[kind]
        if not node.get("when", True):
            continue
        kinds = list(dict.fromkeys((node.get("like") or kind, kind)))
        baseline = bool(node.get("baseline"))
        for name, parts, words in repeated(kinds, chain, unresolved, root):
            taken = options([*kinds, name], choices)
            stands_on = plans[-1].below if baseline and plans else below
            config = put_together(root, parts)
            words = words or str(taken.get("model", name))
            words = f"{words} on {stands_on}" if stands_on else words
            plans.append(Plan(name, config, taken, parts, words, stands_on, baseline))
            below = below if baseline else name
    if not any(not p.baseline for p in plans):
        raise UserError("chain.stages: no stage is left, each is left out by its own when, or a baseline")
    check_single(chain, [p.name for p in plans])
    main = main_of(plans)
    for stage in plans:
        if stage.name != main:
            stage.config["objective"] = stage.config["train"]["monitor"]  # what a sweep compares is no matter of theirs
    return plans


def main_of(plans: list[Plan]) -> str:
    """The name of the stage that the chain is about: the last one that is not only compared with."""
    return [p.name for p in plans if not p.baseline][-1]


def repeated(
    kinds: list[str], chain: dict[str, Any], unresolved: dict[str, Any], root: dict[str, Any]
) -> list[tuple[str, list[Part], str]]:
    """Name, parts and words of each stage that the last of the nodes ``kinds`` stands for: one, or one for each value.

    The other node is the one that it is like; what it does not say is said there.
    """
    kind = kinds[-1]
    whole = [Part({key: node for key, node in chain[k].items() if key in of_run()}, f"chain.{k}", {}) for k in kinds]
    places = {
        key: place[2:-1] if str(place).startswith("${") else f"chain.{k}.for_each.{key}"
        for k in kinds
        for key, place in leaves(unresolved[k].get("for_each") or {})
    }
    asked = {key: values for k in kinds for key, values in leaves(chain[k].get("for_each") or {})}
    if not asked:
        return [(kind, whole, "")]
    known = dict(leaves(put_together(root, whole)))
    each = {key: values for key, values in asked.items() if key in known}  # an RBM has n_hidden, the others n_code
    if not each:
        raise UserError(
            f"chain.{kind}.for_each: this stage has no {' or '.join(asked)}; give +chain.{kind}.for_each.KEY=[…]"
        )
    for key, values in each.items():
        if not isinstance(values, list) or not values or len(values) != len(next(iter(each.values()))):
            raise UserError(f"{places[key]}: expected a list with one value for each {kind}, as [256,64]; got {values}")
    n = len(next(iter(each.values())))
    return [one_of(kinds, number, n, whole, each, places, chain) for number in range(n)]


def one_of(
    kinds: list[str], number: int, n: int, whole: list[Part], each: dict[str, list[Any]], places: dict[str, str],
    chain: dict[str, Any],
) -> tuple[str, list[Part], str]:  # fmt: skip
    """Name, parts and words of the stage ``number`` of ``n``, counted from 0: the later part has the last word."""
    values = {key: values[number] for key, values in each.items()}
    parts = [*whole, Part(nested(values), "chain", places)]
    ends = [end for end, is_it in (("first", number == 0), ("last", number == n - 1)) if is_it]
    parts += [Part(chain[k].get(end) or {}, f"chain.{k}.{end}", {}) for end in ends for k in kinds]
    name = f"{kinds[-1]}{number + 1}"
    parts.append(Part(chain.get(name) or {}, f"chain.{name}", {}))
    return name, parts, ", ".join(f"{v} units" if key in UNITS else f"{key}={v}" for key, v in values.items())


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """{model.n_code: 8} → {model: {n_code: 8}}."""
    whole: dict[str, Any] = {}
    for key, value in values.items():
        node = whole
        *path, last = key.split(".")
        for name in path:
            node = node.setdefault(name, {})
        node[last] = value
    return whole


def put_together(root: dict[str, Any], parts: list[Part]) -> dict[str, Any]:
    """An ordinary run's config: the chain's root, and over it what each part says."""
    config = deepcopy(root)
    for part in parts:
        put(config, deepcopy(part.says))
    return config


def put(config: dict[str, Any], says: dict[str, Any]) -> None:
    """Settings over a config; a node that names its own ``_target_`` takes another's place whole."""
    for key, value in says.items():
        old = config.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and "_target_" not in value:
            put(old, value)
        else:
            config[key] = value


def options(kinds: list[str], choices: dict[str, Any]) -> dict[str, Any]:
    """Group → option that an ordinary run is given to be what ``kinds`` say; the later kind has the last word."""
    shared = roots(shared=True)
    taken = {group: option for group, option in choices.items() if group.partition("/")[0] in shared}
    for kind in kinds:
        for chosen, option in choices.items():
            group, _, package = chosen.partition("@")
            where = package.removeprefix(f"chain.{kind}.")
            if where != package:
                taken[group if where == group.replace("/", ".") else f"{group}@{where}"] = option
    return {group: option for group, option in taken.items() if option is not None}
