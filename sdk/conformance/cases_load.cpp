// The file, its loading, its descriptor; hosts of other versions; the configuration.
#include <dlfcn.h>
#include <malloc.h>

#include <algorithm>

#include "cases.h"
#include "elf_file.h"
#include "process_state.h"

namespace rauha::conformance {
namespace {

ElfFacts facts(Context& context) {
  if (context.options.entry != nullptr) context.skip("the plugin is linked into this program: there is no file to look at");
  return readElf(context.options.plugin);
}

std::string fixed(const char* text, size_t room) { return {text, ::strnlen(text, room)}; }

size_t heapBytes() {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
  return ::mallinfo2().uordblks;
#else
  return 0;
#endif
}

bool isName(std::string_view s) {
  return !s.empty() && s.size() <= 31 &&
         std::all_of(s.begin(), s.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

std::string all(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& l : lines) out += (out.empty() ? "" : "\n") + l;
  return out;
}

}  // namespace

void exportsOnlyTheEntry(Context& context) {
  bool entry = false;
  for (const std::string& name : facts(context).exported) {
    if (name.rfind("rauha_plugin_entry_v", 0) != 0) context.note("exports " + inQuotes(name));
    if (name == "rauha_plugin_entry_v1") entry = true;
  }
  if (!entry) context.note("does not export rauha_plugin_entry_v1");
}

void dynamicEntries(Context& context) {
  const ElfFacts f = facts(context);
  if (f.searchPath) context.note("has DT_RPATH or DT_RUNPATH: it would look for libraries where it was built");
  if (f.textRelocations) context.note("has text relocations: a part was compiled without -fPIC");
  if (f.executableStack) context.note("asks for an executable stack");
}

void noteAgrees(Context& context) {
  const ElfFacts f = facts(context);
  if (f.notes.size() != 1) context.fail("the file has " + std::to_string(f.notes.size()) + " notes, expected 1 (RAUHA_PLUGIN_NOTE)");
  const rauha_note& note = f.notes[0];
  const testing::Plugin loaded = context.load();
  const rauha_plugin& d = *loaded.descriptor();
  const std::string name = fixed(note.plugin, sizeof note.plugin), version = fixed(note.version, sizeof note.version);
  const std::string kind = fixed(note.kind, sizeof note.kind);
  if (note.abi_major != RAUHA_ABI_MAJOR) context.note("the note says ABI major " + std::to_string(note.abi_major));
  if (note.abi_minor != d.abi_minor)
    context.note("the note says ABI minor " + std::to_string(note.abi_minor) + ", the descriptor " + std::to_string(d.abi_minor));
  if (d.name == nullptr || name != d.name)
    context.note("the note's name is " + inQuotes(name) + ", the descriptor's " + inQuotes(d.name == nullptr ? "" : d.name));
  if (d.version == nullptr || version != d.version)
    context.note("the note's version is " + inQuotes(version) + ", the descriptor's " + inQuotes(d.version == nullptr ? "" : d.version));
  const std::string id = "rauha." + kind + "/";
  bool provided = false;
  for (const char* const* p = d.provides; p != nullptr && *p != nullptr; ++p) provided |= std::string_view(*p).substr(0, id.size()) == id;
  if (!provided) context.note("the note's kind is " + inQuotes(kind) + ", and nothing of it is provided");
}

void openingHasNoEffects(Context& context) {
  if (context.options.entry != nullptr) context.skip("the plugin is linked into this program and loaded with it");
  processState();  // what a first look itself changes is not the plugin's
  const ProcessState before = processState();
  context.step("dlopen");
  if (::dlopen(std::filesystem::absolute(context.options.plugin).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) == nullptr)
    context.fail(::dlerror());
  const auto changed = differences(before, processState());
  if (!changed.empty()) context.fail(all(changed));
}

void entryHasNoEffects(Context& context) {
  // Loaded without calling the entry.
  context.step("loading the plugin");
  testing::EntryFunction entry = context.options.entry;
  if (entry == nullptr) {
    void* library = ::dlopen(std::filesystem::absolute(context.options.plugin).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == nullptr) context.fail(::dlerror());
    entry = reinterpret_cast<testing::EntryFunction>(::dlsym(library, "rauha_plugin_entry_v1"));
    if (entry == nullptr) context.fail("there is no symbol rauha_plugin_entry_v1");
  }
  processState();
  const ProcessState before = processState();
  context.step("rauha_plugin_entry_v1()");
  const size_t heap = heapBytes();
  const rauha_plugin* first = entry();
  const rauha_plugin* second = entry();
  const size_t grown = heapBytes() - heap;
  if (first == nullptr) context.fail("it returns NULL");
  if (first != second) context.note("it returns another pointer the second time");
  if (grown != 0) context.note("it allocates memory");
  for (const std::string& d : differences(before, processState())) context.note(d);
}

void descriptorIsComplete(Context& context) {
  const testing::Plugin loaded = context.load();
  const rauha_plugin& d = *loaded.descriptor();
  if (d.struct_size < sizeof(rauha_plugin) || d.struct_size > 4096)
    context.fail("struct_size is " + std::to_string(d.struct_size) + ", expected at least " + std::to_string(sizeof(rauha_plugin)));
  if (d.name == nullptr || !isName(d.name))
    context.note("the name is " + inQuotes(d.name == nullptr ? "" : d.name) + ", expected 1 to 31 of [a-z0-9-]");
  if (d.version == nullptr || *d.version == '\0') context.note("there is no version");
  if (d.license == nullptr || *d.license == '\0') context.note("there is no license (an SPDX identifier)");
  if (d.provides == nullptr || *d.provides == nullptr) context.note("nothing is provided");
  if (d.requires_services == nullptr) context.note("requires_services is NULL, expected a NULL-terminated list");
  if (d.create == nullptr) context.note("create is NULL");
  if (d.destroy == nullptr) context.note("destroy is NULL");
  if (d.get_interface == nullptr) context.note("get_interface is NULL");
}

void interfacesById(Context& context) {
  Session session(context);
  const rauha_plugin& d = *session.plugin.descriptor();
  const std::string other = std::string(session.driver->interface()) + "0";
  context.step("get_interface of unknown ids");
  for (const char* id : {"rauha.nothing/1", "", "rauha", other.c_str(), session.driver->interface() + 1})
    if (d.get_interface(session.raw(), id) != nullptr) context.note("get_interface(" + inQuotes(id) + ") is not NULL");
  for (const char* const* id = d.provides; *id != nullptr; ++id) {
    const void* first = d.get_interface(session.raw(), *id);
    if (first == nullptr) context.note("get_interface(" + inQuotes(*id) + ") is NULL, although it is provided");
    if (first != d.get_interface(session.raw(), *id))
      context.note("get_interface(" + inQuotes(*id) + ") gives another table the second time");
  }
}

void olderHost(Context& context) {
  testing::FakeHost::Options options;
  options.instance = context.instance;
  options.directory = context.directory;
  testing::FakeHost host(options);
  const testing::Plugin plugin = context.load();
  for (size_t size = 8; size < sizeof(rauha_host); size += 8) {
    context.step("create() with a host table of " + std::to_string(size) + " bytes; what lies behind it may not be read");
    try {
      testing::Instance instance(host, plugin, context.options.config, host.truncated(size));
    } catch (const testing::PluginError& e) {
      if (e.status() != RAUHA_E_UNSUPPORTED && size >= offsetof(rauha_host, log))
        context.note("create() with a host table of " + std::to_string(size) + " bytes fails with " + statusText(e.status()) +
                     ", expected UNSUPPORTED: " + inQuotes(e.what()));
    }
  }
}

void newerHost(Context& context) {
  Session::Settings settings;
  testing::FakeHost::Options options;
  options.instance = context.instance;
  options.directory = context.directory;
  options.libexecDir = context.options.libexecDir;
  testing::FakeHost host(options);
  settings.table = host.larger(128);
  try {
    Session session(context, settings);
    for (const Operation& operation : session.driver->operations())
      if (operation.takes == Operation::Takes::nothing && !callOnce(session, operation, "zone_a").ok())
        if (Session plainly(context); callOnce(plainly, operation, "zone_a").ok())
          context.note(std::string(operation.name) + " fails with a newer host");
  } catch (const Failed& e) {
    context.fail("with a host table of 128 more bytes and the next minor: " + std::string(e.what()));
  }
}

void withoutServices(Context& context) {
  const testing::Plugin plugin = context.load();
  testing::FakeHost::Options options;
  options.instance = context.instance;
  options.directory = context.directory;
  options.libexecDir = context.options.libexecDir;
  testing::FakeHost host(options);
  std::string gone;
  for (const char* id : {RAUHA_STATE_V1, RAUHA_EVENTS_V1, RAUHA_TIMER_V1, RAUHA_WATCH_V1, RAUHA_SPAWN_V1}) {
    bool required = false;
    for (const char* const* r = plugin.descriptor()->requires_services; r != nullptr && *r != nullptr; ++r)
      required |= std::string_view(*r) == id;
    if (required) continue;
    host.withdraw(id);
    gone += std::string(gone.empty() ? "" : ", ") + id;
  }
  context.step("create() without " + gone);
  try {
    testing::Instance instance(host, plugin, context.options.config);
  } catch (const testing::PluginError& e) {
    if (context.kind != Kind::image && ::geteuid() != 0) context.skip(std::string("needs root: ") + e.what());
    context.fail("create() without " + gone + " fails with " + statusText(e.status()) + ": " + inQuotes(e.what()));
  }
}

namespace {
// create() with a configuration that must be refused; gives what was said.
std::string refusedConfig(Context& context, const std::string& config, const std::string& what) {
  testing::FakeHost::Options options;
  options.instance = context.instance;
  options.directory = context.directory;
  options.libexecDir = context.options.libexecDir;
  testing::FakeHost host(options);
  const testing::Plugin plugin = context.load();
  context.step("create() with " + what);
  try {
    testing::Instance instance(host, plugin, config);
  } catch (const testing::PluginError& e) {
    return e.what();
  }
  context.note("create() takes " + what);
  return {};
}
}  // namespace

void unknownKey(Context& context) {
  const std::string key = "rauha_check_unknown";
  const std::string text = refusedConfig(context, context.options.config + "\n" + key + " = 1\n", "the unknown key " + inQuotes(key));
  if (!text.empty() && text.find(key) == std::string::npos) context.note("the refusal does not name the key: " + inQuotes(text));
}

void malformedConfig(Context& context) {
  refusedConfig(context, context.options.config + "\n= 1\n", "a line without a key");
  refusedConfig(context, context.options.config + "\n[[[[[\n", "a line of brackets");
  refusedConfig(context, std::string("rauha_check_unknown = \"\xff\xfe\"\n"), "bytes that are not UTF-8");
}

}  // namespace rauha::conformance
