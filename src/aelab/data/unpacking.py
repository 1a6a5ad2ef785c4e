"""How much may come out of a packed file: a few megabytes can stand for more than any memory."""

import os

BOMB, LARGE = 200, 1 << 30  # times a file's size that may come out of it, where that is so many bytes or more


def too_much(unpacked: int, packed: int) -> str | None:
    """Why ``unpacked`` bytes out of a file of ``packed`` are not to be believed, or None."""
    if unpacked <= memory() and unpacked <= max(BOMB * packed, LARGE):
        return None
    return f"is {packed / 1e6:.3g} MB and unpacks to {unpacked / 1e9:.3g} GB"


def memory() -> int:
    """Bytes of the machine's memory, as far as the system tells."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62
