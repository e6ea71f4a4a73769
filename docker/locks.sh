#!/usr/bin/env bash
# Makes docker/*.lock anew: the newest versions that pyproject.toml allows, each with the hashes of its files.
# The lock of the slim image leads; the training images add to its versions and change none of them.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

lock() { # NAME [uv options...]: what to install comes on standard input
    local name=$1
    shift
    echo "docker/$name.lock"
    { echo "# Made by docker/locks.sh (\`make locks\`); don't edit."
      uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --no-annotate \
          --python-version 3.11 --python-platform x86_64-manylinux_2_28 --overrides docker/overrides.txt "$@" -
    } > "docker/$name.lock.tmp"
    mv "docker/$name.lock.tmp" "docker/$name.lock"
}

slim=(--no-emit-package facepipe)
train=(--no-emit-package facepipe --constraints docker/facepipe.lock)
extras="facepipe[dask,report]@."
lock build <<< "hatchling>=1.27"
lock facepipe "${slim[@]}" <<< "$extras"
lock train-cpu "${train[@]}" --overrides docker/without-tensorflow.txt \
    <<< "facepipe[dask,report,train]@."$'\n'"tensorflow-cpu>=2.19"
lock train-gpu "${train[@]}" <<< "facepipe[dask,report,train]@."$'\n'"tensorflow[and-cuda]>=2.19"
