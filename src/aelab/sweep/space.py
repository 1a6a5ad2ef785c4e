"""A search space in Hydra's own override syntax, as Optuna's distributions."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from aelab.config.check import misfit, parameters
from aelab.config.targets import TARGET, locate
from aelab.errors import UserError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

TAGS = {"log", "int"}


def search_space(overrides: "list[Override]") -> "tuple[dict[str, BaseDistribution], list[str]]":
    """Split overrides into what is searched, key -> distribution, and what every trial is given as it stands.

    ``a,b``, ``choice(a,b)`` and ``glob(*)`` are categories, kept as the text of the override, so that a list or a
    config group is a category too; ``range(2,64)`` are whole numbers below 64 (with a fraction in it: steps);
    ``interval(1e-4,1e-1)`` is continuous. ``tag(log,...)`` searches the logarithm, ``tag(int,interval(2,64))`` or
    ``int(interval(2,64))`` whole numbers with both ends.

    Raises UserError when nothing is searched, a tag is unknown, or an interval is empty or not positive under ``log``.
    """
    last: dict[str, Override] = {
        override.get_key_element(): override for override in overrides
    }  # the command line comes last and wins
    space = {key: _distribution(key, override) for key, override in last.items() if override.is_sweep_override()}
    if not space:
        raise UserError(
            "hydra.sweeper.params: there is nothing to search; give a range, for instance "
            "'optimizer.lr=tag(log,interval(1e-4,1e-1))' or model.n_code=8,16,32"
        )
    return space, [str(override.input_line) for override in last.values() if not override.is_sweep_override()]


def _distribution(key: str, override: "Override") -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if override.is_choice_sweep():
        return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
    sweep: Any = override.value()  # a RangeSweep or an IntervalSweep
    if unknown := sweep.tags - TAGS:
        raise UserError(f"{key}: unknown tag {', '.join(sorted(unknown))}; there are {', '.join(sorted(TAGS))}")
    log = "log" in sweep.tags
    try:
        if override.is_range_sweep():
            values = sorted(sweep.range())
            step = abs(sweep.step)
            whole = all(isinstance(value, int) for value in values)
            if log and step != 1:
                raise ValueError("tag(log,...) and a step do not go together")
            return (IntDistribution if whole else FloatDistribution)(values[0], values[-1], step=step, log=log)
        if "int" in sweep.tags or isinstance(sweep.start, int):
            return IntDistribution(int(sweep.start), int(sweep.end), log=log)
        return FloatDistribution(sweep.start, sweep.end, log=log)
    except (ValueError, IndexError) as error:
        reason = "is empty" if isinstance(error, IndexError) else str(error).rstrip(".")
        raise UserError(f"{key}: {override.get_value_string()}: {reason}; give a range that holds a value") from error


def refuse_misfits(config: DictConfig, space: "dict[str, BaseDistribution]") -> None:
    """Raise ``UserError`` where an end of a range is nothing that its key may be: else each trial would fail by it.

    ``config`` is that of any trial.
    """
    for key, distribution in space.items():
        parent, _, name = key.lstrip("+").rpartition(".")
        node = OmegaConf.select(config, parent, default=None) if parent else None
        known = parameters(locate(node, parent)) if isinstance(node, DictConfig) and TARGET in node else {}
        for end in ("low", "high") if name in known else ():
            value = getattr(distribution, end, None)  # a category has no ends
            if value is not None and (reason := misfit(value, known[name].annotation)):
                whole = isinstance(value, float) and "int" in reason
                remedy = (
                    "search whole numbers, range(2,65) or tag(int,interval(2,64))" if whole else "give another range"
                )
                raise UserError(f"{key}: {reason}; {remedy}")


def suggest(trial: "Trial", space: "dict[str, BaseDistribution]") -> list[str]:
    """The overrides of one trial; a value that the trial already has (it is a retry) it is given again."""
    return [f"{key}={_one(trial, key, distribution)}" for key, distribution in space.items()]


def _one(trial: "Trial", key: str, distribution: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(key, distribution.choices)
    ask: Any = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
    return ask(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def grid(space: "dict[str, BaseDistribution]") -> dict[str, list[Any]]:
    """Every value of every parameter, for the grid sampler. Raises UserError for a continuous interval."""
    return {key: _values(key, distribution) for key, distribution in space.items()}


def _values(key: str, distribution: Any) -> list[Any]:
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if distribution.step is None:
        raise UserError(f"{key}: a continuous interval has no grid; give values or a range, or another sampler")
    steps = round((distribution.high - distribution.low) / distribution.step)
    return [round(distribution.low + i * distribution.step, 12) for i in range(steps + 1)]
