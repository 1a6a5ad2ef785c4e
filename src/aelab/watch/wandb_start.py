"""Begin and end a W&B run so that no missing key, no network and no hanging one stops or delays training."""

import base64
import contextlib
import json
import netrc
import os
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse

from aelab import log
from aelab.watch import conventions

if TYPE_CHECKING:
    from wandb import Run

ANSWER_SECONDS = 3.0  # that the server has to say who we are, before the run is begun
INIT_SECONDS = 3.0  # and then to begin it
FINISH_SECONDS = 6.0  # and to take what is left at the end
APPLY_STAGED = "_detect_and_apply_job_inputs"  # what a beginning run does with inputs that W&B Launch staged
AGENT = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")  # set by wandb agent: whose run this is


def start(folder: Path, mode: str, config: dict[str, Any], run_id: str, **about: Any) -> "Run":
    """A run of ``config`` whose files lie in ``folder``/wandb; ``about`` is project, entity, name, group, job_type …

    What is null or empty in it is as W&B's own variables say (:mod:`aelab.watch.conventions`).

    ``mode`` is online, offline or disabled; where the server does not answer, online is offline too, and says so.
    Under ``wandb agent`` the run is the agent's: its id, project and entity count.
    """
    import wandb

    hush()
    about = conventions.filled(about, {"project": "aelab"})
    agent: dict[str, Any] = {}
    if has_agent():
        agent = {"sweep_id": os.environ["WANDB_SWEEP_ID"], "run_id": os.environ.get("WANDB_RUN_ID", run_id)}
        about |= {key: os.environ.get(f"WANDB_{key.upper()}", about.get(key)) for key in ("project", "entity")}
    else:
        about["id"] = run_id
    quiet: dict[str, Any] = {"silent": True, "console": "off", "disable_git": True, "disable_code": True, **agent}
    about |= {"dir": folder, "config": config, "resume": "allow", "reinit": "finish_previous"}
    before = set(folder.glob("wandb/run-*"))
    trouble = None if mode != "online" else unreachable()
    if mode == "online" and trouble is None:
        patience: dict[str, Any] = {"init_timeout": INIT_SECONDS, "finish_timeout": FINISH_SECONDS}
        patience["finish_timeout_raises"] = True
        try:
            run = wandb.init(mode="online", settings=wandb.Settings(**quiet, **patience), **about)
            log.say(f"W&B         {run.url}")
            return run
        except (wandb.Error, TimeoutError) as error:
            trouble = f"{host()}: {str(error).strip().splitlines()[0][:160]}"
            wandb.teardown()
            for begun in set(folder.glob("wandb/run-*")) - before:
                shutil.rmtree(begun, ignore_errors=True)
    if trouble is not None:
        log.say(f"W&B         {trouble}; this run is kept offline, send it later: {to_send(folder)}")
    apart: Literal["disabled", "offline"] = "disabled" if mode == "disabled" else "offline"
    return wandb.init(mode=apart, settings=wandb.Settings(**quiet), **about)


def finish(run: "Run", folder: Path, failed: bool) -> None:
    """End ``run``, failed or not; what the server did not take in time stays on disk to be sent."""
    try:
        run.finish(exit_code=1 if failed else 0)
    except TimeoutError:
        later = to_send(folder, online=True)
        log.say(f"W&B         {host()} does not take the rest of the run; send it later: {later}")


def hush() -> None:
    """Nothing of wandb's own in the terminal; no telemetry, which is sent at exit, offline too, and may hang there."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    with contextlib.suppress(ImportError):  # where this version of wandb has it
        from wandb.analytics.opentelemetry.opentelemetry_proxy import disable

        disable()
    no_launch()
    list_packages_once()


def no_launch() -> None:
    """Let a run begin without W&B Launch, a second of imports, where nobody has loaded it to stage inputs of a job."""
    from wandb.sdk.wandb_run import Run

    apply = getattr(Run, APPLY_STAGED, None)  # where this version of wandb has it
    if apply is None or getattr(apply, "where_loaded", False):
        return

    def where_loaded(run: "Run") -> None:
        if "wandb.sdk.launch.inputs.internal" in sys.modules:
            apply(run)

    where_loaded.where_loaded = True  # type: ignore[attr-defined]  # so that it is not wrapped twice
    setattr(Run, APPLY_STAGED, where_loaded)


def list_packages_once() -> None:
    """Let W&B list what is installed, which it notes beside each run, once per process: that takes it .1 s."""
    import wandb.util

    installed = getattr(wandb.util, "working_set", None)  # where this version of wandb has it
    if installed is not None and not hasattr(installed, "cache_info"):
        wandb.util.working_set = cache(lambda: tuple(installed()))


def wanted(mode: str) -> str:
    """online, offline or disabled: as ``mode`` says, or if it is ``auto`` W&B's own setting, or whether there is a key.

    Raises ``UserError`` for a word in WANDB_MODE that is no mode.
    """
    if mode != "auto":
        return mode
    return conventions.mode() or ("online" if api_key() else "offline")


def to_send(folder: Path, online: bool = False) -> str:
    """The command that sends all that is offline in a run folder, or what an online run there has left."""
    return f"wandb sync {'--include-online ' if online else ''}{folder / 'wandb'}"


def host() -> str:
    """Address of the W&B server, as the environment or wandb's own settings file has it."""
    import wandb

    return os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url


def api_key() -> str | None:
    """The key that wandb would find without asking for one, in the environment or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return os.environ["WANDB_API_KEY"]
    try:
        known = netrc.netrc(os.environ.get("NETRC")).authenticators(urlparse(host()).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return None
    return known[2] if known else None


def unreachable() -> str | None:
    """Why the server would not take a run now, or None; known within ``ANSWER_SECONDS``, however the network hangs."""
    key = api_key()
    if key is None:
        return "there is no key (wandb login)"
    answer: list[str | None] = []
    ask = threading.Thread(target=lambda: answer.append(refusal(host(), key)), daemon=True)  # a name server hangs too
    ask.start()
    ask.join(ANSWER_SECONDS)
    return answer[0] if answer else f"{host()} does not answer"


def refusal(url: str, key: str) -> str | None:
    """Ask the server whose key this is; what it, or the network, has against it, or None."""
    login = base64.b64encode(f"api:{key}".encode()).decode()
    request = urllib.request.Request(
        f"{url.rstrip('/')}/graphql",
        json.dumps({"query": "query { viewer { id } }"}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Basic {login}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
            viewer = (json.load(response).get("data") or {}).get("viewer")
    except urllib.error.HTTPError as error:
        return f"{url} says {error.code} {error.reason}"
    except (OSError, ValueError, AttributeError) as error:
        return f"{url} cannot be reached ({getattr(error, 'reason', None) or error or type(error).__name__})"
    return None if viewer else f"{url} does not know this key"


@contextlib.contextmanager
def harmless(folder: Path) -> Iterator[None]:
    """Whatever is wrong with W&B or its process inside is said in one line and never stops a run."""
    try:
        yield
    except Exception as error:  # wandb passes on what its sockets, its process and its server raise
        reason = (str(error).strip().splitlines() or [""])[0][:160]
        log.warn(f"W&B         failed ({type(error).__name__}: {reason}); all of the run is in {folder} too")


def has_agent() -> bool:
    """Whether ``wandb agent`` started this process, and waits for one run of a sweep."""
    return "WANDB_SWEEP_ID" in os.environ


@contextlib.contextmanager
def away_from_agent() -> Iterator[None]:
    """Runs begun inside are their own and not the one that ``wandb agent`` waits for: the stages of a chain."""
    hidden = {name: os.environ.pop(name) for name in AGENT if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
