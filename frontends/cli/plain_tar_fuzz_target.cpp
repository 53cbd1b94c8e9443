#include "frontends/cli/plain_tar_fuzz_target.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/base/error.h"
#include "frontends/cli/export_files.h"

namespace rauha::cli {
namespace {

void must(bool truth) {
  if (!truth) std::abort();
}

struct Told {
  std::string all;  // names, contents and ends, as they came
  bool ended = false, refused = false;
  bool operator==(const Told& other) const { return all == other.all && ended == other.ended && refused == other.refused; }
};

Told readInPieces(std::string_view bytes, size_t piece) {
  Told out;
  bool open = false;
  uint64_t left = 0;
  PlainTar tar({[&](const std::string& name, uint64_t size) {
                  must(!open && name.size() <= 100 && name.find('\0') == std::string::npos);
                  open = true;
                  left = size;
                  out.all += "[" + name + "|" + std::to_string(size) + "|";
                },
                [&](std::string_view data) {
                  must(open && !data.empty() && data.size() <= left);
                  left -= data.size();
                  out.all += data;
                },
                [&] {
                  must(open && left == 0);
                  open = false;
                  out.all += "]";
                }});
  try {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) tar.write(bytes.substr(0, piece));
  } catch (const Error& e) {
    must(e.errorClass() == "image" && e.code() == Code::corrupt);
    out.refused = true;
  }
  out.ended = tar.ended();
  must(!(out.ended && open));
  return out;
}

}  // namespace

bool fuzzPlainTar(std::string_view bytes) {
  const Told whole = readInPieces(bytes, std::max<size_t>(bytes.size(), 1));
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{512}, size_t{1000}}) must(readInPieces(bytes, piece) == whole);
  return whole.ended && !whole.refused;
}

}  // namespace rauha::cli
