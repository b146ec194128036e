"""What makes a comparison of two arms sharper for the same money? Measured on real training.

python -m benchmarks.sharper --train 8   # 8 seeds of linear and cosine at 14 turns, with every way of evaluating them
"""
