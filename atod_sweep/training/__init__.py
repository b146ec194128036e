"""The trainer. Imports torch, transformers and accelerate, and neither Ray nor Optuna nor MLflow."""

# Raised whenever a change makes the same config and seed give other numbers: caches and committed reports carry it.
NUMERICS = 6
