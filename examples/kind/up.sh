#!/usr/bin/env bash
# Brings the example up in kind: a cluster, three pods of the server, and one
# run of the client, whose result it prints. Run it again after a change.
# Arguments replace those of the client, for example:
#
#	./up.sh -target=http://quiz.kiada/questions -protocol=http -via=k8s -length=10s
#
# Take it down again with: kind delete cluster --name sidestep
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster=${SIDESTEP_KIND_CLUSTER:-sidestep}
kube() { kubectl --context "kind-$cluster" "$@"; }

for tool in go docker kind kubectl; do
  command -v "$tool" >/dev/null || { echo "up.sh: $tool is needed and not installed" >&2; exit 1; }
done
if ! kind get clusters 2>/dev/null | grep -qx "$cluster"; then
  kind create cluster --name "$cluster" --wait 2m
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
for program in server client; do
  image=sidestep.local/$program:dev
  (cd "$here/../$program" && CGO_ENABLED=0 GOOS=linux GOARCH=$(docker version --format '{{.Server.Arch}}') go build -trimpath -ldflags '-s -w' -o "$context/$program" .)
  docker build --quiet --file "$here/$program.Dockerfile" --tag "$image" "$context"
  kind load docker-image --name "$cluster" "$image"
done

kube apply -f "$here/quiz.yaml" -f "$here/rbac.yaml"
kube -n kiada rollout restart deployment/quiz # the images may be new, their tags are not
kube -n kiada rollout status deployment/quiz --timeout 2m

arguments=()
for argument in "$@"; do
  arguments+=("${arguments:+,}\"$argument\"")
done
kube -n kiada delete pod client --ignore-not-found
if (($#)); then
  patch="[{\"op\": \"replace\", \"path\": \"/spec/containers/0/args\", \"value\": [$(printf '%s' "${arguments[@]}")]}]"
  kube patch --local -f "$here/client.yaml" --type json --patch "$patch" -o yaml | kube apply -f -
else
  kube apply -f "$here/client.yaml"
fi
kube -n kiada wait pod/client --for jsonpath='{.status.phase}'=Succeeded --timeout 3m || true
kube -n kiada logs client
