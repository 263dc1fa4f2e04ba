#!/bin/sh
# Measures the shipped checkpoint on the twenty shapes that no training shows, plain and guided, and writes both
# records: about ten minutes on a quiet core.
set -eu
cd "$(dirname "$0")/.."
: "${HOI:=hoi}"
export HOI_PROFILE=laptop

[ -f data/held_out/manifest.json ] || $HOI data build held-out --out data/held_out
$HOI evaluate hoi_lib/assets/checkpoint --data data/held_out --record book/records/held_out_plain.json
$HOI evaluate hoi_lib/assets/checkpoint --data data/held_out --guide --record book/records/held_out_guided.json
