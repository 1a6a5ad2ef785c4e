"""One self-contained page of a run, a chain or a sweep: figures, tables, and the model itself, live."""
