"""The exceptions that say something to a person: what to mend, that a trial was given up, that a signal came."""

import signal


class UserError(Exception):
    """One line that names the config key and the remedy; the command prints it and exits with status 1.

    Raise it for anything a person can mend: ``UserError("model.n_code: must be at least 1, got -3; give a size")``.
    """


class Pruned(Exception):
    """A trial that the study's pruner gave up: no failure, and no result either."""


class Stopped(BaseException):
    """A signal ended the command, which goes on by ``way``.

    ``again``: the command as it was given does the same. ``status`` is what a shell expects, 128 + the signal's number.
    """

    def __init__(self, number: int, way: str, again: bool) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; go on with: {way}")
        self.number, self.again, self.status = number, again, 128 + number
