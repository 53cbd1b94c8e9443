#pragma once
// libarchive's handle and errors as C++ knows them. For .cpp files that use libarchive only.

#include <archive.h>

#include <memory>
#include <string>

#include "core/base/error.h"
#include "core/base/utf8.h"

namespace rauha::oci {

struct ArchiveFree {
  void operator()(archive* a) const noexcept { archive_read_free(a); }
};
using ArchivePtr = std::unique_ptr<archive, ArchiveFree>;

inline ArchivePtr newReader(const std::string& what) {
  ArchivePtr a(archive_read_new());
  if (!a) throw Error("image", Code::internal, what + ": out of memory");
  return a;
}

// Content that cannot be read is corrupt, whatever the reason.
[[noreturn]] inline void throwArchive(archive* a, const std::string& what) {
  const char* text = archive_error_string(a);
  throw Error("image", Code::corrupt, what + ": " + (text == nullptr ? "unreadable" : toUtf8(text)));
}

}  // namespace rauha::oci
