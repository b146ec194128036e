"""What everybody may raise: the mistake of a user, and the end of what is under way."""


class UserError(ValueError):
    """The user can fix this: the CLI prints it on one line and exits with code 2.

    The message quotes the offending value and names the fix.
    """


class Stopped(BaseException):
    """Ends what is under way, for a reason outside of it: code that expects exceptions of its own must not catch it."""
