"""The downloader against mirrors on this machine that fail in every way, and what is made once and kept."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from aelab.data import download, kept
from aelab.errors import UserError

GOOD = np.random.default_rng(0).bytes(200_000)
CHECKSUM = "md5:" + hashlib.md5(GOOD).hexdigest()


class Mirrors(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = {"/good": GOOD, "/half": GOOD[:70_000], "/other": GOOD[::-1]}.get(self.path.replace("/cut", "/half"))
        if self.path == "/flaky":  # fails the first time only
            body = GOOD if self.server.asked.count("/flaky") > 1 else None
        if body is None:
            return self.send_error(503)
        self.send_response(200)
        # /cut breaks the connection in the middle, /half is a shorter file served properly.
        self.send_header("Content-Length", str(len(GOOD) if self.path == "/cut" else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirrors)
    server.asked = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    server.urls = lambda *names: [f"http://127.0.0.1:{server.server_port}/{name}" for name in names]
    yield server
    server.shutdown()
    server.server_close()


def find(tmp_path, mirrors, root=None, on=True):
    return download.find("set/file.gz", root, str(tmp_path / "cache"), on, mirrors, CHECKSUM)


def test_the_first_good_mirror_is_taken_and_asked_once(tmp_path, mirror):
    urls = mirror.urls("missing", "cut", "half", "other", "good", "never")
    path = find(tmp_path, urls)
    assert path == tmp_path / "cache/set/file.gz" and path.read_bytes() == GOOD
    assert mirror.asked == ["/missing", "/cut", "/half", "/other", "/good"]
    assert [p.name for p in path.parent.iterdir()] == ["file.gz"]
    assert find(tmp_path, urls) == path and len(mirror.asked) == 5


def test_every_mirror_is_tried_again(tmp_path, mirror):
    assert find(tmp_path, mirror.urls("flaky")).read_bytes() == GOOD
    assert mirror.asked == ["/flaky", "/flaky"]


def test_when_no_mirror_has_it_nothing_is_left_and_one_line_says_why(tmp_path, mirror):
    with pytest.raises(UserError, match=r"^data.root: set/file.gz .*HTTPError; 127.*wrong checksum") as error:
        find(tmp_path, mirror.urls("missing", "half", "cut"))
    assert "\n" not in str(error.value)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_no_network_is_said_in_one_line(tmp_path, mirror):
    urls = mirror.urls("good")
    mirror.shutdown()
    mirror.server_close()
    with pytest.raises(UserError, match=r"^data.root: .*ConnectionError"):
        find(tmp_path, urls)


def test_root_goes_before_the_cache_whatever_its_checksum(tmp_path, mirror):
    find(tmp_path, mirror.urls("good"))
    mine = tmp_path / "root/set/file"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"a variant of my own, unpacked")
    assert find(tmp_path, [], root=str(tmp_path / "root")) == mine


def test_a_damaged_file_in_the_cache_is_fetched_again_or_refused(tmp_path, mirror):
    path = find(tmp_path, mirror.urls("good"))
    path.write_bytes(GOOD[:1000])
    with pytest.raises(UserError, match=r"data.download is false"):
        find(tmp_path, mirror.urls("good"), on=False)
    assert find(tmp_path, mirror.urls("good")).read_bytes() == GOOD


def test_a_cache_that_cannot_be_written_is_named(tmp_path, mirror):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"^data.cache: "):
        find(tmp_path, mirror.urls("good"))
    with pytest.raises(UserError, match=r"^data.cache: "):
        kept.kept(tmp_path / "cache/x.npz", lambda: {"x": np.zeros(3)}, "data.cache", {"x": (3,)})


def test_kept_makes_once_and_gives_the_same_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"x": np.arange(5), "y": np.ones((2, 3))}

    first, second = (
        kept.kept(tmp_path / "deep/x.npz", make, "data.cache", {"x": (5,), "y": (2, None)}) for _ in range(2)
    )
    assert len(made) == 1 and first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("size", [0, 4, 300])
def test_a_kept_file_cut_short_is_made_again(tmp_path, size):
    path = tmp_path / "x.npz"
    fifty = "data.cache", {"x": (50,)}
    kept.kept(path, lambda: {"x": np.arange(50)}, *fifty)
    path.write_bytes(path.read_bytes()[:size])
    assert np.array_equal(kept.kept(path, lambda: {"x": np.arange(50)}, *fifty)["x"], np.arange(50))
    assert np.array_equal(kept.kept(path, dict, *fifty)["x"], np.arange(50))


@pytest.mark.parametrize("crash", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_crash_while_writing_leaves_no_file(tmp_path, monkeypatch, crash):
    def half(file, **arrays):
        file.write(b"PK half of it")
        raise crash

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises((KeyboardInterrupt, UserError)):
        kept.kept(tmp_path / "x.npz", lambda: {"x": np.arange(5)}, "data.cache", {"x": (None,)})
    assert not list(tmp_path.iterdir())
