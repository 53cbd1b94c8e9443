#pragma once
// A registry of the OCI distribution protocol, as one repository of it is read: authentication, redirects, retries, mirrors.
//
// Everything that comes back is unverified bytes: digests are checked by whoever asked. Credentials go to the registry that they name, and
// to the token server that this registry names over TLS; never to a mirror, never to another host after a redirect. Made for one pull;
// [any] thread, each call uses a session of its own. Errors: rauha::Error of class "image" that name the registry's address.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/image-oci/registry/credentials.h"
#include "plugins/image-oci/registry/http.h"
#include "plugins/image-oci/registry/settings.h"
#include "plugins/image-oci/watch.h"

namespace rauha::oci {

struct Challenge;

// What was learnt about servers, kept in memory between pulls, so that the next one begins with the right question. Thread: [any].
class RegistryMemory final {
 public:
  struct Entry {
    std::string authorization;
    int64_t untilNs = 0;  // CLOCK_MONOTONIC; 0: for ever
  };
  std::string authorization(const std::string& key) const;
  void remember(const std::string& key, Entry entry);
  void forget(const std::string& key);
  bool isPlain(const std::string& host) const;  // a loopback registry that was seen not to speak TLS
  void notePlain(const std::string& host);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, bool> plain_;
};

struct RegistryTarget {
  std::string domain;      // "docker.io", "localhost:5000"
  std::string repository;  // "library/alpine"
};

class RegistryClient final {
 public:
  // All references outlive the client.
  RegistryClient(const RegistrySettings& settings, RegistryMemory& memory, const Watch& watch, RegistryTarget target,
                 std::optional<Credentials> credentials);
  ~RegistryClient();

  struct Document {
    std::string text, mediaType;
  };
  // By tag or digest, at most kJsonMax bytes.
  Document manifest(const std::string& reference);
  // A small blob, at most kJsonMax bytes.
  std::string blob(const std::string& digest);

  // The bytes of a blob from `offset` on, each block to `take` as it arrives; a connection that breaks is made anew and goes on where it
  // was. Returns when the server has sent `size` bytes in all, counted from 0. Throws corrupt when it has more or fewer.
  class Body;
  std::unique_ptr<Body> openBlob(const std::string& digest, uint64_t offset, uint64_t size, const std::atomic<bool>* stop);

  // One of several calls failed and the others are not needed any more: they end with `cancelled`.
  void abandon() noexcept { abandoned_ = true; }

  // False: the registry itself is asked and nobody else. What is asked from dropMirrors() on is asked of it alone: a mirror sent what it is
  // not, and the registry may still have the right bytes.
  bool usesMirrors() const noexcept;
  void dropMirrors();

  const RegistryTarget& target() const noexcept { return target_; }

 private:
  struct Endpoint;
  struct Session;
  class Lease;
  HttpAnswer ask(HttpSession& session, const Endpoint& endpoint, const std::string& path, const std::string& accept, uint64_t offset,
                 const std::atomic<bool>* stop = nullptr);
  HttpAnswer follow(HttpSession& session, const Endpoint& endpoint, HttpRequest request);
  bool authenticate(HttpSession& session, const Endpoint& endpoint, const HttpAnswer& answer);
  std::string token(HttpSession& session, const Endpoint& endpoint, const Challenge& challenge, const HttpAnswer& answer, int64_t& untilNs);
  bool mayBePlain(const Endpoint& endpoint, const std::string& realm) const;
  std::string origin(const Endpoint& endpoint) const;
  std::string memoryKey(const Endpoint& endpoint) const;
  [[noreturn]] void refuse(HttpSession& session, const Endpoint& endpoint, const HttpAnswer& answer, const std::string& what);
  void pause(uint64_t milliseconds, const std::string& why, const std::atomic<bool>* stop = nullptr) const;
  // Runs f for each endpoint in order until one gives a result; for each, again after what may pass.
  template <typename F>
  auto anywhere(F f);
  template <typename F>
  auto patiently(const Endpoint& endpoint, F f);
  std::unique_ptr<HttpSession> take();
  void give(std::unique_ptr<HttpSession> session);

  const RegistrySettings& settings_;
  RegistryMemory& memory_;
  std::atomic<bool> abandoned_{false};
  const Watch watch_;
  const RegistryTarget target_;
  const std::optional<Credentials> credentials_;
  std::vector<Endpoint> endpoints_;  // mirrors, then the registry
  std::atomic<size_t> first_{0};     // that is asked
  std::mutex mutex_;
  std::vector<std::unique_ptr<HttpSession>> idle_;
};

class RegistryClient::Body final {
 public:
  Body(RegistryClient& client, std::string digest, uint64_t offset, uint64_t size, const std::atomic<bool>* stop);
  ~Body();
  // The next block, valid until the next call; empty: all `size` bytes are there.
  std::string_view next();

 private:
  std::string_view attempt();
  void open();
  RegistryClient& client_;
  const std::string digest_;
  uint64_t at_;
  const uint64_t size_;
  const std::atomic<bool>* const stop_;  // set by another thread: give up
  uint64_t skip_ = 0;                    // bytes that a server without ranges sends again
  size_t endpoint_;
  int failures_ = 0;  // since the last byte
  int restarts_ = 0;  // in all
  std::unique_ptr<HttpSession> session_;
};

}  // namespace rauha::oci
