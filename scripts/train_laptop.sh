#!/bin/sh
# Makes the checkpoint that ships with the package, the network without experts that it is measured against, and their
# records: about an hour on four quiet cores. It may be stopped at any moment and started again: it goes on where it was.
set -eu
cd "$(dirname "$0")/.."
: "${HOI:=hoi}" "${PYTHON:=python}"
export HOI_PROFILE=laptop

[ -f data/laptop/manifest.json ] || $HOI data build synthetic --profile laptop --out data/laptop
$HOI data check data/laptop
for preset in recommended hollow; do
    $HOI train --profile laptop --preset $preset --data data/laptop --out runs/$preset --resume
done
$PYTHON -c 'from hoi_lib.train import export; export("runs/recommended", "hoi_lib/assets/checkpoint")'
cp runs/recommended/record.json book/records/laptop_training.json
cp runs/hollow/record.json book/records/hollow_training.json
for split in val test; do
    $HOI evaluate hoi_lib/assets/checkpoint --data data/laptop --split $split --record book/records/laptop_$split.json
    $HOI evaluate runs/hollow --data data/laptop --split $split --record book/records/hollow_$split.json
done
sh scripts/held_out.sh
