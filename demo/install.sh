#!/bin/sh
# Make .venv with a supported Python and install the named extras into it, pinned by constraints.txt.
# Usage: demo/install.sh EXTRAS, for example: demo/install.sh airflow,steps,serve,demo,cpu
set -eu
cd "$(dirname "$0")/.."
venv=.venv

fail() { echo "error: given $1; expected $2; next: $3" >&2; exit 2; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" && { echo "$PYTHON"; return; }
        fail "PYTHON=$PYTHON ($("$PYTHON" --version 2>&1 | head -n 1))" "Python 3.11, 3.12 or 3.13" "run make PYTHON=/path/to/python3.12"
    fi
    for name in python3.11 python3.12 python3.13 python3 python; do
        supported "$name" && { echo "$name"; return; }
    done
    fail "no supported Python on the PATH ($(python3 --version 2>&1 | head -n 1))" "Python 3.11, 3.12 or 3.13" \
        "install one, or run make PYTHON=/path/to/python3.12"
}

version() { "$1" -c 'import sys; print("Python %d.%d" % sys.version_info[:2])' 2>/dev/null; }

check_python() {
    # A .venv stays with the Python that it was made with; whoever asks for another must hear so.
    [ -n "${PYTHON:-}" ] || return 0
    find_python >/dev/null
    asked=$(version "$PYTHON")
    has=$(version $venv/bin/python) || has="a Python that does not start"
    [ "$asked" = "$has" ] || fail "PYTHON=$PYTHON ($asked) and a $venv that was made with $has" "the same Python" \
        "run make clean, then the same command again, or leave PYTHON out"
}

check_disk() {
    free_mb=$(df -Pm . | awk 'NR == 2 {print $4}')
    [ "$free_mb" -ge "${ROOM_MB:-6000}" ] || fail "$free_mb MB free under $(pwd)" "${ROOM_MB:-6000} MB" "free some space, or clone onto a larger disk"
}

torch_source() {
    # A CPU build is a fifth of the download; say what comes where none is at hand.
    if ls ${TORCH_WHEELS:-${PIP_FIND_LINKS:-/nonexistent}}/torch-2.13.0*.whl >/dev/null 2>&1; then return; fi
    case "${TORCH_WHEELS:-}" in http*) return ;; esac
    if [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ]; then
        echo "note: no CPU build of torch 2.13.0 is at hand, so the package index's build with CUDA libraries comes: about 3 GB." >&2
        echo "      To choose: make TORCH_WHEELS=FOLDER_OR_URL (a folder or page that lists a torch-2.13.0+cpu wheel)." >&2
    fi
}

extras=$1
if [ -x $venv/bin/python ]; then check_python; fi
done_mark=$venv/.installed-$(echo "$extras" | tr ',' '-')
if [ -x $venv/bin/python ] && [ -f "$done_mark" ] && [ ! pyproject.toml -nt "$done_mark" ] && [ ! constraints.txt -nt "$done_mark" ]; then exit 0; fi

if [ ! -x $venv/bin/python ]; then
    python=$(find_python)
    check_disk
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$("$python" --version) without ensurepip" "a Python with venv and ensurepip" \
        "install it (Debian, Ubuntu: apt-get install python3-venv), or run make PYTHON=/path/to/python3.12"
    echo "making $venv with $("$python" --version)" >&2
    "$python" -m venv $venv || fail "a failed 'python -m venv $venv'" "a new virtual environment" "read the message above, then run make clean and try again"
fi
[ -x $venv/bin/uv ] || $venv/bin/python -m pip --version >/dev/null 2>&1 || $venv/bin/python -m ensurepip >/dev/null
[ -x $venv/bin/uv ] || $venv/bin/python -m pip install --quiet --disable-pip-version-check uv || \
    fail "pip that could not install uv" "a package index that answers" "check the network or pip's configuration"
torch_source
echo "installing $extras (pinned by constraints.txt)" >&2
# Without bytecode every import is three times as slow.
links=${TORCH_WHEELS:-${PIP_FIND_LINKS:-}}
$venv/bin/uv pip install --quiet --python $venv/bin/python --compile-bytecode ${links:+--find-links "$links"} \
    --constraints constraints.txt --editable ".[$extras]" || \
    fail "an installation that failed (message above)" "all packages of constraints.txt" "check network and disk, then run the same command again"
touch "$done_mark"
