"""The one exception a user is meant to read."""


class NolaError(Exception):
    """A sentence for the user: what is wrong, in which file, row, class or key, and what to do about it.

    Entry points print it without a traceback and exit with status 1.
    """
