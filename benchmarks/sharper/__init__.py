"""What makes a comparison of two arms sharper for the same money? Measured on real training.

python -m benchmarks.sharper --train 8  # linear and cosine at 14 turns, 200 steps, evaluated in every way
python -m benchmarks.sharper --train 5 --steps 600 --noises drawn
python -m benchmarks.sharper  # benchmarks/sharper.md from what is recorded
"""
