#pragma once
// What the caller has for a registry: docker's config.json, the auth.json of podman and skopeo, credential helpers. Read, run and written
// with the caller's rights, here and nowhere else; the daemon gets the one entry that an image's name asks for, with the request.
//
// WARNING: a secret never stands in an error, a warning or an argument of a program.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::cli {

// "docker.io" of "alpine:3", "localhost:5000" of "localhost:5000/x"; empty: the reference names no registry ("host", "oci:DIR").
std::string registryOf(std::string_view reference);

struct CredentialPlan {
  std::string registry;  // empty: nothing to look for
  std::string json;      // ImagePullRequest.credentials; empty: none, or `helper` has them
  std::string helper;    // name of the program docker-credential-NAME that has them
  std::string server;    // how the helper calls the registry
};

// Where the files are, most specific first: $REGISTRY_AUTH_FILE alone when set; else ${XDG_RUNTIME_DIR}/containers/auth.json,
// ${XDG_CONFIG_HOME:-~/.config}/containers/auth.json, ${DOCKER_CONFIG:-~/.docker}/config.json.
std::vector<std::string> credentialFiles();

// Reads the files; runs nothing. A file that cannot be read or is no JSON is an Error "image": silence would look like a wrong password.
CredentialPlan planCredentials(std::string_view reference);
// Runs the plan's helper, if it has one; returns ImagePullRequest.credentials, empty for none.
std::string fetchCredentials(const CredentialPlan& plan);

// `rauha login` and `logout`: in $REGISTRY_AUTH_FILE or ${XDG_RUNTIME_DIR}/containers/auth.json (root without one: /run/containers/0), mode
// 0600, written whole; what else the file holds stays. Returns the file's path.
std::string storeCredentials(const std::string& registry, const std::string& username, const std::string& password);
// False: nothing was stored for it.
bool forgetCredentials(const std::string& registry);

// The pure part, for tests: one file's text. nullopt: it has nothing for the registry. repository: "library/alpine".
std::optional<CredentialPlan> planFrom(std::string_view text, const std::string& file, const std::string& registry,
                                       const std::string& repository);

}  // namespace rauha::cli
