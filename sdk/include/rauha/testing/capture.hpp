#pragma once
// What a plugin pushes into sinks, kept as plain values: for tests of plugins, with fake_host.hpp.
//
// One class per kind of sink. Give the plugin `capture.raw()`; afterwards look at the vectors. Nothing is judged or refused here: a test
// sees exactly what was pushed, malformed or not; texts are copied, a null text reads as empty. Pushes may come from several threads. A
// capture must outlive the call; it is neither copied nor moved.

#include <fcntl.h>
#include <unistd.h>

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "../draft/enforcer.h"
#include "../draft/net.h"
#include "../plugin.hpp"

namespace rauha::testing {

inline std::string copied(rauha_str s) { return s.ptr == nullptr ? std::string() : std::string(s.ptr, s.len); }

// Texts of an array of rauha_str.
inline std::vector<std::string> copiedTexts(const rauha_array& array) {
  std::vector<std::string> out;
  for (const std::string_view text : sdk::texts(array)) out.emplace_back(text);
  return out;
}

struct CapturedLayer {
  uint32_t structSize = 0, flags = 0, state = 0;
  std::string name, detail, reason, remedy;
};

// Layers of protection: probe, zone_create, and the network's probe.
class LayerCapture final {
 public:
  LayerCapture() = default;
  LayerCapture(const LayerCapture&) = delete;
  LayerCapture& operator=(const LayerCapture&) = delete;
  const rauha_layer_sink* raw() const noexcept { return &raw_; }
  // Null when there is none of that name.
  const CapturedLayer* find(std::string_view name) const {
    for (const CapturedLayer& layer : layers)
      if (layer.name == name) return &layer;
    return nullptr;
  }
  std::vector<CapturedLayer> layers;

 private:
  static void push(void* context, const rauha_layer* l) noexcept {
    auto* self = static_cast<LayerCapture*>(context);
    const std::lock_guard held(self->mutex_);
    self->layers.push_back({l->struct_size, l->flags, l->state, copied(l->name), copied(l->detail), copied(l->reason), copied(l->remedy)});
  }
  std::mutex mutex_;
  rauha_layer_sink raw_{sizeof(rauha_layer_sink), 0, this, push};
};

struct CapturedFinding {
  uint32_t structSize = 0, flags = 0;
  std::string zoneId, object, action;
};

// What the backend's reconcile reports.
class FindingCapture final {
 public:
  FindingCapture() = default;
  FindingCapture(const FindingCapture&) = delete;
  FindingCapture& operator=(const FindingCapture&) = delete;
  const rauha_finding_sink* raw() const noexcept { return &raw_; }
  std::vector<CapturedFinding> findings;

 private:
  static void push(void* context, const rauha_zone_finding* f) noexcept {
    auto* self = static_cast<FindingCapture*>(context);
    const std::lock_guard held(self->mutex_);
    self->findings.push_back({f->struct_size, f->flags, copied(f->zone_id), copied(f->object), copied(f->action)});
  }
  std::mutex mutex_;
  rauha_finding_sink raw_{sizeof(rauha_finding_sink), 0, this, push};
};

struct CapturedImageLayer {
  uint32_t structSize = 0, flags = 0, idMapping = 0;
  bool hasDirectory = false;  // a descriptor was given, and it was open while the push ran
  std::string path, digest, diffId, mediaType;
  uint64_t size = 0;
};
struct CapturedMount {
  uint32_t structSize = 0, flags = 0, kind = 0;
  uint64_t number = 0;
  std::string source, target;
};
struct CapturedImage {
  uint32_t structSize = 0, flags = 0;
  std::string reference, digest, source, configJson;
  uint64_t size = 0;
  int64_t createdNs = 0;
  std::vector<CapturedImageLayer> layers;
  std::vector<CapturedMount> mounts;
};

struct CapturedCheck {
  uint32_t structSize = 0, flags = 0, state = 0;
  std::string kind, digest, path, text, remedy;
  uint64_t bytes = 0;
  std::vector<std::string> images;
};

// Images, and what verify found. What comes before the first info is counted in `strays`: the header asks for the info first.
class ImageCapture final {
 public:
  ImageCapture() = default;
  ImageCapture(const ImageCapture&) = delete;
  ImageCapture& operator=(const ImageCapture&) = delete;
  const rauha_image_sink* raw() const noexcept { return &raw_; }
  std::vector<CapturedImage> images;
  std::vector<CapturedCheck> checks;
  size_t strays = 0;

 private:
  static ImageCapture* of(void* context) noexcept { return static_cast<ImageCapture*>(context); }
  static void info(void* context, const rauha_image_info* i) noexcept {
    const std::lock_guard held(of(context)->mutex_);
    of(context)->images.push_back({i->struct_size,
                                   i->flags,
                                   copied(i->reference),
                                   copied(i->digest),
                                   copied(i->source),
                                   copied(i->config_json),
                                   i->size,
                                   i->created_ns,
                                   {},
                                   {}});
  }
  static void layer(void* context, const rauha_image_layer* l) noexcept {
    const std::lock_guard held(of(context)->mutex_);
    if (of(context)->images.empty()) {
      ++of(context)->strays;
      return;
    }
    const bool open = l->directory_fd_borrow >= 0 && ::fcntl(l->directory_fd_borrow, F_GETFD) >= 0;
    of(context)->images.back().layers.push_back({l->struct_size, l->flags, l->id_mapping, open, copied(l->path), copied(l->digest),
                                                 copied(l->diff_id), copied(l->media_type), l->size});
  }
  static void mount(void* context, const rauha_image_mount* m) noexcept {
    const std::lock_guard held(of(context)->mutex_);
    if (of(context)->images.empty()) {
      ++of(context)->strays;
      return;
    }
    of(context)->images.back().mounts.push_back({m->struct_size, m->flags, m->kind, m->number, copied(m->source), copied(m->target)});
  }
  static void check(void* context, const rauha_image_check* c) noexcept {
    CapturedCheck out{c->struct_size,  c->flags,        c->state,          copied(c->kind), copied(c->digest),
                      copied(c->path), copied(c->text), copied(c->remedy), c->bytes,        {}};
    for (uint32_t i = 0; i < c->images.count; ++i)
      out.images.push_back(
          copied(*reinterpret_cast<const rauha_str*>(static_cast<const char*>(c->images.ptr) + size_t{i} * c->images.stride)));
    const std::lock_guard held(of(context)->mutex_);
    of(context)->checks.push_back(std::move(out));
  }
  std::mutex mutex_;
  rauha_image_sink raw_{sizeof(rauha_image_sink), 0, this, info, layer, mount, check};
};

struct CapturedDiscrepancy {
  uint32_t structSize = 0, flags = 0;
  std::string zoneId, kind, detail;
};

// The enforcer's verify and reconcile.
class DiscrepancyCapture final {
 public:
  DiscrepancyCapture() = default;
  DiscrepancyCapture(const DiscrepancyCapture&) = delete;
  DiscrepancyCapture& operator=(const DiscrepancyCapture&) = delete;
  const rauha_discrepancy_sink* raw() const noexcept { return &raw_; }
  std::vector<CapturedDiscrepancy> discrepancies;

 private:
  static void push(void* context, const rauha_discrepancy* d) noexcept {
    auto* self = static_cast<DiscrepancyCapture*>(context);
    const std::lock_guard held(self->mutex_);
    self->discrepancies.push_back({d->struct_size, d->flags, copied(d->zone_id), copied(d->kind), copied(d->detail)});
  }
  std::mutex mutex_;
  rauha_discrepancy_sink raw_{sizeof(rauha_discrepancy_sink), 0, this, push};
};

// The enforcer's stats: the structs hold no pointers and are kept as they are.
class CountersCapture final {
 public:
  CountersCapture() = default;
  CountersCapture(const CountersCapture&) = delete;
  CountersCapture& operator=(const CountersCapture&) = delete;
  const rauha_counters_sink* raw() const noexcept { return &raw_; }
  // Null when nothing was pushed for the operation.
  const rauha_enforcer_counters* of(uint32_t operation) const {
    for (const rauha_enforcer_counters& c : counters)
      if (c.operation == operation) return &c;
    return nullptr;
  }
  std::vector<rauha_enforcer_counters> counters;

 private:
  static void push(void* context, const rauha_enforcer_counters* c) noexcept {
    auto* self = static_cast<CountersCapture*>(context);
    const std::lock_guard held(self->mutex_);
    rauha_enforcer_counters copy{};
    std::memcpy(&copy, c, std::min<size_t>(c->struct_size, sizeof copy));
    self->counters.push_back(copy);
  }
  std::mutex mutex_;
  rauha_counters_sink raw_{sizeof(rauha_counters_sink), 0, this, push};
};

struct CapturedAttachment {
  uint32_t structSize = 0, flags = 0;
  std::string interfaceName, hostInterface, state;
  std::vector<std::string> addresses, resolvers;
};

// What the network's attach gives.
class AttachmentCapture final {
 public:
  AttachmentCapture() = default;
  AttachmentCapture(const AttachmentCapture&) = delete;
  AttachmentCapture& operator=(const AttachmentCapture&) = delete;
  const rauha_net_sink* raw() const noexcept { return &raw_; }
  std::vector<CapturedAttachment> attachments;

 private:
  static void push(void* context, const rauha_net_result* r) noexcept {
    auto* self = static_cast<AttachmentCapture*>(context);
    const std::lock_guard held(self->mutex_);
    self->attachments.push_back({r->struct_size, r->flags, copied(r->interface_name), copied(r->host_interface), copied(r->state),
                                 copiedTexts(r->addresses), copiedTexts(r->resolvers)});
  }
  std::mutex mutex_;
  rauha_net_sink raw_{sizeof(rauha_net_sink), 0, this, push};
};

// What the network's check and reconcile report.
class NetFindingCapture final {
 public:
  NetFindingCapture() = default;
  NetFindingCapture(const NetFindingCapture&) = delete;
  NetFindingCapture& operator=(const NetFindingCapture&) = delete;
  const rauha_net_finding_sink* raw() const noexcept { return &raw_; }
  std::vector<CapturedFinding> findings;

 private:
  static void push(void* context, const rauha_net_finding* f) noexcept {
    auto* self = static_cast<NetFindingCapture*>(context);
    const std::lock_guard held(self->mutex_);
    self->findings.push_back({f->struct_size, f->flags, copied(f->zone_id), copied(f->object), copied(f->action)});
  }
  std::mutex mutex_;
  rauha_net_finding_sink raw_{sizeof(rauha_net_finding_sink), 0, this, push};
};

// A zone spec with the texts and records that it borrows. spec() stays valid as long as the builder is unchanged.
class ZoneSpecBuilder final {
 public:
  std::string zoneId = "zone_test", hostname = "test";
  uint32_t flags = 0, network = RAUHA_NETWORK_ISOLATED;
  std::vector<rauha_record> records;

  ZoneSpecBuilder& number(uint32_t tag, uint64_t n) {
    records.push_back({sizeof(rauha_record), RAUHA_RECORD_CRITICAL, tag, 0, n, {nullptr, 0}});
    return *this;
  }
  // text: outlives the builder.
  ZoneSpecBuilder& text(uint32_t tag, std::string_view text) {
    records.push_back({sizeof(rauha_record), RAUHA_RECORD_CRITICAL, tag, 0, 0, sdk::str(text)});
    return *this;
  }
  rauha_zone_spec spec() const {
    rauha_zone_spec out{};
    out.struct_size = sizeof out;
    out.flags = flags;
    out.network = network;
    out.zone_id = sdk::str(zoneId);
    out.hostname = sdk::str(hostname);
    out.records = {records.data(), static_cast<uint32_t>(records.size()), sizeof(rauha_record)};
    return out;
  }
};

}  // namespace rauha::testing
