#pragma once
// The two forms of an export on disk, and the little of tar that is needed to take an OCI archive apart.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "frontends/cli/image_export.h"

namespace rauha::cli {

std::unique_ptr<ExportSink> archiveSink(const std::string& path);
std::unique_ptr<ExportSink> layoutSink(const std::string& path);

// A tar of plain files, taken apart as it comes. Throws Error "image" (corrupt) for everything else that a tar may hold.
class PlainTar final {
 public:
  struct Handler {
    std::function<void(const std::string& name, uint64_t size)> begin;
    std::function<void(std::string_view bytes)> data;
    std::function<void()> end;
  };
  explicit PlainTar(Handler handler) : handler_(std::move(handler)) {}
  void write(std::string_view bytes);
  bool ended() const noexcept { return zeros_ >= 2; }

 private:
  void header();
  Handler handler_;
  std::string block_;     // of a header that has not come whole
  uint64_t left_ = 0;     // of the file's content
  uint64_t padding_ = 0;  // behind it
  bool inFile_ = false;
  int zeros_ = 0;  // blocks of zeros
};

}  // namespace rauha::cli
