"""What can be asked of a teacher, wherever it lives: one file per kind of place, and what they have in common."""
