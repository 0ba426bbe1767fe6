#!/usr/bin/env bash
# load-image.sh NAME:TAG BINARY [FILE...]: loads an image that holds just these
# files into the kind cluster; the first is its entry point. The end-to-end
# tests call it.
set -euo pipefail
image=$1
shift
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$@" "$context"
printf 'FROM scratch\nCOPY . /\nUSER 65532\nENTRYPOINT ["/%s"]\n' "$(basename "$1")" >"$context/Dockerfile"
docker build --quiet --tag "$image" "$context"
kind load docker-image --name "${SIDESTEP_KIND_CLUSTER:-sidestep}" "$image"
