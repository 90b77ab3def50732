"""The repositories of this workspace: all of them from the machine itself.

Nothing here downloads anything. WORKSPACE calls both functions; what depends on
WORKSPACE, or on Bazel being version 4, is there and here alone.
"""

# Bazel's built-in rules and toolchains name repositories that Bazel would
# otherwise download. Building C and C++ with Bazel 4 needs these three, and
# little of them.

# rules_cc: each of its rules, forwarded to the one built into Bazel.
_RULES_CC = [
    "cc_binary",
    "cc_import",
    "cc_library",
    "cc_proto_library",
    "cc_test",
    "cc_toolchain",
    "cc_toolchain_alias",
    "cc_toolchain_suite",
    "fdo_prefetch_hints",
    "fdo_profile",
    "objc_import",
    "objc_library",
]

# remote_coverage_tools: every test names this target, `bazel coverage` uses it.
_COVERAGE_BUILD = """
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)
"""

def _files_impl(ctx):
    for path, content in ctx.attr.files.items():
        ctx.file(path, content, executable = False)

_files_repository = repository_rule(
    implementation = _files_impl,
    attrs = {"files": attr.string_dict(mandatory = True)},
)

def bazel_repositories():
    """Declares what the built-in rules and toolchains of Debian's Bazel load."""
    if native.bazel_version:
        return  # Debian's has none; any other Bazel gets what suits it by itself.
    native.local_repository(
        name = "rules_java",
        path = "/usr/share/bazel/rules/java",
    )
    _files_repository(
        name = "rules_cc",
        files = {
            "BUILD": "",
            "cc/BUILD": "",
            "cc/defs.bzl": "".join([
                "%s = native.%s\n" % (rule, rule)
                for rule in _RULES_CC
            ]) + "cc_flags_supplier = None\ncompiler_flag = None\n",
        },
    )
    _files_repository(
        name = "remote_coverage_tools",
        files = {"BUILD": _COVERAGE_BUILD},
    )

# System libraries: their headers are in the compiler's own search path, so a
# library is no more than its linker flags. In particular nothing here adds
# /usr/include to the path a second time, which would break #include_next.

_LIBRARY_BUILD = """
cc_library(
    name = "{name}",
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
"""

def _system_library(name, **targets):
    _files_repository(
        name = name,
        files = {"BUILD": "".join([
            _LIBRARY_BUILD.format(name = target, linkopts = linkopts)
            for target, linkopts in targets.items()
        ])},
    )

def system_libraries():
    """Declares the libraries that bazelw installs from the system's packages."""
    _system_library("benchmark", benchmark = ["-lbenchmark", "-pthread"])
    _system_library("curl", curl = ["-lcurl"])
    _system_library(
        "gtest",
        gtest = ["-lgtest", "-pthread"],
        gtest_main = ["-lgtest_main", "-lgtest", "-pthread"],
    )
    _system_library("jemalloc", jemalloc = ["-ljemalloc"])
    _system_library("microhttpd", microhttpd = ["-lmicrohttpd"])
    _system_library("uv", uv = ["-luv"])
