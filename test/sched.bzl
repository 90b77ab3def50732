"""Tests of protocols on the deterministic scheduler, and of those tests."""

load("//sync:copts.bzl", "MEMO_COPTS", "MEMO_TEST_COPTS")

# Coroutines have stacks of their own, which confuses sanitizers.
_TAGS = ["no_sanitize"]

_DEPS = [
    ":sched_cases",
    "//sync:sync_sched",
]

def sched_test(name, mutants = {}, deps = []):
    """Explores the scenarios in NAME_sched_test.c.

    Args:
      name: of what is tested. Makes NAME_sched_test; NAME_sched_long_test, which
        has to be asked for; and, if there are mutants, NAME_mutants_sched_test.
      mutants: the bugs that the scenarios must find, see mutants.bzl.
      deps: what is tested, if it isn't in sync/.
    """
    cases = name + "_sched_test.c"
    native.cc_library(
        name = name + "_sched_cases",
        testonly = True,
        srcs = [cases],
        copts = MEMO_COPTS,
        linkstatic = True,
        deps = deps + _DEPS,
    )
    for suffix, args, size, tags in [
        ("_sched_test", [], "medium", []),
        ("_sched_long_test", ["--long"], "enormous", ["manual"]),
    ]:
        native.cc_test(
            name = name + suffix,
            size = size,
            srcs = ["support/sched_main.cc"],
            args = args,
            copts = MEMO_TEST_COPTS,
            linkstatic = True,
            tags = _TAGS + tags,
            deps = [":" + name + "_sched_cases", "@gtest"] + _DEPS,
        )
    for mutant in sorted(mutants):
        _mutant(name, mutant, mutants[mutant])
    if mutants:
        binaries = [":%s_mutant_%s" % (name, m) for m in sorted(mutants)]
        native.sh_test(
            name = name + "_mutants_sched_test",
            size = "medium",
            srcs = ["support/mutants.sh"],
            args = ["$(location %s)" % b for b in binaries],
            data = binaries,
            tags = _TAGS,
        )

def _quote(text, special):
    """Text in which sed sees no character as special, nor does the shell or make."""
    for c in special.elems():
        text = text.replace(c, "\\" + c)
    return text.replace("\n", "\\n").replace("'", "'\\''").replace("$", "$$")

def _sed(edit):
    _, function, old, new = edit
    lines = "/^%s/,/^}/" % _quote(function, "\\/.*[]^$") if function else ""
    return "-e '%ss/%s/%s/'" % (
        lines,
        _quote(old, "\\/.*[]^$"),
        _quote(new, "\\/&"),
    )

def _mutant(tested, mutant, edits):
    """A binary that has an edited copy of a source, and says if that is found."""
    name = tested + "_mutant_" + mutant
    cases = tested + "_sched_test.c"
    source = edits[0][0]
    copy = "mutants/%s/%s" % (name, source.split(":")[-1])
    native.genrule(
        name = name + "_edit",
        srcs = [source],
        outs = [copy],
        cmd = "sed %s $< > $@" % " ".join([_sed(e) for e in edits]),
    )

    # A header goes before all that includes it, and its guard keeps the
    # original out; what it defines inline is in every source.
    is_header = source.endswith(".h")
    sources = [copy] if source == cases else [copy, cases]
    if is_header:
        sources.append("//sync:%s.c" % tested)
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = sources + ["support/mutant.h", "support/sched_mutant.c"],
        copts = MEMO_COPTS + [
            "-w",
            "-include",
            "test/support/mutant.h",
        ] + (["-include", "$(location %s)" % copy] if is_header else []),
        linkstatic = True,
        deps = _DEPS,
    )
