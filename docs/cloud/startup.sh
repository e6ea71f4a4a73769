#!/usr/bin/env bash
# What a cloud machine runs when it starts: share SHARE of IMAGES into DATA/faces. Run again, it goes on.
#   IMAGES     s3://bucket/images or gs://bucket/images
#   DATA       s3://bucket/data or gs://bucket/data
#   SHARE      1/4: the first of four machines
#   WHEN_DONE  a command for the end, such as "shutdown -h now"; empty: none
#   OPTIONS    further options of `facepipe extract`
#   FACEPIPE   a facepipe that is installed already; empty: PACKAGE is installed
#   PACKAGE    the https address of a wheel (`make dist` makes one), or `facepipe` where a package index has it
set -euo pipefail
: "${IMAGES:?}" "${DATA:?}" "${SHARE:=1/1}" "${WHEN_DONE:=}" "${OPTIONS:=}" "${FACEPIPE:=}"

if [ -z "$FACEPIPE" ]; then
    : "${PACKAGE:?give the address of a wheel, or name a facepipe that is installed: FACEPIPE=...}"
    apt-get update -q
    apt-get install -y -q python3-venv
    python3 -m venv /opt/facepipe
    /opt/facepipe/bin/pip install --quiet "$PACKAGE"
    FACEPIPE=/opt/facepipe/bin/facepipe
fi

# A machine that is being taken away gets SIGTERM: the run ends by itself, and what is finished is in the store.
# shellcheck disable=SC2086 # OPTIONS are several words
"$FACEPIPE" extract -i "$IMAGES" -o "$DATA/faces" --part-of "$SHARE" $OPTIONS
$WHEN_DONE
