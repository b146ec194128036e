"""The one exception that means "the user can fix this": the CLI prints it on one line and exits with code 2."""


class UserError(ValueError):
    """Bad input. The message quotes the offending value and names the fix."""
