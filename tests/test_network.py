"""No key, no network and a network that hangs neither stop a run nor delay it by more than 10 s."""

import os
import subprocess
import sys
import time

import pytest
import wandb
from fake_wandb import FakeServer, dead_port
from helpers import aelab, small
from wandb_files import read

from aelab.errors import UserError
from aelab.runs.train import run
from aelab.watch import wandb_start

TINY = (
    "train.epochs=2", "train.batch_size=16", "data.train_size=48", "data.validation=16", "evaluate.probe=null",
    "evaluate.knn=null", "logger=wandb",
)  # fmt: skip
LIMIT = 10.0  # seconds


@pytest.fixture
def server():
    servers = []

    def start(**kind):
        servers.append(FakeServer(**kind))
        return servers[-1]

    yield start
    for started in servers:
        started.close()


@pytest.fixture
def online(monkeypatch):
    """``online(url)``: a made-up key for the server at ``url``, and a wandb that has not been used yet."""
    wandb.teardown()
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", "/dev/null")

    def use(url: str) -> None:
        monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
        monkeypatch.setenv("WANDB_BASE_URL", url)

    yield use
    wandb.teardown()


@pytest.fixture
def seconds(monkeypatch):
    """What beginning and ending a W&B run took, each."""
    taken = []

    def timed(function):
        def wrapper(*args, **keywords):
            begun = time.monotonic()
            try:
                return function(*args, **keywords)
            finally:
                taken.append(time.monotonic() - begun)

        return wrapper

    monkeypatch.setattr(wandb_start, "start", timed(wandb_start.start))
    monkeypatch.setattr(wandb_start, "finish", timed(wandb_start.finish))
    return taken


def address(kind: str, server) -> str:
    """Of a W&B server of the ``kind``."""
    if kind == "refuses the connection":
        return dead_port()
    made = server(knows_the_key=kind != "refuses the key", begins_runs=kind != "hangs once it has answered")
    if kind == "hangs":
        made.silent.set()
    return made.url


@pytest.mark.parametrize("kind", ["refuses the connection", "refuses the key", "hangs", "hangs once it has answered"])
def test_a_server_that_does_not_serve_leaves_an_offline_run(kind, server, online, seconds, tmp_path, capfd):
    url = address(kind, server)
    online(url)
    folder = tmp_path / "run"

    outcome = aelab(capfd, *TINY, f"hydra.run.dir={folder}")

    assert outcome.status == 0, outcome.error
    said = [line for line in outcome.output.splitlines() if line.startswith("W&B")]
    assert len(said) == 1 and url in said[0]
    assert said[0].endswith(f"kept offline, send it later: wandb sync {folder / 'wandb'}")
    assert not [line for line in outcome.error if "wandb" in line], "and nothing of wandb's own"
    assert max(seconds) < LIMIT, seconds
    (part,) = read(folder)
    assert part.epochs_of("val/loss") == [0, 1] and part.exit_code == 0
    assert f"wandb leet {folder / 'wandb'}" in outcome.output


def test_a_server_that_hangs_at_the_end_does_not_keep_the_run(server, online, seconds, tmp_path, capfd):
    there = server()
    online(there.url)
    run(small(*TINY, "train.epochs=1"), tmp_path / "first", "aelab")  # it works
    place = small(*TINY)
    finish = wandb_start.finish

    def falls_silent(*args, **keywords):
        there.silent.set()
        finish(*args, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wandb_start, "finish", falls_silent)
        run(place, tmp_path / "second", "aelab")

    begun = time.monotonic()
    wandb.teardown()
    assert max(seconds) + time.monotonic() - begun < LIMIT, seconds
    said = capfd.readouterr().out
    assert (
        f"does not take the rest of the run; send it later: wandb sync --include-online {tmp_path / 'second'}" in said
    )
    (part,) = read(tmp_path / "second")
    assert part.epochs_of("val/loss") == [0, 1]


def test_online_only_the_page_is_said_and_each_epoch_is_sent_once(server, online, tmp_path, capfd):
    there = server()
    online(there.url)
    folder = tmp_path / "run"
    outcome = aelab(capfd, *TINY, f"hydra.run.dir={folder}", "logger.project=here", "logger.entity=somebody")
    assert outcome.status == 0, outcome.error
    name = (folder / "wandb-id").read_text()
    said = [line for line in outcome.output.splitlines() if line.startswith("W&B")]
    assert said == [f"W&B         {there.url}/somebody/here/runs/{name}"]
    assert not [line for line in outcome.error if "wandb" in line]
    assert [row["epoch"] for row in there.rows if "val/loss" in row] == [0, 1]
    assert there.exit_codes == [0]
    assert {(b["project"], b["entity"], b["name"]) for b in there.buckets if b.get("name")} == {
        ("here", "somebody", name)
    }
    assert "the W&B page above" in outcome.output


def test_without_a_key_runs_are_offline_and_nothing_is_said_of_it(online, tmp_path, capfd):
    run(small(*TINY), tmp_path / "run", "aelab")
    assert "W&B" not in capfd.readouterr().out
    assert len(read(tmp_path / "run")) == 1


def test_the_mode_is_what_was_asked(monkeypatch, tmp_path, online):
    assert wandb_start.wanted("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert wandb_start.wanted("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_start.wanted("auto") == "disabled" and wandb_start.wanted("offline") == "offline"
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(UserError, match="WANDB_MODE: expected online, offline or disabled, got 'sometimes'"):
        wandb_start.wanted("auto")
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    (tmp_path / "netrc").write_text("machine wandb.example.org\n  login user\n  password abc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert wandb_start.api_key() == "abc"


def test_wandb_breaking_down_does_not_stop_a_run(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(wandb.Run, "log", lambda *_, **__: (_ for _ in ()).throw(ConnectionResetError("core is gone")))
    metrics = run(small(*TINY), tmp_path / "run", "aelab")
    assert metrics["test/squared_error"] > 0
    assert "W&B         failed (ConnectionResetError: core is gone); all of the run is in" in capfd.readouterr().out


def test_a_process_ends_at_once_where_the_network_hangs(server, tmp_path):
    """wandb sends what it knows of itself at exit: with a dead network that takes as long as it likes."""
    there = server()
    there.silent.set()
    program = (
        "import sys, time; from pathlib import Path; from aelab.watch import wandb_start as w\n"
        "folder = Path(sys.argv[1]); run = w.start(folder, 'online', {}, 'abcd1234', project='p')\n"
        "w.finish(run, folder, False)\n"
        "print(time.time())"
    )
    own = {k: v for k, v in os.environ.items() if k not in ("WANDB_SERVICE", "WANDB_MODE")}
    own |= {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": there.url}
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], env=own, capture_output=True, text=True, check=True
    )
    assert time.time() - float(done.stdout.splitlines()[-1]) < 6.0
    assert done.stderr == ""
