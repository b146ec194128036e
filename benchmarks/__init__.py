"""Programs that measure the toolkit. Not installed with it."""
