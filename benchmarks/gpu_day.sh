#!/usr/bin/env bash
# A few minutes with a GPU, used to the full: the tests that need one, timings, and trainings of the papers' length.
#
#   benchmarks/gpu_day.sh PICTURES OUT [JOBS] [MINUTES]
#
# PICTURES: what `python -m benchmarks.gpu_day pack FOLDER FILE --megabytes 6` wrote, or any folder of pictures.
# OUT: gets at most eight files of at most 16 MiB: tests.txt, timings.json, and networks with their logs as .tar.
# JOBS: a YAML file of trainings (benchmarks/gpu_day.yaml); they run at once and are stopped when MINUTES are over.
set -euo pipefail
cd "$(dirname "$0")/.."
pictures=$1 out=$2 jobs=${3:-benchmarks/gpu_day.yaml} minutes=${4:-8}
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$out"
if [ "${TESTS:-1}" = 1 ]; then # beside the timings' start-up; they take less than a minute
  timeout 120 "${PYTHON:-python3}" -m pytest -q -p no:cacheprovider -k "cuda or gpu" tests >"$out/tests.txt" 2>&1 || true
  tail -n 3 "$out/tests.txt"
fi
"${PYTHON:-python3}" -m benchmarks.gpu_day run "$pictures" "$out" --jobs "$jobs" --minutes "$minutes" ${TIMINGS:+--timings}
