#pragma once
// One HTTP exchange at a time over libcurl: a request goes out, the answer's head comes back, its body is read block by block while it
// arrives. Nothing is followed, retried or believed here (client.h does that).
//
// A session keeps its connection for the next request. Resource with one owner, used by one thread. The body is never buffered beyond
// kBodyBuffer: what is not read stays in the socket. Cancelling (Watch) ends a wait at once. A connection that is silent for `stallMs` is
// given up; there is no limit on the whole.

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "plugins/image-oci/registry/address.h"
#include "plugins/image-oci/registry/settings.h"
#include "plugins/image-oci/watch.h"

namespace rauha::oci {

// The exchange failed below HTTP. transient: another attempt may succeed.
class HttpFailure final : public Error {
 public:
  HttpFailure(Code code, std::string text, std::string hint, bool transient, bool notTls)
      : Error("image", code, std::move(text), std::move(hint)), transient_(transient), notTls_(notTls) {}
  bool transient() const noexcept { return transient_; }
  bool notTls() const noexcept { return notTls_; }  // a server that does not speak TLS answered

 private:
  bool transient_, notTls_;
};

struct HttpRequest {
  std::string url;
  std::string authorization;  // whole header value; empty: none
  std::string accept;
  std::string form;                         // POST with this body; empty: GET
  uint64_t offset = 0;                      // Range: from here on
  const RegistryHost* tls = nullptr;        // authorities and certificate; null: the system's
  Nearness nearest = Nearness::loopback;    // no connection to what is nearer
  const std::atomic<bool>* stop = nullptr;  // set: the exchange ends with `cancelled`
};

struct HttpAnswer {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case; of equal ones all, joined with ", "
  std::string location;                        // of a redirect, absolute
  std::string address;                         // whom we talked to
  const std::string& header(const std::string& name) const;
};

class HttpSession final {
 public:
  // All references outlive the session.
  HttpSession(const RegistrySettings& settings, const Watch& watch);
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  // Until the head is there. Ends an exchange that was not read to its end (and its connection). Throws HttpFailure, cancelled.
  HttpAnswer send(const HttpRequest& request);
  // The body's next block, valid until the next call; empty: the end. Throws HttpFailure, cancelled.
  std::string_view read();
  // The rest of the body, at most `limit` bytes (throws limit).
  std::string readAll(size_t limit, const std::string& what);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rauha::oci
