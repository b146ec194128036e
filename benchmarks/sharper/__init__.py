"""What makes a comparison of two arms sharper for the same money? Measured on real training.

python -m benchmarks.sharper --steps 200 --seeds 8  # linear and cosine at 14 turns, evaluated in every way
"""
