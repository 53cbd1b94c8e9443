#include "driver.h"

#include <algorithm>

namespace rauha::conformance {

std::string inQuotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, 160)) {
    const auto byte = static_cast<unsigned char>(c);
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
    if (byte < 0x20 || byte >= 0x7f)
      out += escaped;
    else
      out += c;
  }
  return out + (text.size() > 160 ? "…\"" : "\"");
}

std::string statusText(rauha_status status) {
  static constexpr const char* kNames[] = {"OK",    "INVALID",   "NOT_FOUND", "EXISTS", "UNSUPPORTED", "DENIED",  "BUSY",
                                           "LIMIT", "CANCELLED", "DEADLINE",  "IO",     "CONFLICT",    "CORRUPT", "INTERNAL"};
  if (status < 0 || static_cast<size_t>(status) >= std::size(kNames)) return "status " + std::to_string(status);
  return kNames[status];
}

bool isId(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 40 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

std::vector<rauha_str> viewsOf(const std::vector<std::string>& texts) {
  std::vector<rauha_str> out;
  out.reserve(texts.size());
  for (const std::string& text : texts) out.push_back(sdk::str(text));
  return out;
}

void Context::step(const std::string& what) { std::snprintf(progress_->step, sizeof progress_->step, "%s", what.c_str()); }

void Context::note(const std::string& seen) {
  constexpr size_t kMost = 12;
  if (notes_.size() < kMost)
    notes_.push_back(seen);
  else if (notes_.size() == kMost)
    notes_.emplace_back("… and more");
}

void Context::finish() const {
  std::string all;
  for (const std::string& n : notes_) all += (all.empty() ? "" : "\n") + n;
  if (!all.empty()) throw Failed(all);
}

testing::Plugin Context::load() {
  step("loading the plugin");
  try {
    return options.entry != nullptr ? testing::Plugin::fromEntry(options.entry) : testing::Plugin::fromFile(options.plugin);
  } catch (const std::exception& e) {
    throw Failed(e.what());
  }
}

rauha_str Input::own(std::string value) {
  const auto kept = std::make_shared<std::string>(std::move(value));
  keep.push_back(kept);
  return {kept->data(), kept->size()};
}

const Operation& Driver::operation(std::string_view name) const {
  for (const Operation& o : operations())
    if (name == o.name) return o;
  throw std::logic_error("no operation " + std::string(name));
}

std::unique_ptr<Driver> driverOf(Kind kind) {
  switch (kind) {
    case Kind::backend:
      return backendDriver();
    case Kind::image:
      return imageDriver();
    case Kind::enforcer:
      return enforcerDriver();
    case Kind::net:
      return netDriver();
  }
  throw std::logic_error("unknown kind");
}

namespace {
testing::FakeHost::Options hostOptions(Context& context, Session::Settings& settings) {
  testing::FakeHost::Options out;
  out.instance = context.instance;
  out.libexecDir = context.options.libexecDir;
  out.directory = settings.directory.empty() ? context.directory : settings.directory;
  out.serviceThread = true;
  out.onCall = std::move(settings.onCall);
  return out;
}
}  // namespace

Session::Session(Context& c, Settings settings) : context(c), driver(driverOf(c.kind)), host(hostOptions(c, settings)), plugin(c.load()) {
  c.step("create()");
  try {
    instance_.emplace(host, plugin, c.options.config, settings.table);
  } catch (const testing::PluginError& e) {
    const std::string why = "create() fails with " + statusText(e.status()) + ": " + inQuotes(e.what());
    if (c.kind != Kind::image && ::geteuid() != 0) c.skip("needs root: " + why);
    c.fail(why);
  }
  c.step("get_interface()");
  table_ = plugin.descriptor()->get_interface(instance_->raw(), driver->interface());
  if (table_ == nullptr) c.fail(std::string("get_interface(\"") + driver->interface() + "\") is NULL");
  if (const std::string missing = driver->missingFunctions(table_); !missing.empty())
    c.fail("the table of " + std::string(driver->interface()) + " lacks " + missing);
}

Session::~Session() { end(); }

void Session::end() {
  if (!instance_) return;
  context.step("destroy()");
  instance_.reset();
}

void expectStatus(Context& context, const Outcome& outcome, const std::string& what, std::initializer_list<rauha_status> allowed) {
  if (!outcome.threw && std::find(allowed.begin(), allowed.end(), outcome.status) != allowed.end()) return;
  std::string wanted;
  for (const rauha_status s : allowed) wanted += (wanted.empty() ? "" : " or ") + statusText(s);
  context.fail(what + ": " + (outcome.threw ? "an exception" : statusText(outcome.status)) + ", expected " + wanted +
               (outcome.text.empty() ? "" : "; its text: " + inQuotes(outcome.text)));
}

}  // namespace rauha::conformance
