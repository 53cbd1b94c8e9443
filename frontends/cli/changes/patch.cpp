#include "frontends/cli/changes/patch.h"

#include <strings.h>

#include <algorithm>
#include <cstdio>

#include "frontends/cli/changes/git_binary.h"
#include "frontends/cli/changes/line_diff.h"

namespace rauha::cli {
namespace {

constexpr size_t kContext = 3;
constexpr size_t kBinaryProbe = 8000;  // git's FIRST_FEW_BYTES

bool isContent(FileType type) { return type == FileType::regular || type == FileType::symlink; }

// git knows three kinds of content.
const char* gitMode(const Side& side) {
  if (side.type == FileType::symlink) return "120000";
  return (side.mode & 0100) != 0 ? "100755" : "100644";
}

std::string prefixed(char side, const std::string& path) { return quotePath(std::string(1, side) + "/" + path); }

void appendLine(std::string& out, char mark, std::string_view line) {
  out += mark;
  out += line;
  if (line.empty() || line.back() != '\n') out += "\n\\ No newline at end of file\n";
}

std::string range(size_t begin, size_t count) {
  // A range without lines names the line before it.
  const std::string first = std::to_string(count == 0 ? begin : begin + 1);
  return count == 1 ? first : first + "," + std::to_string(count);
}

class Hunks final {
 public:
  Hunks(const std::string& before, const std::string& after)
      : old_(splitLines(before)), new_(splitLines(after)), blocks_(diffLines(old_, new_)) {}

  std::string text() const {
    std::string out;
    for (size_t i = 0; i < blocks_.size();) {
      size_t last = i;
      while (last + 1 < blocks_.size() && blocks_[last + 1].oldBegin - blocks_[last].oldEnd <= 2 * kContext) ++last;
      append(out, i, last);
      i = last + 1;
    }
    return out;
  }
  LineCounts counts() const {
    LineCounts out;
    for (const auto& block : blocks_) {
      out.removed += block.oldEnd - block.oldBegin;
      out.added += block.newEnd - block.newBegin;
    }
    return out;
  }

 private:
  void append(std::string& out, size_t first, size_t last) const {
    const size_t lead = std::min(kContext, blocks_[first].oldBegin);
    const size_t trail = std::min(kContext, old_.size() - blocks_[last].oldEnd);
    const size_t oldBegin = blocks_[first].oldBegin - lead, newBegin = blocks_[first].newBegin - lead;
    out += "@@ -" + range(oldBegin, blocks_[last].oldEnd + trail - oldBegin) + " +" +
           range(newBegin, blocks_[last].newEnd + trail - newBegin) + " @@\n";
    size_t at = oldBegin;
    for (size_t i = first; i <= last; ++i) {
      for (; at < blocks_[i].oldBegin; ++at) appendLine(out, ' ', old_[at]);
      for (; at < blocks_[i].oldEnd; ++at) appendLine(out, '-', old_[at]);
      for (size_t j = blocks_[i].newBegin; j < blocks_[i].newEnd; ++j) appendLine(out, '+', new_[j]);
    }
    for (const size_t end = at + trail; at < end; ++at) appendLine(out, ' ', old_[at]);
  }

  std::vector<std::string_view> old_, new_;
  std::vector<LineBlock> blocks_;
};

std::string indexLine(const Side& before, const Side& after) {
  const std::string none(40, '0');
  std::string line =
      "index " + (isContent(before.type) ? gitBlobId(before.bytes) : none) + ".." + (isContent(after.type) ? gitBlobId(after.bytes) : none);
  if (isContent(before.type) && isContent(after.type) && std::string_view(gitMode(before)) == gitMode(after))
    line += std::string(" ") + gitMode(before);
  return line + "\n";
}

std::string contentPart(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form) {
  if (before.bytes == after.bytes) return {};
  const std::string oldName = isContent(before.type) ? prefixed('a', from) : "/dev/null";
  const std::string newName = isContent(after.type) ? prefixed('b', path) : "/dev/null";
  const auto binary = [&](const std::string& bytes) {
    return form == BinaryForm::literal ? bytes.find('\0') != std::string::npos : looksBinary(bytes);
  };
  if (binary(before.bytes) || binary(after.bytes)) {
    if (form == BinaryForm::named)
      return "Binary files " + oldName + " and " + newName + " differ (" + std::to_string(before.bytes.size()) + " -> " +
             std::to_string(after.bytes.size()) + " bytes)\n";
    // The second part lets `git apply --reverse` work.
    return "GIT binary patch\n" + gitLiteral(after.bytes) + gitLiteral(before.bytes);
  }
  return "--- " + oldName + "\n+++ " + newName + "\n" + Hunks(before.bytes, after.bytes).text();
}

// Sides of one kind, or one of them absent.
std::string onePatch(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form) {
  std::string head = "diff --git " + prefixed('a', from) + " " + prefixed('b', path) + "\n";
  std::string extended;
  if (!isContent(before.type)) {
    extended += std::string("new file mode ") + gitMode(after) + "\n";
  } else if (!isContent(after.type)) {
    extended += std::string("deleted file mode ") + gitMode(before) + "\n";
  } else {
    if (std::string_view(gitMode(before)) != gitMode(after))
      extended += std::string("old mode ") + gitMode(before) + "\nnew mode " + gitMode(after) + "\n";
    if (path != from) {
      if (before.bytes == after.bytes) extended += "similarity index 100%\n";
      extended += "rename from " + quotePath(from) + "\nrename to " + quotePath(path) + "\n";
    }
  }
  if (before.bytes != after.bytes || !isContent(before.type) || !isContent(after.type)) extended += indexLine(before, after);
  const std::string content = contentPart(path, from, before, after, form);
  const bool same = isContent(before.type) && isContent(after.type) && path == from && content.empty() &&
                    std::string_view(gitMode(before)) == gitMode(after);
  return same ? std::string() : head + extended + content;
}

bool plain(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._/+-,=@%~:^#").find(static_cast<char>(c)) != std::string_view::npos;
}

std::string octal(uint32_t mode) {
  char text[8];
  snprintf(text, sizeof text, "%04o", mode & 07777u);
  return text;
}

}  // namespace

std::string patchOf(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form) {
  const std::string& old = from.empty() ? path : from;
  if (!isContent(before.type) && !isContent(after.type)) return {};
  if (isContent(before.type) && isContent(after.type) && before.type != after.type)  // git writes a change of type as two patches
    return onePatch(old, old, before, Side{}, form) + onePatch(path, path, Side{}, after, form);
  return onePatch(path, old, before, after, form);
}

LineCounts countLines(const Side& before, const Side& after) {
  if (before.bytes == after.bytes) return {};
  if (looksBinary(before.bytes) || looksBinary(after.bytes)) return {0, 0, true};
  return Hunks(before.bytes, after.bytes).counts();
}

bool looksBinary(std::string_view bytes) { return bytes.substr(0, kBinaryProbe).find('\0') != std::string_view::npos; }

std::string quotePath(std::string_view path) {
  if (std::all_of(path.begin(), path.end(), [](char c) { return plain(static_cast<unsigned char>(c)); })) return std::string(path);
  constexpr std::string_view kEscaped = "\a\b\t\n\v\f\r\"\\", kLetters = "abtnvfr\"\\";
  std::string out = "\"";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (const size_t i = kEscaped.find(c); i != std::string_view::npos) {
      out += '\\';
      out += kLetters[i];
    } else if (byte < 0x20 || byte >= 0x7f) {
      char code[5];
      snprintf(code, sizeof code, "\\%03o", static_cast<unsigned>(byte));
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::vector<std::string> unsaid(const Change& change) {
  std::vector<std::string> out;
  const FileState &before = change.before, &after = change.after;
  if (before.type == FileType::special || after.type == FileType::special) out.emplace_back("special file");
  if (change.fields.owner) out.emplace_back("owner");
  if (change.fields.xattrs || (before.type == FileType::none && !after.xattrs.empty())) out.emplace_back("extended attributes");
  if (after.type == FileType::directory && change.fields.mode) out.emplace_back("mode " + octal(after.mode) + " of a directory");
  const bool modeMatters = change.fields.mode || before.type != FileType::regular;
  if (after.type == FileType::regular && modeMatters && after.mode != 0644 && after.mode != 0755)
    out.emplace_back("mode " + octal(after.mode));
  return out;
}

bool isInsideGit(std::string_view path) {
  for (size_t at = 0; at <= path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view name = path.substr(at, slash - at);
    if (name.size() == 4 && strncasecmp(name.data(), ".git", 4) == 0) return true;
    at = slash + 1;
  }
  return false;
}

}  // namespace rauha::cli
