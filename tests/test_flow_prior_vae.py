"""The flow is invertible, its density is one, and a model with it is held to the same bound as one without."""

import pytest
import torch
from torch import nn

from aelab.models.flow_prior_vae import FlowPriorVAE
from aelab.models.network import MLP
from aelab.models.vae import VAE

COMMON = dict(
    likelihood="bernoulli", sigma=1.0, objective="elbo", samples=1, beta=1.0, warmup=0.0, path_gradient=False
)  # fmt: skip


def made(n_code=2, moved=True, **settings) -> FlowPriorVAE:
    """A small model; ``moved`` takes the flow away from the identity."""
    network = MLP([8], "tanh", "glorot", tied=False)
    model = FlowPriorVAE((6,), n_code, network, couplings=4, prior_width=8, **(COMMON | settings))
    if moved:
        for parameter in model.prior.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model.double()


@pytest.mark.parametrize("n_code", [2, 5])
def test_the_flow_is_invertible_and_knows_its_own_jacobian(n_code):
    model = made(n_code)
    z = torch.randn(7, n_code, dtype=torch.double)

    def f(z):
        for coupling in model.prior:
            z = coupling(z)[0]
        return z

    assert (f(z) - z).abs().max() > 0.1
    torch.testing.assert_close(model.code_of_noise(f(z)), z)
    log_det = torch.stack([torch.linalg.slogdet(torch.func.jacrev(f)(row))[1] for row in z])
    log_normal = torch.distributions.Normal(0, 1).log_prob(f(z)).sum(-1)
    torch.testing.assert_close(model.log_prior(z).sum(-1), log_normal + log_det)


def test_the_prior_is_a_density_and_its_samples_follow_it():
    model = made()
    side = torch.linspace(-15, 15, 601, dtype=torch.double)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        p = model.log_prior(grid).sum(-1).exp() * (side[1] - side[0]) ** 2
        assert float(p.sum()) == pytest.approx(1, abs=5e-3)
        z = model.code_of_noise(torch.randn(200_000, 2, dtype=torch.double))
    within = (grid[:, 0] > 0) & (grid[:, 1] > 0.5)
    share = ((z[:, 0] > 0) & (z[:, 1] > 0.5)).double().mean()
    assert float(share) == pytest.approx(float(p[within].sum()), abs=0.01)


def test_it_starts_as_the_variational_autoencoder_that_it_extends():
    model = made(n_code=3, moved=False)
    plain = VAE((6,), 3, MLP([8], "tanh", "glorot", tied=False), free_bits=0.0, **COMMON).double()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "prior" not in name})
    x = torch.rand(5, 6, dtype=torch.double)
    torch.manual_seed(1)
    ours = model.infer(x, 4000)
    torch.manual_seed(1)
    theirs = plain.infer(x, 4000)
    torch.testing.assert_close(ours.log_ratio, theirs.log_ratio)
    torch.testing.assert_close(ours.kl, theirs.kl, atol=0.05, rtol=0)


def test_the_kl_and_its_path_gradient_are_right_on_average():
    """Σ_j kl_j is E_q[log q − log p]; the gradient through the samples alone is the whole one's mean."""
    x = torch.rand(4, 6, dtype=torch.double)
    gradients = {}
    for path in (False, True):
        torch.manual_seed(0)
        model = made(n_code=3, path_gradient=path).train()
        out = model.infer(x, 100_000)
        assert float((out.kl.sum(-1) + out.log_ratio.mean(0)).detach().abs().max()) < 0.02
        out.kl.sum(-1).mean().backward()
        net = [*model.encoder.parameters(), *model.prior.parameters()]
        gradients[path] = torch.cat([parameter.grad.flatten() for parameter in net])
    assert float(gradients[True].norm()) > 0.1
    assert float((gradients[True] - gradients[False]).norm() / gradients[True].norm()) < 0.02
