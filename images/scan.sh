#!/bin/sh
# Look at what built images hold: images/scan.sh [TARGET...]. Leaves their SBOMs (CycloneDX) and findings in build/scan.
# Asks Debian for fixes that an image lacks, the package index for releases that were withdrawn, and pip-audit for known
# vulnerabilities. Ends with 1 if there is any finding, with 3 if there is none but the index keeps no advisories.
set -eu
cd "$(dirname "$0")/.."
docker=${DOCKER:-docker}
uv=.venv/bin/uv
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
[ $# -gt 0 ] || set -- serve steps airflow airflow-steps
mkdir -p build/scan
findings=0
silent=0
LIST='import importlib.metadata as m
print("\n".join(sorted({f"{package.name}=={package.version}".partition("+")[0] for package in m.distributions()})))'

for target in "$@"; do
    image=ratchet/$target:$version
    out=build/scan/$target
    $docker run --rm --entrypoint cat "$image" /opt/venv/sbom.cdx.json >"$out.cdx.json"
    $docker run --rm --entrypoint python "$image" -c "$LIST" >"$out.packages"
    $docker run --rm --user 0 --entrypoint sh "$image" -c 'apt-get update -qq && apt-get -qq --simulate upgrade' >"$out.apt"
    grep '^Inst' "$out.apt" >"$out.debian" || true
    $uv pip compile --no-deps "$out.packages" 2>"$out.index" >/dev/null
    grep 'is yanked' "$out.index" >"$out.yanked" || true
    audit=0
    $uv tool run --quiet pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement "$out.packages" \
        >"$out.audit" 2>&1 || audit=$?
    if [ "$audit" = 0 ]; then
        advisories="none known"
    elif grep -q 'could not be audited' "$out.audit"; then
        advisories="not asked: this package index keeps no advisories"
        silent=1
    else
        advisories="see $out.audit"
        findings=1
    fi
    lacking=$(wc -l <"$out.debian")
    yanked=$(wc -l <"$out.yanked")
    [ "$((lacking + yanked))" = 0 ] || findings=1
    echo "$target: $(wc -l <"$out.packages") Python packages, $yanked withdrawn, $lacking Debian fixes lacking; vulnerabilities: $advisories"
done
[ "$findings" = 0 ] || exit 1
[ "$silent" = 0 ] || exit 3
