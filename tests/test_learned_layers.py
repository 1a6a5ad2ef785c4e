"""What a model hands on is what it learned: both ways, whatever its weights are tied to, and once more unrolled."""

import pytest
import torch
from helpers import fitted, small
from test_divergence import DATA
from test_divergence import layers as two_layers

from aelab.errors import UserError
from aelab.models.deep_autoencoder import DeepAutoencoder
from aelab.models.deep_belief_network import DeepBeliefNetwork
from aelab.rbm.layer import Layer, decode_through, encode_through, load_layers, save_layers

SINGLE = ["model/network=single", "model.n_code=5"]
ONE_LAYER = [
    *(
        ["model=autoencoder", *SINGLE, f"model.network.tied={tied}", f"model.code={code}", f"model.likelihood={inputs}"]
        for tied in ("true", "false")
        for code in ("sigmoid", "linear", "relu")
        for inputs in ("bernoulli", "gaussian")
    ),
    ["model=sparse", "model.network.tied=false"],
    ["model=sparse", "model.code=relu", "model.target=null"],
    ["model=contractive", "model.tied=false"],
    ["model=contractive"],
    ["model=rbm"],
    ["model=rbm", "model.visible=gaussian", "model.learn_variance=true", "model.recipe.learning_rate=0.001"],
    ["model=rbm", "model.hidden=relu", "model.recipe.learning_rate=0.001"],
]


@pytest.mark.parametrize("setting", ONE_LAYER, ids=" ".join)
def test_a_layer_encodes_and_decodes_as_the_model_and_so_does_the_net_unrolled_from_it(setting, tmp_path):
    model = fitted(small(*setting, "optimizer.lr=0.05", epochs=3), DATA["digits"]).eval()
    save_layers(tmp_path / "layers.pt", model.learned_layers())
    handed, x = load_layers(tmp_path / "layers.pt"), DATA["digits"].test_x
    with torch.no_grad():
        code, reconstruction = model.encode(x), model.reconstruct(x)
        torch.testing.assert_close(encode_through(handed, x), code)
        torch.testing.assert_close(decode_through(handed, code), reconstruction)
        unrolled = DeepAutoencoder((8, 8), handed, "as_layers", "layers", "glorot")
        torch.testing.assert_close(unrolled.encode(x), code)
        torch.testing.assert_close(unrolled.reconstruct(x), reconstruction)


def untied(layer: Layer) -> Layer:
    return layer._replace(W_down=layer.W + 0.3)


def test_a_belief_net_goes_down_as_its_layers_do_and_hands_that_on(tmp_path):
    low, top = two_layers(64)
    cfg = small("model=deep_belief_network", "model.labels=false", "model.learning_rate=0.01", epochs=0)
    x = DATA["digits"].test_x
    net = fitted(cfg, DATA["digits"], [untied(low), top])
    torch.testing.assert_close(net.reconstruct(x), decode_through([untied(low), top], net.encode(x)))
    cfg.train.epochs = 2
    net = fitted(cfg, DATA["digits"], [low, top])
    assert not torch.equal(net.up_W[0], net.down_W[0]), "up-down has untied them"
    handed = net.learned_layers()
    torch.testing.assert_close(decode_through(handed, net.encode(x)), net.reconstruct(x))
    again = DeepBeliefNetwork((8, 8), handed, None, False, 0.1, 0.9, 0.0, 1, 0, 1)
    torch.testing.assert_close(again.reconstruct(x), net.reconstruct(x))
    assert handed[-1].W_down is None


def test_a_layer_that_is_no_machine_is_not_put_on_top_of_a_belief_net():
    low, top = two_layers(64)
    with pytest.raises(UserError, match=r"^below: the layer on top must be an RBM"):
        fitted(small("model=deep_belief_network"), DATA["digits"], [low, untied(top)])
