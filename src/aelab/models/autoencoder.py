"""The autoencoder with hidden layers; with a corruption it is the denoising one (Vincent et al. 2008)."""

from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.functional.activation import Activation, activation
from aelab.models.base import Likelihood, Model
from aelab.models.network import MLP, Conv, as_layer, last_bias
from aelab.ranges import Count
from aelab.rbm.layer import Layer


class Autoencoder(Model):
    """code = g(encoder(x)), x̂ = decoder(code); the loss is −log p(x | code).

    ``n_code`` units with the activation ``code``; ``network`` says what lies between input and code. Source: Rumelhart,
    Hinton & Williams 1986; Vincent et al. 2008 when inputs are corrupted.
    """

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(
        self, shape: tuple[int, ...], n_code: Count, code: Activation, network: MLP | Conv, likelihood: Likelihood
    ):
        super().__init__(shape, likelihood)
        self.code = activation(code)
        self.encoder = network.encoder(shape, n_code)
        self.decoder = network.decoder(n_code, shape, self.encoder)

    def encode(self, x: Tensor) -> Tensor:
        return self.code(self.encoder(x))

    def layer(self) -> Layer | None:
        """Without hidden layers it is one of a stack: that is how stacked (denoising) autoencoders are pretrained.

        Of categories it is none: no layer has softmax units.
        """
        if self.categories:
            return None
        return as_layer(self.encoder, self.code, self.decoder, self.likelihood)

    def initialize_from(self, data: Data) -> None:
        """Output biases start at the data's mean (log-odds of it for Bernoulli inputs): the best constant output."""
        super().initialize_from(data)
        start_output_at_mean(self, data)


def start_output_at_mean(model: Model, data: Data) -> None:
    """Set the bias of the decoder's last layer so that it puts out the training mean."""
    bias, mean = last_bias(model.decoder), data.mean
    if len(bias) != len(mean):  # a convolution has one bias for all pixels of a colour
        mean = mean.view(len(bias), -1).mean(1)
    bias.data.copy_(model.constant_output(mean))
