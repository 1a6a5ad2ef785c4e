"""The table of costs: each of its contenders trains, ratios and bars are what they say, and the picture is drawn."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).with_name("benchmarks")))

import contenders
import growth
import table

WIDTHS = {"rbm": (784, 12), "vae": (784, 12, 3), "ae": (784, 12, 6, 3)}
HERE = [
    (kind, name)
    for kind, named in contenders.CONTENDERS.items()
    for name in table.taking_part(kind, [], bf16=True)
    if name in named
]


def tiny(kind: str) -> contenders.Work:
    return contenders.WORKS[kind]._replace(layers=WIDTHS[kind], batch=20, rows=90)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of images for each kind of work."""
    root = tmp_path_factory.mktemp("costs")
    for kind in contenders.WORKS:
        contenders.write_data(root / kind, tiny(kind))
    return root


@pytest.mark.parametrize("kind, name", HERE, ids=[f"{kind}, {name}" for kind, name in HERE])
def test_every_contender_trains_an_epoch_when_it_is_asked(kind, name, data):
    if "oneDNN" in name and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    if "oneDNN, bf16" in name and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no instructions for bf16")
    seconds = []
    lap = contenders.Laps(iter(range(2)), seconds.append)
    with pytest.raises(contenders.Done):
        contenders.CONTENDERS[kind][name](tiny(kind), data / kind, lap)
    assert len(seconds) == 2 and min(seconds) > 0


def test_the_floor_has_the_products_of_an_update_and_no_others():
    """Of each layer forward, its weights' slopes, and its input's but for the first: counted by hand."""
    for kind, multiplications in (
        ("rbm", 5 * 784 * 12),
        ("vae", 3 * (784 * 12 + 12 * 6 + 3 * 12 + 12 * 784) - 784 * 12),
        ("ae", 3 * 2 * (784 * 12 + 12 * 6 + 6 * 3) - 784 * 12),
    ):
        pairs = contenders.factors(tiny(kind))
        assert sum(len(a) * a.shape[1] * b.shape[1] for a, b in pairs) == 20 * multiplications


def test_a_contender_in_a_process_of_its_own_answers_each_round(tmp_path):
    costs = table.measured(tiny("vae"), ["products alone, torch", "no such thing"], 2, tmp_path / "data")
    assert list(costs) == ["products alone, torch"]
    seconds, mib = costs["products alone, torch"]
    assert seconds > 0 and 20 < mib < 20_000


COSTS = {
    "products alone, torch": (3.0, 200.0),
    "products alone, oneDNN": (2.0, 200.0),
    "products alone, torch, bf16": (1.0, 200.0),
    "aelab": (2.7, 400.0),
    "aelab, bf16": (2.0, 400.0),
    contenders.NAIVE: (6.0, 300.0),
    "rbms": (12.0, 500.0),
}


def test_ratios_are_to_the_faster_library_in_the_same_precision():
    rows = {row["contender"]: row for row in table.rows_of(contenders.WORKS["rbm"]._replace(rows=60_000), COSTS)}
    assert (rows["aelab"]["× the floor"], rows["aelab"]["× naive"]) == ("1.35", "0.45")
    assert rows["aelab, bf16"]["× the floor"] == "2.00"
    assert rows["aelab"]["ms per update"] == "4.50"  # 2.7 s of 600


def test_bars_are_held_or_missed_by_how_much():
    work, bars = contenders.WORKS["rbm"], table.BARS["rbm"]
    said = {row["bar"]: row[""] for row in table.verdicts(work, bars, COSTS, amd=False)}
    assert said == {
        "aelab ≤ 1.30 × the floor": "missed by 0.050",
        "aelab ≤ 0.33 × rbms": "held",
        "aelab ≤ 0.33 × learnergy": "not measured here",
        "aelab, bf16 ≤ 0.45 × PyTorch, naive": "held",
        "aelab, bf16 ≤ 2.20 × the floor in bf16": "held",
    }
    (on_amd,) = [row for row in table.verdicts(work, bars, COSTS, amd=True) if "rbms" in row["bar"]]
    assert on_amd == {
        "work": "CD-1 784-500", "bar": "aelab ≤ 0.22 × rbms", "measured": "0.225", "": "missed by 0.005",
    }  # fmt: skip


def test_costs_that_were_kept_are_not_measured_again(tmp_path, monkeypatch, capsys):
    kept, readme = tmp_path / "costs.json", tmp_path / "README.md"
    named = {"products alone, torch": (1.0, 9.0), "aelab": (2.0, 9.0), contenders.NAIVE: (2.5, 9.0)}
    kept.write_text(json.dumps({kind: ["some processor", 100, 2, named] for kind in table.WORKS}))
    begin, end_of_table = table.place_in_readme()
    other = f"{begin.replace(table.maker(), 'Another')}\nof another\n{end_of_table.replace(table.maker(), 'Another')}\n"
    readme.write_text(f"before\n{begin}\nold\n{end_of_table}\n{other}after\n")
    monkeypatch.setattr(table, "TO_INSTALL", {})
    monkeypatch.setattr(sys, "argv", ["table.py", "--kept", str(kept), "--readme", str(readme)])
    with pytest.raises(SystemExit) as end:
        table.main()
    text = readme.read_text()
    assert end.value.code == 1  # CD-1 takes twice the floor
    assert text.startswith("before\n") and text.endswith(f"{other}after\n") and "old" not in text
    assert "| CD-1 784-500 | aelab ≤ 1.30 × the floor | 2.000 | missed by 0.700 |" in text
    assert text.count("some processor") == 1
    assert "bf16 is left out" in capsys.readouterr().out or table.bf16_costs() <= 1


def test_every_bar_is_about_contenders_that_there_are():
    for kind, bars in table.BARS.items():
        for bar in bars:
            assert {bar.contender, bar.against} <= {*contenders.CONTENDERS[kind], table.FLOOR, table.FLOOR_BF16}


def test_growth_is_measured_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "STEPS", 3)
    monkeypatch.setattr(growth, "WORKS", {kind: tiny(kind) for kind in contenders.WORKS})
    lines = growth.grown("images per batch", (10, 20), 1, tmp_path)
    assert [name.split(", ")[1] for name in lines] == ["aelab", "PyTorch"] * 2
    assert all([at for at, _ in points] == [10, 20] and min(ms for _, ms in points) > 0 for points in lines.values())
    sheet = growth.picture({**dict.fromkeys(growth.PANELS, lines), growth.ACROSS: lines}, "here")
    assert len(sheet.axes) == 4
    assert all("ms" in axes.get_ylabel() and axes.get_xlabel() for axes in sheet.axes)


def test_the_cpu_time_of_all_ranks_is_added(tmp_path):
    for rank, moments in enumerate(([1.0, 3.0, 4.0], [10.0, 12.5, 20.0])):
        (tmp_path / f"rank{rank}.txt").write_text("".join(f"{moment}\n" for moment in moments))
    assert growth.sum_of_least(tmp_path) == 1.0 + 2.5
