#include "core/task/capture.h"

namespace rauha {

kj::Promise<void> Capture::write(WriteContext context) {
  const auto chunk = context.getParams().getChunk();
  state_->total += chunk.size();
  if (state_->kept.size() < state_->limit)
    state_->kept.append(reinterpret_cast<const char*>(chunk.begin()),
                        std::min<uint64_t>(chunk.size(), state_->limit - state_->kept.size()));
  KJ_IF_MAYBE (sink, forward_) {
    auto request = sink->writeRequest(capnp::MessageSize{chunk.size() / 8 + 16, 0});
    request.setChunk(chunk);
    return request.send().catch_([this](kj::Exception&&) { forward_ = nullptr; });
  }
  return kj::READY_NOW;
}

kj::Promise<void> Capture::end(EndContext) {
  KJ_IF_MAYBE (sink, forward_) {
    return sink->endRequest().send().ignoreResult().catch_([this](kj::Exception&&) { forward_ = nullptr; });
  }
  return kj::READY_NOW;
}

void writeOutput(const Capture::State& state, schema::OutputStats::Builder stats) {
  stats.setBytes(state.total);
  stats.setKept(state.kept.size());
  stats.setTruncated(state.total > state.kept.size());
}

}  // namespace rauha
