"""An unrolled stack is the stack, until it is trained."""

import pytest
import torch
from test_layer import stack

from aelab.errors import UserError
from aelab.rbm.layer import Layer, decode_through, encode_through
from aelab.rbm.unroll import forget, unroll


def binary_stack():
    return [layer._replace(hidden="bernoulli", visible="bernoulli") for layer in stack()]


def untied_stack():
    """As of autoencoders whose decoders have weights of their own."""
    return [layer._replace(W_down=torch.randn_like(layer.W)) for layer in stack()]


@pytest.mark.parametrize("layers", [stack(), binary_stack(), stack()[:1], untied_stack(), untied_stack()[:1]])
def test_the_encoder_is_stacked_encoding_and_the_decoder_decoding(layers):
    encoder, decoder = unroll(layers, "as_layers")
    x = torch.randn(6, 7)
    code = encode_through(layers, x)
    torch.testing.assert_close(encoder(x), code)
    out = decoder(code)
    means = torch.sigmoid(out) if layers[0].visible == "bernoulli" else out
    torch.testing.assert_close(means, decode_through(layers, code))


def test_the_output_of_binary_units_is_logits():
    _, decoder = unroll(binary_stack(), "as_layers")
    out = decoder(torch.full((1, 2), 50.0))
    assert (out.abs() > 1).any()


def test_decoder_weights_are_copies_of_the_transposes_and_free_of_them():
    layers = binary_stack()
    encoder, decoder = unroll(layers, "as_layers")
    up = [m for m in encoder if isinstance(m, torch.nn.Linear)]
    down = [m for m in decoder if isinstance(m, torch.nn.Linear)]
    for a, b in zip(up, reversed(down)):
        assert torch.equal(a.weight.t(), b.weight)
    before = [m.weight.clone() for m in down]
    (encoder(torch.randn(6, 7)) ** 2).sum().backward()
    torch.optim.SGD(encoder.parameters(), 0.1).step()
    assert not torch.equal(up[0].weight, layers[0].W.t())
    assert all(torch.equal(m.weight, w) and m.weight.grad is None for m, w in zip(down, before))
    assert all(torch.equal(layer.W, fresh.W) for layer, fresh in zip(layers, binary_stack()))


@pytest.mark.parametrize("top", ["bernoulli", "gaussian"])
def test_the_code_is_what_the_top_units_are_or_what_is_asked_for(top):
    layers = binary_stack()
    layers[-1] = layers[-1]._replace(hidden=top)
    x = torch.randn(6, 7)
    linear, logistic = unroll(layers, "linear")[0](x), unroll(layers, "logistic")[0](x)
    torch.testing.assert_close(torch.sigmoid(linear), logistic)
    torch.testing.assert_close(unroll(layers, "as_layers")[0](x), linear if top == "gaussian" else logistic)


def test_stacks_that_cannot_be_unrolled_are_refused():
    with pytest.raises(UserError, match=r"chain\.widths: layer 2 takes 4 units, but layer 1 has 5"):
        unroll(stack()[::2], "as_layers")
    with pytest.raises(UserError, match="below: there are no layers"):
        unroll([], "as_layers")


def width(layers, hidden):
    return [Layer(torch.zeros(100, 100), torch.zeros(100), torch.zeros(100), hidden, hidden) for _ in range(layers)]


@pytest.mark.parametrize("scheme", ["glorot", "he", "echo_state", "sparse"])
@pytest.mark.parametrize("hidden", ["relu", "gaussian", "bernoulli"])
def test_a_random_start_keeps_the_size_of_signals_whatever_the_units(hidden, scheme):
    torch.manual_seed(0)
    layers, x = width(6, hidden), torch.randn(500, 100)
    encoder, decoder = unroll(layers, "as_layers")
    forget(encoder, decoder, layers, "as_layers", scheme)
    for net, signal in ((encoder, x), (decoder, encoder(x))):
        spreads = []
        for module in net:
            signal = module(signal)
            spreads += [] if isinstance(module, torch.nn.Linear) else [float(signal.std())]
        last = spreads[:-1] if net is decoder and hidden == "bernoulli" else spreads  # logits at the end
        assert 0.2 < last[-1] / last[0] < 5, spreads


def test_a_random_start_is_the_one_of_the_units_that_the_code_was_given():
    layers = width(2, "bernoulli")
    spread = []
    for code in ("as_layers", "linear", "logistic"):
        encoder, _ = unroll(layers, code)
        torch.manual_seed(0)
        forget(encoder, None, layers, code, "he")
        spread.append(float(encoder[2].weight.std()))
    assert spread[0] == spread[2] == pytest.approx(4 * spread[1])
