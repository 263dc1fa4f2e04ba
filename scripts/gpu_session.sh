#!/bin/sh
# What one hour on a GPU is for, the most telling first: the tests that need one, the benchmark, and full-size training
# with its evaluation. It may be stopped at any moment and started again: what has its record is not done twice, and
# training goes on where it was. Records name the hardware; commit what lands in book/records.
set -eu
cd "$(dirname "$0")/.."
: "${HOI:=hoi}" "${PYTHON:=python}" "${RUNS:=runs/full}" "${RECORDS:=book/records}"
export HOI_PROFILE=full

record() { # record NAME COMMAND...: run the command that writes $RECORDS/NAME.json, unless it is there
    name=$1
    shift
    if [ -f "$RECORDS/$name.json" ]; then echo "$name: there already"; else "$@" --record "$RECORDS/$name.json"; fi
}

$PYTHON -c 'import torch; assert torch.cuda.is_available(), "no GPU here: run scripts/train_laptop.sh instead"'
$PYTHON -m pytest -q -rs tests/test_geometry.py tests/test_distance.py tests/test_experts.py tests/test_denoiser.py \
    tests/test_losses.py tests/test_objective.py tests/test_train.py tests/test_bench.py
record bench_gpu $HOI bench

[ -f data/full/manifest.json ] || $HOI data build synthetic --profile full --out data/full
[ -f data/held_out/manifest.json ] || $HOI data build held-out --out data/held_out
$HOI data check data/full
for preset in recommended hollow; do
    run="$RUNS/$preset"
    [ -f "$run/record.json" ] ||
        $HOI train --profile full --preset $preset --data data/full --set precision=bf16 --out "$run" --resume
    cp "$run/record.json" "$RECORDS/full_${preset}_training.json"
    for split in val test; do
        record full_${preset}_$split $HOI evaluate "$run" --data data/full --split $split
    done
    record full_${preset}_held_out $HOI evaluate "$run" --data data/held_out
    record full_${preset}_held_out_guided $HOI evaluate "$run" --data data/held_out --guide
done
