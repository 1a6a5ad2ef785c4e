"""What a chain will do: conf/chain's stages spelled out, one ordinary run each."""

from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from aelab.config.overrides import flattened
from aelab.errors import UserError

STAGE_KEYS = {"name", "for_each", "overrides", "first", "last", "when", "baseline"}


class Plan(NamedTuple):
    """One stage before it is run: ``below`` is the name of the stage it stands on; a baseline is only compared with."""

    name: str
    overrides: list[str]
    below: str | None
    baseline: bool


def plan(chain: DictConfig) -> list[Plan]:
    """The stages in order, repeated ones spelled out (name1, name2, …), with all their overrides."""
    chain = OmegaConf.to_container(chain, resolve=True)
    check_widths(chain.get("widths", [1]))
    only = chain["only"] or {}
    if not isinstance(only, dict) or not all(isinstance(settings, dict) for settings in only.values()):
        raise UserError(f"chain.only: expected {{STAGE: {{node: {{key: value}}}}}}, got {only}")
    plans: list[Plan] = []
    for spec in chain["stages"]:
        unknown = set(spec) - STAGE_KEYS
        if unknown:
            raise UserError(
                f"chain.stages: a stage has no {sorted(unknown)[0]!r}, only {', '.join(sorted(STAGE_KEYS))}"
            )
        if not {"name", "overrides"} <= set(spec):
            raise UserError(f"chain.stages: a stage needs a name and overrides, got {spec}")
        if not spec.get("when", True):
            continue
        items = spec.get("for_each", [None])
        if not isinstance(items, list) or not items:
            raise UserError(
                f"chain.stages: for_each of {spec['name']} needs a list of at least one item, got {items!r}"
            )
        for i, item in enumerate(items):
            name = spec["name"] if item is None else f"{spec['name']}{i + 1}"
            parts = [spec["overrides"], spec.get("first") if i == 0 else None]
            parts += [spec.get("last") if i == len(items) - 1 else None, only.get(name)]
            overrides = [text.replace("{item}", str(item)) for text in flattened(parts)]
            learned = [p.name for p in plans if not p.baseline]
            baseline = bool(spec.get("baseline", False))
            below = plans[-1].below if baseline else (learned[-1] if learned else None)
            plans.append(Plan(name, overrides, below, baseline))
    unknown = set(only) - {p.name for p in plans}
    if unknown:
        raise UserError(f"chain.only: no stage {sorted(unknown)[0]!r}; there are {', '.join(p.name for p in plans)}")
    return plans


def check_widths(widths: Any) -> None:
    if not isinstance(widths, list) or not widths or any(type(width) is not int or width < 1 for width in widths):
        raise UserError(
            f"chain.widths: expected at least one layer, each of at least 1 unit, as [256,64,8]; got {widths}"
        )
