"""Benchmark of the trainer: what one optimiser step costs, next to TRL, a hand-written loop and the arithmetic itself.

python -m benchmarks.trainer [--json FILE] [--steps N] [--size small large] [--device cpu|cuda]
python -m benchmarks.trainer scaling    # cost against episode count, horizon and model size
python -m benchmarks.trainer gpu        # students of 0.1, 10 and 100 million parameters
"""

import os

# Before torch is imported, here and in the processes that are started: CPU seconds are to be those of one thread, and
# nothing looks for models on the network.
for _pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_pool, "1")
os.environ.update(
    HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRL_EXPERIMENTAL_SILENCE="1", PYTHONWARNINGS="ignore"
)
