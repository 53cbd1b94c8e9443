#pragma once
// One change as `git diff` writes it and `git apply` reads it: extended headers, unified hunks, "GIT binary patch" with zlib and base 85.
//
// What git cannot say (owners, extended attributes, times, modes other than 644 and 755, empty directories, special files) is not in the
// text: see unsaid(). Pure; any thread.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/cli/changes/change.h"
#include "frontends/cli/changes/line_diff.h"

namespace rauha::cli {

// One side's content: of a regular file its bytes, of a symbolic link its text.
struct Side {
  FileType type = FileType::none;
  uint32_t mode = 0;
  std::string bytes;
  std::optional<uint64_t> unread = std::nullopt;  // binary content that was not read: this many bytes; it differs from the other side's
};

uint64_t sizeOf(const Side& side) noexcept;

enum class BinaryForm { literal, named };  // for git, for people

// Takes whole lines, some 64 KiB at a time: a patch is twice as large as the file, and is never in memory at once.
using PatchSink = std::function<void(std::string_view)>;

// Nothing when git sees no difference. `from`: the path of the old side, when it is another. Unread sides only with BinaryForm::named. What
// has more lines than `work` has left, or than is worth a table, is one hunk that replaces what lies between the equal ends.
void writePatch(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form, LineWork& work,
                const PatchSink& sink);
// The same at once, with work of its own.
std::string patchOf(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form);
// How many lines a comparison needs a table for: none when one side has nothing that the other has not.
size_t linesToCompare(const Side& before, const Side& after);

// Added and removed lines; both 0 for binary content.
struct LineCounts {
  size_t added = 0, removed = 0;
  bool binary = false;
};
LineCounts countLines(const Side& before, const Side& after, LineWork& work);

// As git decides it: a NUL byte among the first 8000; for the literal form, anywhere.
bool looksBinary(std::string_view bytes);

// `path` as git writes it in headers: in double quotes with C escapes when it holds anything but plain characters.
std::string quotePath(std::string_view path);

// Properties of the change that a patch does not carry: "owner", "extended attributes", "mode 0640", "empty directory", …
std::vector<std::string> unsaid(const Change& change);
// Would git refuse to touch it? (A component named ".git".)
bool isInsideGit(std::string_view path);

}  // namespace rauha::cli
