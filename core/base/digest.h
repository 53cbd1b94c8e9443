#pragma once
// SHA-256, streaming, as OCI writes it: "sha256:<64 hex digits>".

#include <memory>
#include <string>
#include <string_view>

namespace rauha {

class Sha256 final {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(const void* data, size_t size);
  // "sha256:…"; once.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256(std::string_view bytes);
// "sha256:" and 64 lower-case hex digits?
bool isSha256(std::string_view digest) noexcept;

}  // namespace rauha
