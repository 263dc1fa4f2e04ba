#!/bin/sh
# Makes the checkpoint that ships with the package, the network without experts that it is measured against, and their
# records: about an hour and a half on four quiet cores. It may be stopped at any moment and started again: it goes on
# where it was. Both are trained with the paper's weights first and then settle with a tenth of the weight of Eq. 13,
# which buys its contact with penetration, and half as much again of Eq. 14's.
set -eu
cd "$(dirname "$0")/.."
: "${HOI:=hoi}" "${PYTHON:=python}"
export HOI_PROFILE=laptop

[ -f data/laptop/manifest.json ] || $HOI data build synthetic --profile laptop --out data/laptop
$HOI data check data/laptop
settle="--set steps=800 --set lr=5e-4 --set warmup=20 --set ema=0.99 --set weights.con=2 --set weights.pen=30"
for preset in hollow recommended; do
    $HOI train --profile laptop --preset $preset --data data/laptop --out runs/$preset --resume
    $HOI train --profile laptop --preset $preset --data data/laptop --set init=runs/$preset $settle \
        --out runs/${preset}_settled --resume
done
$PYTHON -c 'from hoi_lib.train import export; export("runs/recommended_settled", "hoi_lib/assets/checkpoint")'
cp runs/recommended_settled/record.json book/records/laptop_training.json
cp runs/hollow_settled/record.json book/records/hollow_training.json
for split in val test; do
    $HOI evaluate hoi_lib/assets/checkpoint --data data/laptop --split $split --record book/records/laptop_$split.json
    $HOI evaluate runs/hollow_settled --data data/laptop --split $split --record book/records/hollow_$split.json
done
for preset in hollow recommended; do
    $HOI evaluate runs/$preset --data data/laptop --split val --record book/records/${preset}_paper_weights_val.json
done
sh scripts/held_out.sh
