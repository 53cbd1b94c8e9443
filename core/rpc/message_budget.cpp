#include "core/rpc/message_budget.h"

namespace rauha::rpc {

std::optional<MessageBudget::Share> MessageBudget::take(uint32_t uid, size_t bytes) {
  const MessageBounds& bounds = state_->bounds;
  if (bytes <= bounds.freeBytes) return Share(nullptr, uid, 0);
  const auto it = state_->perUser.find(uid);
  const size_t mine = it == state_->perUser.end() ? 0 : it->second;
  if (bytes > bounds.totalBytes - state_->held || bytes > bounds.perUserBytes - mine) return std::nullopt;
  state_->held += bytes;
  state_->perUser[uid] = mine + bytes;
  return Share(state_, uid, bytes);
}

MessageBudget::Share::~Share() {
  if (!state_) return;
  state_->held -= bytes_;
  const auto it = state_->perUser.find(uid_);
  it->second -= bytes_;
  if (it->second == 0) state_->perUser.erase(it);
}

}  // namespace rauha::rpc
