#include "core/rpc/kept_count.h"

#include <capnp/rpc.capnp.h>

namespace rauha::rpc {
namespace {

using capnp::rpc::Message;

uint32_t oursIn(capnp::List<capnp::rpc::CapDescriptor>::Reader table) {
  uint32_t count = 0;
  for (const auto entry : table) count += entry.isSenderHosted() || entry.isSenderPromise() ? 1 : 0;
  return count;
}

uint32_t take(std::unordered_map<uint32_t, uint32_t>& from, uint32_t id) {
  const auto it = from.find(id);
  if (it == from.end()) return 0;
  const uint32_t count = it->second;
  from.erase(it);
  return count;
}

}  // namespace

void KeptCount::received(capnp::MessageReader& message) {
  const auto root = message.getRoot<Message>();
  if (root.isBootstrap() || root.isCall()) {
    ++answers_;
    unanswered_.insert(root.isCall() ? root.getCall().getQuestionId() : root.getBootstrap().getQuestionId());
  } else if (root.isFinish()) {
    const auto finish = root.getFinish();
    if (answers_ > 0) --answers_;
    const uint32_t brought = take(ofAnswers_, finish.getQuestionId());
    if (!finish.getReleaseResultCaps()) return;
    gaveBack(brought);
    if (unanswered_.contains(finish.getQuestionId())) dropped_.insert(finish.getQuestionId());
  } else if (root.isRelease()) {
    gaveBack(root.getRelease().getReferenceCount());
  } else if (root.isReturn()) {
    const uint32_t brought = take(ofCalls_, root.getReturn().getAnswerId());
    if (root.getReturn().getReleaseParamCaps()) gaveBack(brought);
  }
}

void KeptCount::sent(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = UINT64_MAX;  // our own message
  capnp::SegmentArrayMessageReader reader(segments, options);
  const auto root = reader.getRoot<Message>();
  if (root.isReturn()) {
    const auto answer = root.getReturn();
    unanswered_.erase(answer.getAnswerId());
    const uint32_t brought = answer.isResults() ? oursIn(answer.getResults().getCapTable()) : 0;
    if (dropped_.erase(answer.getAnswerId()) > 0 || brought == 0) return;
    capabilities_ += brought;
    ofAnswers_[answer.getAnswerId()] = brought;
  } else if (root.isCall()) {
    const uint32_t brought = oursIn(root.getCall().getParams().getCapTable());
    if (brought == 0) return;
    capabilities_ += brought;
    ofCalls_[root.getCall().getQuestionId()] = brought;
  } else if (root.isResolve() && root.getResolve().isCap()) {
    const auto entry = root.getResolve().getCap();
    capabilities_ += entry.isSenderHosted() || entry.isSenderPromise() ? 1 : 0;
  }
}

}  // namespace rauha::rpc
