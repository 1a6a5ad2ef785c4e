"""The data of a chain's stages: read and hashed once, however many stages train on them."""

import json
from typing import Any

from aelab.config.build import build
from aelab.data import own
from aelab.data.arrays import fingerprint


class Sources:
    """What the nodes ``data.source`` give, kept while a chain runs; equal nodes are read once.

    A person's own files have no such node: each stage reads them, and what is in them is hashed once.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, str]] = {}

    def of(self, data: dict[str, Any]) -> Any:
        """The samples that a plain node ``data`` is made from, or None where it reads them itself."""
        return self._read(data)[0]

    def fingerprint(self, data: dict[str, Any]) -> str:
        """A hash of every byte of them."""
        return self._read(data)[1]

    def _read(self, data: dict[str, Any]) -> tuple[Any, str]:
        name = json.dumps(data.get("source", data), sort_keys=True)
        if name not in self._known:
            if "source" in data:
                samples = build(data["source"], "data.source")
                self._known[name] = samples, fingerprint(samples)
            else:
                self._known[name] = None, own.fingerprint(data)
        return self._known[name]
