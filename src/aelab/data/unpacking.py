"""How much may come out of a packed file: a few megabytes can stand for more than any memory."""

from aelab.clock import memory

BOMB, LARGE = 200, 1 << 30  # times a file's size that may come out of it, where that is so many bytes or more


def too_much(unpacked: int, packed: int) -> str | None:
    """Why ``unpacked`` bytes out of a file of ``packed`` are not to be believed, or None."""
    if unpacked <= memory() and unpacked <= max(BOMB * packed, LARGE):
        return None
    return f"is {packed / 1e6:.3g} MB and unpacks to {unpacked / 1e9:.3g} GB"
