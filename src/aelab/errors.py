"""The one exception that a person is meant to read."""


class UserError(Exception):
    """One line that names the config key and the remedy; the command prints it and exits with status 1.

    Raise it for anything a person can mend: ``UserError("model.n_code: must be at least 1, got -3; give a size")``.
    """
