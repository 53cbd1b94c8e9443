#include "frontends/cli/changes/patch.h"

#include <strings.h>

#include <algorithm>
#include <cstdio>

#include "frontends/cli/changes/git_binary.h"

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

// Collects lines for a sink.
class Lines final {
 public:
  explicit Lines(const PatchSink& sink) : sink_(sink) {}
  void put(std::string_view whole) {
    buffer_ += whole;
    if (buffer_.size() >= kBuffer) flush();
  }
  void line(char mark, std::string_view line) {
    buffer_ += mark;
    buffer_ += line;
    if (line.empty() || line.back() != '\n') buffer_ += "\n\\ No newline at end of file\n";
    if (buffer_.size() >= kBuffer) flush();
  }
  void lines(char mark, std::string_view text) {
    while (!text.empty()) {
      const size_t end = text.find('\n');
      const size_t length = end == std::string_view::npos ? text.size() : end + 1;
      line(mark, text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  void flush() {
    if (!buffer_.empty()) sink_(buffer_);
    buffer_.clear();
  }

 private:
  static constexpr size_t kBuffer = 64 << 10;
  const PatchSink& sink_;
  std::string buffer_;
};

std::string range(size_t begin, size_t count) {
  // A range without lines names the line before it.
  const std::string first = std::to_string(count == 0 ? begin : begin + 1);
  return count == 1 ? first : first + "," + std::to_string(count);
}

size_t lineCount(std::string_view text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + (!text.empty() && text.back() != '\n' ? 1 : 0);
}

// What differs, cut at line starts, and up to kContext lines on either side of it.
class Region final {
 public:
  Region(std::string_view before, std::string_view after) : before_(before), after_(after) {
    const size_t least = std::min(before.size(), after.size());
    begin_ = static_cast<size_t>(std::mismatch(before.begin(), before.begin() + static_cast<ptrdiff_t>(least), after.begin()).first -
                                 before.begin());
    begin_ = lineStart(begin_);
    const auto most = static_cast<ptrdiff_t>(least - begin_);
    tail_ = static_cast<size_t>(std::mismatch(before.rbegin(), before.rbegin() + most, after.rbegin()).first - before.rbegin());
    const auto startsLine = [&](std::string_view text) {
      const size_t at = text.size() - tail_;
      return at == begin_ || text[at - 1] == '\n';
    };
    if (!startsLine(before) || !startsLine(after)) {
      const size_t next = before.find('\n', before.size() - tail_);
      tail_ = next == std::string_view::npos ? 0 : before.size() - next - 1;
    }
    for (size_t i = 0; i < kContext && leadBytes_ < begin_; ++i) leadBytes_ = begin_ - lineStart(begin_ - leadBytes_ - 1);
    for (size_t i = 0; i < kContext && trailBytes_ < tail_; ++i) {
      const size_t next = before.find('\n', before.size() - tail_ + trailBytes_);
      trailBytes_ = next == std::string_view::npos ? tail_ : next + 1 - (before.size() - tail_);
    }
  }
  std::string_view oldPart() const { return before_.substr(begin_, before_.size() - tail_ - begin_); }
  std::string_view newPart() const { return after_.substr(begin_, after_.size() - tail_ - begin_); }
  std::string_view lead() const { return before_.substr(begin_ - leadBytes_, leadBytes_); }
  std::string_view trail() const { return before_.substr(before_.size() - tail_, trailBytes_); }
  std::string_view oldWithContext() const { return around(before_); }
  std::string_view newWithContext() const { return around(after_); }
  // Before the context.
  size_t linesBefore() const { return lineCount(before_.substr(0, begin_ - leadBytes_)); }
  // Without a table: one side has nothing there.
  size_t lines() const { return oldPart().empty() || newPart().empty() ? 0 : lineCount(oldPart()) + lineCount(newPart()); }

 private:
  // Of the line that `at` is in; `at` itself when it begins one.
  size_t lineStart(size_t at) const {
    if (at == 0) return 0;
    const size_t last = before_.rfind('\n', at - 1);
    return last == std::string_view::npos ? 0 : last + 1;
  }
  std::string_view around(std::string_view text) const {
    const size_t first = begin_ - leadBytes_;
    return text.substr(first, text.size() - tail_ + trailBytes_ - first);
  }

  std::string_view before_, after_;
  size_t begin_ = 0, tail_ = 0, leadBytes_ = 0, trailBytes_ = 0;
};

bool isTooMuch(size_t lines, const LineWork& work) { return lines > std::min(kComparedLines, work.lines); }

// Of two texts that differ.
class Hunks final {
 public:
  Hunks(std::string_view before, std::string_view after, LineWork& work) : region_(before, after) {
    const size_t lines = region_.lines();
    replaced_ = lines == 0 || isTooMuch(lines, work);
    if (replaced_) return;
    work.lines -= lines;
    old_ = splitLines(region_.oldWithContext());
    new_ = splitLines(region_.newWithContext());
    blocks_ = diffLines(old_, new_, work);
  }

  void write(Lines& out) const {
    const size_t offset = region_.linesBefore();
    if (replaced_) return writeReplaced(out, offset);
    for (size_t i = 0; i < blocks_.size();) {
      size_t last = i;
      while (last + 1 < blocks_.size() && blocks_[last + 1].oldBegin - blocks_[last].oldEnd <= 2 * kContext) ++last;
      write(out, offset, i, last);
      i = last + 1;
    }
  }
  LineCounts counts() const {
    if (replaced_) return {lineCount(region_.newPart()), lineCount(region_.oldPart())};
    LineCounts out;
    for (const auto& block : blocks_) {
      out.removed += block.oldEnd - block.oldBegin;
      out.added += block.newEnd - block.newBegin;
    }
    return out;
  }

 private:
  void writeReplaced(Lines& out, size_t offset) const {
    const size_t context = lineCount(region_.lead()) + lineCount(region_.trail());
    out.put("@@ -" + range(offset, context + lineCount(region_.oldPart())) + " +" + range(offset, context + lineCount(region_.newPart())) +
            " @@\n");
    out.lines(' ', region_.lead());
    out.lines('-', region_.oldPart());
    out.lines('+', region_.newPart());
    out.lines(' ', region_.trail());
  }
  void write(Lines& out, size_t offset, size_t first, size_t last) const {
    const size_t lead = std::min(kContext, blocks_[first].oldBegin);
    const size_t trail = std::min(kContext, old_.size() - blocks_[last].oldEnd);
    const size_t oldBegin = blocks_[first].oldBegin - lead, newBegin = blocks_[first].newBegin - lead;
    out.put("@@ -" + range(offset + oldBegin, blocks_[last].oldEnd + trail - oldBegin) + " +" +
            range(offset + newBegin, blocks_[last].newEnd + trail - newBegin) + " @@\n");
    size_t at = oldBegin;
    for (size_t i = first; i <= last; ++i) {
      for (; at < blocks_[i].oldBegin; ++at) out.line(' ', old_[at]);
      for (; at < blocks_[i].oldEnd; ++at) out.line('-', old_[at]);
      for (size_t j = blocks_[i].newBegin; j < blocks_[i].newEnd; ++j) out.line('+', new_[j]);
    }
    for (const size_t end = at + trail; at < end; ++at) out.line(' ', old_[at]);
  }

  Region region_;
  bool replaced_ = false;
  std::vector<std::string_view> old_, new_;
  std::vector<LineBlock> blocks_;
};

bool sameBytes(const Side& a, const Side& b) { return !a.unread && !b.unread && a.bytes == b.bytes; }

std::string indexLine(const Side& before, const Side& after) {
  const std::string none(40, '0');
  std::string line =
      "index " + (isContent(before.type) ? gitBlobId(before.bytes) : none) + ".." + (isContent(after.type) ? gitBlobId(after.bytes) : none);
  if (isContent(before.type) && isContent(after.type) && std::string_view(gitMode(before)) == gitMode(after))
    line += std::string(" ") + gitMode(before);
  return line + "\n";
}

void writeContent(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form, LineWork& work,
                  Lines& out) {
  const std::string oldName = isContent(before.type) ? prefixed('a', from) : "/dev/null";
  const std::string newName = isContent(after.type) ? prefixed('b', path) : "/dev/null";
  const auto binary = [&](const Side& side) {
    return side.unread || (form == BinaryForm::literal ? side.bytes.find('\0') != std::string::npos : looksBinary(side.bytes));
  };
  if (!binary(before) && !binary(after)) {
    out.put("--- " + oldName + "\n+++ " + newName + "\n");
    return Hunks(before.bytes, after.bytes, work).write(out);
  }
  if (form == BinaryForm::named)
    return out.put("Binary files " + oldName + " and " + newName + " differ (" + std::to_string(sizeOf(before)) + " -> " +
                   std::to_string(sizeOf(after)) + " bytes)\n");
  out.put("GIT binary patch\n");
  const auto put = [&](std::string_view lines) { out.put(lines); };
  writeGitLiteral(after.bytes, put);
  writeGitLiteral(before.bytes, put);  // lets `git apply --reverse` work
}

// Sides of one kind, or one of them absent.
void writeOne(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form, LineWork& work,
              Lines& out) {
  const bool both = isContent(before.type) && isContent(after.type), equal = sameBytes(before, after);
  const bool sameMode = std::string_view(gitMode(before)) == gitMode(after);
  if (both && path == from && equal && sameMode) return;
  out.put("diff --git " + prefixed('a', from) + " " + prefixed('b', path) + "\n");
  if (!isContent(before.type)) {
    out.put(std::string("new file mode ") + gitMode(after) + "\n");
  } else if (!isContent(after.type)) {
    out.put(std::string("deleted file mode ") + gitMode(before) + "\n");
  } else {
    if (!sameMode) out.put(std::string("old mode ") + gitMode(before) + "\nnew mode " + gitMode(after) + "\n");
    if (path != from) {
      if (equal) out.put("similarity index 100%\n");
      out.put("rename from " + quotePath(from) + "\nrename to " + quotePath(path) + "\n");
    }
  }
  if ((!equal || !both) && !before.unread && !after.unread) out.put(indexLine(before, after));
  if (!equal) writeContent(path, from, before, after, form, work, out);
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

void writePatch(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form, LineWork& work,
                const PatchSink& sink) {
  const std::string& old = from.empty() ? path : from;
  if (!isContent(before.type) && !isContent(after.type)) return;
  Lines out(sink);
  if (isContent(before.type) && isContent(after.type) && before.type != after.type) {  // git writes a change of type as two patches
    writeOne(old, old, before, Side{}, form, work, out);
    writeOne(path, path, Side{}, after, form, work, out);
  } else {
    writeOne(path, old, before, after, form, work, out);
  }
  out.flush();
}

std::string patchOf(const std::string& path, const std::string& from, const Side& before, const Side& after, BinaryForm form) {
  std::string out;
  LineWork work;
  writePatch(path, from, before, after, form, work, [&](std::string_view lines) { out += lines; });
  return out;
}

uint64_t sizeOf(const Side& side) noexcept { return side.unread.value_or(side.bytes.size()); }

size_t linesToCompare(const Side& before, const Side& after) {
  if (before.unread || after.unread || before.bytes == after.bytes) return 0;
  return Region(before.bytes, after.bytes).lines();
}

LineCounts countLines(const Side& before, const Side& after, LineWork& work) {
  if (sameBytes(before, after)) return {};
  if (before.unread || after.unread || looksBinary(before.bytes) || looksBinary(after.bytes)) return {0, 0, true};
  return Hunks(before.bytes, after.bytes, work).counts();
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
