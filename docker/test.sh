#!/usr/bin/env bash
# Builds both images and tries in them what docs/tasks/containers.md promises, without a network.
#   IMAGE_TOOL   what builds and runs: docker, podman, or a tool of your own that takes `build` and `run` as they do;
#                unless given, docker where its engine answers, else podman
#   IMAGES       what to try: "facepipe train" unless given
#   TENSORFLOW   gpu, unless given, or cpu, which spares the download of CUDA; both are tried on the CPU
set -euo pipefail
cd "$(dirname "$0")/.."

tool=${IMAGE_TOOL:-}
if [ -z "$tool" ]; then
    for candidate in docker podman; do
        if "$candidate" info > /dev/null 2>&1; then
            tool=$candidate
            break
        fi
    done
fi
if [ -z "$tool" ]; then
    echo "docker-test: neither docker nor podman answers; start one, or name a tool: IMAGE_TOOL=path make docker-test" >&2
    exit 1
fi

scratch=$(mktemp -d)
trap 'chmod -R u+rwX "$scratch"; rm -rf "$scratch"' EXIT
passed=0

run() { "$tool" run --rm --network none "$@"; }
ok() {
    passed=$((passed + 1))
    echo "docker-test: ok: $*"
}
fail() {
    echo "docker-test: FAILED: $*" >&2
    exit 1
}
expect() { # WHAT EXPECTED ACTUAL
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
    ok "$1"
}
folder() { # a new folder that any user may write; its name is printed
    local made
    made=$(mktemp -d -p "$scratch")
    chmod 777 "$made"
    echo "$made"
}
digest() { # of all files but those that hold times
    (cd "$1" && find . -type f ! -name 'run*.json' ! -name 'report.html' -print0 | LC_ALL=C sort -z \
        | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}
built() { # NAME: its size
    "$tool" run --rm --network none --entrypoint sh "$1" -c 'du -sm /opt/facepipe | cut -f1'
}

try_facepipe() {
    local image=facepipe-test work plain again status pid

    "$tool" build --target facepipe -t "$image" .
    ok "the image facepipe builds; its packages take $(built "$image") MB"
    if run --entrypoint python "$image" -c 'import tensorflow' 2> /dev/null; then fail "it holds TensorFlow"; fi
    ok "it holds no TensorFlow"
    expect "it is not root" 10001 "$(run --entrypoint id "$image" -u)"
    expect "a thread a worker" "1 1" "$(run --entrypoint python "$image" -c \
        'import os, cv2; print(os.environ["OMP_NUM_THREADS"], cv2.getNumThreads())')"
    expect "an unknown option ends with 2" 2 "$(run "$image" extract --no-such-option > /dev/null 2>&1 || echo $?)"

    local workers='from facepipe.execution.cores import default_workers; print(default_workers())'
    expect "--cpus 1 makes one worker" 1 "$(run --cpus 1 --entrypoint python "$image" -c "$workers")"
    expect "little memory makes one worker" 1 "$(run --memory 800m --entrypoint python "$image" -c "$workers")"

    plain=$(folder)
    run -v "$plain:/work" "$image" demo --identities 8 --quiet
    run -v "$plain:/work" "$image" report --data demo-data
    [ -s "$plain/demo-data/report.html" ] || fail "the report is missing"
    ok "the demo and the report, as the image's own user"

    again=$(folder)
    cp -r "$plain/demo-data/images" "$again/images"
    run -v "$again:/data" "$image" extract --quiet
    [ -s "$again/faces/part-00000.parquet" ] || fail "nothing came out of a workspace mounted as /data"
    ok "a workspace mounted as /data"

    again=$(folder)
    run -v "$again:/work" --user 12345:6789 --read-only --tmpfs /tmp "$image" demo --identities 8 --quiet
    expect "a user that the image does not know, on a read-only root: the same bytes" \
        "$(digest "$plain/demo-data")" "$(digest "$again/demo-data")"
    expect "its files are that user's" 12345 "$(stat -c %u "$again/demo-data/images")"

    # SIGTERM in the middle of an extract, then the same command again.
    work=$(folder)
    cp -r "$plain/demo-data/images" "$work/images"
    local extract=(-v "$work:/work" "$image" extract -i images -o faces --part-size 4 --workers 1)
    # Straight to the tool: it passes the signal on, a function in the background would not.
    "$tool" run --rm --network none "${extract[@]}" > "$scratch/log" 2>&1 &
    pid=$!
    for _ in $(seq 300); do
        if compgen -G "$work/faces/part-*.parquet" > /dev/null; then break; fi
        sleep 0.2
    done
    status=0
    kill -TERM "$pid"
    wait "$pid" || status=$?
    expect "SIGTERM ends it with 130" 130 "$status"
    expect "its last line says how to go on" 1 "$(grep -c 'run the same command again' "$scratch/log")"
    run "${extract[@]}" --quiet | tee "$scratch/log"
    grep -q 'were there already' "$scratch/log" || fail "it did not go on from what was finished"
    work=$work/faces
    again=$(folder)
    run -v "$plain:/work" -v "$again:/out" "$image" extract -i demo-data/images -o /out/faces --part-size 4 --quiet
    expect "it resumes, to the same bytes" "$(digest "$again/faces")" "$(digest "$work")"
    check_read_only_packages "$image"
}

check_read_only_packages() {
    expect "its user can't change the packages" 1 \
        "$(run --entrypoint sh "$1" -c 'touch /opt/facepipe/bin/facepipe 2> /dev/null || echo 1')"
}

try_train() {
    local image=facepipe-train-test work before after

    "$tool" build --target train --build-arg "TENSORFLOW=${TENSORFLOW:-gpu}" -t "$image" .
    ok "the image train builds; its packages take $(built "$image") MB"
    expect "it is not root" 10001 "$(run --entrypoint id "$image" -u)"
    work=$(folder)
    run -v "$work:/work" --entrypoint facepipe "$image" demo -o data --identities 8 --quiet
    local train=(-v "$work:/work" --user 12345:6789 --read-only --tmpfs /tmp "$image" autoencoder
        --preset v7 --set 'encoder=[16,16,16,16,16]' --latent 32 --batch-size 16 --steps-per-epoch 2)
    chmod -R a+rwX "$work"
    run "${train[@]}" --epochs 1
    before=$(find "$work/data/runs" -type f | wc -l)
    [ "$before" -gt 0 ] || fail "training wrote nothing"
    ok "it trains an epoch, as a user that the image does not know, on a read-only root"
    run "${train[@]}" --epochs 2 --resume
    after=$(find "$work/data/runs" -type f -newer "$work/data/shards" | wc -l)
    [ "$after" -ge "$before" ] || fail "resuming lost files"
    ok "it resumes"
    check_read_only_packages "$image"
}

for image in ${IMAGES:-facepipe train}; do
    "try_$image"
done
echo "docker-test: $passed checks passed"
