"""The command from Python: the same overrides, the same config, folder and figures, in a script or a notebook."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write

from aelab.app import chosen, leave_no_empty, refuse_unread, trained
from aelab.config.build import resolved
from aelab.config.composing import composed, job_of
from aelab.config.messages import one_line
from aelab.config.overrides import plain, said
from aelab.config.targets import packages
from aelab.errors import UserError
from aelab.runs.applying import load
from aelab.runs.folder import read_config

if TYPE_CHECKING:
    from aelab.models.applied import Applied


@dataclass(frozen=True)
class Run:
    """A finished run or chain: where it lies, what it was asked, and the figures of its test set."""

    folder: Path
    config: DictConfig
    metrics: dict[str, float]

    @cached_property
    def model(self) -> "Applied":
        """What :func:`aelab.load` gives of the folder, with the last weights; loaded when it is first asked for."""
        return load(self.folder, trust=packages(plain(self.config)))


def run(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> Run:
    """Train what the command ``aelab OVERRIDES`` would, a run or a chain, and leave the same folder.

    ``config_dir`` is a folder of a person's own configs, as --config-dir has it. Raises ``UserError``, with the line
    that the command would print.
    """
    with one_line_errors(), composed(overrides, config_dir) as cfg:
        if cfg.task != "train":
            raise UserError(f"task: aelab.run trains, task={cfg.task} is for the command; leave it out")
        if cfg.dry:
            raise UserError("dry: aelab.run hands back what it trained; ask the command what it would do")
        refuse_unread("train")
        was_there = Path(cfg.hydra.run.dir).exists()
        new = new_folder(cfg)
        try:
            folder, metrics = trained(job_of(cfg), new, said(HydraConfig.get().overrides.task))
        finally:
            if not chosen("hydra.run.dir"):
                leave_no_empty(new)
            elif not was_there:
                with suppress(OSError):  # where the run has left something
                    new.rmdir()
        return Run(folder, read_config(folder), metrics)


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> DictConfig:
    """The config that the command ``aelab OVERRIDES`` would run, resolved; nothing is run or written."""
    with one_line_errors(), composed(overrides, config_dir) as cfg:
        return resolved(job_of(cfg))


def new_folder(cfg: DictConfig) -> Path:
    """The folder that hydra.run.dir says, made."""
    folder = Path(cfg.hydra.run.dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with read_write(cfg.hydra), open_dict(cfg.hydra):
        cfg.hydra.runtime.output_dir = str(folder)
    HydraConfig.instance().set_config(cfg)
    return folder


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Whatever a person can mend is raised as ``UserError`` with the command's one line."""
    try:
        yield
    except Exception as error:
        line = one_line(error)
        if isinstance(error, UserError) or line is None:
            raise
        raise UserError(line) from error
