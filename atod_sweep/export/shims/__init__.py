"""Sources that make one other trainer apply a schedule; copied into exports, they import nothing of this package."""
