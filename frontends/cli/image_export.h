#pragma once
// Where `rauha image export` puts an image, written by this program with its caller's rights: an archive file or a layout's directory. The
// daemon sends an OCI archive through a socket; nothing stands under the target's name before all of it has come, was synced, and the
// daemon has said that it is whole. What is half done has no name (a file) or a hidden one beside the target (a directory), which goes with
// us, also on SIGINT, and after kill -9 with the next export to that name.
//
// What the daemon sends is checked: a layout's files have the names that a layout has, and each blob its digest.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/fd.h"

namespace rauha::cli {

struct ExportTarget {
  enum class Kind { archive, layout };
  Kind kind = Kind::archive;
  std::string path;
  std::string tag;  // empty: the image's own
};
// "oci-archive:FILE[:TAG]", "oci:DIR[:TAG]". Throws Error "usage".
ExportTarget parseExportTarget(std::string_view text);

// Takes the archive's bytes as they come.
class ExportSink {
 public:
  virtual ~ExportSink() = default;  // not published: nothing is left
  virtual void write(std::string_view bytes) = 0;
  virtual void publish() = 0;  // exists: something has the target's name meanwhile
};
// Throws exists, and what opening the target's directory says.
std::unique_ptr<ExportSink> openExportSink(const ExportTarget& target);

// Reads what comes through a socket into a sink, on a thread of its own.
class ExportReceiver final {
 public:
  explicit ExportReceiver(std::unique_ptr<ExportSink> sink);
  ~ExportReceiver();
  ExportReceiver(const ExportReceiver&) = delete;
  ExportReceiver& operator=(const ExportReceiver&) = delete;
  // The end to hand over; stays this object's.
  int remote() const noexcept;
  void start();
  // Everything was sent: reads what is still on its way, then publishes. Throws what went wrong with the target or with what came.
  void finish();
  // The sending failed. Ends the thread; throws when it was the target that failed: then that is why.
  void giveUp();
  uint64_t bytes() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rauha::cli
