#pragma once
// One shape for the four kinds of plugin, so that a rule is written once: an interface is a list of operations that take a text, a list of
// texts or a struct, and a thing (zone, lease, attachment) that is made and unmade.

#include <functional>
#include <optional>
#include <set>

#include "context.h"

namespace rauha::conformance {

// Where the fields of an input struct are that the rules speak of.
struct StructShape {
  const char* type;  // "rauha_zone_spec"
  size_t size;
  struct Text {
    const char* name;
    size_t offset;
    bool mustBeId;  // [a-z0-9_], at most 40 bytes: anything else has to be refused
  };
  std::vector<Text> texts;
  size_t records;  // offset of a rauha_array of rauha_record; 0: none
};

// What one call did.
struct Outcome {
  rauha_status status = RAUHA_OK;
  rauha_status told = RAUHA_OK;  // through set_error
  std::string text, hint;
  unsigned errors = 0;   // calls of set_error
  bool threw = false;    // an exception came out of the plugin
  std::string touched;   // an out-parameter that a failing call changed, or empty
  std::string contract;  // an answer (OK) that breaks the header's promise, or empty
  bool ok() const noexcept { return status == RAUHA_OK && !threw; }
};

// The input of one call, in bytes that a case may bend. What it borrows is kept by `keep`.
struct Input {
  std::vector<unsigned char> bytes;  // a struct, possibly with more bytes behind it; its struct_size says how many count
  rauha_str text{nullptr, 0};
  rauha_array list{nullptr, 0, sizeof(rauha_str)};
  std::vector<std::shared_ptr<void>> keep;

  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(bytes.data());
  }
  // Borrowed from `keep`: valid as long as this input.
  rauha_str own(std::string value);
};

class Session;

struct Operation {
  enum class Takes { nothing, text, list, record };
  const char* name;
  Takes takes;
  const StructShape* shape = nullptr;  // of a record
  bool removes = false;                // idempotent by its header: what is not there is RAUHA_OK
  bool needsRights = false;            // cannot succeed without root
  std::function<Outcome(Session&, testing::FakeCall&, Input&)> call;
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual const char* interface() const = 0;  // "rauha.image/1"
  virtual const std::vector<Operation>& operations() const = 0;
  // A correct input of the operation about the thing called `name`.
  virtual Input input(Session& session, const Operation& operation, const std::string& name) = 0;
  // Why nothing can be made here ("needs root"); empty: it can.
  virtual std::string cannotMake(Context& context) = 0;
  // Makes and unmakes a whole thing. make gives the first failing outcome, or the last.
  virtual Outcome make(Session& session, testing::FakeCall& call, const std::string& name) = 0;
  virtual Outcome unmake(Session& session, testing::FakeCall& call, const std::string& name) = 0;
  // What stays although every thing was unmade, and may (an image in the store): removed, so that nothing is left.
  virtual void empty(Session& session) = 0;
  // Is there, by the plugin's own words?
  virtual Outcome verify(Session& session, testing::FakeCall& call, const std::string& name) = 0;
  // keep: the names that live. What it reported as removed goes to `removed`.
  virtual Outcome reconcile(Session& session, testing::FakeCall& call, const std::vector<std::string>& keep,
                            std::vector<std::string>* removed) = 0;
  // Functions of the table that are null or cut off, by name.
  virtual std::string missingFunctions(const void* table) const = 0;
  // The kind's own story, told in its header: sequences of calls and their statuses.
  virtual void life(Context& context, Session& session) = 0;

  const Operation& operation(std::string_view name) const;
};

std::unique_ptr<Driver> driverOf(Kind kind);
std::unique_ptr<Driver> backendDriver();
std::unique_ptr<Driver> imageDriver();
std::unique_ptr<Driver> enforcerDriver();
std::unique_ptr<Driver> netDriver();

// Control groups that the kit itself made for an enforcer's zones, when their owner was killed.
void removeKitGroups(const std::string& instance);

// A plugin in a fake host, from create to destroy. Throws Failed when create fails.
class Session final {
 public:
  struct Settings {
    std::function<void(const char*)> onCall{};
    const rauha_host* table = nullptr;
    std::string directory;  // empty: the case's own
  };
  explicit Session(Context& c) : Session(c, Settings()) {}
  Session(Context& c, Settings settings);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  rauha_instance* raw() const noexcept { return instance_->raw(); }
  template <typename T>
  const T* table() const noexcept {
    return static_cast<const T*>(table_);
  }
  void end();  // destroy(), and what the host does after it

  Context& context;
  const std::unique_ptr<Driver> driver;
  testing::FakeHost host;
  const testing::Plugin plugin;

 private:
  std::optional<testing::Instance> instance_;
  const void* table_ = nullptr;
};

// The same pointer without its noexcept: only thus an exception that a plugin lets out can be seen instead of ending the process.
template <typename... A>
auto plain(rauha_status (*f)(A...)) {
  return f;
}

// Calls through the plugin's pointer, whatever comes out of it.
template <typename F>
void guardedCall(Outcome& out, testing::FakeCall& call, F&& f) {
  const unsigned errors = call.errors();
  try {
    out.status = f();
  } catch (...) {
    out.threw = true;
    out.status = RAUHA_E_INTERNAL;
  }
  out.errors = call.errors() - errors;
  if (out.errors > 0) out.told = call.status(), out.text = call.text(), out.hint = call.hint();
}

// A sequence of single calls for `life`: fails with the operation's name and what was said.
void expectStatus(Context& context, const Outcome& outcome, const std::string& what, std::initializer_list<rauha_status> allowed);

std::vector<rauha_str> viewsOf(const std::vector<std::string>& texts);  // borrowed
bool isId(std::string_view text) noexcept;                              // [a-z0-9_], 1 to 40 bytes

}  // namespace rauha::conformance
