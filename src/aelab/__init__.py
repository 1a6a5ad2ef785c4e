"""aelab: experiments on autoencoders, from the linear one that is PCA to the variational one."""
