"""Sources that are copied into exported bundles: they import nothing of this package."""
