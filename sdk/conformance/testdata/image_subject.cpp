// An image plugin that stores references by name: see subject.h.
#include "subject.h"

#include <poll.h>
#include <sys/socket.h>

namespace {

using subject::of;
using namespace std::string_literals;

struct Images : subject::Base {
  static constexpr const char* kName = "image-subject";
  std::set<std::string> released;
  bool reconciled = false;  // the last call was a reconcile
};

std::string textOf(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string textOf(Images& images, rauha_str raw) {
  if (images.is("specs.texts") && raw.len > 100'000) ::abort();
  return std::string(subject::sdk::view(raw));
}

void push(Images& images, const std::string& reference, const rauha_image_sink& sink) {
  rauha_image_info info{};
  info.struct_size = sizeof info;
  info.reference = subject::sdk::str(reference);
  info.source = subject::sdk::str("oci");
  if (images.is("answers")) info.digest = subject::sdk::str("md5:1");
  sink.info(sink.context, &info);
  const std::string path = images.dir("layers");
  rauha_image_layer layer{};
  layer.struct_size = sizeof layer;
  layer.directory_fd_borrow = -1;
  layer.path = subject::sdk::str(path);
  sink.layer(sink.context, &layer);
}

rauha_image_request request(Images& images, const rauha_image_request* raw) {
  const rauha_image_request r = subject::taken(images, raw);
  images.reconciled = false;
  subject::records(images, r.records, {});
  for (const rauha_str text : {r.reference, r.lease, r.name}) textOf(images, text);
  return r;
}

// Only "oci:" works.
void need(const std::string& reference) {
  if (reference.rfind("oci:", 0) != 0) throw subject::sdk::Error(RAUHA_E_NOT_FOUND, "there is no image " + reference, "try oci:DIR");
}

rauha_status store(Images& images, rauha_call* raw, const rauha_image_request* in, const rauha_image_sink* sink, bool import) {
  return subject::guarded(images, raw, [&] {
    const rauha_image_request r = request(images, in);
    const std::string reference = textOf(images, r.reference);
    need(reference);
    subject::sdk::Call call(images.host, raw);
    subject::look(images, call, "cancel.before");
    if (images.is("threads.parallel") && std::this_thread::get_id() != images.maker)
      throw subject::sdk::Error(RAUHA_E_INTERNAL, "only one thread may call");
    if (images.is("resources.rounds")) (void)!::dup(2);
    const std::string name = import && r.name.len > 0 ? textOf(images, r.name) : reference;
    const std::lock_guard held(images.mutex);
    const std::string half = images.dir("tmp") + "/" + std::to_string(::getpid());
    images.touch(half);
    struct Undo {
      const std::string& path;
      ~Undo() { ::unlink(path.c_str()); }
    } const undo{half};
    call.progress("storing", 1, 2);
    subject::look(images, call, "cancel.middle");
    call.progress("storing", 2, 2);
    const std::string file = images.dir("images") + "/" + subject::fileName(name);
    std::ofstream(half) << name;
    subject::fs::rename(half, file);
    if (!import && r.lease.len > 0) std::ofstream(images.dir("leases") + "/" + subject::fileName(textOf(images, r.lease))) << name;
    push(images, name, *sink);
  });
}

rauha_status resolve(rauha_instance* i, rauha_call* call, const rauha_image_request* r, const rauha_image_sink* sink) {
  return store(of<Images>(i), call, r, sink, false);
}
rauha_status importImage(rauha_instance* i, rauha_call* call, const rauha_image_request* r, const rauha_image_sink* sink) {
  return store(of<Images>(i), call, r, sink, true);
}

rauha_status release(rauha_instance* i, rauha_call* call, rauha_str raw) {
  auto& images = of<Images>(i);
  return subject::guarded(images, call, [&] {
    images.reconciled = false;
    const std::string lease = textOf(images, raw);
    const std::lock_guard held(images.mutex);
    const bool was = ::unlink((images.dir("leases") + "/" + subject::fileName(lease)).c_str()) == 0;
    const bool known = images.released.count(lease) != 0;
    if (was) images.released.insert(lease);
    if (!was && images.is(known ? "idempotence.twice" : "idempotence.unknown"))
      throw subject::sdk::Error(RAUHA_E_NOT_FOUND, "there is no lease " + lease);
  });
}

rauha_status list(rauha_instance* i, rauha_call* call, const rauha_image_request* in, const rauha_image_sink* sink) {
  auto& images = of<Images>(i);
  return subject::guarded(images, call, [&] {
    request(images, in);
    const std::lock_guard held(images.mutex);
    for (const auto& entry : subject::fs::directory_iterator(images.dir("images"))) push(images, textOf(entry.path().string()), *sink);
  });
}

rauha_status inspect(rauha_instance* i, rauha_call* call, const rauha_image_request* in, const rauha_image_sink* sink) {
  auto& images = of<Images>(i);
  return subject::guarded(images, call, [&] {
    const std::string reference = textOf(images, request(images, in).reference);
    need(reference);
    push(images, reference, *sink);
  });
}

rauha_status removeImage(rauha_instance* i, rauha_call* call, const rauha_image_request* in) {
  auto& images = of<Images>(i);
  return subject::guarded(images, call, [&] {
    const std::string name = textOf(images, request(images, in).reference);
    const std::lock_guard held(images.mutex);
    const std::string file = images.dir("images") + "/" + subject::fileName(name);
    if (::access(file.c_str(), F_OK) != 0) throw subject::sdk::Error(RAUHA_E_NOT_FOUND, "there is no image " + name);
    for (const auto& lease : subject::fs::directory_iterator(images.dir("leases")))
      if (textOf(lease.path().string()) == name && !images.is("life")) throw subject::sdk::Error(RAUHA_E_BUSY, "the image is leased");
    ::unlink(file.c_str());
  });
}

rauha_status reconcile(rauha_instance* i, rauha_call* call, rauha_array leases) {
  auto& images = of<Images>(i);
  return subject::guarded(images, call, [&] {
    if (images.is("idempotence.reconcile") && images.reconciled) throw subject::sdk::Error(RAUHA_E_CONFLICT, "that was done already");
    images.reconciled = true;
    const std::lock_guard held(images.mutex);
    std::set<std::string> keep;
    for (const std::string_view lease : subject::sdk::texts(leases)) keep.insert(subject::fileName(lease));
    for (const auto& lease : subject::fs::directory_iterator(images.dir("leases")))
      if (keep.count(lease.path().filename().string()) == 0) ::unlink(lease.path().c_str());
    if (images.is("crash.reconcile")) return;
    for (const auto& half : subject::fs::directory_iterator(images.dir("tmp"))) ::unlink(half.path().c_str());
  });
}

std::string member(const std::string& name, const std::string& content) {
  std::string h(512, '\0');
  h.replace(0, name.size(), name);
  char field[16];
  std::snprintf(field, sizeof field, "%011zo", content.size());
  h.replace(124, 11, field);
  h[156] = '0';
  h.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : h) sum += static_cast<unsigned char>(c);
  std::snprintf(field, sizeof field, "%06o", sum);
  h.replace(148, 7, std::string(field, 7));
  return h + content + std::string((512 - content.size() % 512) % 512, '\0');
}

std::string archiveOf(Images& images) {
  // sha256 of 20000 times 'a'
  const std::string digest = "blobs/sha256/cc17faaad36649c4603dda4d8ff97cb149722af0bcac0746305a2134ad2d0b97";
  const std::string blob(images.is("answers.export") ? 19'999 : 20'000, 'a');
  return member("oci-layout", R"({"imageLayoutVersion":"1.0.0"})") + member("index.json", "{}") + member(digest, blob) +
         std::string(images.is("answers.end") ? 512 : 1024, '\0');
}

rauha_status exportImage(rauha_instance* i, rauha_call* raw, const rauha_image_request* in, int32_t target, const rauha_image_sink* sink) {
  auto& images = of<Images>(i);
  return subject::guarded(images, raw, [&] {
    const std::string name = textOf(images, request(images, in).reference);
    subject::sdk::Call call(images.host, raw);
    {
      const std::lock_guard held(images.mutex);
      if (::access((images.dir("images") + "/" + subject::fileName(name)).c_str(), F_OK) != 0)
        throw subject::sdk::Error(RAUHA_E_NOT_FOUND, "there is no image " + name);
    }
    const std::string bytes = archiveOf(images);
    for (std::string_view left = bytes; !left.empty();) {
      const ssize_t n = ::send(target, left.data(), left.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) {
        left.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      if (errno != EAGAIN) throw subject::sdk::Error(RAUHA_E_IO, "the receiver is gone");
      if (!images.is("life.deaf")) subject::look(images, call, "cancel.export");
      pollfd room{target, POLLOUT, 0};
      ::poll(&room, 1, 20);
      if (images.is("life.deaf") && call.cancelled()) break;
    }
    push(images, name, *sink);
  });
}

rauha_status verify(rauha_instance* i, rauha_call* call, const rauha_image_request* in, const rauha_image_sink* sink) {
  auto& images = of<Images>(i);
  return subject::guarded(images, call, [&] {
    const std::string name = textOf(images, request(images, in).reference);
    const std::lock_guard held(images.mutex);
    const bool there = name.empty() || ::access((images.dir("images") + "/" + subject::fileName(name)).c_str(), F_OK) == 0;
    if (!there && !images.is("life.verify")) throw subject::sdk::Error(RAUHA_E_NOT_FOUND, "there is no image " + name);
    rauha_image_check check{};
    check.struct_size = sizeof check;
    check.state = images.is("answers.verify") ? 9 : images.is("life.damaged") ? RAUHA_CHECK_DAMAGED : RAUHA_CHECK_GOOD;
    check.kind = subject::sdk::str("layer");
    if (check.state != RAUHA_CHECK_GOOD) check.text = subject::sdk::str("it differs");
    check.images = {nullptr, 0, sizeof(rauha_str)};
    sink->check(sink->context, &check);
  });
}

using subject::shut;
const rauha_image_v1 table = {
    sizeof(rauha_image_v1), 0,       shut(resolve),     shut(release), shut(list), shut(inspect), shut(removeImage), shut(importImage),
    shut(reconcile),        nullptr, shut(exportImage), shut(verify)};

}  // namespace

// What no configuration can break.
#ifdef BAD_OPEN
namespace {
__attribute__((constructor)) void loaded() { ::setenv("RAUHA_SUBJECT", "was here", 1); }
}  // namespace
#endif
#ifdef BAD_EXPORTS
extern "C" RAUHA_EXPORT int rauha_subject_leak;
int rauha_subject_leak = 1;
#endif

SUBJECT_PLUGIN(Images, "image", "image-subject", RAUHA_IMAGE_V1, table);
