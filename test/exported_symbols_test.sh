#!/bin/sh
# Every symbol that the shared library exports begins with memo_ or sync_, and
# none ends in an underscore: those are private.  sync_pin_next_ is read by an
# inline function of sync/pin.h.
bad=$(nm -D -g --defined-only "$1" | awk '{print $3}' |
      grep -Ev '^(memo|sync)_[a-z0-9_]*[a-z0-9]$|^sync_pin_next_$|^(__bss_start|_edata|_end)$')
[ -z "$bad" ] || { echo "leaked: $bad"; exit 1; }
nm -D --defined-only "$1" | grep -q ' memo_get$' || { echo "no memo_get"; exit 1; }
