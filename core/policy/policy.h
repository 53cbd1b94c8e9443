#pragma once
// A validated policy: what a zone may do, read from TOML (docs/policy.md) into schemas/policy.capnp.
//
// A Policy exists only if its text was accepted in full: every key known, every value in range, no contradiction. It is a resource (it
// owns the message behind get()), moved, copied only by copy(), and never changes after parsePolicy made it. Thread: any, one at a time to
// move it; readers may read at once. Everything in the text is hostile input. Refusals are rauha::Error of class "policy" with the source,
// line and key in the text, the key as object and the remedy as hint.

#include <capnp/message.h>
#include <schemas/policy.capnp.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::policy {

// A policy file is small; more is refused before it is parsed.
inline constexpr size_t kMaxPolicyBytes = 1 << 20;
// Entries of any one list in a policy.
inline constexpr size_t kMaxPolicyEntries = 1024;

class Policy final {
 public:
  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;
  ~Policy();
  // The same again, without reading its text anew.
  Policy copy() const;
  // Valid as long as this Policy lives and is not moved from.
  schema::Policy::Reader get() const;
  // The text that was parsed, byte for byte: what the digest is of and what the store keeps.
  const std::string& toml() const noexcept { return toml_; }
  const std::string& name() const noexcept { return name_; }
  const std::string& digest() const noexcept { return digest_; }
  // What is accepted and still deserves a second look, one line each: first what this version cannot run ("x.toml:7: network.mode: …"),
  // then what is risky ("type privileged: …").
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }

 private:
  friend Policy parsePolicy(std::string_view toml, std::string_view source);
  Policy();
  std::unique_ptr<capnp::MallocMessageBuilder> message_;
  std::string toml_, name_, digest_;
  std::vector<std::string> warnings_;
};

// source: the path that the client named, for messages and Policy.source; empty for text without a path.
// Refuses with "policies/x.toml:12: resources.memroy: unknown key", hint "did you mean 'memory'?". When several things are wrong, the first
// line's is told and the others are counted.
Policy parsePolicy(std::string_view toml, std::string_view source);

// The policies of policies/*.toml, compiled in. notFound names the ones that exist.
Policy builtinPolicy(std::string_view name);
std::vector<std::string_view> builtinPolicyNames();
// Their TOML text; empty when there is none of that name.
std::string_view builtinPolicyToml(std::string_view name) noexcept;

}  // namespace rauha::policy
