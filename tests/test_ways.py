"""The fastest way is measured once for a machine, every process goes it, and a person may decide without trying."""

import json
import time

import pytest
import torch

from aelab.rbm import kernels, ways

BIG = (200, 300, 400)


def slow(x):
    time.sleep(0.002)
    return "slow"


def fast(x):
    return "fast"


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("AELAB_CACHE", str(tmp_path))
    monkeypatch.delenv("AELAB_KERNELS", raising=False)
    monkeypatch.setattr(ways, "_chosen", {})


def test_the_fastest_is_taken_and_kept_for_the_machine(tmp_path, monkeypatch):
    assert ways.fastest("p", {"plain": slow, "other": fast}, (0,), BIG) is fast
    kept = json.loads((tmp_path / "kernels.json").read_text())
    assert list(kept.values()) == [{"p 200x300x400": "other"}]
    monkeypatch.setattr(ways, "_chosen", {})  # another process, on which this one now seems to be the slow one
    assert ways.fastest("p", {"plain": fast, "other": slow}, (0,), BIG) is slow


def test_a_tie_is_no_reason_to_change():
    assert ways.fastest("p", {"plain": fast, "other": lambda x: fast(x)}, (0,), BIG) is fast


def test_small_products_go_the_plain_way(tmp_path):
    assert ways.fastest("p", {"plain": slow, "other": fast}, (0,), (10, 10, 10)) is slow
    assert not (tmp_path / "kernels.json").exists()


def test_a_person_decides(monkeypatch):
    monkeypatch.setenv("AELAB_KERNELS", "plain")
    assert ways.fastest("p", {"plain": slow, "other": fast}, (0,), BIG) is slow


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": 3}'])
def test_a_damaged_file_is_measured_again(tmp_path, content):
    (tmp_path / "kernels.json").write_text(content)
    assert ways.fastest("p", {"plain": slow, "other": fast}, (0,), BIG) is fast


def test_where_nothing_can_be_kept_the_way_is_the_plain_one(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AELAB_CACHE", str(tmp_path / "file" / "below"))
    assert ways.fastest("p", {"plain": slow, "other": fast}, (0,), BIG) is slow


def test_all_ways_of_a_difference_agree():
    v0, v1, h0, h1 = torch.rand(40, 30), torch.rand(25, 30), torch.rand(40, 20), torch.rand(25, 20)
    expected = v0.double().t() @ h0.double() / 40 - v1.double().t() @ h1.double() / 25
    for way in kernels.DIFFERENCE.values():
        torch.testing.assert_close(way(v0, h0, v1, h1).double(), expected, atol=1e-6, rtol=1e-5)


def test_under_autocast_products_are_rounded_and_all_else_is_float32():
    x, W, bias = torch.rand(40, 30), torch.randn(30, 20), torch.randn(20)
    plain = kernels.linear(x, W, bias, "sigmoid"), kernels.phase_difference(x, torch.rand(40, 20), x.flip(0), x[:, :20])
    with torch.autocast("cpu", torch.bfloat16):
        mean = kernels.linear(x, W, bias, "sigmoid")
        W_g, h_g, v_g = kernels.phase_difference(x, torch.rand(40, 20), x.flip(0), x[:, :20])
    assert all(t.dtype == torch.float32 for t in (mean, W_g, h_g, v_g))
    torch.testing.assert_close(mean, plain[0], atol=0.02, rtol=0)
    assert not torch.equal(mean, plain[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_rare_unit_is_not_drawn_too_often_in_low_precision(dtype):
    p = torch.full((2_000_000,), 1e-4, dtype=dtype)
    drawn = float(kernels.bernoulli(p).sum())
    assert abs(drawn - 200) < 6 * 200**0.5
