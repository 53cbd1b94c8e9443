#include "core/zone/undo.h"

namespace rauha {
namespace {
kj::Promise<std::string> attempt(const Undo::Step& step) {
  try {
    return step().then([] { return std::string(); }, [](kj::Exception&& e) { return fromKj(e).text(); });
  } catch (...) {
    return currentError().text();
  }
}
}  // namespace

Task<std::vector<std::string>> Undo::run() {
  std::vector<std::string> failures;
  while (!steps_.empty()) {
    Entry entry = std::move(steps_.back());
    steps_.pop_back();
    const std::string why = co_await attempt(entry.step);
    if (!why.empty()) failures.push_back(entry.what + ": " + why);
  }
  co_return failures;
}

}  // namespace rauha
