#!/bin/sh
# Makes the checkpoint that ships with the package, and its records: about twenty minutes on four quiet cores.
# It may be stopped at any moment and started again: it goes on where it was.
set -eu
cd "$(dirname "$0")/.."
: "${HOI:=hoi}" "${PYTHON:=python}"
export HOI_PROFILE=laptop

[ -f data/laptop/manifest.json ] || $HOI data build synthetic --profile laptop --out data/laptop
$HOI data check data/laptop
$HOI train --profile laptop --data data/laptop --out runs/laptop --resume
$PYTHON -c 'from hoi_lib.train import export; export("runs/laptop", "hoi_lib/assets/checkpoint")'
for split in val test; do
    $HOI evaluate hoi_lib/assets/checkpoint --data data/laptop --split $split --record book/records/laptop_$split.json
done
cp runs/laptop/record.json book/records/laptop_training.json
