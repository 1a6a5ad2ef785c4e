"""Numbers in, a figure out: every picture that aelab draws, grouped by what it shows."""
