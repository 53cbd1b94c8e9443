// rauha-plugin-check: the conformance cases on the command line.
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <regex>
#include <stdexcept>

#include <rauha/testing/conformance.hpp>

#include "elf_file.h"

namespace {

using namespace rauha::conformance;

constexpr int kAllPassed = 0, kSomeFailed = 1, kCouldNotRun = 2;

constexpr const char* kHelp = R"(rauha-plugin-check PLUGIN.so [OPTIONS]

Checks that a plugin keeps the rules of Rauha's plugin ABI: how it is loaded, old and new hosts, sizes and flags of structs, errors, idempotence,
cancelling, crashes followed by reconcile, resources, threads, random inputs. Each case runs in a process of its own, in a temporary
directory, with a time limit. Needs no daemon. A backend, an enforcer or a network plugin needs root for most cases, and says so.

Which cases
  --list                print the cases with their rules, and where each rule stands; run nothing
  --include REGEX       only cases whose name matches
  --only-failed         print only what failed
  --no-skip             a skipped case counts as failed
  --kind KIND           backend, image, enforcer or net, for a file whose note does not say

What the plugin gets
  --config FILE         its own section of rauha.toml (without the [plugin.NAME] line)
  --reference REF       image plugins: a reference that works; may be given more than once, the first that resolves is used. @dir, @oci,
                        @oci-archive and @docker-archive stand for the path of a sample image that is made for the case; a path of this
                        machine does as well (program:/bin/busybox).
                        Default: oci:@oci, dir:@dir, host
  --libexec DIR         backends: where rauha-shim is. Default: beside this program, or ../libexec/rauha

How it is run
  --json                one JSON document instead of text
  --limit SECONDS       of one case (default 60)
  --cancel-limit MS     how long a cancelled call may go on (default 5000)
  --rounds N            of the cases about resources (default 100)
  --seed N              of everything random; without it a new one, which is printed
  --reproduce SEED      only the cases that depend on the seed, with that one
  --in-process          no child processes, no time limit: for a debugger, best with --include

Exit code: 0 all passed (or skipped, with the reason), 1 some failed, 2 could not run.

Examples
  rauha-plugin-check ./my-image.so --reference 'snapshot:@dir'
  sudo rauha-plugin-check /usr/lib/rauha/plugins/backend-linux.so --only-failed
  rauha-plugin-check ./my-image.so --reproduce 8190482 --include random
  gdb --args rauha-plugin-check ./my-image.so --in-process --include '^errors.text$'
)";

struct Usage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Arguments {
  Options options;
  std::string include;
  std::string given;  // what the plugin gets, as it was written
  bool list = false, onlyFailed = false, json = false, noSkip = false, onlyRandom = false;
};

uint64_t numberOf(const std::string& option, const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long n = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || text[0] == '-') throw Usage(option + " takes a whole number, not \"" + text + "\"");
  return n;
}

std::string fileText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Usage("open " + path + ": " + std::strerror(errno));
  return {std::istreambuf_iterator<char>(in), {}};
}

Kind kindNamed(const std::string& name) {
  for (const Kind kind : {Kind::backend, Kind::image, Kind::enforcer, Kind::net})
    if (name == nameOf(kind)) return kind;
  throw Usage("--kind takes backend, image, enforcer or net, not \"" + name + "\"");
}

std::string ownDirectory() {
  char path[4096];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  const std::string whole(path, n < 0 ? 0 : static_cast<size_t>(n));
  return whole.substr(0, whole.rfind('/'));
}

std::string findLibexec() {
  const std::string here = ownDirectory();
  for (const std::string& directory : {here, here + "/../libexec/rauha"})
    if (::access((directory + "/rauha-shim").c_str(), X_OK) == 0) return directory;
  return "/nonexistent";
}

Arguments parse(int argc, char** argv) {
  Arguments out;
  uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = static_cast<uint64_t>(::getpid());
  out.options.seed = seed % 1'000'000'000;
  out.options.libexecDir = findLibexec();
  const std::vector<std::string> words(argv + 1, argv + argc);
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == words.size()) throw Usage(word + " needs a value");
      return words[++i];
    };
    if (word == "--list") {
      out.list = true;
    } else if (word == "--only-failed") {
      out.onlyFailed = true;
    } else if (word == "--json") {
      out.json = true;
    } else if (word == "--no-skip") {
      out.noSkip = true;
    } else if (word == "--in-process") {
      out.options.inProcess = true;
    } else if (word == "--include") {
      out.include = value();
    } else if (word == "--kind") {
      out.options.kind = kindNamed(value());
    } else if (word == "--config") {
      out.options.config = fileText(value());
      out.given += " --config '" + words[i] + "'";
    } else if (word == "--reference") {
      out.options.references.push_back(value());
      out.given += " --reference '" + words[i] + "'";
    } else if (word == "--libexec") {
      out.options.libexecDir = value();
    } else if (word == "--limit") {
      out.options.limit = std::chrono::seconds(numberOf(word, value()));
    } else if (word == "--cancel-limit") {
      out.options.cancelLimit = std::chrono::milliseconds(numberOf(word, value()));
    } else if (word == "--rounds") {
      out.options.rounds = static_cast<unsigned>(numberOf(word, value()));
    } else if (word == "--seed") {
      out.options.seed = numberOf(word, value());
    } else if (word == "--reproduce") {
      out.options.seed = numberOf(word, value());
      out.onlyRandom = true;
    } else if (word.rfind('-', 0) == 0) {
      throw Usage("unknown option " + word);
    } else if (out.options.plugin.empty()) {
      out.options.plugin = word;
    } else {
      throw Usage("one plugin at a time: both \"" + out.options.plugin + "\" and \"" + word + "\" were given");
    }
  }
  if (out.options.plugin.empty() && !(out.list && out.options.kind)) throw Usage("no plugin was given");
  return out;
}

std::string json(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    char escaped[8];
    const auto byte = static_cast<unsigned char>(c);
    std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (byte < 0x20 || byte >= 0x7f)  // what the report quotes is escaped already; the rest is the kit's own "…"
      out += byte >= 0x7f ? std::string(1, c) : escaped;
    else
      out += c;
  }
  return out + "\"";
}

const char* nameOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::passed:
      return "passed";
    case Verdict::failed:
      return "failed";
    case Verdict::skipped:
      return "skipped";
  }
  return "?";
}

struct Report {
  std::vector<std::pair<Case, Result>> results;
  size_t count(Verdict verdict) const {
    size_t n = 0;
    for (const auto& [c, r] : results) n += r.verdict == verdict ? 1 : 0;
    return n;
  }
};

void printJson(const Arguments& arguments, Kind kind, const Report& report) {
  std::string out = "{\n  \"plugin\": " + json(arguments.options.plugin) + ",\n  \"kind\": " + json(rauha::conformance::nameOf(kind)) +
                    ",\n  \"seed\": " + std::to_string(arguments.options.seed) +
                    ",\n  \"passed\": " + std::to_string(report.count(Verdict::passed)) +
                    ",\n  \"failed\": " + std::to_string(report.count(Verdict::failed)) +
                    ",\n  \"skipped\": " + std::to_string(report.count(Verdict::skipped)) + ",\n  \"cases\": [";
  bool first = true;
  for (const auto& [c, r] : report.results) {
    if (arguments.onlyFailed && r.verdict != Verdict::failed) continue;
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.3f", r.seconds);
    out += std::string(first ? "" : ",") + "\n    {\"name\": " + json(c.name) + ", \"verdict\": " + json(nameOf(r.verdict)) +
           ", \"rule\": " + json(c.rule) + ", \"where\": " + json(c.where) + ", \"seen\": " + json(r.seen) + ", \"seconds\": " + seconds +
           "}";
    first = false;
  }
  std::cout << out << "\n  ]\n}\n";
}

std::string indented(const std::string& text, const std::string& by) {
  std::string out = by;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += by;
  }
  return out;
}

void printOne(const Arguments& arguments, size_t number, size_t total, const Case& c, const Result& r) {
  if (arguments.onlyFailed && r.verdict != Verdict::failed) return;
  std::printf("[%2zu/%zu] %-22s %-7s %6.2f s\n", number, total, c.name, nameOf(r.verdict), r.seconds);
  if (r.verdict == Verdict::skipped) std::printf("%s\n", indented("why:   " + r.seen, "        ").c_str());
  if (r.verdict == Verdict::failed)
    std::printf("        rule:  %s\n        where: %s\n        seen:\n%s\n", c.rule, c.where, indented(r.seen, "          ").c_str());
  std::fflush(stdout);
}

int check(const Arguments& arguments) {
  const Kind kind = kindOf(arguments.options);
  const std::regex include(arguments.include);
  std::vector<Case> cases;
  for (const Case& c : casesOf(kind))
    if (std::regex_search(c.name, include) && (!arguments.onlyRandom || c.random)) cases.push_back(c);
  if (cases.empty())
    throw Usage("no case of kind " + std::string(rauha::conformance::nameOf(kind)) + " matches \"" + arguments.include + "\"; see --list");
  if (arguments.list) {
    for (const Case& c : cases) std::printf("%-22s %s (%s)\n", c.name, c.rule, c.where);
    return kAllPassed;
  }
  if (!arguments.json)
    std::printf("%s: kind %s, %zu cases, seed %llu\n", arguments.options.plugin.c_str(), rauha::conformance::nameOf(kind), cases.size(),
                static_cast<unsigned long long>(arguments.options.seed));
  Report report;
  for (const Case& c : cases) {
    const bool live = !arguments.json && !arguments.onlyFailed && ::isatty(STDOUT_FILENO) == 1;
    if (live) std::printf("[%2zu/%zu] %-22s …\r", report.results.size() + 1, cases.size(), c.name), std::fflush(stdout);
    report.results.emplace_back(c, run(c, arguments.options));
    if (!arguments.json) printOne(arguments, report.results.size(), cases.size(), c, report.results.back().second);
  }
  if (arguments.json)
    printJson(arguments, kind, report);
  else
    std::printf("%zu passed, %zu failed, %zu skipped\n", report.count(Verdict::passed), report.count(Verdict::failed),
                report.count(Verdict::skipped));
  const bool bad = report.count(Verdict::failed) > 0 || (arguments.noSkip && report.count(Verdict::skipped) > 0);
  if (bad && !arguments.json && report.count(Verdict::failed) > 0)
    std::printf("again: rauha-plugin-check %s%s --seed %llu --only-failed\n", arguments.options.plugin.c_str(), arguments.given.c_str(),
                static_cast<unsigned long long>(arguments.options.seed));
  return bad ? kSomeFailed : kAllPassed;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::strcmp(argv[i], "--help") == 0 || std::strcmp(argv[i], "-h") == 0) return std::fputs(kHelp, stdout), kAllPassed;
  ::signal(SIGPIPE, SIG_IGN);
  try {
    return check(parse(argc, argv));
  } catch (const Usage& e) {
    std::fprintf(stderr, "rauha-plugin-check: %s\nrauha-plugin-check --help tells more\n", e.what());
  } catch (const std::regex_error& e) {
    std::fprintf(stderr, "rauha-plugin-check: --include: %s\n", e.what());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rauha-plugin-check: %s\n", e.what());
  }
  return kCouldNotRun;
}
