#include "core/plugin/remote/remote_images.h"

#include <string>

#include "core/base/kj_error.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/remote/image_wire.h"
#include "core/plugin/remote/passed_source.h"
#include "core/plugin/remote/remote_plugin.h"

namespace rauha::plugin {
namespace {

RemotePlugin& self(rauha_instance* instance) { return *reinterpret_cast<RemotePlugin*>(instance); }
std::string text(rauha_str s) { return s.len == 0 ? std::string() : std::string(s.ptr, s.len); }

// Like the barrier of the C++ wrapper: an Error becomes a status and its texts.
template <typename F>
rauha_status guarded(rauha_instance* instance, rauha_call* call, F&& f) noexcept {
  try {
    f(self(instance));
    return RAUHA_OK;
  } catch (...) {
    try {
      const Error e = currentError("image");
      const auto status = static_cast<rauha_status>(e.code());
      self(instance).host().table()->set_error(call, status, toStr(e.text()), toStr(e.hint()));
      return status;
    } catch (...) {  // out of memory
      return RAUHA_E_LIMIT;
    }
  }
}

void push(RemotePlugin& plugin, const ImageReply& reply, int source, bool pin, const rauha_image_sink& sink) {
  if (reply.message == nullptr) return;
  const ImageBounds bounds{plugin.store(), plugin.visible(), source, pin};
  const auto answer = reply.message->getRoot<schema::PluginImageAnswer>().asReader();
  pushImages(answer.getImages(), bounds, sink);
  pushChecks(answer.getChecks(), sink);
}

void giveBack(RemotePlugin& plugin, rauha_call* call, const std::string& lease) noexcept {
  try {
    ImageQuestion question;
    question.method = ImageMethod::release;
    question.text = lease;
    plugin.ask(call, question);
  } catch (const Error& e) {
    plugin.host().log(LogLevel::error, "lease " + lease + " could not be released after a refused answer: " + e.text());
  }
}

rauha_status about(ImageMethod method, rauha_instance* instance, rauha_call* call, const rauha_image_request* request,
                   const rauha_image_sink* sink, int target = -1) noexcept {
  return guarded(instance, call, [&](RemotePlugin& plugin) {
    ImageQuestion question;
    question.method = method;
    question.text = text(request->reference);
    question.lease = text(request->lease);
    question.name = text(request->name);
    question.uid = request->caller_uid;
    question.gid = request->caller_gid;
    const auto* at = static_cast<const unsigned char*>(request->records.ptr);
    for (uint32_t k = 0; k < request->records.count; ++k) {
      const auto record =
          readStruct(reinterpret_cast<const rauha_record*>(at + size_t{k} * request->records.stride), sizeof(rauha_record), "a record");
      question.records.push_back({record.tag, record.flags, record.number, text(record.text)});
    }
    PassedSource passed;
    if (request->source_fd_borrow >= 0) passed = passableSource(request->source_fd_borrow);
    question.source = passed.fd.get();
    PassedSource passedTarget;
    if (target >= 0) passedTarget = passableSource(target);
    question.target = passedTarget.fd.get();
    const ImageReply reply = plugin.ask(call, question);
    try {
      // What a zone will mount is pinned; what is only shown is named.
      push(plugin, reply, request->source_fd_borrow, method == ImageMethod::resolve, *sink);
    } catch (const Error&) {
      // On failure nothing is left to clean up: the process holds a lease on what was refused.
      if (method == ImageMethod::resolve && !question.lease.empty()) giveBack(plugin, call, question.lease);
      throw;
    }
  });
}

rauha_status about(ImageMethod method, rauha_instance* instance, rauha_call* call, rauha_str what) noexcept {
  return guarded(instance, call, [&](RemotePlugin& plugin) {
    ImageQuestion question;
    question.method = method;
    question.text = text(what);
    plugin.ask(call, question);
  });
}

rauha_status resolve(rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
  return about(ImageMethod::resolve, i, c, r, s);
}
rauha_status inspect(rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
  return about(ImageMethod::inspect, i, c, r, s);
}
rauha_status importImage(rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
  return about(ImageMethod::importImage, i, c, r, s);
}
rauha_status prune(rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
  return about(ImageMethod::prune, i, c, r, s);
}
rauha_status exportImage(rauha_instance* i, rauha_call* c, const rauha_image_request* r, int32_t target,
                         const rauha_image_sink* s) noexcept {
  return about(ImageMethod::exportImage, i, c, r, s, target);
}
rauha_status verify(rauha_instance* i, rauha_call* c, const rauha_image_request* r, const rauha_image_sink* s) noexcept {
  return about(ImageMethod::verify, i, c, r, s);
}
rauha_status release(rauha_instance* i, rauha_call* c, rauha_str lease) noexcept { return about(ImageMethod::release, i, c, lease); }
rauha_status removeImage(rauha_instance* i, rauha_call* c, const rauha_image_request* r) noexcept {
  return about(ImageMethod::remove, i, c, r->reference);
}

rauha_status list(rauha_instance* instance, rauha_call* call, const rauha_image_request*, const rauha_image_sink* sink) noexcept {
  return guarded(instance, call, [&](RemotePlugin& plugin) {
    ImageQuestion question;
    question.method = ImageMethod::list;
    push(plugin, plugin.ask(call, question), -1, false, *sink);
  });
}

rauha_status reconcile(rauha_instance* instance, rauha_call* call, rauha_array leases) noexcept {
  return guarded(instance, call, [&](RemotePlugin& plugin) {
    ImageQuestion question;
    question.method = ImageMethod::reconcile;
    const auto* at = static_cast<const unsigned char*>(leases.ptr);
    for (uint32_t k = 0; k < leases.count; ++k) {
      rauha_str lease;
      std::memcpy(&lease, at + size_t{k} * leases.stride, sizeof lease);
      question.leases.push_back(text(lease));
    }
    plugin.ask(call, question);
  });
}

}  // namespace

const rauha_image_v1* remoteImagesTable() noexcept {
  static const rauha_image_v1 table = {
      sizeof(rauha_image_v1), 0, resolve, release, list, inspect, removeImage, importImage, reconcile, prune, exportImage, verify};
  return &table;
}

}  // namespace rauha::plugin
