#pragma once
// Moves what the write-ahead log has gathered into the store's file, on a thread of its own.
//
// That waits for the disk, every few dozen tasks for longer than a task takes, and SQLite does it within a commit: on the event loop's
// thread everybody waited with it. Here it is a second connection that waits. What is committed meanwhile stays in the log, which begins
// anew only when all of it was moved: should commits never pause, who commits moves the little that is left right after such a checkpoint,
// and all of it when the thread cannot do its work. Never both at once: where a checkpoint begins while another one's end lets the log
// begin anew, SQLite before 3.51.3 can lose pages (sqlite.org/wal.html, "the WAL-reset bug"). A checkpoint that fails (disk full, no
// memory) has lost nothing, and is tried again as the log grows on. Owner: the Store, while its connection lives.

#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/store/database.h"

struct sqlite3;

namespace rauha::store {

class Checkpointer final {
 public:
  // In pages of 4 KiB. due: so much more in the log is worth a checkpoint. most: a log of this length is to begin anew; twice that is
  // passed only while a checkpoint is under way.
  struct Lengths {
    int due = 1000, most = 2000;
  };
  // database: outlives us, and commits on one thread at a time.
  Checkpointer(Database& database, Lengths lengths);
  explicit Checkpointer(Database& database) : Checkpointer(database, Lengths()) {}
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

 private:
  static int committed(void* self, sqlite3* handle, const char* name, int pages) noexcept;
  enum class Who { nobody, committer };
  Who decide(int pages) noexcept;
  void work() noexcept;

  Database& database_;
  const Lengths lengths_;
  std::mutex mutex_;
  std::condition_variable wake_;
  int moved_ = 0;                         // pages of the log when it was last asked for
  bool busy_ = false, stopping_ = false;  // busy: asked for, and not done yet
  std::thread thread_;                    // made when first needed
};

}  // namespace rauha::store
