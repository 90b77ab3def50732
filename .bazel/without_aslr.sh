#!/bin/sh
# Runs a command without address space randomisation, where that is allowed.
# The sanitizers of gcc up to 13 do not start where the kernel's default is to
# randomise more bits than they count with.
if setarch -R true 2>/dev/null; then
    exec setarch -R "$@"
fi
exec "$@"
