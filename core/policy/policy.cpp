#include "core/policy/policy.h"

#include <algorithm>
#include <map>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/policy/builtin_texts.h"
#include "core/policy/known_names.h"
#include "core/policy/policy_reader.h"

namespace rauha::policy {

Policy::Policy() : message_(std::make_unique<capnp::MallocMessageBuilder>()) {}
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
Policy::~Policy() = default;

schema::Policy::Reader Policy::get() const { return message_->getRoot<schema::Policy>().asReader(); }

Policy Policy::copy() const {
  Policy out;
  out.message_->setRoot(get());
  out.toml_ = toml_;
  out.name_ = name_;
  out.digest_ = digest_;
  out.warnings_ = warnings_;
  return out;
}

Policy parsePolicy(std::string_view toml, std::string_view source) {
  Problems problems;
  Policy policy;
  auto root = policy.message_->initRoot<schema::Policy>();
  std::vector<Notice> notices;
  try {
    notices = readPolicy(parseToml(toml, kMaxPolicyBytes), root, problems);
  } catch (TomlFailure& failure) {
    problems.add(failure.line, "", std::move(failure.reason), std::move(failure.hint));
  }
  problems.raise(source);

  policy.toml_ = toml;
  policy.digest_ = sha256(toml);
  root.setDigest(policy.digest_);
  if (!source.empty()) root.setSource(shown(source));
  policy.name_ = std::string(root.getName().begin(), root.getName().size());
  const std::string place = source.empty() ? std::string("policy") : shown(source);
  for (const auto& notice : notices) policy.warnings_.push_back(place + ":" + std::to_string(notice.line) + ": " + notice.text);
  for (auto& warning : policyWarnings(root.asReader())) policy.warnings_.push_back(std::move(warning));
  return policy;
}

std::vector<std::string_view> builtinPolicyNames() {
  std::vector<std::string_view> names;
  for (const auto& text : builtinTexts()) names.push_back(text.name);
  return names;
}

std::string_view builtinPolicyToml(std::string_view name) noexcept {
  for (const auto& text : builtinTexts())
    if (text.name == name) return text.toml;
  return {};
}

Policy builtinPolicy(std::string_view name) {
  // They never change, and reading one took some 50 us of every task.
  static const std::map<std::string_view, Policy> all = [] {
    std::map<std::string_view, Policy> out;
    for (const auto& text : builtinTexts()) out.emplace(text.name, parsePolicy(text.toml, ""));
    return out;
  }();
  if (const auto it = all.find(name); it != all.end()) return it->second.copy();
  throw Error("policy", Code::notFound, "no built-in policy '" + shown(name) + "'", didYouMean(name, builtinPolicyNames()),
              std::string(shown(name)));
}

}  // namespace rauha::policy
