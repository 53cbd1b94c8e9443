#pragma once
// Makes small files of the kept layer, and dresses its directories, on a thread of its own: making a file takes longer than all that is
// found out about it, so the walk goes on meanwhile. What is handed over is done in that order: a directory gets its time after its files.
//
// What waits is bounded by number and bytes; whoever hands over more waits. Jobs are taken over many at a time, and nobody is woken for a
// single one: with ten thousand small files that took as long as finding out about them. Once something failed, the rest is left undone.
// Owner: the LayerWriter; its functions are called by one thread.

#include <sys/stat.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "core/base/fd.h"
#include "core/changes/tree.h"

namespace rauha::changes {

// What a kept entry looks like; owners are the zone's ids.
struct Keep {
  mode_t mode = 0;
  uint32_t uid = 0, gid = 0;
  struct timespec mtime {};
  const Xattrs* xattrs = nullptr;
};

// Owner, mode, attributes, time of an open file or directory. "" or what the file system does not take of it. Throws Error "repository".
std::string dress(int fd, const std::string& name, const Keep& keep);

class FileMaker final {
 public:
  // Throws std::system_error when there is no thread to be had.
  FileMaker();
  // What has not begun is left undone.
  ~FileMaker();
  FileMaker(const FileMaker&) = delete;
  FileMaker& operator=(const FileMaker&) = delete;

  using Directory = std::shared_ptr<const UniqueFd>;
  void file(Directory in, std::string name, std::string content, const Keep& keep);
  void dressDirectory(Directory directory, std::string name, const Keep& keep);

  struct Outcome {
    uint64_t diskBytes = 0;
    std::string weakness;  // as LayerWriter::weakness
    int full = 0;          // ENOSPC or EDQUOT: not everything was written
  };
  // So far. `full` stays what it is.
  bool full() const;
  // Waits for everything. Throws what went wrong.
  Outcome finish();

 private:
  struct Job {
    Directory directory;
    std::string name, content;
    bool isFile;
    Keep keep;
    Xattrs xattrs;
  };
  void add(Job job, const Keep& keep);
  bool hasRoom() const;
  void work();
  void makeAll(std::deque<Job> jobs);
  void make(Job& job);

  mutable std::mutex mutex_;
  std::condition_variable forWorker_, forOwner_;
  std::deque<Job> waiting_;
  // Of what is not made yet: of what waits, and what is left of what was taken.
  size_t jobs_ = 0, bytes_ = 0;
  bool idle_ = true, hurried_ = false, ending_ = false;  // hurried: the owner waits, be it for a single job
  Outcome outcome_;
  std::exception_ptr error_;
  std::thread thread_;  // last: works on all of the above
};

}  // namespace rauha::changes
