"""chain.also, a folder or a URL: a stage that is whole there is copied once, and that store is left alone."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from omegaconf import OmegaConf
from test_stages import CONFIG, WANTED, Runs, write_stage
from tiny_chain import no_figures, quick, run_tiny  # noqa: F401 - a fixture

from aelab.errors import UserError
from aelab.runs import second_store, stages
from aelab.runs.second_store import SecondStore
from aelab.runs.stages import find_or_run


class Quiet(SimpleHTTPRequestHandler):
    """A web server that tells nobody what it is asked."""

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def there(tmp_path):
    """The folder of the second store."""
    (tmp_path / "also").mkdir()
    return tmp_path / "also"


@pytest.fixture(params=["folder", "url"])
def also(request, there):
    """The second store, and what it calls itself."""
    if request.param == "folder":
        yield SecondStore(str(there))
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(there)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SecondStore(f"http://127.0.0.1:{server.server_address[1]}/")
    server.shutdown()
    server.server_close()


def test_a_stage_of_a_second_store_is_copied_once_and_that_store_is_left_alone(also, there, tmp_path):
    folder = tmp_path / "store" / "made-key"
    runs = Runs()

    def find() -> stages.Stage:
        return find_or_run(folder, WANTED, False, runs, runs.said.append, also.bring)

    assert not also.has(folder.name, WANTED)
    assert not find().found and runs.calls == [False], "nothing is there"
    shutil.rmtree(folder)

    Runs(3.0).find(there / folder.name)
    (there / folder.name / "picture.png").symlink_to(tmp_path / "secret")
    before = {path: path.lstat().st_mtime_ns for path in there.rglob("*")}
    assert also.has(folder.name, WANTED)
    assert find() == stages.Stage(folder, "key", {"test/loss": 3.0}, {}, found=True)
    assert find().found and runs.said == [f"copied from {also.where(folder.name)}"] and len(runs.calls) == 1
    assert not (folder / "picture.png").is_symlink()
    assert {path: path.lstat().st_mtime_ns for path in there.rglob("*")} == before


@pytest.mark.parametrize("wrong", ["cut", "other settings", "no mapping", "not finished"])
def test_what_is_not_whole_or_another_one_is_not_copied(also, there, tmp_path, wrong):
    folder = tmp_path / "store" / "made-key"
    stage = there / folder.name
    write_stage(stage, 3.0)
    if wrong == "cut":
        content = (stage / "last.ckpt").read_bytes()
        (stage / "last.ckpt").write_bytes(content[: len(content) // 2])
    elif wrong == "no mapping":
        (stage / "config.yaml").write_text(OmegaConf.to_yaml(CONFIG | {"data": "text"}))
    elif wrong == "other settings":
        (stage / "config.yaml").write_text(OmegaConf.to_yaml(CONFIG | {"seed": 1}))
    else:
        (stage / "metrics.json").unlink()
    runs = Runs()
    assert not find_or_run(folder, WANTED, False, runs, runs.said.append, also.bring).found
    assert runs.calls == [False] and runs.said == []
    assert sorted(path.name for path in folder.parent.iterdir()) == [".made-key.lock", "made-key"]


@quick
@pytest.mark.parametrize("also", ["url"], indirect=True)
def test_a_chain_finds_its_stages_at_a_url(capsys, tmp_path, also, there, no_figures):  # noqa: F811
    run_tiny(capsys, tmp_path, f"chain.store={there}", name="first")
    told = run_tiny(capsys, tmp_path, f"chain.also={also.place}", "dry=true", name="second").outcome
    assert told.output.count("to copy") == 3 and f"{also.place}rbm-" in told.output
    done = run_tiny(capsys, tmp_path, f"chain.also={also.place}", name="second").outcome
    assert done.status == 0 and done.output.count("copied from http://") == 3


@pytest.mark.parametrize(
    ("place", "reason"),
    [("http://127.0.0.1:9/store", "try again"), ("nowhere://store", "give a folder"), ("/no/such/folder", "no folder")],
)
def test_a_store_that_nobody_can_read_is_one_line(place, reason):
    with pytest.raises(UserError, match=rf"^chain\.also: .*{reason}"):
        store = second_store.of(OmegaConf.create({"chain": {"also": place}}))
        store.has("made-key", WANTED)
