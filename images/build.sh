#!/bin/sh
# Build images with Docker (BuildKit): images/build.sh [TARGET...], without one all that run without a GPU.
# TORCH_WHEELS=FOLDER_OR_URL is searched for wheels first, for a CPU build of torch. BASE=IMAGE@DIGEST pins the base.
set -eu
cd "$(dirname "$0")/.."
export DOCKER_BUILDKIT=1
docker=${DOCKER:-docker}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain -- dags images pipelines plugins constraints.txt pyproject.toml 2>/dev/null)" ] || revision=$revision-changed
[ $# -gt 0 ] || set -- serve steps airflow airflow-steps

wheels=${TORCH_WHEELS:-${PIP_FIND_LINKS:-}}
options=
case $wheels in
"") ;;
http*) options="--build-arg FIND_LINKS=$wheels" ;;
*)
    tar -C "$wheels" --transform 's#^\.#wheels#' -cf - . | $docker import - ratchet/wheels:local >/dev/null
    options="--build-arg WHEELS=ratchet/wheels:local"
    ;;
esac

for target in "$@"; do
    echo "building ratchet/$target:$version ($revision)" >&2
    # shellcheck disable=SC2086  # options are words
    $docker build --quiet --file images/Dockerfile --target "$target" --tag "ratchet/$target:$version" \
        --build-arg VERSION="$version" --build-arg REVISION="$revision" ${BASE:+--build-arg BASE="$BASE"} $options . >/dev/null
    $docker image inspect --format "  {{.Size}} bytes, {{.Id}}" "ratchet/$target:$version"
done
