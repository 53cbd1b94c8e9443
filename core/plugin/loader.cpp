#include "core/plugin/loader.h"

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/shared_library.hpp>

#include <dlfcn.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/base/digest.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/service_tables.h"

namespace rauha::plugin {
namespace {

constexpr const char* kEntry = "rauha_plugin_entry_v1";
constexpr size_t kDescriptorV1 = offsetof(rauha_plugin, get_interface) + sizeof(void*);  // size in ABI 1.0
constexpr size_t kMaxDescriptorText = 64;
constexpr size_t kMaxList = 16;

Error about(const std::string& path, const Error& e) { return Error("plugin", e.code(), path + " " + e.text(), e.hint(), path); }

std::string hashOf(const TrustedFile& file) {
  Sha256 digest;
  std::vector<char> buffer(1 << 16);
  for (uint64_t at = 0;;) {
    const ssize_t n = pread(file.fd.get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno("plugin", "read " + file.path);
    if (n == 0) return digest.finish();
    digest.update(buffer.data(), static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
}

// The library stays for the life of the process, and so does its descriptor: the dynamic linker knows the library by the name
// /proc/self/fd/N, and would give it again to whoever opens another file under a reused number.
std::string keepForEver(UniqueFd fd) { return "/proc/self/fd/" + std::to_string(fd.release()); }

boost::dll::shared_library loadLibrary(InspectedPlugin& plugin) {
  constexpr auto mode = static_cast<boost::dll::load_mode::type>(RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  try {
    return boost::dll::shared_library(keepForEver(std::move(plugin.file.fd)),
                                      mode);  // the throwing form: the other one loses the linker's text
  } catch (const std::exception& e) {
    throw Error("plugin", Code::invalid, "cannot be linked: " + std::string(e.what()),
                "see whether the libraries it needs are installed: ldd " + plugin.file.path);
  }
}

std::string descriptorText(const char* text, const char* what) {
  if (text == nullptr) throw Error("plugin", Code::invalid, std::string("has a descriptor whose ") + what + " is null");
  const size_t length = strnlen(text, kMaxDescriptorText);
  if (length == 0 || length == kMaxDescriptorText || !std::all_of(text, text + length, [](char c) { return c > 0x20 && c < 0x7f; }))
    throw Error("plugin", Code::invalid,
                std::string("has a descriptor whose ") + what + " is empty, not printable, or longer than " +
                    std::to_string(kMaxDescriptorText - 1) + " bytes");
  return std::string(text, length);
}

std::vector<std::string> descriptorList(const char* const* list, const char* what) {
  std::vector<std::string> out;
  if (list == nullptr) throw Error("plugin", Code::invalid, std::string("has a descriptor whose ") + what + " is null");
  for (; *list != nullptr; ++list) {
    if (out.size() == kMaxList)
      throw Error("plugin", Code::invalid,
                  std::string("has a descriptor whose ") + what + " has more than " + std::to_string(kMaxList) + " entries");
    out.push_back(descriptorText(*list, what));
  }
  return out;
}

rauha_plugin readDescriptor(const boost::dll::shared_library& library) {
  if (!library.has(kEntry))
    throw Error("plugin", Code::invalid, std::string("does not export ") + kEntry,
                "build it with the macros of <rauha/plugin.hpp> and the SDK's version script");
  auto& entry = library.get<const rauha_plugin*()>(kEntry);
  const rauha_plugin* raw = entry();
  if (raw == nullptr) throw Error("plugin", Code::invalid, std::string("returns null from ") + kEntry);
  return readTable<rauha_plugin>(raw, kDescriptorV1, "its descriptor");
}

void agree(const std::string& what, const std::string& descriptor, const std::string& note) {
  if (descriptor != note)
    throw Error("plugin", Code::invalid, "says " + what + " " + descriptor + " in its descriptor and " + note + " in its note");
}

Error missingService(const std::string& service, PluginPlace place) {
  if (place == PluginPlace::ownProcess && serviceTable(service) != nullptr)
    return Error("plugin", Code::unsupported, "needs the service " + service + ", which a plugin in a process of its own does not have",
                 "take isolation = \"process\" out of its table in rauha.toml, if it may run in the daemon");
  return Error("plugin", Code::unsupported, "needs the service " + service + ", which this daemon does not have",
               "use a daemon as new as the plugin");
}

OpenedPlugin checkDescriptor(const rauha_plugin& raw, InspectedPlugin& plugin, const std::vector<std::string>& services,
                             PluginPlace place) {
  agree("name", descriptorText(raw.name, "name"), plugin.note.name);
  agree("version", descriptorText(raw.version, "version"), plugin.note.version);
  agree("ABI", "1." + std::to_string(raw.abi_minor), "1." + std::to_string(plugin.note.abiMinor));
  OpenedPlugin out{plugin.file.path,
                   plugin.note,
                   plugin.file.weaknesses,
                   descriptorText(raw.license, "license"),
                   descriptorList(raw.provides, "provides"),
                   raw.create,
                   raw.destroy,
                   raw.get_interface};
  for (const auto& service : descriptorList(raw.requires_services, "requires_services"))
    if (std::find(services.begin(), services.end(), service) == services.end()) throw missingService(service, place);
  const std::string interface = "rauha." + out.note.kind + "/1";
  if (std::find(out.provides.begin(), out.provides.end(), interface) == out.provides.end())
    throw Error("plugin", Code::invalid, "is of kind " + out.note.kind + " but does not provide " + interface);
  if (out.create == nullptr) throw Error("plugin", Code::invalid, "has a descriptor whose create is null");
  if (out.destroy == nullptr) throw Error("plugin", Code::invalid, "has a descriptor whose destroy is null");
  if (out.getInterface == nullptr) throw Error("plugin", Code::invalid, "has a descriptor whose get_interface is null");
  return out;
}

}  // namespace

InspectedPlugin inspectPlugin(const std::string& path, const TrustRules& rules, const std::optional<std::string>& sha256) {
  InspectedPlugin out{openTrustedFile(path, rules), {}};
  try {
    out.note = readNote(FileBytes(out.file.fd.get()));
    const std::string fileName = path.substr(path.rfind('/') + 1);
    if (fileName != out.note.name + ".so")
      throw Error("plugin", Code::invalid, "calls itself " + out.note.name + " in its note",
                  "a plugin's file is named after it: " + out.note.name + ".so");
    if (!sha256) return out;
    if (const std::string found = hashOf(out.file); found != *sha256)
      throw Error("plugin", Code::corrupt, "is " + found + ", the configuration pins " + *sha256,
                  "install the pinned file, or change the pin after checking the new one");
  } catch (const Error& e) {
    throw about(path, e);
  }
  return out;
}

OpenedPlugin openPlugin(InspectedPlugin plugin, const std::vector<std::string>& services, PluginPlace place) {
  try {
    const auto library = loadLibrary(plugin);  // its destructor's dlclose has no effect: RTLD_NODELETE
    const rauha_plugin descriptor = readDescriptor(library);
    return checkDescriptor(descriptor, plugin, services, place);
  } catch (const Error& e) {
    throw about(plugin.file.path, e);
  }
}

}  // namespace rauha::plugin
