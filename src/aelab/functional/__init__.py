"""Mathematics: tensors in, tensors or numbers out."""
