"""Encoder and decoder networks: every image size comes back as it went in, whichever autoencoder it is."""

from types import SimpleNamespace

import pytest
import torch

from aelab.errors import UserError
from aelab.models.autoencoder import Autoencoder, start_output_at_mean
from aelab.models.network import MLP, Conv, Single, last_bias
from aelab.models.sparse import Sparse
from aelab.models.top_k import TopK
from aelab.models.vae import VAE


def models(shape: tuple[int, ...], network) -> list:
    likelihood = "bernoulli"
    top_k = dict(selection="top_k", k=2, k_start=2, anneal=0.0, alpha=1.0, pre_bias=True, unit_norm=False)
    top_k |= dict(auxiliary=0.0, k_auxiliary=1, dead_after=1)
    vae = dict(sigma=1.0, objective="elbo", samples=2, beta=1.0, warmup=0.0, free_bits=0.0)
    vae |= dict(path_gradient=False)
    return [
        Autoencoder(shape, 5, "linear", network, likelihood),
        Sparse(shape, 5, "sigmoid", network, likelihood, penalty=0.1, target=0.05),
        TopK(shape, 5, "linear", network, likelihood, **top_k),
        VAE(shape, 5, network, likelihood, **vae),
    ]


@pytest.mark.parametrize("shape", [(25, 25), (8, 8), (28, 28), (7, 12), (1, 3)])
@pytest.mark.parametrize("channels", [[3], [3, 4], [2, 3, 4]])
def test_conv_gives_back_images_of_any_size(shape, channels):
    network = Conv(channels, "relu", "he")
    if min(shape) >> len(channels) == 0:
        with pytest.raises(UserError, match=r"^model\.network\.channels: "):
            network.encoder(shape, 5)
        return
    x = torch.rand(3, shape[0] * shape[1])
    for model in models(shape, network):
        assert model.encode(x).shape == (3, 5)
        assert model.reconstruct(x).shape == x.shape
        sum(model.loss_terms(x, model(x)).values()).backward()
        assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_convolution_starts_at_the_mean_of_all_pixels(likelihood):
    """It has one bias for all of them: the log-odds of their mean, not the mean of their log-odds."""
    mean = torch.cat([torch.full((60,), 1e-4), torch.full((4,), 0.9)])
    model = Autoencoder((8, 8), 5, "linear", Conv([3], "relu", "he"), likelihood)
    start_output_at_mean(model, SimpleNamespace(mean=mean))
    torch.testing.assert_close(model.mean(last_bias(model.decoder)), mean.mean()[None])


def test_every_pixel_of_an_odd_image_is_seen():
    encoder = Conv([2, 2], "linear", "none").encoder((25, 25), 5)
    x = torch.rand(1, 625, requires_grad=True)
    encoder(x).sum().backward()
    assert (x.grad != 0).all()


def test_conv_needs_images():
    with pytest.raises(UserError, match=r"^model/network: conv needs images"):
        Conv([3], "relu", "he").encoder((64,), 5)


@pytest.mark.parametrize("network", [MLP([6], "tanh", "glorot", True), Single("glorot", True)])
def test_a_tied_decoder_uses_the_encoder_s_weights(network):
    encoder = network.encoder((10,), 4)
    decoder = network.decoder(4, (10,), encoder)
    there, back = ([m.weight for m in stack if hasattr(m, "weight")] for stack in (encoder, decoder))
    assert all(a is b for a, b in zip(back, reversed(there), strict=True))
    h = torch.rand(3, 4)
    torch.testing.assert_close(decoder[0](h), h @ there[-1])


def test_a_single_layer_that_is_not_tied_starts_as_the_transpose():
    encoder = (network := Single("glorot", False)).encoder((10,), 4)
    decoder = network.decoder(4, (10,), encoder)
    assert torch.equal(decoder[0].weight, encoder[0].weight.t())
    assert network.decoder(2, (10,), encoder)[0].weight.shape == (10, 2)  # a Gaussian's encoder: mean and variance
