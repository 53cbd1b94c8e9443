#include "plugins/image-oci/registry/url_text.h"

namespace rauha::oci {

std::string hostOf(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  url = url.substr(0, url.find_first_of("/?#"));
  if (const size_t at = url.rfind('@'); at != std::string_view::npos) url.remove_prefix(at + 1);
  std::string out(url);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string originOf(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  std::string host = hostOf(url);
  const std::string_view name = url.substr(0, scheme);
  const std::string_view usual = name == "https" ? ":443" : ":80";
  if (host.size() > usual.size() && std::string_view(host).substr(host.size() - usual.size()) == usual)
    host.resize(host.size() - usual.size());
  return std::string(name) + "://" + host;
}

std::string urlEncoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~')
      out += c;
    else
      out.append({'%', kHex[u >> 4], kHex[u & 15]});
  }
  return out;
}

}  // namespace rauha::oci
