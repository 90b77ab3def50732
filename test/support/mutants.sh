#!/bin/sh
# Runs mutants, each of which must be killed.  A mutant whose edit no longer
# changes anything is the original, and survives.
survivors=0
for mutant; do
    said=$("$mutant" 2>&1)
    if [ $? -ne 0 ]; then
        survivors=$((survivors + 1))
    fi
    echo "$(basename "$mutant"): $(echo "$said" | tr '\n' ' ')"
done
echo "$# mutants, $survivors survived"
[ "$survivors" -eq 0 ]
