"""Hydra puts a config together in under half of the time, and puts the same together."""

import functools
import os
import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf, _utils, omegaconf
from omegaconf import __version__ as omegaconf_version
from omegaconf.base import Box
from omegaconf.errors import OmegaConfBaseException

from aelab.config.nodes import Other, copied, node_of, told_their_parents

KNOWN = (hydra.__version__[:4], omegaconf_version[:4]) == ("1.3.", "2.3.")  # the versions whose functions these are
SAYS_MODE = re.compile(r"\+*(hydra\.mode|hydra\.searchpath|hydra=|experiment[=@])")


def compose_quicker() -> None:
    """From here on Hydra does five things of a config once that it does many times; YAML is read and written in C, and
    nodes are made and copied by :mod:`aelab.config.nodes`.

    None of it has a hook, so each is a function of Hydra's or OmegaConf's replaced by one that returns the same. Other
    versions than those keep their own, and their own time.
    """
    if not KNOWN or hasattr(defaults_list._create_interpolation_map, "every"):  # or done before
        return
    defaults_list._create_interpolation_map = _where_needed(defaults_list._create_interpolation_map)
    if hasattr(yaml, "CSafeLoader"):
        _utils.get_yaml_loader = functools.cache(_reading_in_c(_utils.get_yaml_loader))
        omegaconf.get_omega_conf_dumper = functools.cache(_writing_in_c(omegaconf.get_omega_conf_dumper))
    OmegaConf.create = staticmethod(_of_plain_values(OmegaConf.create))  # type: ignore[method-assign]
    Box._re_parent = told_their_parents  # type: ignore[method-assign, assignment]
    for kind in (DictConfig, ListConfig):
        kind.__deepcopy__ = copied  # type: ignore[method-assign, assignment]
    OmegaConf.load = staticmethod(_once(OmegaConf.load))  # type: ignore[method-assign]
    Hydra.get_mode = _where_it_may_be_said(Hydra.get_mode)  # type: ignore[method-assign]
    merged = ConfigLoaderImpl._compose_config_from_defaults_list
    ConfigLoaderImpl._compose_config_from_defaults_list = _once_per_choice(merged)  # type: ignore[method-assign]


def _where_it_may_be_said(composed: Any) -> Any:
    """Whether one run or many: a whole config is put together to read hydra.mode, which few commands can have.

    It stands in an experiment, in a person's own configs, or among the overrides; ``None``, as Hydra has it: nowhere.
    """

    def where_it_may_be_said(hydra: Any, config_name: str | None, overrides: list[str]) -> Any:
        own = any(place.provider == "command-line" for place in hydra.config_loader.get_search_path().get_path())
        if own or any(SAYS_MODE.match(word) for word in overrides):
            return composed(hydra, config_name, overrides)
        return None

    return where_it_may_be_said


def _where_needed(every: Any) -> Any:
    """The choices made so far, listed only for a file whose defaults refer to them, such as ``optimizer: ${model}``."""

    def where_needed(overrides: Any, defaults_list: list[Any], self_added: bool) -> DictConfig:
        if any(default.is_interpolation() for default in defaults_list if not default.is_self()):
            return every(overrides, defaults_list, self_added)
        return OmegaConf.create()

    where_needed.every = every  # type: ignore[attr-defined]
    return where_needed


def _reading_in_c(loader_of: Any) -> Any:
    """OmegaConf's YAML loader, made once, over the C library's parser: its own rules, a twentieth of the time."""

    def loader() -> Any:
        rules = loader_of()

        class Loader(yaml.cyaml.CParser, rules):  # type: ignore[misc, valid-type]
            def __init__(self, stream: Any):
                yaml.cyaml.CParser.__init__(self, stream)
                yaml.constructor.SafeConstructor.__init__(self)
                yaml.resolver.Resolver.__init__(self)

        return Loader

    return loader


def _writing_in_c(dumper_of: Any) -> Any:
    """OmegaConf's YAML dumper over the C library's emitter: the same words, a fifth of the time."""

    def dumper() -> Any:
        class Dumper(yaml.CDumper):
            yaml_representers = dumper_of().yaml_representers

        return Dumper

    return dumper


def _of_plain_values(create: Any) -> Any:
    """``OmegaConf.create``, quicker for what is made of plain values only."""

    def created(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not any(kwargs.values()) and type(args[0]) in (dict, list):  # no parent, no flags
            with suppress(Other, OmegaConfBaseException):  # which OmegaConf takes, or words better
                return node_of(args[0])
        return create(*args, **kwargs)

    return created


def _once(load: Any) -> Any:
    """``OmegaConf.load``, which reads an open file's text once in a process: a copy costs a thirtieth."""
    known: dict[str | bytes, bytes] = {}

    def loaded(file: Any) -> Any:
        if isinstance(file, str | Path):
            return load(file)
        text = file.read()
        if text not in known:
            file.seek(0)
            known[text] = pickle.dumps(load(file))
        return pickle.loads(known[text])

    return loaded


def _once_per_choice(merged: Any) -> Any:
    """The same options, of files that have not changed, are merged once in a process: jobs of a sweep choose them anew.

    A copy takes a twentieth. What a command sets key by key comes after, and is no part of it.
    """
    known: dict[Any, bytes] = {}

    def once_per_choice(loader: Any, defaults: list[Any], repo: Any) -> DictConfig:
        folders = [source.path for source in repo.get_sources() if source.scheme() == "file"]
        schema = ConfigStore.instance().repo.get("schema.yaml")
        key = (
            *(repr(default) for default in defaults),
            *(_state(f"{folder}/{default.config_path}.yaml") for default in defaults for folder in folders),
            *folders,
            None if schema is None else schema.node._metadata.object_type,
        )
        if key not in known:
            known[key] = pickle.dumps(merged(loader, defaults, repo))
        return pickle.loads(known[key])

    return once_per_choice


def _state(path: str) -> tuple[int, int] | None:
    """When a file was last written and how large it is; None where there is none."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
