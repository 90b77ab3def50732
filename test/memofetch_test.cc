// The program memofetch, run as a person runs it, against an origin on
// 127.0.0.1.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "fetch/origin.h"
#include "test/support/counting_allocator.h"
#include "test/support/exposition.h"

namespace {

using Args = std::vector<std::string>;

// The same in the child as in the parent.
std::string TempFile(const std::string &name) {
    static const std::string start =
        ::testing::TempDir() + "/memofetch_test." + std::to_string(getpid());
    return start + "." + name;
}

std::string ReadFile(const std::string &name) {
    std::ifstream file(name, std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    return content.str();
}

void WriteFile(const std::string &name, const std::string &content) {
    std::ofstream(name, std::ios::binary) << content;
}

bool Contains(const std::string &text, const std::string &part) {
    return text.find(part) != std::string::npos;
}

size_t Count(const std::string &text, const std::string &part) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at++) {
        n++;
    }
    return n;
}

// Whether text is one JSON value.  Knows what the program writes, and no more.
class Json {
   public:
    static bool IsValid(const std::string &text) {
        Json j{text.c_str()};
        return j.Value() && (j.Space(), *j.p_ == '\0');
    }

   private:
    explicit Json(const char *p) : p_(p) {
    }
    void Space() {
        p_ += strspn(p_, " \n\t\r");
    }
    bool Eat(char c) {
        Space();
        return *p_ == c && p_++;
    }
    bool String() {
        if (!Eat('"')) {
            return false;
        }
        for (; *p_ != '"'; p_++) {
            if (static_cast<unsigned char>(*p_) < 0x20) {
                return false;
            }
            if (*p_ == '\\' && strchr("\"\\/bfnrtu", *++p_) == nullptr) {
                return false;
            }
        }
        return *p_++ == '"';
    }
    bool Number() {
        char *end;
        strtod(p_, &end);
        bool ok = end != p_;
        p_ = end;
        return ok;
    }
    bool List(char close, const std::function<bool()> &element) {
        p_++;
        if (Eat(close)) {
            return true;
        }
        do {
            if (!element()) {
                return false;
            }
        } while (Eat(','));
        return Eat(close);
    }
    bool Value() {
        Space();
        if (*p_ == '{') {
            return List('}', [&] { return String() && Eat(':') && Value(); });
        }
        if (*p_ == '[') {
            return List(']', [&] { return Value(); });
        }
        return *p_ == '"' ? String() : Number();
    }

    const char *p_;
};

class Memofetch : public ::testing::Test {
   protected:
    // How to run it.
    struct How {
        std::string input;      // what standard input says
        std::string output_to;  // the name of a file; "" for a new one
        std::map<std::string, std::string> environment;
        std::function<void()> prepare;  // called in the child
        int terminal = -1;              // standard error, if not -1
    };

    struct Result {
        int code;  // or -1, if a signal ended it
        std::string out, err;
    };

    void SetUp() override {
        origin_ = origin_new();
        ASSERT_NE(origin_, nullptr);
    }

    void TearDown() override {
        origin_free(origin_);
        for (const char *name : {"in", "out", "err", "svg", "list"}) {
            unlink(TempFile(name).c_str());
        }
    }

    std::string Url(const std::string &path) const {
        return origin_base(origin_) + path;
    }

    uint64_t Requests(const std::string &path) {
        return origin_requests(origin_, path.c_str());
    }

    static pid_t Start(const Args &args, const How &how) {
        WriteFile(TempFile("in"), how.input);
        pid_t pid = fork();
        if (pid == 0) {
            Become(args, how);
        }
        return pid;
    }

    static Result Finish(pid_t pid) {
        int status = 0;
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                ReadFile(TempFile("out")), ReadFile(TempFile("err"))};
    }

    static Result Run(const Args &args, const How &how) {
        return Finish(Start(args, how));
    }

    static Result Run(const Args &args) {
        return Run(args, How());
    }

    struct origin *origin_ = nullptr;

   private:
    static void Redirect(int to, const std::string &name, int flags) {
        int fd = open(name.c_str(), flags, 0600);
        if (fd < 0 || dup2(fd, to) != to) {
            _exit(99);
        }
        close(fd);
    }

    [[noreturn]] static void Become(const Args &args, const How &how) {
        const char *program = getenv("MEMOFETCH");
        std::vector<char *> argv;
        const int create = O_WRONLY | O_CREAT | O_TRUNC;

        if (program == nullptr) {
            program = "fetch/memofetch";
        }
        Redirect(0, TempFile("in"), O_RDONLY);
        Redirect(1, how.output_to.empty() ? TempFile("out") : how.output_to,
                 create);
        Redirect(2, TempFile("err"), create);
        if (how.terminal >= 0) {
            dup2(how.terminal, 2);
        }
        // Whoever runs this test in the background may have had it ignored.
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        unsetenv("http_proxy");
        unsetenv("all_proxy");
        unsetenv("BUILD_WORKING_DIRECTORY");
        unsetenv("NO_COLOR");
        setenv("LC_ALL", "C", 1);
        for (const auto &variable : how.environment) {
            setenv(variable.first.c_str(), variable.second.c_str(), 1);
        }
        argv.push_back(const_cast<char *>("memofetch"));
        for (const std::string &arg : args) {
            argv.push_back(const_cast<char *>(arg.c_str()));
        }
        argv.push_back(nullptr);
        // Last, for it may leave no memory for anything else.
        if (how.prepare) {
            how.prepare();
        }
        execv(program, argv.data());
        _exit(98);
    }
};

// ---------------------------------------------------------------- fetching

TEST_F(Memofetch, PrintsALineForEachRequest) {
    Result r = Run({"-j", "1", "-n", "2", Url("/page/1234")});

    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(r.err, "");
    EXPECT_EQ(r.out.rfind(Url("/page/1234") + ", ", 0), 0u) << r.out;
    EXPECT_EQ(Count(r.out, "s, 1234 bytes, loaded\n"), 1u) << r.out;
    EXPECT_EQ(Count(r.out, "s, 1234 bytes, hit\n"), 1u) << r.out;
    EXPECT_EQ(Requests("/page/1234"), 1u);
}

TEST_F(Memofetch, ConcurrentRequestsJoin) {
    origin_hold(origin_, "/page/5");
    pid_t pid = Start({"-j", "8", "-n", "8", "--json", Url("/page/5")}, How());
    origin_wait(origin_, "/page/5", 1);
    origin_release(origin_, "/page/5");
    Result r = Finish(pid);
    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(Count(r.out, "\"outcome\": \"loaded\""), 1u) << r.out;
    EXPECT_EQ(Count(r.out, "\"outcome\": \"joined\"") +
                  Count(r.out, "\"outcome\": \"hit\""),
              7u);
    EXPECT_EQ(Requests("/page/5"), 1u);
}

TEST_F(Memofetch, TheSummaryTellsWhatMemoSaved) {
    Result r = Run({"-q", "-j", "1", "-n", "10", Url("/page/1000")});

    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(r.out.rfind("10 requests in ", 0), 0u) << r.out;
    EXPECT_TRUE(Contains(r.out, "1 loaded, 0 joined, 9 hit, 0 failed\n"));
    EXPECT_TRUE(Contains(r.out, "           1          10     10.0x\n"))
        << r.out;
}

TEST_F(Memofetch, NumbersHaveThreeDigitsAndAUnit) {
    // A page of so many bytes, and a header of about a hundred.
    const std::map<std::string, std::string> sizes = {
        {"9000", " 9.10 kB "},    {"99000", " 99.1 kB "},
        {"999000", " 999 kB "},   {"999900", " 1.00 MB "},
        {"2000000", " 2.00 MB "},
    };

    for (const auto &size : sizes) {
        Result r = Run({"-q", Url("/page/" + size.first)});
        EXPECT_TRUE(Contains(r.out, size.second)) << r.out;
    }
}

TEST_F(Memofetch, ReadsUrlsFromAFile) {
    WriteFile(TempFile("list"), "\xef\xbb\xbf# a comment\n\n" + Url("/page/1") +
                                    "\r\n   \t\n  " + Url("/page/2") +
                                    "\t \n#" + Url("/page/3") + "\n" +
                                    Url("/page/4"));
    Result r = Run({"-i", TempFile("list"), Url("/page/5")});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(origin_requests(origin_, nullptr), 4u);
    for (const char *path : {"/page/1", "/page/2", "/page/4", "/page/5"}) {
        EXPECT_EQ(Requests(path), 1u) << path;
    }
}

// So many arguments need more memory than there is, in any of several amounts of
// it; with less the program isn't even loaded.
TEST_F(Memofetch, OutOfMemoryForTheCommandLineIsOutOfMemory) {
    Args args(500000, "-q");
    int n_refused = 0;
    Result r;

    if (MEMO_TEST_SANITIZED) {
        GTEST_SKIP() << "sanitizers need a lot themselves";
    }
    args.push_back("--version");
    for (rlim_t limit = 1 << 20; limit < 256 << 20; limit += 1 << 18) {
        How how;
        how.prepare = [limit] {
            struct rlimit data = {limit, limit};
            // A quarter of that is for arguments.
            struct rlimit stack = {64 << 20, RLIM_INFINITY};
            setrlimit(RLIMIT_STACK, &stack);
            setrlimit(RLIMIT_DATA, &data);
        };
        r = Run(args, how);
        if (r.code == 0) {
            break;
        }
        if (r.err == "memofetch: out of memory\n") {
            EXPECT_EQ(r.code, 27);
            n_refused++;
        }
    }
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_GT(n_refused, 0);
}

TEST_F(Memofetch, ReadsUrlsBeforeItWritesTheSameFile) {
    WriteFile(TempFile("list"), Url("/page/1") + "\n" + Url("/page/2") + "\n");
    Result r = Run({"-q", "-i", TempFile("list"), "--timeline", TempFile("list")});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(origin_requests(origin_, nullptr), 2u);
    EXPECT_TRUE(Contains(ReadFile(TempFile("list")), "2 requests for 2 URLs in "));
}

TEST_F(Memofetch, ReadsUrlsFromStandardInput) {
    How how;
    how.input = Url("/page/1") + "\n";
    EXPECT_EQ(Run({}, how).code, 0);
    EXPECT_EQ(Run({"-i", "-"}, how).code, 0);
    EXPECT_EQ(Run({"--input=-"}, how).code, 0);
    EXPECT_EQ(Requests("/page/1"), 3u);
}

TEST_F(Memofetch, UnderBazelRunNamesAreThoseOfThePerson) {
    How how;
    std::string name = TempFile("list");
    size_t slash = name.rfind('/');
    WriteFile(name, Url("/page/1") + "\n");
    how.environment["BUILD_WORKING_DIRECTORY"] = name.substr(0, slash);
    EXPECT_EQ(Run({"-i", name.substr(slash + 1)}, how).code, 0);
    EXPECT_EQ(Requests("/page/1"), 1u);
}

// --------------------------------------------------------------- freshness

TEST_F(Memofetch, ServersAreObeyedOnlyIfAsked) {
    for (const char *path : {"/etag/50", "/no-store/50"}) {
        Result r = Run({"-j", "1", "-n", "3", Url(path)});
        EXPECT_EQ(r.code, 0);
        EXPECT_TRUE(Contains(r.out, "1 loaded, 0 joined, 2 hit")) << r.out;
        EXPECT_FALSE(Contains(r.out, "revalidated"));
    }
}

TEST_F(Memofetch, AnUnchangedPageIsRevalidated) {
    Result r = Run({"-j", "1", "-n", "3", "--fresh", Url("/etag/5000")});

    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(r.err, "");
    EXPECT_EQ(Count(r.out, "s, 5000 bytes, loaded\n"), 1u) << r.out;
    EXPECT_EQ(Count(r.out, "s, 5000 bytes, revalidated\n"), 2u) << r.out;
    EXPECT_TRUE(Contains(r.out, "1 loaded, 0 joined, 0 hit, 0 failed\n"));
    EXPECT_TRUE(Contains(r.out, "2 revalidated, 0 refreshed, 0 stale\n"));
    // Without memo each would have been the whole page.
    EXPECT_TRUE(Contains(r.out, " 15.4 kB ")) << r.out;
    EXPECT_EQ(origin_answers(origin_, 200), 1u);
    EXPECT_EQ(origin_answers(origin_, 304), 2u);
}

TEST_F(Memofetch, APageThatIsntToBeStoredIsLoadedEachTime) {
    Result r = Run({"-j", "1", "-n", "3", "--fresh", Url("/no-store/50")});

    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(Count(r.out, "s, 50 bytes, loaded\n"), 3u) << r.out;
}

TEST_F(Memofetch, AnOldPageStandsInForAFailure) {
    origin_hold(origin_, "/page/9");
    pid_t pid = Start({"-j", "1", "--fresh", "--json", Url("/flaky/50"),
                       Url("/page/9"), Url("/flaky/50")},
                      How());
    origin_wait(origin_, "/page/9", 1);
    origin_fail(origin_, "/flaky/50", 503);
    origin_release(origin_, "/page/9");
    Result r = Finish(pid);
    EXPECT_EQ(r.code, 0);
    EXPECT_TRUE(Json::IsValid(r.out)) << r.out;
    EXPECT_EQ(Count(r.out, "\"outcome\": \"stale\""), 1u) << r.out;
    EXPECT_EQ(Count(r.out, "\"status\": 503, \"exit_code\": 22}"), 1u) << r.out;
    EXPECT_TRUE(
        Contains(r.out, "\"revalidated\": 0, \"refreshed\": 0, \"stale\": 1"));
}

TEST_F(Memofetch, AnOldPageIsReturnedWhileItIsRefreshed) {
    origin_say(origin_, "/etag/50", "max-age=0, stale-while-revalidate=3600");
    origin_hold(origin_, "/page/9");
    pid_t pid = Start({"-j", "1", "--fresh", Url("/etag/50"), Url("/page/9"),
                       Url("/etag/50"), Url("/etag/50")},
                      How());
    origin_wait(origin_, "/page/9", 1);
    origin_hold(origin_, "/etag/50");
    origin_release(origin_, "/page/9");
    Result r = Finish(pid);
    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(Count(r.out, "s, 50 bytes, refreshed\n"), 2u) << r.out;
    EXPECT_TRUE(Contains(r.out, "0 revalidated, 2 refreshed, 0 stale\n"));
}

TEST_F(Memofetch, TheTimelineTellsOfRevalidation) {
    Run({"-q", "-j", "1", "-n", "3", "--fresh", "--timeline", TempFile("svg"),
         Url("/etag/50")});
    std::string svg = ReadFile(TempFile("svg"));

    EXPECT_EQ(Count(svg, "<title>loaded in "), 1u);
    EXPECT_EQ(Count(svg, "<title>revalidated in "), 2u);
    EXPECT_EQ(Count(svg, "1 load \xc2\xb7 2 revalidated"), 1u) << svg;
}

// ------------------------------------------------------------------- JSON

TEST_F(Memofetch, JsonIsOneValidDocument) {
    Result r =
        Run({"--json", "-j", "1", "-n", "2", Url("/page/10"),
             Url("/status/500"), "http://127.0.0.1:1/\"\\\x1b\xff<\xc3\xbc>"});

    EXPECT_EQ(r.code, 22);
    EXPECT_TRUE(Json::IsValid(r.out)) << r.out;
    EXPECT_EQ(Count(r.out, "\"status\": 200, \"bytes\": 10}"), 2u) << r.out;
    EXPECT_EQ(Count(r.out, "\"exit_code\": 22, \"error\": \"HTTP status 500"),
              2u);
    EXPECT_EQ(Count(r.out, "/\\\"\\\\\\u001b\\ufffd<\xc3\xbc>\""), 4u) << r.out;
    EXPECT_TRUE(Contains(r.out, "\"requests\": 6, \"loaded\": 1"));
}

TEST_F(Memofetch, ATestOfJsonThatFailsWhenItShould) {
    for (const char *bad : {"", "{", "{\"a\": }", "[1,]", "{\"a\": 1} x",
                            "{\"a\n\": 1}", "{\"a\" 1}"}) {
        EXPECT_FALSE(Json::IsValid(bad)) << bad;
    }
}

// -------------------------------------------------------------- the counts

TEST_F(Memofetch, MetricsAreWhatTheCacheCounted) {
    Result r = Run({"-q", "-j", "1", "-n", "3", "--metrics", TempFile("prom"),
                    Url("/page/1"), Url("/status/500")});
    Exposition counts(ReadFile(TempFile("prom")));
    Exposition::Labels label = {{"cache", "memofetch"}};

    EXPECT_EQ(r.code, 22);
    EXPECT_EQ(counts.Value("memo_hits_total", label), 2);
    EXPECT_EQ(counts.Value("memo_loads_total", label), 4);
    EXPECT_EQ(counts.Value("memo_load_failures_total", label), 3);
    EXPECT_EQ(counts.Value("memo_load_seconds_count", label), 4);
    EXPECT_GT(counts.Value("memo_load_seconds_sum", label), 0);
    EXPECT_EQ(counts.Value("memo_entries", label), 1);
}

TEST_F(Memofetch, MetricsThatCannotBeWrittenAreTold) {
    Result r = Run({"-q", "--metrics", "/dev/full", Url("/page/1")});
    EXPECT_EQ(r.code, 23);
    EXPECT_EQ(r.err, "memofetch: /dev/full: No space left on device\n");

    r = Run({"-q", "--metrics", "/nonexistent/x.prom", Url("/page/1")});
    EXPECT_EQ(r.code, 23);
    EXPECT_EQ(r.err,
              "memofetch: /nonexistent/x.prom: No such file or directory\n");
}

// -------------------------------------------------------------- the picture

TEST_F(Memofetch, TheTimelineHasALaneForEachUrl) {
    Result r = Run({"-q", "-j", "1", "-n", "3", "--timeline", TempFile("svg"),
                    Url("/page/1"), Url("/page/2"), Url("/status/500")});
    std::string svg = ReadFile(TempFile("svg"));

    EXPECT_EQ(r.code, 22);
    EXPECT_EQ(svg.rfind("<svg ", 0), 0u);
    EXPECT_TRUE(Contains(svg, "</svg>\n"));
    EXPECT_TRUE(Contains(svg, "prefers-color-scheme:dark"));
    EXPECT_TRUE(Contains(svg, "9 requests for 3 URLs in "));
    EXPECT_EQ(Count(svg, "<title>loaded in "), 2u);
    EXPECT_EQ(Count(svg, "<title>failed in "), 3u);
    EXPECT_EQ(Count(svg, "1 load \xc2\xb7 2 hit"), 2u);
    EXPECT_EQ(Count(svg, "3 loads \xc2\xb7 3 failed"), 1u);
    EXPECT_TRUE(Contains(svg, ">0 ms<") || Contains(svg, ">0 \xc2\xb5s<"));
}

TEST_F(Memofetch, ForeignTextIsEscapedInTheTimeline) {
    Run({"-q", "--timeline", TempFile("svg"),
         "http://127.0.0.1:1/<&>\x01\xff"});
    std::string svg = ReadFile(TempFile("svg"));

    EXPECT_TRUE(Contains(svg, "/&lt;&amp;&gt;\xef\xbf\xbd\xef\xbf\xbd</text>"))
        << svg;
}

TEST_F(Memofetch, ATimelineOfManyUrlsLeavesSomeOut) {
    Args args = {"-q", "--timeline", TempFile("svg")};
    for (int i = 0; i < 103; i++) {
        args.push_back(Url("/page/1/" + std::to_string(i)));
    }
    EXPECT_EQ(Run(args).code, 0);
    EXPECT_TRUE(Contains(ReadFile(TempFile("svg")), ">and 3 more URLs<"));
}

// ---------------------------------------------------------- what goes wrong

TEST_F(Memofetch, AFailureIsToldAndTheOthersAreFetched) {
    const struct {
        std::string url;
        int code;
        const char *text;
    } failures[] = {
        {"ftp://127.0.0.1/", 1, "(1) Protocol \"ftp\" not supported"},
        {"http://[", 3, "(3) URL "},
        {"", 3, "(3) URL "},
        {"http://127.0.0.1:1/", 7, "(7) Failed to connect to 127.0.0.1 port 1"},
        {Url("/drop/1000"), 18, "(18) "},
        {Url("/status/404"), 22, "(22) HTTP status 404, not found"},
        {Url("/loop"), 47, "(47) Maximum (10) redirects followed"},
        {Url("/silent"), 52, "(52) Empty reply from server"},
    };

    for (const auto &failure : failures) {
        Result r = Run({failure.url, Url("/page/1")});
        const std::string name = failure.url.empty() ? "''" : failure.url;
        EXPECT_EQ(r.code, failure.code) << r.err;
        EXPECT_EQ(r.err.rfind("memofetch: " + name + ": " + failure.text, 0),
                  0u)
            << r.err;
        EXPECT_EQ(Count(r.err, "\n"), 1u) << r.err;
        EXPECT_TRUE(Contains(r.out, "1 bytes, loaded")) << r.out;
        EXPECT_TRUE(Contains(r.out, "1 failed"));
    }
}

TEST_F(Memofetch, TheFirstFailureInTheListDecidesTheExitCode) {
    EXPECT_EQ(Run({Url("/page/1"), Url("/status/404"), "http://["}).code, 22);
    EXPECT_EQ(Run({Url("/page/1"), "http://[", Url("/status/404")}).code, 3);
}

TEST_F(Memofetch, LimitsAreThoseOfTheCommandLine) {
    EXPECT_EQ(Run({"--max-bytes", "1k", Url("/page/1024")}).code, 0);
    EXPECT_EQ(Run({"--max-bytes", "1k", Url("/page/1025")}).code, 63);
    EXPECT_EQ(Run({"--max-redirects", "2", Url("/redirect/2")}).code, 0);
    EXPECT_EQ(Run({"--max-redirects", "2", Url("/redirect/3")}).code, 47);
    EXPECT_EQ(Run({"--max-redirects", "0", Url("/redirect/1")}).code, 47);
    origin_hold(origin_, "/page/7");
    Result r = Run({"--timeout", "0.05", Url("/page/7")});
    EXPECT_EQ(r.code, 28);
    EXPECT_TRUE(Contains(r.err, "(28) ")) << r.err;
}

TEST_F(Memofetch, TerminalsAreSafeFromForeignText) {
    Result r = Run({"http://127.0.0.1:1/\x1b[31m\x9b\xff\xe2\x80\xae"});

    EXPECT_EQ(r.code, 3);
    EXPECT_TRUE(Contains(r.err, "/\\x1b[31m\\x9b\\xff\\xe2\\x80\\xae: (3) "))
        << r.err;
}

TEST_F(Memofetch, ALongUrlIsCutInMessages) {
    Result r = Run({"ftp://127.0.0.1/" + std::string(100000, 'x')});

    EXPECT_EQ(r.code, 1);
    EXPECT_LT(r.err.size(), 400u);
    EXPECT_TRUE(Contains(r.err, "xxx...: (1) "));
}

TEST_F(Memofetch, AFileThatCannotBeReadIsTold) {
    Result r = Run({"-i", "/nonexistent/file", Url("/page/1")});
    EXPECT_EQ(r.code, 26);
    EXPECT_EQ(r.err,
              "memofetch: /nonexistent/file: No such file or directory\n");
    EXPECT_EQ(Requests("/page/1"), 1u);

    r = Run({"-i", "/", Url("/page/1")});
    EXPECT_EQ(r.code, 26);
    EXPECT_EQ(r.err, "memofetch: /: Is a directory\n");
    EXPECT_EQ(Requests("/page/1"), 2u);
}

TEST_F(Memofetch, LinesThatAreNoUrlsAreTold) {
    How how;
    how.input = std::string("x\0y\n", 4) + Url("/page/1") + "\n" +
                std::string(70000, 'a') + "\n" + std::string("\0\n", 2) + "#" +
                std::string(70000, 'a') + "\n" + Url("/page/2") + "\n";
    Result r = Run({"-q"}, how);
    EXPECT_EQ(r.code, 3);
    EXPECT_EQ(
        r.err,
        "memofetch: standard input: line 1: it contains a zero byte; skipped\n"
        "memofetch: standard input: line 3: it is longer than 65536 bytes; "
        "skipped\n"
        "memofetch: standard input: line 4: it contains a zero byte; "
        "skipped\n");
    EXPECT_EQ(origin_requests(origin_, nullptr), 2u);
}

TEST_F(Memofetch, ALineMayBeAsLongAsTheLimit) {
    How how;
    how.input = "ftp://" + std::string(65536 - 6, 'a') + "\n";
    EXPECT_EQ(Run({"-q"}, how).code, 1);
    how.input = "ftp://" + std::string(65536 - 5, 'a') + "\n";
    EXPECT_EQ(Run({"-q"}, how).code, 3);
}

TEST_F(Memofetch, NoUrlsIsAnError) {
    Result r = Run({});
    EXPECT_EQ(r.code, 2);
    EXPECT_EQ(r.err, "memofetch: there are no URLs; see memofetch --help\n");
}

TEST_F(Memofetch, TooManyRequestsAreRefused) {
    Result r = Run({"-n", "1000000", "a", "b"});
    EXPECT_EQ(r.code, 2);
    EXPECT_EQ(r.err, "memofetch: these are more than 1000000 requests\n");
}

TEST_F(Memofetch, BadUsageIsTold) {
    const struct {
        Args args;
        const char *message;
    } bad[] = {
        {{"--nonsense"}, "--nonsense: there is no such option"},
        {{"-qx"}, "-x: there is no such option"},
        {{"--json", "-xq"}, "-x: there is no such option"},
        {{"--json", "-\xc3\xa9"}, "-\\xc3: there is no such option"},
        {{"-:"}, "-:: there is no such option"},
        {{"--t"}, "--t: there is no such option"},
        {{"-i"}, "-i: this option needs an argument"},
        {{"--timeline"}, "--timeline: this option needs an argument"},
        {{"--json=1"}, "--json=1: this option takes no argument"},
        {{"--quiet=1"}, "-q: this option takes no argument"},
        {{"--demo", "x"}, "--demo goes with no URLs"},
        {{"--demo", "-q"}, "--demo goes with no URLs"},
        {{"--demo", "--fresh"}, "--demo goes with no URLs"},
        {{"--fresh=1"}, "--fresh=1: this option takes no argument"},
        {{"--demo", "-n", "2"}, "--demo goes with no URLs"},
    };

    for (const auto &b : bad) {
        Result r = Run(b.args);
        EXPECT_EQ(r.code, 2) << b.message;
        EXPECT_EQ(r.err.rfind(std::string("memofetch: ") + b.message, 0), 0u)
            << r.err;
        EXPECT_EQ(r.out, "");
    }
}

TEST_F(Memofetch, BadNumbersAreTold) {
    const std::map<std::string, std::vector<std::string>> bad = {
        {"-j",
         {"0", "-1", "+5", " 5", "5 ", "5x", "1e3", "0x10", "", "x", "1001",
          "4294967297", "99999999999999999999"}},
        {"-n", {"0", "-1", "", "1.5", "1000001", "99999999999999999999"}},
        {"--timeout",
         {"0", "-1", "", ".", "abc", "inf", "nan", "0x10", "1e5", "0.0001",
          "1000001", "1.2.3"}},
        {"--max-bytes",
         {"0", "-1", "", "k", "5X", "5k5", "5kk", "2000G", "17179869185G",
          "18446744073709551615G", "99999999999999999999"}},
        {"--max-redirects", {"-1", "", "1001", "x"}},
    };

    for (const auto &option : bad) {
        for (const std::string &value : option.second) {
            Result r = Run({option.first, value, Url("/page/1")});
            EXPECT_EQ(r.code, 2) << option.first << " " << value;
            EXPECT_EQ(
                r.err.rfind(
                    "memofetch: " + option.first + " '" + value + "': not ", 0),
                0u)
                << r.err;
        }
    }
    EXPECT_EQ(origin_requests(origin_, nullptr), 0u);
}

TEST_F(Memofetch, GoodNumbersAreTaken) {
    for (const Args &args :
         {Args{"-j", "1"}, Args{"-j1000"}, Args{"--jobs=7"}, Args{"-n", "1"},
          Args{"--times=3"}, Args{"--timeout", "1.5"},
          Args{"--timeout=1000000"}, Args{"--max-bytes=1024G"},
          Args{"--max-bytes=1M"}, Args{"--max-redirects=1000"}}) {
        Args all = args;
        all.push_back(Url("/page/1"));
        Result r = Run(all);
        EXPECT_EQ(r.code, 0) << args[0] << r.err;
    }
}

// ------------------------------------------------------ outputs that refuse

TEST_F(Memofetch, AFullDiskIsToldAndTheUrlsAreFetched) {
    How how;
    how.output_to = "/dev/full";
    for (const Args &args :
         {Args{"-j", "1"}, Args{"-q"}, Args{"--json"}, Args{"-n", "300"}}) {
        Args all = args;
        all.insert(all.end(), {Url("/page/1"), Url("/page/2")});
        Result r = Run(all, how);
        EXPECT_EQ(r.code, 23) << args[0];
        EXPECT_EQ(r.err,
                  "memofetch: standard output: No space left on device\n");
    }
    EXPECT_EQ(Requests("/page/2"), 4u);
}

TEST_F(Memofetch, AFullDiskIsToldEvenByHelpAndVersion) {
    How how;
    how.output_to = "/dev/full";
    for (const char *option : {"--help", "--version", "--demo"}) {
        Result r = Run({option}, how);
        EXPECT_EQ(r.code, 23) << option;
        EXPECT_EQ(r.err,
                  "memofetch: standard output: No space left on device\n");
    }
}

TEST_F(Memofetch, ATimelineThatCannotBeWrittenIsTold) {
    Result r = Run({"--timeline", "/dev/full", Url("/page/1")});
    EXPECT_EQ(r.code, 23);
    EXPECT_EQ(r.err, "memofetch: /dev/full: No space left on device\n");
    EXPECT_TRUE(Contains(r.out, "1 loaded"));

    r = Run({"--timeline", "/nonexistent/x.svg", Url("/page/1")});
    EXPECT_EQ(r.code, 23);
    EXPECT_EQ(r.err,
              "memofetch: /nonexistent/x.svg: No such file or directory\n");
    EXPECT_TRUE(Contains(r.out, "1 loaded"));
}

TEST_F(Memofetch, ClosedStandardStreamsAreErrorsAndNotOtherFiles) {
    How how;
    how.prepare = [] { close(1); };
    Result r = Run({"--timeline", TempFile("svg"), Url("/page/1")}, how);
    EXPECT_EQ(r.code, 23);
    EXPECT_EQ(r.err, "memofetch: standard output: Bad file descriptor\n");
    std::string svg = ReadFile(TempFile("svg"));
    EXPECT_EQ(svg.rfind("<svg ", 0), 0u) << svg;

    how.prepare = [] { close(0); };
    r = Run({}, how);
    EXPECT_EQ(r.code, 26);
    EXPECT_EQ(r.err, "memofetch: standard input: Bad file descriptor\n");
}

TEST_F(Memofetch, AReaderThatGoesAwayEndsTheRun) {
    How how;
    how.prepare = [] {
        int fds[2];
        if (pipe(fds) != 0 || dup2(fds[1], 1) != 1) {
            _exit(97);
        }
        close(fds[0]);
        close(fds[1]);
    };
    origin_hold(origin_, "/page/9");
    Result r = Run({"-j", "1", Url("/page/1"), Url("/page/9")}, how);
    EXPECT_EQ(r.code, 23);
    EXPECT_EQ(r.err, "memofetch: standard output: Broken pipe\n");
}

// ----------------------------------------------------------------- signals

TEST_F(Memofetch, AnInterruptedRunTellsWhatWasDone) {
    for (int number : {SIGINT, SIGTERM}) {
        origin_hold(origin_, "/page/9");
        uint64_t before = Requests("/page/9");
        pid_t pid = Start({"-j", "2", Url("/page/1"), Url("/page/9"),
                           Url("/page/9"), Url("/page/2")},
                          How());
        origin_wait(origin_, "/page/9", before + 1);
        kill(pid, number);
        Result r = Finish(pid);
        EXPECT_EQ(r.code, 128 + number);
        EXPECT_EQ(r.err, "");
        EXPECT_TRUE(Contains(r.out, "Broken off: ")) << r.out;
        origin_release(origin_, "/page/9");
    }
}

TEST_F(Memofetch, AnInterruptedRunIsStillValidJson) {
    origin_hold(origin_, "/page/9");
    pid_t pid = Start(
        {"-j", "1", "--json", Url("/page/1"), Url("/page/9"), Url("/page/2")},
        How());
    origin_wait(origin_, "/page/9", 1);
    kill(pid, SIGINT);
    Result r = Finish(pid);
    EXPECT_EQ(r.code, 130);
    EXPECT_TRUE(Json::IsValid(r.out)) << r.out;
    EXPECT_TRUE(Contains(r.out, "\"canceled\": 1, \"not_made\": 1"));
}

// How many threads of the process, besides its main one, signals may interrupt.
int CountInterruptibleThreads(pid_t pid) {
    const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
    const uint64_t mask =
        UINT64_C(1) << (SIGINT - 1) | UINT64_C(1) << (SIGTERM - 1);
    int n = 0;

    for (const auto &task : std::filesystem::directory_iterator(tasks)) {
        const std::string status = ReadFile(task.path().string() + "/status");
        const size_t at = status.find("SigBlk:");
        if (task.path().filename() != std::to_string(pid) &&
            at != std::string::npos &&
            (std::stoull(status.substr(at + 7), nullptr, 16) & mask) != mask) {
            n++;
        }
    }
    return n;
}

TEST_F(Memofetch, SignalsInterruptTheMainThreadAlone) {
    origin_hold(origin_, "/page/9");
    pid_t pid = Start({"-j", "2", Url("/page/9"), Url("/page/9")}, How());
    origin_wait(origin_, "/page/9", 1);
    EXPECT_EQ(CountInterruptibleThreads(pid), 0);
    // The origin, which the demo has beside its runs, is in this process.
    EXPECT_EQ(CountInterruptibleThreads(getpid()), 0);
    origin_release(origin_, "/page/9");
    EXPECT_EQ(Finish(pid).code, 0);
}

TEST_F(Memofetch, AnIgnoredSignalStaysIgnored) {
    How how;
    how.prepare = [] { signal(SIGINT, SIG_IGN); };
    origin_hold(origin_, "/page/9");
    pid_t pid = Start({Url("/page/9")}, how);
    origin_wait(origin_, "/page/9", 1);
    kill(pid, SIGINT);
    origin_release(origin_, "/page/9");
    EXPECT_EQ(Finish(pid).code, 0);
}

// ---------------------------------------------------------------- terminals

// A terminal, of which one can read what was written to it.
class Terminal {
   public:
    explicit Terminal(unsigned short columns)
        : master_(posix_openpt(O_RDWR | O_NOCTTY)) {
        struct winsize size = {};
        size.ws_col = columns;
        size.ws_row = 25;
        EXPECT_EQ(grantpt(master_), 0);
        EXPECT_EQ(unlockpt(master_), 0);
        slave_ = open(ptsname(master_), O_RDWR | O_NOCTTY);
        EXPECT_EQ(ioctl(slave_, TIOCSWINSZ, &size), 0);
    }
    ~Terminal() {
        close(master_);
    }
    int slave() const {
        return slave_;
    }
    // All that is written, until everybody has closed it or is_enough.
    std::string Read(
        const std::function<bool(const std::string &)> &is_enough) {
        std::string text;
        char buf[4096];
        ssize_t n;
        if (slave_ >= 0) {
            close(slave_);
            slave_ = -1;
        }
        while (!is_enough(text) && (n = read(master_, buf, sizeof buf)) > 0) {
            text.append(buf, static_cast<size_t>(n));
        }
        return text;
    }

   private:
    int master_, slave_;
};

TEST_F(Memofetch, ATerminalGetsAProgressBar) {
    for (const char *no_color : {"", "1"}) {
        Terminal terminal(50);
        How how;
        how.terminal = terminal.slave();
        how.environment = {{"TERM", "xterm"}, {"NO_COLOR", no_color}};
        uint64_t before = Requests("/page/9");
        origin_hold(origin_, "/page/9");
        pid_t pid = Start({Url("/page/9")}, how);
        origin_wait(origin_, "/page/9", before + 1);
        std::string text = terminal.Read(
            [](const std::string &t) { return Contains(t, " 0 of 1, 0 B"); });
        origin_release(origin_, "/page/9");
        text += terminal.Read([](const std::string &) { return false; });
        EXPECT_EQ(Finish(pid).code, 0);
        EXPECT_EQ(Contains(text, "\033[36m"), no_color[0] == '\0');
        // It is taken away at the end.
        EXPECT_EQ(text.substr(text.size() - 4), "\r\033[K");
        // As wide as the terminal, less the last column.
        EXPECT_EQ(Count(text.substr(0, text.find(" 0 of 1")), "."), 37u);
    }
}

TEST_F(Memofetch, MessagesTakeTheProgressBarAway) {
    Terminal terminal(80);
    How how;
    how.terminal = terminal.slave();
    how.environment = {{"TERM", "xterm"}, {"NO_COLOR", "1"}};
    origin_hold(origin_, "/status/500");
    pid_t pid = Start({Url("/status/500")}, how);
    std::string text = terminal.Read(
        [](const std::string &t) { return Contains(t, " 0 of 1, 0 B"); });
    origin_release(origin_, "/status/500");
    text += terminal.Read([](const std::string &) { return false; });
    EXPECT_EQ(Finish(pid).code, 22);
    EXPECT_TRUE(Contains(text, "\r\033[Kmemofetch: ")) << text;
}

TEST_F(Memofetch, QuietAndDumbTerminalsGetNoProgressBar) {
    for (const char *term : {"xterm", "dumb"}) {
        Terminal terminal(80);
        How how;
        how.terminal = terminal.slave();
        how.environment = {{"TERM", term}};
        Args args = {Url("/slow/300/1")};
        if (strcmp(term, "dumb") != 0) {
            args.push_back("--quiet");
        }
        pid_t pid = Start(args, how);
        std::string text =
            terminal.Read([](const std::string &) { return false; });
        EXPECT_EQ(Finish(pid).code, 0);
        EXPECT_EQ(text, "");
    }
}

// ------------------------------------------------------ help, version, demo

TEST_F(Memofetch, HelpFitsTheScreen) {
    Result r = Run({"--help"});
    std::istringstream lines(r.out);
    std::string line;

    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(r.err, "");
    EXPECT_EQ(r.out.rfind("Usage: memofetch", 0), 0u);
    while (std::getline(lines, line)) {
        EXPECT_LE(line.size(), 80u) << line;
    }
    for (const char *option :
         {"-i,", "-j,", "-n,", "--timeout", "--max-bytes", "--max-redirects",
          "--fresh", "--json", "--timeline", "--metrics", "-q,", "--demo",
          "-h,", "-V,"}) {
        EXPECT_TRUE(Contains(r.out, option)) << option;
    }
}

TEST_F(Memofetch, VersionNamesLibcurlToo) {
    Result r = Run({"-V"});
    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(r.out.rfind("memofetch ", 0), 0u);
    EXPECT_TRUE(Contains(r.out, "libcurl/"));
}

TEST_F(Memofetch, TheDemoShowsTheThreeWays) {
    Result r = Run({"--demo", "--timeline", TempFile("svg")});
    std::istringstream lines(r.out);
    std::string line;
    int way = 0;

    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(r.err, "");
    while (std::getline(lines, line)) {
        if (!Contains(line, TempFile("svg"))) {
            EXPECT_LE(line.size(), 80u) << line;
        }
        char name[37], unit[3];
        double time;
        int number, requests;
        if (sscanf(line.c_str(), "  %d  %36c%lf %2s %d", &number, name, &time,
                   unit, &requests) == 5) {
            EXPECT_EQ(number, ++way);
            EXPECT_TRUE(way == 2 ? requests > 6 : requests == 6) << line;
        }
    }
    EXPECT_EQ(way, 3);
    EXPECT_TRUE(Contains(r.out, "(47) Maximum (10) redirects followed"));
    EXPECT_TRUE(Contains(r.out, "(22) HTTP status 500"));
    EXPECT_TRUE(Contains(r.out, "(63) "));
    EXPECT_TRUE(Contains(ReadFile(TempFile("svg")), ": 6 loads<"));
    EXPECT_EQ(Count(r.out, "the page, loaded\n"), 2u) << r.out;
    EXPECT_EQ(Count(r.out, "the same, revalidated\n"), 2u);
    EXPECT_EQ(Count(r.out, "the same, stale\n"), 1u);
    EXPECT_TRUE(Contains(r.out, "13 requests took "));
}

TEST_F(Memofetch, TheDemoNeedsNoProxy) {
    How how;
    how.environment = {{"http_proxy", "http://127.0.0.1:1"}};
    EXPECT_EQ(Run({"--demo"}, how).code, 0);
    EXPECT_EQ(Run({Url("/page/1")}, how).code, 7);
}

}  // namespace
