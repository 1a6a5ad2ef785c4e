"""What to tell a person about an exception: one line, the key and the remedy; nothing for a fault of ours."""

import difflib
import re
from collections.abc import Iterable

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from aelab.config.targets import CONF
from aelab.errors import UserError

GROUP = "GROUP=VALUE: the option of a group is one of its names, see aelab --help"
SHOW = "aelab --cfg job shows every key"
KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}

FREE = re.compile(r"chain\.\w+\.(for_each|first|last)\.")  # below these any key of a stage may be said


def one_line(error: BaseException) -> str | None:
    """The line for ``error``; None for a fault of ours, whose traceback is wanted."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"hydra.run.dir: cannot write{where} ({error.strerror}); free space or give another folder"
    if isinstance(error, MissingConfigException) and "/" in (error.missing_cfg_file or ""):
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        reason = str(error).splitlines()[1 if str(error).startswith("Error parsing") else 0].rstrip(": ")
        return f"{error.override}: cannot be read ({reason}); write key=value and quote spaces, commas and brackets"
    cause = next((e for e in _causes(error) if isinstance(e, OmegaConfBaseException) and e.full_key), None)
    if cause is not None:
        return of_config(cause)
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
        text = "; ".join(line for line in lines if not line.startswith(("object_type", "reference_type")))
        if swept := re.match(r"(Ambiguous value for argument|Sweep parameters) '([^=']+)=(.+?)'(?=;| requires)", text):
            as_list = f", or write {swept[2]}=[{swept[3]}] for one list" if swept[1].startswith("Ambiguous") else ""
            return f"{swept[2]}: {swept[3]} asks for several runs; add -m{as_list}"
        if text.startswith("Error resolving interpolation"):  # as Hydra from 1.4 on puts it
            return GROUP
        key = re.search(r"'([\w./@]+)(=[^']*)?'", text) if isinstance(error, ConfigCompositionException) else None
        return f"{key[1]}: {text}" if key else text
    if isinstance(error, AttributeError):  # OmegaConf puts no mapping in the place of a null one
        empty = re.search(r"^ *full_key: (\S+)", str(error), re.MULTILINE)
        return f"{empty[1]}: a command cannot fill it; a file in conf/experiment can" if empty else None
    if isinstance(error, TypeError) and "hydra/_internal" in _raised_in(error):  # an option that is no text
        return GROUP
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return GROUP
    return None


def of_config(error: OmegaConfBaseException) -> str:
    """What OmegaConf found wrong with the key ``error.full_key``: an unknown key, a wrong type, a missing value."""
    key, text = error.full_key, str(error).splitlines()[0]
    if key == "_dummy_":  # Hydra's own word for the place where it looks an option of a group up
        return GROUP
    if isinstance(error, MissingMandatoryValue):
        return f"{key}: missing; it has no default, add {key}=VALUE"
    if "is not Optional" in text:
        return f"{key}: cannot be null; give a value"
    wrong = re.match(r"Value '(.*)' of type '.*' could not be converted to (\w+)", text)
    if wrong:
        return f"{key}: expected {KINDS.get(wrong[2], wrong[2])}, got {wrong[1]!r}"
    if text.endswith("is not a ListConfig, list or tuple."):
        return f"{key}: expected a list, such as [a,b]"
    if found := re.match(r"Invalid type assigned: \w+ is not a subclass of \w+\. value: (.*)", text):
        return f"{key}: expected settings below it, {key}.KEY=VALUE, got {found[1]}"
    if found := re.match(r"Cannot convert '\w+' to string: '(.*)'", text):
        return f"{key}: expected text, got {found[1]}"
    if "raised while resolving interpolation: " in text:  # the resolver's own words
        text = text.partition("interpolation: ")[2].strip("\"'")
    if re.match(r"Key .* (is not in struct|not in )", text):
        if FREE.match(str(key)):
            return f"{key}: the chain's file does not say it; put a + before the override to add it"
        return f"{key}: no such key{suggest(str(error.key), _keys(error.parent_node))}"
    return f"{key}: {text[0].lower()}{text[1:]}; {SHOW}"


def suggest(name: str, known: Iterable[str]) -> str:
    """The nearest of the ``known`` keys, or all of them, as the end of a message."""
    known = sorted(k for k in known if not k.startswith("_"))
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known keys: {', '.join(known)}" if known else "; this option has none, choose another one of the group"


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    there = error.options or [path.stem for path in sorted((CONF / group).glob("*.yaml"))]
    known = [o for o in there if not o.startswith("_")]
    close = difflib.get_close_matches(option, known, n=1)
    nearest = f"; did you mean {close[0]}?" if close else ";"
    if not known:
        return f"{group}: there is no such group of options; choose one of those that aelab --help lists"
    return f"{group}: there is no {option!r}{nearest} choose one of {', '.join(known)}"


def _keys(node: object) -> list[str]:
    return [str(key) for key in node if key != "hydra"] if isinstance(node, DictConfig) else []


def _raised_in(error: BaseException) -> str:
    """The file whose code raised ``error``."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return "" if place is None else place.tb_frame.f_code.co_filename.replace("\\", "/")


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
