"""Settings that the chosen model has no use for: refused, since a run that ignores one looks as if it had obeyed it."""

from collections.abc import Iterable, Mapping
from typing import Any

from aelab.config.overrides import key_typed, place_of, plain
from aelab.config.targets import TARGET, locate
from aelab.errors import UserError
from aelab.runs.plan import Plan

CLEAN = {TARGET: "aelab.functional.corruption.NoCorruption"}  # corruption=none


def refuse_unused(model: Any, given: Iterable[str], options: Mapping[str, Any], stage: str = "") -> None:
    """Raise ``UserError`` for a setting that means nothing to the class of the node ``model``, as its ``ignores`` says.

    ``given`` are overrides, ``options`` the option chosen in each config group: a file may choose one as well as a
    person. ``stage`` is where a stage's groups stand in its chain, such as ``chain.rbm.``.
    """
    kind = locate(plain(model), "model")
    for unused, instead in getattr(kind, "ignores", {}).items():
        where = f"{stage}{unused}"
        said = [word for word in given if f"{place_of(word)}.".startswith(f"{where}.")]
        if unused == "corruption":
            said = [word for word in said if word.partition("=")[2] != "none"]  # which is what such a model has
        chosen = options.get(unused, "none")
        if unused == "corruption" and chosen != "none":
            said.append(f"{unused}@{where}={chosen}" if stage else f"{unused}={chosen}")
        if said:
            remedy = instead.format(rate_key=kind.rate_key)
            raise UserError(f"{key_typed(said[0])}: {kind.__name__} has no use for it; {remedy}")


def without_unused(stage: Plan) -> Plan:
    """``stage`` without the corruption that its chain gives to layers of any kind, if its model has no use for one."""
    ignores = getattr(locate(stage.config["model"], "model"), "ignores", {})
    if "corruption" not in ignores or stage.config["corruption"] == CLEAN:
        return stage
    return stage._replace(config=stage.config | {"corruption": CLEAN}, options=stage.options | {"corruption": "none"})
