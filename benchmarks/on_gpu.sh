#!/usr/bin/env bash
# All that wants a GPU, in one command and 8 minutes: the CUDA tests, `benchmarks.trainer gpu`, and steps at the shapes of
# Qwen3-0.6B and Qwen3-4B beside what the preflight says of them. Needs the package with torch, transformers, accelerate
# and pytest; TRL's rows come where TRL is installed. Nothing is downloaded.
#
#   benchmarks/on_gpu.sh [OUT]         what it finds goes into OUT (default: gpu-results), one file each
#   TINY=1 benchmarks/on_gpu.sh [OUT]  tries every part on a CPU, with small shapes
set -uo pipefail
out=$(realpath -m "${1:-gpu-results}")
cd "$(dirname "$0")/.." || exit 1
mkdir -p "$out"
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
failed=0

part() { # NAME SECONDS COMMAND…
  local name=$1 seconds=$2 began=$SECONDS
  shift 2
  timeout "$seconds" "$@" >"$out/$name.txt" 2>&1
  local code=$?
  [ $code -eq 0 ] || failed=1
  echo "$name: exit code $code, $((SECONDS - began)) s"
  tail -n 12 "$out/$name.txt"
}

if [ -n "${TINY:-}" ]; then
  part tests 120 python -m pytest -q -m gpu tests/training/test_cuda.py
  part trainer 120 python -m benchmarks.trainer --size small --steps 1 --only "ours: reward + teacher in bf16" --out "$out"
  part real_step 120 python -m benchmarks.real_step --tiny
else
  nvidia-smi >"$out/machine.txt" 2>&1
  part tests 120 python -m pytest -q -m gpu tests/training/test_cuda.py
  part real_step 180 python -m benchmarks.real_step
  part trainer 180 python -m benchmarks.trainer gpu --steps 5 --out "$out" --json "$out/trainer.json"
fi
exit $failed
