"""The root config as dataclasses: an unknown root key or a wrong type fails wherever it stands.

Defaults stand in conf/ only. The nodes typed ``Any`` are the config groups whose options name a ``_target_``: their
keys are checked against that target's signature, see :mod:`aelab.config.build`.

Beside each key stands its :class:`Role`: what it changes, and so what has to ask before it is given another value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal

from omegaconf import MISSING, OmegaConf

from aelab.config.overrides import place_of
from aelab.ranges import AtLeastTwo, Count, Inside, Interval, Natural, OneOf, Positive, Seed

Changes = Literal["weights", "evaluation", "search", "nothing"]


@dataclass(frozen=True)
class Role:
    """What a key is.

    ``changes``: the trained weights; what is measured on them; what a search looks for; or none of these, such as
    where a run lies, on how many threads it goes and who is told of it. ``shared``: the stages of a chain have it from
    the root. ``resumable``: a run that goes on may be given another value. ``noise``: left out where runs are found and
    compared by their settings (W&B). ``tasks``: those that read it; (): every one may.
    """

    changes: Changes
    shared: bool = False
    resumable: bool = False
    noise: bool = False
    tasks: tuple[str, ...] = ()


TRAIN = ("train",)
APPLY = ("encode", "reconstruct", "denoise", "interpolate", "score", "evaluate", "sample", "export")  # a model, to rows

PLACE = Role("nothing", shared=True, noise=True)  # where something lies
INSIDE_DATA = {"_target_": PLACE, "name": Role("nothing", shared=True)}
INSIDE_DATA |= dict.fromkeys(("root", "cache", "download", "source.root", "source.cache", "source.download"), PLACE)
INSIDE_DATA |= dict.fromkeys(("path", "test_path", "split_index"), PLACE)
INSIDE_CHAIN = dict.fromkeys(("store", "also", "fresh", "stages"), Role("nothing", noise=True))

INSIDE_CALLBACKS = {"pruning": Role("nothing", noise=True)}  # where a trial reports: the sweeper's own


def role(changes: Changes, inside: dict[str, Role] | None = None, **words: Any) -> dict[str, Any]:
    """A field's metadata; ``inside`` are keys below a node typed ``Any`` that have a role of their own."""
    return {"role": Role(changes, **words), "inside": inside or {}}


EVALUATE = {"weights": Annotated[str, OneOf("last", "best")], "nll_samples": Natural}  # beside the named evaluators


@dataclass
class Train:
    epochs: Natural = MISSING
    batch_size: Count = MISSING
    clip: Positive | None = MISSING
    monitor: str = MISSING
    mode: Annotated[str, OneOf("auto", "min", "max")] = MISSING


@dataclass
class Figures:
    format: Annotated[str, OneOf("png", "pdf", "svg")] = MISSING
    dpi: Annotated[int, Interval(30, 1200)] = MISSING


@dataclass
class Hardware:
    accelerator: Annotated[str, OneOf("cpu", "gpu")] = MISSING
    devices: Annotated[int, Interval(-1, 1024)] = MISSING
    num_nodes: Annotated[int, Interval(1, 1024)] = MISSING
    strategy: Annotated[str, OneOf("auto", "ddp")] = MISSING
    precision: Annotated[str, OneOf("32-true", "bf16-mixed", "auto")] = field(
        default=MISSING, metadata=role("weights", shared=True, resumable=True)
    )
    threads: Annotated[int, Interval(1, 1024)] | None = MISSING


@dataclass
class Likelihood:
    samples: Count = MISSING
    images: Natural = MISSING


@dataclass
class Sample:
    n: Count = MISSING
    steps: Count = MISSING
    label: Any = MISSING


@dataclass
class Interpolate:
    rows: list[int] = MISSING
    points: AtLeastTwo = MISSING  # both ends


@dataclass
class Score:
    by: Annotated[str, OneOf("own", "joint")] = MISSING
    quantile: Inside = MISSING
    threshold: float | None = MISSING
    top: Natural = MISSING
    outlier: Any = MISSING


@dataclass
class Config:
    task: str = field(default=MISSING, metadata=role("nothing", noise=True))
    seed: Seed = field(default=MISSING, metadata=role("weights", shared=True))
    resume: str | None = field(default=MISSING, metadata=role("nothing", noise=True, tasks=TRAIN))
    below: str | None = field(default=MISSING, metadata=role("weights", tasks=TRAIN))
    start_from: str | None = field(default=MISSING, metadata=role("weights", tasks=TRAIN))
    trust: list[str] = field(default=MISSING, metadata=role("nothing", shared=True, resumable=True, noise=True))
    objective: str = field(default=MISSING, metadata=role("search", noise=True, tasks=TRAIN))
    direction: Annotated[str, OneOf("minimize", "maximize")] = field(
        default=MISSING, metadata=role("search", noise=True, tasks=TRAIN)
    )
    train: Train = field(default_factory=Train, metadata=role("weights", resumable=True, tasks=TRAIN))
    evaluate: Any = field(
        default=MISSING,
        metadata=role("evaluation", shared=True, resumable=True, tasks=("train", "likelihood", "evaluate")),
    )
    figures: Figures = field(
        default_factory=Figures,
        metadata=role("evaluation", shared=True, resumable=True, noise=True, tasks=("train", "compare")),
    )
    hardware: Hardware = field(default_factory=Hardware, metadata=role("nothing", shared=True, resumable=True))
    model: Any = field(default=MISSING, metadata=role("weights", tasks=TRAIN))
    data: Any = field(default=MISSING, metadata=role("weights", INSIDE_DATA, shared=True, tasks=("train", *APPLY)))
    corruption: Any = field(default=MISSING, metadata=role("weights", tasks=TRAIN))
    optimizer: Any = field(default=MISSING, metadata=role("weights", tasks=TRAIN))
    schedule: Any = field(default=MISSING, metadata=role("weights", tasks=TRAIN))
    callbacks: Any = field(default=MISSING, metadata=role("weights", INSIDE_CALLBACKS, resumable=True, tasks=TRAIN))
    logger: Any = field(default=MISSING, metadata=role("nothing", shared=True, resumable=True, noise=True))
    chain: Any = field(default=MISSING, metadata=role("weights", INSIDE_CHAIN, tasks=("train", "stages")))
    dry: bool = field(default=MISSING, metadata=role("nothing", noise=True, tasks=TRAIN))
    why: str | None = field(default=MISSING, metadata=role("nothing", noise=True, tasks=("stages",)))
    delete: list[str] = field(default=MISSING, metadata=role("nothing", noise=True, tasks=("stages",)))
    runs: Any = field(default=MISSING, metadata=role("nothing", noise=True, tasks=("compare", "report", "results")))
    result: str | None = field(default=MISSING, metadata=role("nothing", noise=True, tasks=("verify",)))
    run: str | None = field(
        default=MISSING, metadata=role("nothing", noise=True, tasks=("report", "likelihood", "verify", *APPLY))
    )
    out: str | None = field(default=MISSING, metadata=role("nothing", noise=True, tasks=("report", "results", *APPLY)))
    likelihood: Likelihood = field(
        default_factory=Likelihood, metadata=role("nothing", noise=True, tasks=("likelihood",))
    )
    sample: Sample = field(default_factory=Sample, metadata=role("nothing", noise=True, tasks=("sample",)))
    interpolate: Interpolate = field(
        default_factory=Interpolate, metadata=role("nothing", noise=True, tasks=("interpolate",))
    )
    score: Score = field(default_factory=Score, metadata=role("nothing", noise=True, tasks=("score",)))
    paper: dict[str, Any] | None = field(default=MISSING, metadata=role("nothing", noise=True))
    study: dict[str, Any] | None = field(default=MISSING, metadata=role("nothing", noise=True))


def register() -> None:
    """Put the schema where the defaults list of conf/config.yaml finds it, and the resolvers that name folders."""
    from hydra.core.config_store import ConfigStore

    from aelab.config import folders, quicker

    folders.register()
    quicker.compose_quicker()
    known = ConfigStore.instance().repo.get("schema.yaml")
    if known is None or OmegaConf.get_type(known.node) is not Config:
        ConfigStore.instance().store(name="schema", node=Config)


def untyped() -> list[str]:
    """The root keys whose nodes may hold anything, as far as the schema goes."""
    return [known.name for known in fields(Config) if known.type is Any]


def roles() -> Mapping[str, Role]:
    """Dotted key → role, of every root key and of the keys below it that have one of their own."""
    return _roles_of(Config)


@cache
def _roles_of(schema: Any) -> Mapping[str, Role]:
    return MappingProxyType(dict(_roles(schema, "")))


def _roles(schema: Any, prefix: str) -> Iterator[tuple[str, Role]]:
    for known in fields(schema):
        if "role" in known.metadata:
            yield prefix + known.name, known.metadata["role"]
            yield from ((f"{prefix}{known.name}.{name}", role) for name, role in known.metadata["inside"].items())
        if is_dataclass(known.type):
            yield from _roles(known.type, f"{prefix}{known.name}.")


def role_of(dotted: str) -> Role:
    """The role of a key as it stands in a config: its own, or that of the node it stands in.

    A key that the schema does not know changes the weights, for all that is known of it.
    """
    known = roles()
    while dotted not in known:
        dotted, dot, _ = dotted.rpartition(".")
        if not dot:
            return Role("weights")
    return known[dotted]


def role_of_override(override: str) -> Role:
    """The role of what ``key=value``, ``+key=value``, ``group=option`` or ``group@package=option`` sets."""
    return role_of(place_of(override))


def roots(**asked: Any) -> list[str]:
    """The root keys with a role such as ``shared=True``, in the order of the schema."""
    known = {name: role for name, role in roles().items() if "." not in name}
    return [name for name, role in known.items() if all(getattr(role, word) == value for word, value in asked.items())]


def that_change(what: Changes, node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The part of a plain config whose keys change ``what``: nodes stay nodes, those left empty go."""
    kept = {}
    for name, value in node.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            value = that_change(what, value, f"{dotted}.")
            if value:
                kept[name] = value
        elif role_of(dotted).changes == what:
            kept[name] = value
    return kept
