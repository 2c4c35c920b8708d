#!/usr/bin/env bash
# All steps of a model's release, for any CI system: bash release/model.sh GIT_TAG IMAGE_REPOSITORY
set -euo pipefail
tag=$1 repository=$2
python=${PYTHON:-.venv/bin/python}
folder=var/release
mkdir -p "$folder"
# Runs a step, and prints a value of its result, which is the last line of its output.
step() {
  local key=$1 output
  shift
  output=$("$python" -m release "$@") || return
  "$python" -c 'import json, sys; print(json.loads(sys.argv[1].splitlines()[-1])[sys.argv[2]])' "$output" "$key"
}

version=$(step model_version version --tag "$tag")
bento=$(step path build --model-version "$version")
image=$(step image image --bento "$bento" --repository "$repository" --tag "$tag")
step components scan --image "$image" --sbom "$folder/sbom.json"
step image sign --image "$image" --bento "$bento" --model-version "$version" --sbom "$folder/sbom.json" \
  --statement "$folder/provenance.json" ${COSIGN_KEY:+--key "$COSIGN_KEY"}
step image record --image "$image" --bento "$bento" --model-version "$version" --statement "$folder/provenance.json"
step bento deploy --bento "$bento" --model-version "$version"
