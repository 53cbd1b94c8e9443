#include "plugins/image-oci/reference.h"

#include <algorithm>
#include <array>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/near_name.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/limits.h"

namespace rauha::oci {
namespace {

constexpr size_t kReferenceMax = 4600;  // a path and a tag
constexpr size_t kStoredNameMax = 255;

[[noreturn]] void malformed(std::string_view text, const std::string& why, std::string hint = {}) {
  throw Error("image", Code::invalid, "image reference '" + toUtf8(text.substr(0, 200)) + "': " + why, std::move(hint),
              std::string("image"));
}

bool isTagChar(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

// distribution-spec: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}
bool isTag(std::string_view t) noexcept {
  return !t.empty() && t.size() <= 128 && t[0] != '.' && t[0] != '-' && std::all_of(t.begin(), t.end(), isTagChar);
}

bool isNameChar(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/';
}

// nullptr: a good name; else what is wrong with it.
const char* nameFault(std::string_view name) noexcept {
  if (name.empty()) return "the name is empty";
  if (name.size() > kStoredNameMax) return "the name is longer than 255 bytes";
  if (std::any_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) return "image names are lower case";
  if (!std::all_of(name.begin(), name.end(), isNameChar)) return "a name consists of a-z, 0-9, '.', '_', '-' and '/'";
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, end - at);
    if (part.empty()) return "a part between two '/' is empty";
    if (part[0] == '.' || part[0] == '-' || part[0] == '_') return "each part of a name starts with a letter or a digit";
    at = end + 1;
  }
  return nullptr;
}

// Cuts "PATH:TAG" at the ':' that begins a tag; `refs`: the rest may be "name:tag" with slashes, as docker archives have it.
void cutPath(Reference& out, std::string_view rest, bool refs) {
  size_t colon = rest.rfind(':');
  if (colon != std::string_view::npos && isTag(rest.substr(colon + 1))) {
    size_t cut = colon;
    if (refs && colon > 0) {  // FILE:name:tag
      const size_t before = rest.rfind(':', colon - 1);
      if (before != std::string_view::npos && nameFault(rest.substr(before + 1, colon - before - 1)) == nullptr) cut = before;
    }
    out.tag = std::string(rest.substr(cut + 1));
    rest = rest.substr(0, cut);
  } else if (refs && colon != std::string_view::npos && nameFault(rest.substr(colon + 1)) == nullptr) {
    out.tag = std::string(rest.substr(colon + 1));
    rest = rest.substr(0, colon);
  } else if (colon != std::string_view::npos && rest.find('/', colon) == std::string_view::npos) {
    malformed(out.text, "'" + toUtf8(rest.substr(colon + 1)) + "' after the last ':' is no tag",
              "a tag is 1 to 128 letters, digits, '_', '.' or '-', and does not start with '.' or '-'");
  }
  out.path = std::string(rest);
}

void cutDigest(Reference& out, std::string_view& rest) {
  const size_t at = rest.rfind('@');
  if (at == std::string_view::npos || rest.find('/', at) != std::string_view::npos) return;
  const std::string_view digest = rest.substr(at + 1);
  if (digest.find(':') == std::string_view::npos) return;  // an '@' of the path
  if (!isSha256(digest))
    malformed(out.text, "'" + toUtf8(digest) + "' is no digest", "digests are written sha256:<64 lower-case hex digits>");
  out.digest = std::string(digest);
  rest = rest.substr(0, at);
}

struct Transport {
  std::string_view prefix;
  Reference::Kind kind;
};
constexpr std::array kTransports = {Transport{"dir:", Reference::Kind::dir}, Transport{"oci:", Reference::Kind::oci},
                                    Transport{"oci-archive:", Reference::Kind::ociArchive},
                                    Transport{"docker-archive:", Reference::Kind::dockerArchive}};
// Transports of other tools: naming them is clearer than taking "tarball:x" for a name with a tag.
constexpr std::array<std::string_view, 6> kForeign = {
    "containers-storage:", "docker-daemon:", "ostree:", "sif:", "tarball:", "docker-tarball:"};

// With a tag behind it such a name would read as a path: "oci:latest".
bool isReserved(std::string_view name) {
  const std::string prefix = std::string(name) + ":";
  return name == "host" || std::any_of(kTransports.begin(), kTransports.end(), [&](const Transport& t) { return t.prefix == prefix; }) ||
         std::find(kForeign.begin(), kForeign.end(), prefix) != kForeign.end();
}

bool isDomainLike(std::string_view first) noexcept {
  return first == "localhost" || first.find('.') != std::string_view::npos || first.find(':') != std::string_view::npos;
}

std::string_view nearestKind(std::string_view text) {
  static constexpr std::array<std::string_view, 5> kKinds = {"host", "dir", "oci", "oci-archive", "docker-archive"};
  const size_t colon = text.find(':');
  const std::string_view kind = nearest(text.substr(0, colon), kKinds);
  // "hots:1" is nobody's slip of `host`, which takes no tag; a bare "dri" is none of `dir:`, which needs a path.
  return (kind == "host") == (colon == std::string_view::npos) ? kind : std::string_view();
}

// "did you mean 'dir:PATH'? otherwise ", or nothing.
std::string meantKind(std::string_view text) {
  const std::string kind(nearestKind(text));
  return kind.empty() ? std::string() : "did you mean '" + kind + (kind == "host" ? "" : ":PATH") + "'? otherwise ";
}

// NAME[:TAG], perhaps with a registry's host and port, perhaps with @digest.
Reference parseName(std::string_view text) {
  Reference out;
  out.text = std::string(text);
  std::string_view rest = text;
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    if (!isSha256(rest.substr(at + 1)))
      malformed(text, "what follows '@' is no digest", "digests are written sha256:<64 lower-case hex digits>");
    out.kind = Reference::Kind::registry;
    rest = rest.substr(0, at);
  }
  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos && rest.substr(0, slash).find(':') != std::string_view::npos) {  // host:port/…
    const std::string_view host = rest.substr(0, slash), port = host.substr(host.find(':') + 1);
    if (host.find(':') == 0 || port.empty() || port.size() > 5 ||
        !std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }))
      malformed(text, "'" + toUtf8(host) + "' is no host:port",
                meantKind(text) + "paths are written with their kind: oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:PATH");
    out.kind = Reference::Kind::registry;
    rest = rest.substr(slash + 1);
  }
  std::string_view name = rest, tag = "latest";
  if (const size_t colon = rest.rfind(':'); colon != std::string_view::npos) {
    name = rest.substr(0, colon);
    tag = rest.substr(colon + 1);
    if (!isTag(tag))
      malformed(text, tag.empty() ? "the tag after ':' is empty" : "'" + toUtf8(tag) + "' is no tag",
                "a tag is 1 to 128 letters, digits, '_', '.' or '-', and does not start with '.' or '-'");
  }
  if (const char* fault = nameFault(name))
    malformed(text, fault,
              "image names look like 'name', 'name:tag'; local images like oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:PATH, host");
  if (isReserved(name))
    malformed(text, "'" + std::string(name) + "' is a kind of reference, not a name",
              "write " + std::string(name) + ":PATH, or choose another name");
  out.name = std::string(name) + ":" + std::string(tag);
  return out;
}

}  // namespace

std::string_view Reference::source() const noexcept {
  switch (kind) {
    case Kind::host:
      return "host";
    case Kind::dir:
      return "dir";
    case Kind::oci:
      return "oci";
    case Kind::ociArchive:
      return "oci-archive";
    case Kind::dockerArchive:
      return "docker-archive";
    case Kind::stored:
      return "store";
    case Kind::registry:
      return "registry";
  }
  return "store";
}

Reference parseReference(std::string_view text) {
  if (text.empty())
    malformed(text, "it is empty", "name an image: host, oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:PATH or a stored name");
  if (text.size() > kReferenceMax)
    malformed(text, "it is " + std::to_string(text.size()) + " bytes long, more than " + std::to_string(kReferenceMax));
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    malformed(text, "it holds control characters");
  Reference out;
  out.text = std::string(text);
  if (text == "host") {
    out.kind = Reference::Kind::host;
    return out;
  }
  if (text.substr(0, 5) == "host:") malformed(text, "'host' takes no tag", "write --image host");
  for (const Transport& t : kTransports) {
    if (text.substr(0, t.prefix.size()) != t.prefix) continue;
    out.kind = t.kind;
    std::string_view rest = text.substr(t.prefix.size());
    if (t.kind == Reference::Kind::dir) {
      out.path = std::string(rest);
    } else {
      if (t.kind != Reference::Kind::dockerArchive) cutDigest(out, rest);
      if (out.digest.empty())
        cutPath(out, rest, t.kind == Reference::Kind::dockerArchive);
      else
        out.path = std::string(rest);
    }
    if (out.path.empty()) malformed(text, "no path after '" + std::string(t.prefix) + "'");
    if (out.path.size() > kPathMax) malformed(text, "the path is longer than " + std::to_string(kPathMax) + " bytes");
    return out;
  }
  for (std::string_view prefix : {"docker://", "http://", "https://", "oci://"})
    if (text.substr(0, prefix.size()) == prefix) refuseRegistry(text);
  for (std::string_view prefix : kForeign)
    if (text.substr(0, prefix.size()) == prefix)
      throw Error("image", Code::unsupported,
                  "image reference '" + toUtf8(text.substr(0, 200)) + "': '" + std::string(prefix) + "' is not supported",
                  "copy it first: skopeo copy " + std::string(prefix) + "… oci:DIR");
  return parseName(text);
}

std::string parseStoredName(std::string_view text) {
  const Reference r = parseName(text);
  if (r.kind != Reference::Kind::stored) malformed(text, "a stored name has no port and no digest");
  return r.name;
}

std::string nameFor(const Reference& reference) {
  if (reference.kind == Reference::Kind::stored) return reference.name;
  std::string tag = reference.tag.empty() ? "latest" : reference.tag;
  std::string_view base = reference.path;
  if (reference.kind == Reference::Kind::dockerArchive && !reference.tag.empty()) return parseStoredName(reference.tag);
  while (base.size() > 1 && base.back() == '/') base.remove_suffix(1);
  if (const size_t slash = base.rfind('/'); slash != std::string_view::npos) base = base.substr(slash + 1);
  for (std::string_view ending : {".tar", ".tgz", ".tar.gz", ".tar.zst"})
    if (base.size() > ending.size() && base.substr(base.size() - ending.size()) == ending) base.remove_suffix(ending.size());
  std::string name;
  for (char c : base.substr(0, 200)) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    name += isNameChar(c) ? c : '-';
  }
  name.erase(0, std::min(name.find_first_not_of("._-"), name.size()));
  if (name.empty()) malformed(reference.text, "no name can be made from it", "give the image a name with --name");
  if (isReserved(name)) name += "-image";
  return name + ":" + tag;
}

void refuseRegistry(std::string_view text) {
  const std::string shown = toUtf8(text.substr(0, 200));
  std::string_view plain = text;
  if (plain.substr(0, 9) == "docker://") plain.remove_prefix(9);
  const size_t slash = plain.find('/');
  std::string full = toUtf8(plain.substr(0, 200));
  if (slash == std::string_view::npos)
    full = "docker.io/library/" + full;
  else if (!isDomainLike(plain.substr(0, slash)))
    full = "docker.io/" + full;
  throw Error("image", Code::unsupported, "registry references are not supported yet: '" + shown + "'",
              meantKind(plain) + "copy it once with another tool, then use the copy: skopeo copy docker://" + full +
                  " oci:DIR; rauha image list shows the names that are stored",
              shown);
}

}  // namespace rauha::oci
