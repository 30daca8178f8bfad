#!/usr/bin/env bash
# What needs a GPU, within nine minutes: does every kernel run, do the tests pass natively, what does the card measure.
#     bash bench/gpu.sh [folder for the results] [minutes in all]
# Results go to the folder given, else to $OUT, else to bench/results. Nothing is installed; PYTHON names the interpreter
# that has PyTorch, Triton, pytest, hypothesis and rich. A step that runs out of its time prints what it had found.
set -uo pipefail
cd "$(dirname "$0")/.."
results=${1:-${OUT:-bench/results}}
minutes=${2:-9}
python=${PYTHON:-python3}
mkdir -p "$results"
results=$(cd "$results" && pwd)
# The planner of the tests and benchmarks finds what tune measures on this card; compiled kernels are kept between steps.
export XDG_CACHE_HOME="$results/cache" PYTHONPATH="kernels:python:.${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

card=$("$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")') || exit 2
if [ -z "$card" ]; then
  echo "No GPU that PyTorch sees here; without one: $python -m bench.kernels --device cpu" >&2
  exit 2
fi
name=$(tr -cs 'A-Za-z0-9\n' - <<<"$card" | tr 'A-Z' 'a-z')
summary=()
worst=0

left() { echo $((60 * ${minutes%.*} - SECONDS)); }

step() { # step NAME SECONDS COMMAND...: at most so long, and never beyond the time in all
  local what=$1 most=$2 rest status
  shift 2
  rest=$(left)
  [ "$most" -le "$rest" ] || most=$rest
  if [ "$most" -lt 10 ]; then
    summary+=("$what: left out, no time left")
    return
  fi
  printf '\n=== %s: %s, at most %s s\n' "$card" "$what" "$most"
  # pytest and Python print what they have when interrupted.
  timeout -s INT -k 15 "$most" "$@" 2>&1 | tee "$results/$what-$name.txt"
  status=${PIPESTATUS[0]}
  case $status in
    0) summary+=("$what: passed") ;;
    124 | 137) summary+=("$what: ran out of its $most s; what it found is in $what-$name.txt") ;;
    *) summary+=("$what: FAILED ($status), see $what-$name.txt"); grep -E '^(FAILED|ERROR|E  )' "$results/$what-$name.txt" | head -20 ;;
  esac
  [ "$status" -le "$worst" ] || worst=$status
}

tests=("$python" -m pytest -q --no-header -rfE -p no:cacheprovider)
workers=()
"$python" -c 'import xdist' 2>/dev/null && workers=(-n "$(($(nproc) > 2 ? $(nproc) - 2 : 1))")

# FlashInfer builds its kernels when they are first used: meanwhile ours are tested, and the benchmarks find them ready.
warm=
if "$python" -c 'import flashinfer' 2>/dev/null; then
  timeout -k 5 "$(left)" "$python" -m bench.kernels.warm >"$results/flashinfer-$name.txt" 2>&1 &
  warm=$!
  trap 'kill "$warm" 2>/dev/null' EXIT
else
  summary+=("flashinfer: left out, it is not installed here")
fi

step first-launches 75 "${tests[@]}" -x kernels/tests/test_attention.py kernels/tests/test_append_kv.py kernels/tests/test_merge_state.py \
  kernels/tests/test_copy_pages.py kernels/tests/test_sample.py \
  -k 'nothing_to_read or saturates or with_itself or copy_no_pages or test_narrow_types or search_for_top_k'
if command -v compute-sanitizer >/dev/null; then
  step sanitizer 60 compute-sanitizer --error-exitcode 3 "${tests[@]}" kernels/tests/test_attention.py -k nothing_to_read
fi
# Compiling for chips that are not here, and against a stub, needs no GPU.
step tests 150 "${tests[@]}" "${workers[@]}" kernels/tests --ignore kernels/tests/test_compile.py \
  --ignore kernels/tests/test_specialisation.py --durations=10
step tune 60 "$python" -m t2fast_kernels.tune
# The engine needs the whole package: its Rust core built, and transformers.
if missing=$("$python" -c 'import t2fast, transformers' 2>&1); then
  step engine 60 "${tests[@]}" tests/sampling/engine/test_cuda.py tests/sampling/engine/test_prepared.py
  step engine-speed 45 "$python" -m bench.sampling --case 1,64,512,64 --rounds 1 --no-generate-batch
else
  summary+=("engine: left out: $(tail -n 1 <<<"$missing")")
fi
if [ -n "$warm" ]; then
  if kill -0 "$warm" 2>/dev/null; then
    summary+=("flashinfer: was still building when the benchmarks began")
  elif wait "$warm"; then
    summary+=("flashinfer: ready")
  else
    summary+=("flashinfer: FAILED, see flashinfer-$name.txt")
  fi
fi
bench=$(($(left) - 20))
[ "$bench" -le 0 ] || step kernels "$((bench + 15))" "$python" -m bench.kernels --minutes "$(awk "BEGIN { print $bench / 60 }")" \
  --csv "$results/kernels-$name.csv"

printf '\n=== %s, %s s; results in %s\n' "$card" "$SECONDS" "$results"
printf '%s\n' "${summary[@]}"
exit "$worst"
