#!/bin/sh
# Install the named extras into /opt/venv, pinned by constraints.txt and compiled, and write down what is in it.
# Usage, in a build stage: install.sh EXTRA...
# Wheels: those of the folder /mnt/wheels, else what FIND_LINKS names (a folder or page), come before the package index's.
set -eu
links=${FIND_LINKS:-}
[ ! -d /mnt/wheels ] || links=/mnt/wheels
for extra in "$@"; do
    set -- "$@" --extra "$extra"
    shift
done
uv venv --quiet /opt/venv
uv pip install --quiet --python /opt/venv/bin/python --compile-bytecode ${links:+--find-links "$links"} \
    --constraints constraints.txt --requirements pyproject.toml "$@"
uv pip check --quiet --python /opt/venv/bin/python
uv tool run --quiet --from "cyclonedx-bom==$CYCLONEDX_VERSION" cyclonedx-py environment \
    --pyproject pyproject.toml --output-reproducible --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python
