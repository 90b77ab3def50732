"""Compilation flags of this workspace's own C and C++ code.

Those of a kind of build (optimisation, sanitizers) are in .bazelrc.
"""

MEMO_COPTS = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
    "-fvisibility=hidden",
    # A load function may end its thread, or be C++ and throw: cleanup
    # handlers of the C frames it passes through run only with this.
    "-fexceptions",
]

MEMO_TEST_COPTS = [
    "-std=c++17",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Werror",
]
