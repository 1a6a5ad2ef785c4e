"""The restricted Boltzmann machine and its stack, as pure functions of layers."""
