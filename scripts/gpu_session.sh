#!/bin/sh
# What one hour on a GPU is for: the tests that need one, the benchmark, and the full-size run with its records.
# It may be stopped at any moment and started again. Records name the hardware; commit what lands in book/records.
set -eu
cd "$(dirname "$0")/.."
: "${HOI:=hoi}" "${PYTHON:=python}" "${OUT:=runs/full}"
export HOI_PROFILE=full

$PYTHON -c 'import torch; assert torch.cuda.is_available(), "no GPU here: run scripts/train_laptop.sh instead"'
$PYTHON -m pytest -q -rs tests/test_geometry.py tests/test_distance.py tests/test_denoiser.py tests/test_train.py
$HOI bench
[ -f data/full/manifest.json ] || $HOI data build synthetic --profile full --out data/full
$HOI data check data/full
$HOI train --profile full --data data/full --set precision=bf16 --out "$OUT" --resume
for split in val test; do
    $HOI evaluate "$OUT" --data data/full --split $split --record book/records/full_$split.json
done
cp "$OUT/record.json" book/records/full_training.json
