#!/usr/bin/env bash
# What needs a GPU, in under ten minutes: the kernels' native tests, then the benchmarks beside their peers.
#     bash bench/gpu.sh [folder for the results] [minutes for the benchmarks]
# Nothing is installed; PYTHON names the interpreter that has PyTorch, Triton, pytest, hypothesis and rich.
set -uo pipefail
cd "$(dirname "$0")/.."
results=${1:-bench/results}
minutes=${2:-5.5}
python=${PYTHON:-python3}
export PYTHONPATH="kernels:.${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$results"

card=$("$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")') || exit 2
if [ -z "$card" ]; then
  echo "No GPU that PyTorch sees here; without one: $python -m bench.kernels --device cpu" >&2
  exit 2
fi
name=$(tr -cs 'A-Za-z0-9\n' - <<<"$card" | tr 'A-Z' 'a-z')

echo "=== $card: native tests, at most three minutes"
timeout -k 10 180 "$python" -m pytest kernels/tests -q --durations=10 2>&1 | tee "$results/tests-$name.txt"
tests=${PIPESTATUS[0]}

echo "=== $card: benchmarks, at most $minutes minutes"
"$python" -m bench.kernels --minutes "$minutes" --csv "$results/kernels-$name.csv" 2>&1 | tee "$results/kernels-$name.txt"
benchmarks=${PIPESTATUS[0]}

echo "=== tests ended with $tests, benchmarks with $benchmarks; results in $results"
exit $((tests > benchmarks ? tests : benchmarks))
