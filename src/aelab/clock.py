"""When this process began, as nearly as the package can know, and what it runs on."""

import os
import platform
import time
from pathlib import Path

STARTED = time.time()  # the time to the first step counts from here


def processor() -> str:
    """The processor's name, as the system tells it: figures of speed mean nothing without."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory() -> int:
    """Bytes of the machine's memory; more than any has where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62
