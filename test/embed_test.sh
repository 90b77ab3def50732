#!/bin/sh
# What README says of embedding memo without Bazel works as it stands there: its
# program and its commands; and memo/all.c leaves out no source.
set -e
cp -rL README.md memo sync "$TEST_TMPDIR"
cd "$TEST_TMPDIR"
chmod -R u+w .

sed -n '/^## Embedding/,/^## What/p' README.md >embedding
sed -n '/^```c$/,/^```$/p' embedding | sed '/^```/d' >hello.c
sed -n 's/^    \(cc .*\|\.\/hello\)$/\1/p' embedding >commands
[ "$(wc -l <commands)" = 3 ] || { echo "README has other commands:"; cat commands; exit 1; }

said=$(CFLAGS= sh -e commands)
[ "$said" = "$(printf 'loaded\n42\n42\n42')" ] || { echo "hello said: $said"; exit 1; }

for source in memo/*.c sync/*.c; do
    case $source in
    memo/all.c | memo/jemalloc.c | sync/sched*.c | sync/fault.c) ;;
    *) grep -qx "#include \"$source\"" memo/all.c || { echo "memo/all.c lacks $source"; exit 1; } ;;
    esac
done

# Its warnings are the user's.
cc -std=c99 -Wall -Wextra -Wpedantic -Werror -I. -c hello.c -o /dev/null
cc -O2 -fexceptions -Wall -Wextra -Werror -I. -c memo/all.c -o /dev/null

# Without unwinding, a load that ends its thread would leave its waiters behind.
if cc -I. -c memo/all.c -o /dev/null 2>refused; then
    echo "compiles without -fexceptions"
    exit 1
fi
grep -q 'needs -fexceptions' refused
