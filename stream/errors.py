"""Errors that end a command with one clear message. Anything else that escapes is a bug and shows its traceback."""


class UsageError(Exception):
    """Wrong usage, configuration or state: exit code 2. The message names the thing and the way out."""


class FailedError(Exception):
    """The work could not be done, though it was asked for rightly: exit code 1."""


class UnreachableError(FailedError):
    """No broker answered for as long as the caller was to wait. Who has more time tries again."""
