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
                                    Transport{"docker-archive:", Reference::Kind::dockerArchive}, Transport{"tar:", Reference::Kind::tar}};
// Transports of other tools: naming them is clearer than taking "tarball:x" for a name with a tag.
constexpr std::array<std::string_view, 6> kForeign = {
    "containers-storage:", "docker-daemon:", "ostree:", "sif:", "tarball:", "docker-tarball:"};

// With a tag behind it such a name would read as a path: "oci:latest".
bool isReserved(std::string_view name) {
  const std::string prefix = std::string(name) + ":";
  return name == "host" || std::any_of(kTransports.begin(), kTransports.end(), [&](const Transport& t) { return t.prefix == prefix; }) ||
         std::find(kForeign.begin(), kForeign.end(), prefix) != kForeign.end();
}

bool isDomainLike(std::string_view first) noexcept { return first == "localhost" || first.find_first_of(".:") != std::string_view::npos; }

std::string_view nearestKind(std::string_view text) {
  static constexpr std::array<std::string_view, 5> kKinds = {"host", "dir", "oci", "oci-archive", "docker-archive"};
  const size_t colon = text.find(':');
  const std::string_view kind = nearest(text.substr(0, colon), kKinds);
  // "hots:1" is nobody's slip of `host`, which takes no tag; a bare "dri" is none of `dir:`, which needs a path.
  return (kind == "host") == (colon == std::string_view::npos) ? kind : std::string_view();
}

bool isDigit(char c) noexcept { return c >= '0' && c <= '9'; }

// "host", "host:port", "[::1]:port"; nullptr: good.
const char* hostFault(std::string_view host) noexcept {
  std::string_view port;
  if (host[0] == '[') {
    const size_t end = host.find(']');
    if (end == std::string_view::npos || end < 3) return "is no [address]:port";
    for (char c : host.substr(1, end - 1))
      if (!isDigit(c) && !(c >= 'a' && c <= 'f') && c != ':' && c != '.') return "is no [address]:port";
    if (end + 1 == host.size()) return nullptr;
    if (host[end + 1] != ':') return "is no [address]:port";
    port = host.substr(end + 2);
  } else {
    const size_t colon = host.find(':');
    std::string_view name = host.substr(0, colon);
    for (size_t at = 0; at <= name.size();) {
      const size_t end = std::min(name.find('.', at), name.size());
      const std::string_view label = name.substr(at, end - at);
      if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return "is no host name";
      for (char c : label)
        if (!isDigit(c) && !(c >= 'a' && c <= 'z') && c != '-') return "is no host name";
      at = end + 1;
    }
    if (colon == std::string_view::npos) return nullptr;
    port = host.substr(colon + 1);
  }
  if (port.empty() || port.size() > 5 || !std::all_of(port.begin(), port.end(), isDigit)) return "is no host:port";
  int number = 0;
  for (char c : port) number = number * 10 + (c - '0');
  return number == 0 || number > 65535 ? "has a port that is none" : nullptr;
}

// Takes "host[:port]/" off the front of `rest`.
void cutDomain(Reference& out, std::string_view& rest) {
  out.domain = "docker.io";
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos || slash == 0) return;
  const std::string_view host = rest.substr(0, slash);
  if (!isDomainLike(host) || host.find_first_not_of('.') == std::string_view::npos) return;
  if (host[0] == '.' || host[0] == '-' || host[0] == '_') return;  // the name's own fault is clearer
  if (std::any_of(host.begin(), host.end(), [](char c) { return c >= 'A' && c <= 'Z'; }))
    malformed(out.text, "image names are lower case, the registry's too");
  if (const char* fault = hostFault(host))
    malformed(out.text, "'" + toUtf8(host) + "' " + fault,
              meantKind(out.text) + "paths are written with their kind: oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:PATH");
  out.domain = std::string(host);
  rest = rest.substr(slash + 1);
  if (out.domain == "index.docker.io" || out.domain == "registry-1.docker.io") out.domain = "docker.io";
}

// [HOST[:PORT]/]NAME[:TAG][@DIGEST]
Reference parseName(std::string_view text) {
  Reference out;
  out.text = std::string(text);
  std::string_view rest = text;
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    if (!isSha256(rest.substr(at + 1)))
      malformed(text, "what follows '@' is no digest", "digests are written sha256:<64 lower-case hex digits>");
    out.digest = std::string(rest.substr(at + 1));
    rest = rest.substr(0, at);
  }
  cutDomain(out, rest);
  std::string_view name = rest;
  out.tag = "latest";
  if (const size_t colon = rest.rfind(':'); colon != std::string_view::npos) {
    name = rest.substr(0, colon);
    const std::string_view tag = rest.substr(colon + 1);
    if (!isTag(tag))
      malformed(text, tag.empty() ? "the tag after ':' is empty" : "'" + toUtf8(tag) + "' is no tag",
                "a tag is 1 to 128 letters, digits, '_', '.' or '-', and does not start with '.' or '-'");
    out.tag = std::string(tag);
  }
  if (const char* fault = nameFault(name))
    malformed(text, fault,
              "image names look like 'name', 'name:tag'; local images like oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:PATH, host");
  if (out.domain == "docker.io" && isReserved(name))
    malformed(text, "'" + std::string(name) + "' is a kind of reference, not a name",
              "write " + std::string(name) + ":PATH, or choose another name");
  out.repository = std::string(name);
  if (out.domain == "docker.io") {
    constexpr std::string_view kLibrary = "library/";
    if (name.substr(0, kLibrary.size()) == kLibrary && name.find('/', kLibrary.size()) == std::string_view::npos)
      name.remove_prefix(kLibrary.size());
    out.repository = name.find('/') == std::string_view::npos ? "library/" + std::string(name) : std::string(name);
    if (isReserved(name)) malformed(text, "'" + std::string(name) + "' is a kind of reference, not a name", "choose another name");
    // Without its domain "docker.io/a.b/c" would be a name of the registry a.b.
    const size_t slash = name.find('/');
    out.name = (slash != std::string_view::npos && isDomainLike(name.substr(0, slash)) ? "docker.io/" : "") + std::string(name);
  } else {
    out.name = out.domain + "/" + std::string(name);
  }
  out.name += out.digest.empty() ? ":" + out.tag : "@" + out.digest;
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
    case Kind::tar:
      return "tar";
    case Kind::stored:
      return "store";
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
    if (t.kind == Reference::Kind::dir || t.kind == Reference::Kind::tar) {
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
    if (text.substr(0, prefix.size()) == prefix)
      throw Error("image", Code::unsupported,
                  "image reference '" + toUtf8(text.substr(0, 200)) + "': '" + std::string(prefix) + "' is not supported",
                  "leave it out: registries are named as in docker.io/library/alpine:3", toUtf8(text.substr(0, 200)));
  for (std::string_view prefix : kForeign)
    if (text.substr(0, prefix.size()) == prefix)
      throw Error("image", Code::unsupported,
                  "image reference '" + toUtf8(text.substr(0, 200)) + "': '" + std::string(prefix) + "' is not supported",
                  "copy it first: skopeo copy " + std::string(prefix) + "… oci:DIR");
  return parseName(text);
}

std::string parseStoredName(std::string_view text) {
  const Reference r = parseName(text);
  if (!r.digest.empty() || r.domain.find(':') != std::string::npos) malformed(text, "a stored name has no port and no digest");
  return r.name;
}

std::string parseTag(std::string_view text) {
  if (!isTag(text))
    throw Error("image", Code::invalid, "'" + toUtf8(text.substr(0, 200)) + "' is no tag",
                "a tag is 1 to 128 letters, digits, '_', '.' or '-', and does not start with '.' or '-'");
  return std::string(text);
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

std::string meantKind(std::string_view text) {
  const std::string kind(nearestKind(text));
  return kind.empty() ? std::string() : "did you mean '" + kind + (kind == "host" ? "" : ":PATH") + "'? otherwise ";
}

void refuseAbsent(const Reference& reference, const std::string& why, const std::string& hint) {
  const std::string shown = toUtf8(std::string_view(reference.text).substr(0, 200));
  throw Error("image", Code::notFound, "image '" + shown + "' is not in the store" + why, meantKind(reference.text) + hint, shown);
}

// distribution-spec: parts are [a-z0-9]+, joined by one '.', one or two '_', or any number of '-'.
std::string registryFault(const Reference& reference) {
  const std::string& r = reference.repository;
  for (size_t i = 0; i < r.size(); ++i) {
    const auto plain = [&](size_t k) { return k < r.size() && (isDigit(r[k]) || (r[k] >= 'a' && r[k] <= 'z')); };
    if (plain(i) || r[i] == '/') continue;
    size_t end = i;
    while (end < r.size() && r[end] == r[i]) ++end;
    const size_t run = end - i;
    if (i == 0 || !plain(i - 1) || !plain(end) || (r[i] == '.' && run > 1) || (r[i] == '_' && run > 2))
      return "'" + r.substr(i, run) + "' must stand between letters or digits";
    i = end - 1;
  }
  return {};
}

}  // namespace rauha::oci
