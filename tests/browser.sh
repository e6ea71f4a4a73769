#!/bin/sh
# Installs Chromium for the tests that look at pages, where it is missing and this account may install packages.
for name in chromium chromium-browser google-chrome chrome; do
	if command -v "$name" > /dev/null; then exit 0; fi
done
as_root=
[ "$(id -u 2> /dev/null)" = 0 ] || as_root='sudo -n'
if command -v apt-get > /dev/null && $as_root true 2> /dev/null; then
	$as_root apt-get update -qq
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
fi > /dev/null 2>&1
command -v chromium > /dev/null || echo 'browser: no Chromium here and none could be installed; the tests that look at pages are skipped' >&2
