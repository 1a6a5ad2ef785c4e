"""What a chain would do, before it does it: each stage found in the store or to be run, and why it is a new one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from aelab.config.overrides import leaves, plain, quoted
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs import stages
from aelab.runs.plan import Plan
from aelab.runs.rehearsal import rehearse
from aelab.runs.second_store import SecondStore
from aelab.runs.sources import Sources
from aelab.runs.store import is_stage

WORDS = {  # of the states of a stage's folder
    "absent": "to run", "damaged": "to run", "stopped": "to go on", "unmeasured": "to measure", "finished": "found",
}  # fmt: skip
MOST = 3  # differences that are said; of more, how many


class Forecast(NamedTuple):
    """One stage: what will be done, where, and what its key differs in from the nearest stage that is there."""

    name: str
    what: str
    place: Path | str
    why: str


def forecast(name: str, place: Path, wanted: stages.Wanted, fresh: bool, also: SecondStore | None) -> Forecast:
    """Of a stage whose folder is ``place``; nothing is written."""
    state = "absent" if fresh else stages.state_of(place, wanted)
    if state == "absent" and not fresh and also is not None and also.has(place.name, wanted):
        return Forecast(name, "to copy", also.where(place.name), "")
    why = why_new(place, plain(wanted.cfg)) if state == "absent" and not fresh else ""
    return Forecast(name, WORDS[state], place, why)


def why_new(place: Path, config: dict[str, Any]) -> str:
    """What tells the stage of ``config``, whose folder is or would be ``place``, from the nearest one beside it."""
    kind, _, _ = place.name.rpartition("-")
    others = [folder for folder in sorted(place.parent.glob(f"{kind}-*")) if folder != place and is_stage(folder)]
    known = [(list(differences(config, said)), folder.name) for folder, said in read(others)]
    if not known:
        return f"no other {kind} is there"
    differ, nearest = min(known, key=lambda one: len(one[0]))
    if not differ:
        return f"nearest is {nearest}, with the same settings and other data or weights below"
    more = f" and {len(differ) - MOST} more" if len(differ) > MOST else ""
    return f"nearest is {nearest}, with {', '.join(differ[:MOST])}{more}"


def read(folders: list[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each folder and its settings; those that cannot be read are passed over."""
    for folder in folders:
        try:
            yield folder, run_folder.read_settings(folder, "chain.store")
        except UserError:
            continue


def differences(mine: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """``key=THERE (here HERE)`` of every setting that can change the weights, and the stage below, if it is another."""
    here, there = (dict(leaves(stages.of_weights(config))) for config in (mine, other))
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):
            yield f"{key}={quoted(there.get(key))} (here {quoted(here.get(key))})"
    stands_here, stands_there = (Path(str(config.get("below"))).name for config in (mine, other))
    if stands_here != stands_there:
        yield f"below={stands_there} (here {stands_here})"


def why(run: Path, store: Path) -> list[Forecast]:
    """The same of what has been run: each stage of a chain's folder, or a single stage's."""
    if not run.exists():
        raise UserError(f"why: there is no folder {run}; give that of a chain or of a stage")
    parts = sorted((run / "stages").glob("*-*"), key=lambda path: (len(path.name.partition("-")[0]), path.name))
    named = {path.name.partition("-")[2]: path.resolve() for path in parts} or {run.name: run.resolve()}
    if not parts and not is_stage(run):
        raise UserError(f"why: {run} is no chain's folder and no stage; an ordinary run has no key")
    found = []
    for name, folder in named.items():
        said = run_folder.read_settings(folder, "why")
        place = folder if folder.parent == store.resolve() else store.resolve() / folder.name
        found.append(Forecast(name, WORDS[stages.state_of(folder)], folder, why_new(place, said)))
    return found


def of_run(cfg: DictConfig, folder: Path) -> Forecast:
    """The same of an ordinary run, after all that can be wrong in it was looked for as in a chain's stage."""
    name = str(cfg.model._target_).rpartition(".")[2]
    if cfg.resume is None and cfg.below is None and cfg.start_from is None:
        rehearse([Plan(name, plain(cfg), {}, [], name, None, False)], Sources(), folder)
    done = cfg.resume is not None and (folder / "metrics.json").exists()
    return Forecast(name, "found" if done else "to go on" if cfg.resume is not None else "to run", folder, "")
