#include "plugins/agent/report.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";

void putNumber(std::string& out, uint64_t value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }

void putText(std::string& out, std::string_view text) {
  // Texts come from errors about hostile paths; a message has a maximum size.
  text = text.substr(0, 2048);
  putNumber(out, text.size());
  out.append(text);
}

class Cursor {
 public:
  explicit Cursor(std::string_view rest) : rest_(rest) {}
  uint64_t number() {
    uint64_t value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() { return std::string(take(number())); }

 private:
  std::string_view take(uint64_t n) {
    if (n > rest_.size()) throw Error(kClass, Code::internal, "a report of the zone's process is cut short");
    const auto part = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return part;
  }
  std::string_view rest_;
};

}  // namespace

std::string encodeReady(const Ready& ready) {
  std::string out = "R";
  const Armed& a = ready.armed;
  for (uint64_t n : {uint64_t{a.userNamespace}, uint64_t{a.seccomp}, uint64_t{a.noNewPrivs}, uint64_t{a.seccompRules},
                     uint64_t{a.landlockAbi}, a.capabilities, uint64_t{ready.hostUid}, uint64_t{ready.hostGid}})
    putNumber(out, n);
  putNumber(out, a.notes.size());
  for (const auto& note : a.notes) putText(out, note);
  putNumber(out, ready.stages.size());
  for (const auto& [name, ns] : ready.stages) putText(out, name), putNumber(out, ns);
  return out;
}

void sendCopying(int socket, const Copying& copying) noexcept {
  const uint64_t numbers[3] = {copying.files, copying.bytes, copying.done ? 1u : 0u};
  char message[1 + sizeof numbers] = {'C'};
  std::memcpy(message + 1, numbers, sizeof numbers);
  (void)::send(socket, message, sizeof message, (copying.done ? 0 : MSG_DONTWAIT) | MSG_NOSIGNAL);
}

std::optional<Copying> decodeCopying(std::string_view message) {
  if (message.empty() || message[0] != 'C') return std::nullopt;
  Cursor in(message.substr(1));
  Copying out;
  out.files = in.number();
  out.bytes = in.number();
  out.done = in.number() != 0;
  return out;
}

std::string encodeError(const Error& error) {
  std::string out = "E";
  putNumber(out, static_cast<uint64_t>(error.code()));
  putText(out, error.errorClass());
  putText(out, error.text());
  putText(out, error.hint());
  putText(out, error.object());
  return out;
}

Ready decodeReport(std::string_view message) {
  if (message.empty()) throw Error(kClass, Code::internal, "a report of the zone's process is empty");
  Cursor in(message.substr(1));
  if (message[0] == 'E') {
    const auto code = codeFromNumber(static_cast<int32_t>(in.number() & 0xff));
    std::string errorClass = in.text(), text = in.text(), hint = in.text();
    throw Error(errorClass, code, std::move(text), std::move(hint), in.text());
  }
  if (message[0] != 'R') throw Error(kClass, Code::internal, "a report of the zone's process is of an unknown kind");
  Ready ready;
  Armed& a = ready.armed;
  a.userNamespace = in.number() != 0;
  a.seccomp = in.number() != 0;
  a.noNewPrivs = in.number() != 0;
  a.seccompRules = static_cast<uint32_t>(in.number());
  a.landlockAbi = static_cast<uint32_t>(in.number());
  a.capabilities = in.number();
  ready.hostUid = static_cast<uint32_t>(in.number());
  ready.hostGid = static_cast<uint32_t>(in.number());
  for (uint64_t n = in.number(); n > 0; --n) a.notes.push_back(in.text());
  for (uint64_t n = in.number(); n > 0; --n) {
    std::string name = in.text();
    ready.stages.emplace_back(std::move(name), in.number());
  }
  return ready;
}

void sendDescriptors(int socket, char tag, const std::vector<int>& descriptors) {
  alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
  struct iovec iov = {&tag, 1};
  struct msghdr msg = {};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
  struct cmsghdr* header = CMSG_FIRSTHDR(&msg);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  if (::sendmsg(socket, &msg, MSG_NOSIGNAL) < 0) throwErrno(kClass, "pass descriptors to the agent");
}

std::optional<Received> receive(int socket) {
  Received out;
  out.text.resize(kMaxReport);
  alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
  struct iovec iov = {out.text.data(), out.text.size()};
  struct msghdr msg = {};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof control;
  ssize_t n;
  do {
    n = ::recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  if (n < 0 && errno != ECONNRESET) throwErrno(kClass, "receive a report of the zone's process");
  for (struct cmsghdr* h = CMSG_FIRSTHDR(&msg); h != nullptr; h = CMSG_NXTHDR(&msg, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof fd);
      out.descriptors.emplace_back(fd);
    }
  }
  out.text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return out;
}

}  // namespace rauha::agent
