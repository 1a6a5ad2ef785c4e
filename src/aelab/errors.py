"""The exceptions that say something to a person: what to mend, and that a trial was given up."""


class UserError(Exception):
    """One line that names the config key and the remedy; the command prints it and exits with status 1.

    Raise it for anything a person can mend: ``UserError("model.n_code: must be at least 1, got -3; give a size")``.
    """


class Pruned(Exception):
    """A trial that the study's pruner gave up: no failure, and no result either."""
