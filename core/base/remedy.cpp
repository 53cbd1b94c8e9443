#include "core/base/remedy.h"

namespace rauha {
namespace {

std::string_view ofImage(Code code) {
  switch (code) {
    case Code::corrupt:
    case Code::io:
      return "the image is damaged: make or copy it again, and compare its digest with its maker's";
    case Code::limit:
      return "the image is larger than Rauha takes: make it with fewer or smaller files and layers";
    case Code::unsupported:
      return "convert it: skopeo copy --format oci SOURCE oci:DIR";
    case Code::notFound:
      return "check the path and what it holds: oci:DIR and oci-archive:FILE take OCI layouts, docker-archive:FILE what `docker save` wrote";
    case Code::invalid:
      return "the image is not well-formed: make it again, for example with skopeo copy SOURCE oci:DIR";
    default:
      return {};
  }
}

std::string_view ofPlugin(Code code) {
  if (code == Code::unsupported) return "use a plugin that was built for this version; `rauha plugin list` shows what is loaded";
  return "this is a fault of the plugin: tell its author; `rauha plugin list` shows its version and file";
}

std::string_view ofClass(std::string_view errorClass, Code code) {
  if (errorClass == "image") return ofImage(code);
  if (errorClass == "plugin") return ofPlugin(code);
  if (errorClass == "usage") return "see `rauha --help`";
  if (errorClass == "policy") return "see `rauha policy show task --toml` for a policy with every key";
  if (errorClass == "command") return "check the command, --user and --workdir against what the image holds";
  if (errorClass == "repository") return "check --repo-path and its permissions";
  if (errorClass == "store" && code != Code::internal) return "look at the state directory: is its disk full, or read-only?";
  return {};
}

std::string_view ofCode(Code code) {
  switch (code) {
    case Code::denied:
      return "the daemon needs root, and you need to be root or in its group; `rauha doctor` says what is missing";
    case Code::busy:
    case Code::conflict:
    case Code::deadline:
      return "run it again; `rauha zone list` shows what is there";
    case Code::cancelled:
      return "run it again";
    case Code::limit:
      return "free memory, disk space or descriptors on this machine; `rauha doctor` says what it can do";
    case Code::unsupported:
      return "`rauha doctor` says what this machine can do, and why not more";
    case Code::exists:
      return "choose another name; `rauha zone list` shows those in use";
    case Code::notFound:
      return "check the name; `rauha zone list` and `rauha image list` show what is there";
    case Code::invalid:
      return "see `rauha --help`, and docs/ for the formats";
    case Code::io:
      return "run it again; if it stays, `rauha doctor` and the daemon's log tell more";
    default:
      return "this is a fault of Rauha: please report it with this text and the daemon's log";
  }
}

}  // namespace

std::string remedyOf(const Error& error) {
  if (!error.hint().empty()) return error.hint();
  const bool ours = error.code() == Code::internal && error.errorClass() != "plugin";
  const auto known = ours ? std::string_view() : ofClass(error.errorClass(), error.code());
  return std::string(known.empty() ? ofCode(error.code()) : known);
}

}  // namespace rauha
