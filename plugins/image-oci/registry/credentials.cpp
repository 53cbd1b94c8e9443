#include "plugins/image-oci/registry/credentials.h"

#include "core/base/error.h"
#include "plugins/image-oci/json_text.h"

namespace rauha::oci {

std::optional<Credentials> parseCredentials(std::string_view text) {
  if (text.empty()) return std::nullopt;
  constexpr size_t kMax = 64u << 10;
  const char* const what = "the request's credentials";
  if (text.size() > kMax) throw Error("image", Code::limit, std::string(what) + " are larger than " + std::to_string(kMax) + " bytes");
  nlohmann::json doc;
  try {
    doc = parseJson(text, what);
  } catch (const Error&) {  // its text quotes the beginning
    throw Error("image", Code::invalid, std::string(what) + " are not JSON");
  }
  if (!doc.is_object()) throw Error("image", Code::invalid, std::string(what) + " are no object");
  Credentials out{jsonText(doc, "registry", what), jsonText(doc, "username", what), jsonText(doc, "password", what),
                  jsonText(doc, "identity_token", what)};
  if (out.registry.empty()) throw Error("image", Code::invalid, std::string(what) + " name no registry");
  if (out.username.empty() && out.identityToken.empty()) return std::nullopt;
  for (const std::string* s : {&out.username, &out.password, &out.identityToken})
    if (s->find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      throw Error("image", Code::invalid, std::string(what) + " for " + out.registry + " hold a line break or a NUL");
  if (out.username.find(':') != std::string::npos)
    throw Error("image", Code::invalid, std::string(what) + ": the user name for " + out.registry + " holds a ':'");
  return out;
}

}  // namespace rauha::oci
