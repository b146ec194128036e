"""What a run survives: faults that are really caused, what is expected of each, and what was observed."""
