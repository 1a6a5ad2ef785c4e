"""Who is told of a run: Weights & Biases, TensorBoard."""
