#include "core/store/checkpointer.h"

#include <pthread.h>
#include <sqlite3.h>

#include <csignal>
#include <exception>
#include <optional>
#include <utility>

#include "core/base/fd.h"

namespace rauha::store {
namespace {

// Signals belong to the event loop's thread. Faults stay open: blocked, they would end the process without a report.
std::thread withoutSignals(auto function) {
  sigset_t all, before;
  sigfillset(&all);
  for (const int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&all, s);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const Defer restore([&before] { pthread_sigmask(SIG_SETMASK, &before, nullptr); });
  return std::thread(std::move(function));
}

void checkpoint(sqlite3* handle) noexcept { sqlite3_wal_checkpoint_v2(handle, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr); }

}  // namespace

Checkpointer::Checkpointer(Database& database, Lengths lengths) : database_(database), lengths_(lengths) {
  sqlite3_wal_hook(database_.handle(), &committed, this);
}

Checkpointer::~Checkpointer() {
  sqlite3_wal_hook(database_.handle(), nullptr, nullptr);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

int Checkpointer::committed(void* self, sqlite3* handle, const char*, int pages) noexcept {
  if (static_cast<Checkpointer*>(self)->decide(pages) == Who::committer) checkpoint(handle);
  return SQLITE_OK;  // the commit stands, whatever became of the rest
}

Checkpointer::Who Checkpointer::decide(int pages) noexcept {
  const std::lock_guard lock(mutex_);
  if (pages < moved_) moved_ = 0;  // the log began anew
  if (busy_) return Who::nobody;
  if (pages >= 2 * lengths_.most) return Who::committer;
  if (pages < moved_ + lengths_.due) return pages >= lengths_.most ? Who::committer : Who::nobody;
  moved_ = pages;
  try {
    if (!thread_.joinable()) thread_ = withoutSignals([this] { work(); });
  } catch (const std::exception&) {
    return Who::committer;
  }
  busy_ = true;
  wake_.notify_one();
  return Who::nobody;
}

void Checkpointer::work() noexcept {
  std::optional<Database> own;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return busy_ || stopping_; });
    if (stopping_) return;
    lock.unlock();
    try {
      if (!own) own.emplace(database_.path());
      own->readInteger("SELECT count(*) FROM sqlite_schema", "open");  // before it has read once, a connection knows of no log
      checkpoint(own->handle());
    } catch (const std::exception&) {
      // No descriptor, no memory: the log grows on, and who commits helps in the end.
    }
    lock.lock();
    busy_ = false;
  }
}

}  // namespace rauha::store
