"""Where data comes from: one file per source, and `batches.py`, which serves it."""
