"""The page of a run: whole in one file, and what is live in it is what the model gives, in a real browser."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import aelab, small
from torch import nn

from aelab.config.build import build
from aelab.models.base import Model
from aelab.results.page.document import Section, Table, document
from aelab.results.page.live import decoder_part
from aelab.runs.folder import load
from aelab.runs.pages import data_of, verdict, write_page

pytestmark = pytest.mark.full_dpi  # how large a page may be is tested
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SIZE = ("train.epochs=2", "data.train_size=300", "logger=csv", "evaluate.probe=null", "evaluate.knn=null")
RUNS = {
    "vae": ("model=vae", "model.n_code=2", "model.network.activation=gelu"),
    "hierarchical_vae": ("model=hierarchical_vae", "model.n_code=2", "data.binarize=threshold"),
    "linear": ("model=linear",),
    "conv": ("model=autoencoder", "model/network=conv"),
    "top_k": ("model=top_k",),
    "rbm": ("model=rbm", "schedule=constant"),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Name → (run folder, page), made when it is asked for."""
    made: dict[str, tuple[Path, Path]] = {}
    root = tmp_path_factory.mktemp("pages")

    def page(name: str, capsys) -> tuple[Path, Path]:
        if name not in made:
            folder = root / name
            outcome = aelab(capsys, *RUNS[name], *SIZE, f"hydra.run.dir={folder}")
            assert outcome.status == 0, outcome.error
            write_page(folder, root / f"{name}.html", trust=[])
            made[name] = folder, root / f"{name}.html"
        return made[name]

    return page


@pytest.fixture(scope="module")
def browser():
    selenium = pytest.importorskip("selenium", reason="needs selenium: pip install 'aelab[dev]'")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs Chromium and its driver (Debian: chromium, chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    assert selenium
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,1400"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def opened(browser, page: Path) -> None:
    """Load the page; nothing goes wrong in it, and it asks nobody for anything."""
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []
    asked = [e["message"] for e in browser.get_log("performance") if "Network.requestWillBeSent" in e["message"]]
    addresses = [url for message in asked for url in re.findall(r'"url":"([^"]{0,200})', message)]
    assert all(url.startswith(("data:", "file:", "about:", "blob:", "chrome:")) for url in addresses), addresses


def part(browser, name: str, value: str) -> np.ndarray:
    return np.array(browser.execute_script(f"return Array.from(aelab.parts['{name}'].{value})"), dtype=np.float32)


def assert_decoded(browser, folder: Path) -> np.ndarray:
    """What is shown is what the model decodes from the code where the cross is."""
    code = part(browser, "code", "code")
    expected = load(folder).decode(torch.from_numpy(code)[None])[0].detach().numpy()
    shown = part(browser, "code", "input")
    np.testing.assert_allclose(shown, expected, atol=1e-3)
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_dragging_shows_what_the_model_decodes(name, pages, browser, capsys):
    from selenium.webdriver import ActionChains, Keys

    folder, page = pages(name, capsys)
    opened(browser, page)
    first = assert_decoded(browser, folder)
    pad = browser.find_element("css selector", "#live-code .pad")
    ActionChains(browser).drag_and_drop_by_offset(pad, 60, -40).perform()
    dragged = assert_decoded(browser, folder)
    assert not np.allclose(first, dragged)
    pad.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert not np.allclose(assert_decoded(browser, folder), dragged)
    sliders = browser.find_elements("css selector", "#live-code .sliders input")
    assert bool(sliders) == (len(part(browser, "code", "code")) > 2)
    if sliders:
        before = part(browser, "code", "code")
        sliders[0].send_keys(Keys.HOME)
        assert (part(browser, "code", "code") != before).sum() == 1
        assert_decoded(browser, folder)


@pytest.mark.slow
def test_the_gibbs_chain_steps_and_starts_again(pages, browser, capsys):
    folder, page = pages("rbm", capsys)
    opened(browser, page)
    x = data_of(folder, trust=[]).test.x[0].numpy()
    np.testing.assert_allclose(part(browser, "chain", "input"), x, atol=1e-6)
    browser.find_element("css selector", "#live-chain [data-do=hundred]").click()
    moved = part(browser, "chain", "input")
    assert not np.allclose(moved, x) and moved.min() >= 0 and moved.max() <= 1
    assert browser.find_element("css selector", "#live-chain output").text == "100"
    browser.find_element("css selector", "#live-chain [data-do=noise]").click()
    assert set(part(browser, "chain", "input")) <= {0.0, 1.0}


def test_pca_s_plane_is_beside_the_code(pages, capsys):
    page = pages("linear", capsys)[1]
    text = page.read_text()
    assert "PCA, 2 components" in text and 'id="live-pca"' in text
    assert page.stat().st_size < 3e6
    assert not re.search(r'(src|href)="(?!data:)', text), "nothing is fetched from elsewhere"


def test_the_command_writes_a_page(pages, capsys, tmp_path):
    folder, _ = pages("linear", capsys)
    outcome = aelab(capsys, "task=report", f"run={folder}", f"out={tmp_path / 'mine.html'}")
    assert outcome.status == 0, outcome.error
    assert "Linear on digits" in (tmp_path / "mine.html").read_text()
    for wrong, key in (((), "run"), ((f"run={tmp_path}",), "run"), ((f"run={folder}", "out=page.pdf"), "out")):
        outcome = aelab(capsys, "task=report", *wrong)
        assert outcome.status == 1 and outcome.error[-1].startswith(f"aelab: {key}: "), outcome.error


@pytest.mark.parametrize(
    "ours, pca, words", [(1.0, 2.0, "50 % below PCA's"), (1.99, 2.0, "PCA is enough"), (3.0, 2.0, "PCA is enough")]
)
def test_the_verdict_is_honest(ours, pca, words):
    assert words in verdict({"test/squared_error": ours, "test/pca_squared_error": pca})


class WithoutDecoder(Model):
    """A person's own: its weights both ways, and no module that decodes."""

    def __init__(self):
        super().__init__((64,), "gaussian")
        self.W = nn.Parameter(torch.randn(64, 3))

    def encode(self, x):
        return x @ self.W

    def output(self, code):
        return code @ self.W.t()


def test_a_model_of_ones_own_need_not_be_live():
    data = build(small("data=digits").data, "data", seed=0, batch_size=16, below=[])
    model = WithoutDecoder()
    assert decoder_part(model, data) is None
    model.decoder = nn.Linear(5, 64)  # of more than the code
    assert decoder_part(model, data) is None
    model.decoder = nn.Linear(3, 64, bias=True)
    model.decoder.weight.data.copy_(model.W.data)
    model.decoder.bias.data.zero_()
    assert decoder_part(model, data)["program"][0]["op"] == "linear"


def test_what_a_person_wrote_cannot_become_a_part_of_the_page():
    nasty = "<script>alert(1)</script>"
    page = document(nasty, nasty, [Section(nasty, nasty, nasty, Table([nasty], [[nasty]]))])
    assert "<script>" not in page
