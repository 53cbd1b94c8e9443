#pragma once
// How much memory messages of clients may hold: from the moment their length is announced until whoever handles them is done.
//
// A connection may announce 4 MiB, send most of it and then nothing: without a common bound a thousand of them hold 4 GiB. A small message
// is free, so that a budget that somebody has filled never keeps an ordinary client from being heard; what all connections together can
// hold so is bounded by their number. One object for all connections. Thread: the event loop.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

namespace rauha::rpc {

struct MessageBounds {
  size_t freeBytes = 16 << 10;     // a message up to this size costs nothing
  size_t totalBytes = 64 << 20;    // of all users
  size_t perUserBytes = 16 << 20;  // of one uid, root too: another's calls stay possible
};

class MessageBudget final {
  struct State {
    MessageBounds bounds;
    size_t held = 0;
    std::map<uint32_t, size_t> perUser;
  };

 public:
  // Gives its bytes back when it goes. May outlive the budget: a call that cannot be cancelled outlives its connection.
  class Share final {
   public:
    Share(Share&&) noexcept = default;
    Share& operator=(Share&&) = delete;
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share();

   private:
    friend class MessageBudget;
    Share(std::shared_ptr<State> state, uint32_t uid, size_t bytes) noexcept : state_(std::move(state)), uid_(uid), bytes_(bytes) {}
    std::shared_ptr<State> state_;  // none: the message was free
    uint32_t uid_;
    size_t bytes_;
  };

  explicit MessageBudget(const MessageBounds& bounds) : state_(std::make_shared<State>(State{bounds, 0, {}})) {}
  MessageBudget(const MessageBudget&) = delete;
  MessageBudget& operator=(const MessageBudget&) = delete;
  // Nothing: there is no room now.
  std::optional<Share> take(uint32_t uid, size_t bytes);
  size_t held() const noexcept { return state_->held; }

 private:
  const std::shared_ptr<State> state_;
};

}  // namespace rauha::rpc
