"""What a person got wrong in a chain, said by the keys that the chain has."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig, OmegaConf

from aelab.config.messages import one_line
from aelab.config.overrides import differences, leaves
from aelab.config.schema import role_of, role_of_override, roots
from aelab.errors import UserError
from aelab.run.plan import Plan

OPEN = {"only", "set"}  # keys of a chain under which any setting of a run may stand


def refuse_what_goes_nowhere(cfg: DictConfig, bare: DictConfig, given: list[str], chain: str) -> None:
    """Raise ``UserError`` for a setting that no stage would see: each has its own model, training and the like.

    ``bare`` is the config with the same options chosen and nothing changed, ``given`` the command's overrides.
    """
    others = [node for node in roots(changes="weights", shared=False) if node != "chain"]
    given = [override for override in given if role_of_override(override).changes == "weights"]
    asked = [override.lstrip("+~").split("=")[0] for override in given]  # also what is as it would be anyway
    changed = [key for node in others for key, _ in differences(bare[node], cfg[node], node)]
    changed = [key for key in changed if role_of(key).changes == "weights"]
    for key in [*(key for key in asked if re.split("[./@]", key)[0] in others), *changed]:
        node, _, rest = key.partition(".")
        settings = f"{node}:{{{rest}:VALUE}}" if rest else f"{node}:{{KEY:VALUE}}"
        raise UserError(
            f"{key}: beside chain={chain} it would reach no stage, for each has its own; set it by the chain's "
            f"own key (chain.pretrain…, chain.finetune…), or for one stage: chain.only={{STAGE:{{{settings}}}}}"
        )
    known = set(dict(leaves(OmegaConf.to_container(bare.chain), "chain")))
    for key, _ in leaves(OmegaConf.to_container(cfg.chain), "chain"):
        if key not in known and not OPEN & set(key.split(".")) and not any(k.startswith(f"{key}.") for k in known):
            raise UserError(f"{key}: no such key; aelab chain={chain} --cfg job -p chain shows what there is")


@contextmanager
def speaking_of(stage: Plan, chain: DictConfig) -> Iterator[None]:
    """What a person can mend in ``stage`` is said of it, by the chain's own keys."""
    try:
        yield
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        raise UserError(f"stage {stage.name}: {in_chain_words(line, stage, chain)}") from error


def in_chain_words(line: str, stage: Plan, chain: DictConfig) -> str:
    """``line`` with the chain's keys for a run's, where a stage says ``key=${chain.…}``; else how to reach them."""
    specs = OmegaConf.to_container(chain, resolve=False)["stages"]
    spec = next(s for s in specs if re.fullmatch(re.escape(s["name"]) + r"\d*", stage.name))
    words = dict(re.findall(r"([\w./]+)=\$\{(chain\.[\w.]+)\}", str(spec)))
    items = re.fullmatch(r"\$\{(chain\.[\w.]+)\}", str(spec.get("for_each")))
    if items:
        words |= {key: items[1] for key in re.findall(r"([\w./]+)=\{item\}", str(spec))}
    for key, word in words.items():
        line = re.sub(rf"(?<![\w.]){re.escape(key)}(?![\w.]*\w)", word, line)
    key = re.match(r"(model|train|corruption|optimizer|schedule)\.([\w.]+): (?!no such key)", line)
    if not key:
        return line
    inner = f"{key[2].replace('.', ':{')}:VALUE" + "}" * key[2].count(".")
    return f"{line} (chain.only={{{stage.name}:{{{key[1]}:{{{inner}}}}}}})"
