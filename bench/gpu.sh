#!/usr/bin/env bash
# What needs a GPU, in one command: do all kernels run, do the tests pass natively, what does the card measure.
#     bash bench/gpu.sh [folder for the results] [minutes in all] [part ...]
# Parts, all by default and always in this order:
#     launches   one launch of each kernel against fp64
#     sanitizer  compute-sanitizer over some of them, where it is installed
#     tests      the kernels' tests, natively and side by side
#     tune       what the planner's choices rest on, measured on this card
#     engine     the engine's tests with CUDA graphs
#     speed      the engine against transformers' generate and generate_batch
#     kernels    attention on every shape and sampling of every batch, against the peers and the floor
#     card       the card file of `t2fast cost`, from what speed and kernels measured
# Results go to the folder given, else to $OUT, else to bench/results: report-CARD.txt holds what every part printed, as it
# was printed, and CSV and JSON files the figures. A part that fails, or runs out of its time, does not stop the next; the
# names of failed tests come last. Nothing is installed; PYTHON names the interpreter that has PyTorch, Triton, pytest,
# hypothesis and rich. Where a card is lent for less at a time, the parts may be divided over several calls.
set -uo pipefail
cd "$(dirname "$0")/.."
every="launches sanitizer tests tune engine speed kernels card"
results=${1:-${OUT:-bench/results}}
minutes=${2:-15}
wanted=" ${*:3} "
[ "$wanted" != "  " ] || wanted=" $every "
python=${PYTHON:-python3}
if ! [[ $minutes =~ ^[0-9]+$ ]]; then
  echo "minutes = $minutes: give a whole number" >&2
  exit 2
fi
for part in $wanted; do
  if [[ " $every " != *" $part "* ]]; then
    echo "part $part: there is none; choose from $every" >&2
    exit 2
  fi
done
mkdir -p "$results"
results=$(cd "$results" && pwd)
# The planner of the tests and benchmarks finds what tune measures on this card; compiled kernels are kept between parts.
export XDG_CACHE_HOME="$results/cache" PYTHONPATH="kernels:python:.${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

card=$("$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")') || exit 2
if [ -z "$card" ]; then
  echo "No GPU that PyTorch sees here; without one: $python -m bench.kernels --device cpu" >&2
  exit 2
fi
name=$(tr -cs 'A-Za-z0-9\n' - <<<"$card" | tr 'A-Z' 'a-z')
report=$results/report-$name.txt
log=$(mktemp)
warm=
summary=()
failed=()
worst=0

left() { echo $((60 * minutes - SECONDS)); }

say() { printf '%s\n' "$@" | tee -a "$report"; }

asked() { [[ $wanted == *" $1 "* ]]; }

finish() { # also when the time that somebody else allows is over
  rm -f "$log"
  [ -z "$warm" ] || kill "$warm" 2>/dev/null
  say "" "=== $card, $SECONDS s; results in $results" ${summary[@]+"${summary[@]}"}
  [ ${#failed[@]} -eq 0 ] || say "" "Failed tests:" "${failed[@]}"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

failures() { # the tests that failed, from a finished summary or from one line for each test: "-v" of pytest and of xdist
  sed -nE 's/^.*(FAILED|ERROR) ([^ ]+\.py::.*)$/\2/p; s/^([^ ]+\.py::.*) (FAILED|ERROR) +\[ *[0-9]+%\]$/\1/p' "$log" |
    sed -E 's/ - .*//; s/ +$//' | sort -u
}

step() { # step PART SECONDS COMMAND...: at most so long, and never beyond the time in all
  local part=$1 most=$2 rest status one
  shift 2
  rest=$(left)
  [ "$most" -le "$rest" ] || most=$rest
  if [ "$most" -lt 10 ]; then
    summary+=("$part: left out, no time left")
    return
  fi
  say "" "=== $card: $part, at most $most s: $*"
  # Interrupted, pytest and Python print what they have found.
  timeout -s INT -k 15 "$most" "$@" 2>&1 | tee "$log" | tee -a "$report"
  status=${PIPESTATUS[0]}
  case $status in
    0) summary+=("$part: passed") ;;
    124 | 137) summary+=("$part: ran out of its $most s") ;;
    *) summary+=("$part: FAILED ($status)") ;;
  esac
  while IFS= read -r one; do failed+=("$part: $one"); done < <(failures)
  [ "$status" -le "$worst" ] || worst=$status
}

# One line for each test, so that names are known even of a run that is killed.
tests=("$python" -m pytest -v --no-header -rfE -p no:cacheprovider)
workers=()
"$python" -c 'import xdist' 2>/dev/null && workers=(-n "$(($(nproc) > 2 ? $(nproc) - 2 : 1))")

# FlashInfer builds its kernels when they are first used: meanwhile ours are tested, and the benchmarks find them ready.
if asked kernels; then
  if "$python" -c 'import flashinfer' 2>/dev/null; then
    timeout -k 5 "$(left)" "$python" -m bench.kernels.warm >"$results/flashinfer-$name.txt" 2>&1 &
    warm=$!
  else
    summary+=("flashinfer: left out, it is not installed here")
  fi
fi

if asked launches; then
  step launches 75 "${tests[@]}" -x kernels/tests/test_attention.py kernels/tests/test_append_kv.py \
    kernels/tests/test_merge_state.py kernels/tests/test_copy_pages.py kernels/tests/test_sample.py \
    -k 'nothing_to_read or saturates or with_itself or copy_no_pages or test_narrow_types or search_for_top_k'
fi
if asked sanitizer; then
  if command -v compute-sanitizer >/dev/null; then
    step sanitizer 60 compute-sanitizer --error-exitcode 3 "${tests[@]}" kernels/tests/test_attention.py \
      kernels/tests/test_append_kv.py kernels/tests/test_sample.py -k 'nothing_to_read or saturates or shipped_chunks'
  else
    summary+=("sanitizer: left out, compute-sanitizer is not installed here")
  fi
fi
if asked tests; then
  # Compiling for chips that are not here, and against a stub, needs no GPU.
  step tests 180 "${tests[@]}" ${workers[@]+"${workers[@]}"} kernels/tests --ignore kernels/tests/test_compile.py \
    --ignore kernels/tests/test_specialisation.py --durations=10
fi
if asked tune; then
  step tune 60 "$python" -m t2fast_kernels.tune
fi
# The engine needs the whole package: its Rust core built, and transformers.
missing=
if asked engine || asked speed || asked card; then
  missing=$("$python" -c 'import t2fast, transformers' 2>&1 | tail -n 1)
fi
if [ -n "$missing" ]; then
  for part in engine speed card; do
    ! asked "$part" || summary+=("$part: left out: $missing")
  done
fi
if asked engine && [ -z "$missing" ]; then
  step engine 60 "${tests[@]}" tests/sampling/engine/test_cuda.py tests/sampling/engine/test_prepared.py
fi
if asked speed && [ -z "$missing" ]; then
  # Sizes that the cost model is held to come first: they are quick, and need no peer.
  step speed 45 "$python" -m bench.sampling --model 50m --case 1,128,512,128 --rounds 1 --no-generate --no-generate-batch \
    --csv "$results/engine-$name.csv"
  step speed 120 "$python" -m bench.sampling --model 0.6b --case 1,128,2048,256 --case 8,128,2048,256 --rounds 1 \
    --csv "$results/engine-$name.csv"
fi
if asked kernels; then
  if [ -n "$warm" ]; then
    if kill -0 "$warm" 2>/dev/null; then
      summary+=("flashinfer: was still building when the benchmarks began")
    elif wait "$warm"; then
      summary+=("flashinfer: ready")
    else
      summary+=("flashinfer: FAILED, see flashinfer-$name.txt")
    fi
  fi
  bench=$(($(left) - 30))
  [ "$bench" -gt 0 ] || bench=0
  step kernels "$((bench + 15))" "$python" -m bench.kernels --minutes "$(awk "BEGIN { print $bench / 60 }")" \
    --csv "$results/kernels-$name.csv"
fi
if asked card && [ -z "$missing" ]; then
  sheet=$("$python" -c 'import sys
from t2fast.costs import cards
print(next((one for one in sorted(cards(), key=len, reverse=True) if one in sys.argv[1].lower()), ""))' "$card")
  measured=()
  for one in "$results/kernels-$name.csv" "$results/engine-$name.csv"; do
    [ ! -s "$one" ] || measured+=(--calibrate "$one")
  done
  if [ -z "$sheet" ] || [ ${#measured[@]} -eq 0 ]; then
    summary+=("card: left out, ${sheet:-no data sheet of this card is known}${sheet:+ was not measured}")
  else
    step card 30 "$python" -m t2fast cost --gpu "$sheet" "${measured[@]}" --out "$results/card-$name.json"
  fi
fi

exit "$worst"
