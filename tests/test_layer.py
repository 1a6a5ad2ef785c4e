"""Means up and down a stack, and the file that hands it on."""

import os
import pickle
import zipfile

import pytest
import torch

from aelab.errors import UserError
from aelab.rbm.layer import (
    Layer,
    _digest,
    check_fit,
    decode_through,
    encode_all,
    encode_through,
    load_layers,
    save_layers,
)


def stack():
    g = torch.Generator().manual_seed(5)
    normal = lambda *shape: 0.5 * torch.randn(*shape, generator=g)  # noqa: E731
    return [
        Layer(normal(7, 5), normal(5), normal(7), "bernoulli", "gaussian", normal(7)),
        Layer(normal(5, 4), normal(4), normal(5), "relu", "bernoulli"),
        Layer(normal(4, 2), normal(2), normal(4), "gaussian", "relu"),
    ]


def test_encoding_and_decoding_are_the_means_written_out():
    layers, x = stack(), torch.randn(6, 7)
    one, two, three = layers
    h = torch.sigmoid((x / one.log_var_visible.exp()) @ one.W + one.b_hidden)
    code = torch.relu(h @ two.W + two.b_hidden) @ three.W + three.b_hidden
    torch.testing.assert_close(encode_through(layers, x), code)
    down = torch.sigmoid(torch.relu(code @ three.W.T + three.b_visible) @ two.W.T + two.b_visible)
    torch.testing.assert_close(decode_through(layers, code), down @ one.W.T + one.b_visible)


def test_gradients_pass_through_a_stack():
    x = torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    layers = [layer.to(torch.float64) for layer in stack()]
    assert torch.autograd.gradcheck(lambda x: encode_through(layers, x), x)


def test_encoding_in_pieces_is_encoding_at_once():
    layers, x = stack(), torch.randn(23, 7)
    torch.testing.assert_close(encode_all(layers, x, batch=5), encode_through(layers, x))
    assert encode_all([], x) is x


def test_a_file_gives_back_what_was_saved(tmp_path):
    layers = stack()
    layers[0] = layers[0]._replace(W=torch.nn.Parameter(layers[0].W.t().contiguous().t()))  # as a model holds it
    layers[1] = layers[1]._replace(W_down=torch.randn(5, 4))
    save_layers(tmp_path / "a.pt", layers)
    save_layers(tmp_path / "b.pt", load_layers(tmp_path / "a.pt"))
    for saved, loaded in zip(layers, load_layers(tmp_path / "b.pt")):
        assert saved[3:5] == loaded[3:5]
        for a, b in zip(saved[:3] + saved[5:], loaded[:3] + loaded[5:], strict=True):
            assert (a is None and b is None) or (torch.equal(a, b) and not b.requires_grad)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.pt", "b.pt"]


def test_a_file_from_before_layers_had_weights_down_is_read(tmp_path):
    layers = stack()
    old = [{name: value for name, value in layer._asdict().items() if name != "W_down"} for layer in layers]
    torch.save({"format": "aelab.layers.1", "digest": _digest(old), "layers": old}, tmp_path / "a.pt")
    for mine, loaded in zip(layers, load_layers(tmp_path / "a.pt"), strict=True):
        assert torch.equal(mine.W, loaded.W) and loaded.W_down is None and mine[3:5] == loaded[3:5]
    torch.save({"format": "aelab.layers.3", "digest": _digest(old), "layers": old}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"format 'aelab\.layers\.3'"):
        load_layers(tmp_path / "a.pt")


def test_weights_down_are_those_of_decoding_alone():
    layers, x, code = stack(), torch.randn(6, 7), torch.randn(6, 2)
    untied = [layer._replace(W_down=torch.zeros_like(layer.W)) for layer in layers]
    torch.testing.assert_close(encode_through(untied, x), encode_through(layers, x))
    torch.testing.assert_close(decode_through(untied, code), layers[0].b_visible.expand(6, -1))


def test_a_cut_or_altered_file_is_refused_in_one_line(tmp_path):
    layers = stack()
    save_layers(tmp_path / "a.pt", layers)
    whole = (tmp_path / "a.pt").read_bytes()
    numbers = whole.index(layers[1].W.numpy().tobytes())
    altered = bytearray(whole)
    altered[numbers + 2] ^= 1  # one bit of a weight
    for content in (b"", whole[:100], whole[:-1], bytes(altered), b"weights", pickle.dumps([1], protocol=2)):
        (tmp_path / "b.pt").write_bytes(content)
        with pytest.raises(
            UserError, match=r"below: .*b\.pt is damaged or no layer file.*run that stage again"
        ) as error:
            load_layers(tmp_path / "b.pt")
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="does not exist"):
        load_layers(tmp_path / "c.pt")


def test_a_file_executes_nothing(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"format": "aelab.layers.1", "layers": Hostile()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="below"):
        load_layers(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()


def test_a_layer_of_one_unit_is_handed_on(tmp_path):
    """Its column of weights lies in memory in a way of its own."""
    for W in (torch.randn(1, 5).T, torch.randn(5, 1), torch.randn(1, 5)):
        visible, hidden = W.shape
        save_layers(tmp_path / "a.pt", [Layer(W, torch.zeros(hidden), torch.zeros(visible), "bernoulli", "bernoulli")])
        assert load_layers(tmp_path / "a.pt")[0].W.equal(W)


def test_a_file_asks_for_no_more_memory_than_it_takes(tmp_path):
    zeros = torch.zeros(1)
    for bomb in (zeros.expand(10**7, 10**6), torch.sparse_coo_tensor(torch.zeros(2, 1), zeros, (10**9, 10**9))):
        fields = stack()[0]._asdict() | {"W": bomb}
        torch.save({"format": "aelab.layers.2", "digest": "", "layers": [fields]}, tmp_path / "a.pt")
        assert (tmp_path / "a.pt").stat().st_size < 10_000
        with pytest.raises(UserError, match="fewer numbers than it says"):
            load_layers(tmp_path / "a.pt")
    save_layers(tmp_path / "a.pt", stack())
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as whole,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as b,
    ):
        for name in whole.namelist():
            b.writestr(name, whole.read(name))
    with pytest.raises(UserError, match="it is packed"):
        load_layers(tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"W": torch.full((5, 4), float("nan"))}, "W is not a tensor of finite numbers"),
        ({"b_hidden": torch.zeros(3)}, "b_hidden has shape"),
        ({"b_visible": "zeros"}, "b_visible is not a tensor"),
        ({"hidden": "softmax"}, "unit types 'softmax'"),
        ({"W_down": torch.zeros(4, 5)}, "W_down has shape"),
        ({"W_down": torch.full((5, 4), float("inf"))}, "W_down is not a tensor of finite numbers"),
    ],
)
def test_layers_that_make_no_sense_are_refused(tmp_path, change, reason):
    layers = stack()
    save_layers(tmp_path / "a.pt", [layers[0], layers[1]._replace(**change)])
    with pytest.raises(UserError, match=reason):
        load_layers(tmp_path / "a.pt")


def test_widths_that_do_not_fit_are_named(tmp_path):
    layers = stack()
    with pytest.raises(UserError, match=r"chain\.widths: layer 2 takes 4 units, but layer 1 has 5"):
        check_fit([layers[0], layers[2]], "chain.widths")
    with pytest.raises(UserError, match=r"below: layer 1 takes 7 units, but the data has 9"):
        check_fit(layers, "below", n_input=9)
    save_layers(tmp_path / "a.pt", layers[::2])
    with pytest.raises(UserError, match="below: layer 2"):
        load_layers(tmp_path / "a.pt")
