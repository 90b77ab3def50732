#!/bin/bash
# Runs each benchmark at a small size, and checks that it finishes, finds the
# values it should, and says what it found.
set -euo pipefail
cd bench
out=$TEST_TMPDIR
json=$out/results.jsonl

# The programs end with what they measured still in memory.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

# lines N TEXT: the results have N lines with TEXT.
lines() {
    n=$(grep -c "$2" "$json" || :)
    [ "$n" = "$1" ] || {
        echo "expected $1 lines with $2, got $n:"
        cat "$json"
        exit 1
    }
}

./hit --keys 2000 --rounds 3 --json "$out/hit.jsonl"
grep -q '"bench":"hit/url/hot/2","system":"memo_get+' "$out/hit.jsonl"
grep -q '"bench":"hit/k16/zipf/1","system":"memo_get_many of 64' "$out/hit.jsonl"

./ingredients --keys 2000 --rounds 3 --json "$out/ingredients.jsonl"
grep -q '"bench":"ingredients/k16/hot/1","system":"public"' \
    "$out/ingredients.jsonl"
./ingredients --count public 1000

./keygen --keys 2000 --stream 4096 "$out"
for kind in k16 url; do
    ./turns --rounds 3 --ops 500 --reference memo --json "$json" \
        "$out" $kind ./floor ./memo
done
lines 24 '"bench":"hit"'
lines 12 '"system":"memo","language":"C".*"ratio":1.0000'

# A program that isn't there is left out, and no harm done.
./turns --rounds 1 --ops 500 "$out" k16 ./floor ./absent >"$out/absent" 2>&1
grep -q '^# absent is left out' "$out/absent"

for system in memo memo-async condition; do
    ./stampede --system $system --waiters 30 --load-ms 5 --json "$json"
done
lines 3 '"bench":"stampede".*"loads":1,'
for system in memo memo-async; do
    for key in failing invalidated; do
        ./stampede --system $system --key $key --waiters 30 --load-ms 5 \
            --json "$json"
    done
done
lines 2 '"bench":"stampede-failing".*"loads":1,'
lines 2 '"bench":"stampede-invalidated".*"loads":2,'

./miss --keys 2000 --json "$json"
lines 12 '"bench":"miss"'

./growth --keys 4096 --runs 2 --json "$json"
lines 3 '"bench":"growth","system":"memo"'

./churn --keys 500 --ops 3000 --json "$json"
lines 8 '"bench":"churn"'

./clear --keys 20000 --json "$json"
lines 1 '"bench":"clear"'

./engines --ops 200 --waiters 100 --threads 20 --json "$out/engines.jsonl"
grep -q '"engine":"monitor","what":"request p99.9"' "$out/engines.jsonl"

./memory --entries 20000 --json "$out/memory.jsonl"
./memory_jemalloc --entries 20000 --json "$out/memory.jsonl"
./memory_peer memo --entries 20000 --json "$out/memory.jsonl"
[ "$(grep -c '"bench":"memory","system":"memo' "$out/memory.jsonl")" = 15 ]

# Made-up traces; those that are here, asked by two threads in every way; costs.
./hitratio --requests 20000 --json "$out/made.jsonl"
grep -q '"trace":"made-zipf".*"system":"one","misses":0.[1-9]' "$out/made.jsonl"
for api in get many put; do
    ./hitratio --only c2k-web07 --api $api --json "$out/$api.jsonl" traces
    # Better than FIFO, by 5 to 19 %: 9.6 is expected.
    grep -Eq 'mean".*"service","reduction":([5-9]|1[0-9])[.]' "$out/$api.jsonl"
done
./hitratio --requests 20000 --only zipf --cost two --json "$out/cost.jsonl"
grep -q 'mean".*"system":"aware","reduction":[3-9][0-9][.]' "$out/cost.jsonl"

mkdir "$out/folder"
for i in 1 2 3 1 2 3 1 4 5 6 7 1 2; do
    printf "\\$i\\0\\0\\0\\0\\0\\0\\0"
done >"$out/folder/few.u64"
! ./hitratio "$out/folder" >"$out/none" 2>&1 || exit 1
grep -q 'too few keys' "$out/none"
printf 'cut off' >"$out/folder/few.u64"
! ./hitratio "$out/folder" >"$out/none" 2>&1 || exit 1
grep -q "isn't whole" "$out/none"

mkdir "$out/report"
cat "$out/memory.jsonl" "$out/get.jsonl" >>"$json"
./report "$json" "$out/report"
for chart in hit hit-url stampede growth memory; do
    grep -q '</svg>' "$out/report/$chart.svg"
done
grep -q '</html>' "$out/report/report.html"
