// What a plugin does with inputs: structs of other sizes, flags, records, texts; and what its failures say.
#include <algorithm>

#include "cases.h"

namespace rauha::conformance {
namespace {

constexpr uint32_t kUnknownTag = 0x7ffffff0;
constexpr size_t kMaxErrorText = 512;

// A correct input whose struct is `more` bytes longer, filled with `fill`.
void grow(Input& input, size_t more, unsigned char fill) {
  input.bytes.resize(input.bytes.size() + more, fill);
  const auto size = static_cast<uint32_t>(input.bytes.size());
  std::memcpy(input.bytes.data(), &size, sizeof size);
}

void setFlags(Input& input, uint32_t flags) {
  uint32_t now = 0;
  std::memcpy(&now, input.bytes.data() + sizeof(uint32_t), sizeof now);
  now |= flags;
  std::memcpy(input.bytes.data() + sizeof(uint32_t), &now, sizeof now);
}

// Appends to the input's records; `more` bytes of `fill` behind every element.
void addRecord(Input& input, const StructShape& shape, const rauha_record* added, size_t more, unsigned char fill) {
  rauha_array array;
  std::memcpy(&array, input.bytes.data() + shape.records, sizeof array);
  const size_t stride = sizeof(rauha_record) + more;
  const auto bytes = std::make_shared<std::vector<unsigned char>>();
  const auto append = [&](const rauha_record& r) {
    rauha_record copy = r;
    copy.struct_size = static_cast<uint32_t>(stride);
    const size_t at = bytes->size();
    bytes->resize(at + stride, fill);
    std::memcpy(bytes->data() + at, &copy, sizeof copy);
  };
  for (uint32_t i = 0; i < array.count; ++i)
    append(*reinterpret_cast<const rauha_record*>(static_cast<const unsigned char*>(array.ptr) + size_t{i} * array.stride));
  if (added != nullptr) append(*added);
  array = {bytes->data(), static_cast<uint32_t>(bytes->size() / stride), static_cast<uint32_t>(stride)};
  std::memcpy(input.bytes.data() + shape.records, &array, sizeof array);
  input.keep.push_back(bytes);
}

struct Tried {
  Outcome plainly, bent;
};

// Each operation that takes a struct (only those with records, if asked): once with a correct input, once with the bent one. Where making
// comes first, it is done. Afterwards the thing is gone again.
void eachStruct(Context& context, bool withRecords, const std::string& what, const std::function<void(Input&, const StructShape&)>& bend,
                const std::function<void(const Operation&, const Tried&)>& judge) {
  Session session(context);
  unsigned tried = 0;
  for (const Operation& operation : session.driver->operations()) {
    if (operation.takes != Operation::Takes::record || (withRecords && operation.shape->records == 0)) continue;
    const std::string name = "zone_" + std::to_string(++tried);
    const bool makes = std::string_view(operation.name) == "zone_create" || std::string_view(operation.name) == "attach" ||
                       std::string_view(operation.name) == "zone_register" || std::string_view(operation.name) == "resolve" ||
                       std::string_view(operation.name) == "import_image";
    Tried t;
    for (Outcome* out : {&t.plainly, &t.bent}) {
      if (!makes) makeOnce(session, name);
      testing::FakeCall call(session.host);
      Input input = session.driver->input(session, operation, name);
      if (out == &t.bent) bend(input, *operation.shape);
      context.step(std::string(operation.name) + (out == &t.bent ? " with " + what : " as it should be"));
      *out = operation.call(session, call, input);
      unmakeOnce(session, name);
      session.driver->empty(session);
    }
    judge(operation, t);
  }
}

void expectUnsupported(Context& context, const Operation& operation, const std::string& what, const Outcome& outcome) {
  if (outcome.threw || outcome.status != RAUHA_E_UNSUPPORTED)
    context.note(std::string(operation.name) + " with " + what + ": " + (outcome.threw ? "an exception" : statusText(outcome.status)) +
                 ", expected UNSUPPORTED");
}

void expectSame(Context& context, const Operation& operation, const std::string& what, const Tried& t) {
  if (t.bent.status != t.plainly.status)
    context.note(std::string(operation.name) + " with " + what + ": " + statusText(t.bent.status) + ", without it " +
                 statusText(t.plainly.status) + (t.bent.text.empty() ? "" : "; its text: " + inQuotes(t.bent.text)));
}

bool isUtf8(std::string_view s) noexcept {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    const size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (n == 0 || i + n > s.size()) return false;
    for (size_t k = 1; k < n; ++k)
      if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return false;
    const auto d = n > 1 ? static_cast<unsigned char>(s[i + 1]) : 0;
    if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d >= 0xa0) || (c == 0xf0 && d < 0x90) || (c == 0xf4 && d >= 0x90)) return false;
    i += n;
  }
  return true;
}

std::string wrongText(std::string_view text) {
  if (text.size() > kMaxErrorText) return "has " + std::to_string(text.size()) + " bytes, at most 512";
  if (!isUtf8(text)) return "is not UTF-8";
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "is not one line of text";
  return {};
}

}  // namespace

void zeroTail(Context& context) {
  eachStruct(
      context, false, "a larger struct and a zero tail", [](Input& input, const StructShape&) { grow(input, 24, 0); },
      [&](const Operation& op, const Tried& t) { expectSame(context, op, "24 more bytes of zero", t); });
}

void nonzeroTail(Context& context) {
  for (const size_t at : {size_t{0}, size_t{23}})
    eachStruct(
        context, false, "a larger struct and a non-zero tail",
        [&](Input& input, const StructShape& shape) {
          grow(input, 24, 0);
          input.bytes[shape.size + at] = 1;
        },
        [&](const Operation& op, const Tried& t) { expectUnsupported(context, op, "a non-zero byte behind the struct it knows", t.bent); });
}

void unknownFlags(Context& context) {
  for (const uint32_t flag : {1u << 31, 1u << 20})
    eachStruct(
        context, false, "unknown flags", [&](Input& input, const StructShape&) { setFlags(input, flag); },
        [&](const Operation& op, const Tried& t) { expectUnsupported(context, op, "the flag " + std::to_string(flag), t.bent); });
}

void criticalRecord(Context& context) {
  const rauha_record record{sizeof record, RAUHA_RECORD_CRITICAL, kUnknownTag, 0, 1, {nullptr, 0}};
  eachStruct(
      context, true, "an unknown critical record", [&](Input& input, const StructShape& shape) { addRecord(input, shape, &record, 0, 0); },
      [&](const Operation& op, const Tried& t) { expectUnsupported(context, op, "an unknown critical record", t.bent); });
}

void otherRecord(Context& context) {
  const rauha_record record{sizeof record, 0, kUnknownTag, 0, 1, {nullptr, 0}};
  eachStruct(
      context, true, "an unknown record", [&](Input& input, const StructShape& shape) { addRecord(input, shape, &record, 0, 0); },
      [&](const Operation& op, const Tried& t) { expectSame(context, op, "an unknown record that is not critical", t); });
}

void recordStride(Context& context) {
  const rauha_record harmless{sizeof harmless, 0, kUnknownTag, 0, 0, {nullptr, 0}};
  eachStruct(
      context, true, "larger records", [&](Input& input, const StructShape& shape) { addRecord(input, shape, &harmless, 16, 0); },
      [&](const Operation& op, const Tried& t) { expectSame(context, op, "records of 16 more bytes of zero", t); });
  eachStruct(
      context, true, "larger records with a tail",
      [&](Input& input, const StructShape& shape) { addRecord(input, shape, &harmless, 16, 1); },
      [&](const Operation& op, const Tried& t) { expectUnsupported(context, op, "records of 16 more bytes that are not zero", t.bent); });
}

void smallStructs(Context& context) {
  for (const uint32_t size : {0u, 4u})
    eachStruct(
        context, false, "struct_size " + std::to_string(size),
        [&](Input& input, const StructShape&) { std::memcpy(input.bytes.data(), &size, sizeof size); },
        [&](const Operation& op, const Tried& t) {
          if (t.bent.ok()) context.note(std::string(op.name) + " takes a struct_size of " + std::to_string(size));
        });
}

void badIds(Context& context) {
  const std::string ids[] = {"",         "a/b",   "../zone", "Zone", "zone a", std::string(41, 'z'), std::string("zone_1\0x", 8),
                             "zone\xff", "zone\n"};
  Session session(context);
  for (const Operation& operation : session.driver->operations()) {
    if (operation.takes != Operation::Takes::record || operation.removes) continue;
    for (const StructShape::Text& field : operation.shape->texts) {
      if (!field.mustBeId) continue;
      for (const std::string& id : ids) {
        testing::FakeCall call(session.host);
        Input input = session.driver->input(session, operation, "zone_1");
        setText(input, operation, field.offset, id.empty() ? rauha_str{nullptr, 0} : input.own(id));
        context.step(std::string(operation.name) + " of the zone " + inQuotes(id));
        if (operation.call(session, call, input).ok()) context.note(std::string(operation.name) + " takes the zone id " + inQuotes(id));
      }
    }
  }
}

void hostileTexts(Context& context) {
  static const char kNothing = 0;
  const std::string big(1 << 20, 'a');
  const std::string bytes = "\xff\xfe\xc0\x80", nul("a\0b\0", 4), format = "%s%n%d{}", lines = "a\nb\r\n\t\x1b[31m";
  const std::pair<const char*, rauha_str> texts[] = {{"an absent text", {nullptr, 0}},       {"an empty text", {&kNothing, 0}},
                                                     {"1 MiB of text", sdk::str(big)},       {"bytes that are not UTF-8", sdk::str(bytes)},
                                                     {"NUL bytes", sdk::str(nul)},           {"format characters", sdk::str(format)},
                                                     {"control characters", sdk::str(lines)}};
  Session session(context);
  for (const Operation& operation : session.driver->operations()) {
    std::vector<StructShape::Text> fields;
    if (operation.takes == Operation::Takes::text) fields.push_back({"the text", 0, false});
    if (operation.takes == Operation::Takes::record) fields = operation.shape->texts;
    for (const StructShape::Text& field : fields)
      for (const auto& [what, text] : texts) {
        testing::FakeCall call(session.host);
        Input input = session.driver->input(session, operation, "zone_1");
        setText(input, operation, field.offset, text);
        context.step(std::string(operation.name) + " with " + what + " as " + field.name);
        operation.call(session, call, input);
        unmakeOnce(session, "zone_1");
      }
  }
  session.driver->empty(session);
}

std::vector<BadInput> badInputs(Session& session) {
  std::vector<BadInput> out;
  const auto add = [&](const Operation& operation, const std::string& what, const std::function<void(Input&)>& bend) {
    Input input = session.driver->input(session, operation, "zone_never");
    bend(input);
    out.push_back({what, &operation, std::move(input)});
  };
  const std::string odd[] = {"no such thing", "two\nlines", "\xff\xfe", "a/../b", std::string(600, 'x')};
  for (const Operation& operation : session.driver->operations()) {
    const std::string name = operation.name;
    if (operation.takes == Operation::Takes::text) {
      add(operation, name + " of what never was", [](Input&) {});
      for (const std::string& text : odd) add(operation, name + " of " + inQuotes(text), [&](Input& in) { in.text = in.own(text); });
    }
    if (operation.takes != Operation::Takes::record) continue;
    add(operation, name + " with unknown flags", [](Input& in) { setFlags(in, 1u << 31); });
    add(operation, name + " with a non-zero tail", [](Input& in) { grow(in, 8, 1); });
    if (operation.shape->records != 0) {
      const rauha_record record{sizeof record, RAUHA_RECORD_CRITICAL, kUnknownTag, 0, 1, {nullptr, 0}};
      add(operation, name + " with an unknown critical record", [&](Input& in) { addRecord(in, *operation.shape, &record, 0, 0); });
    }
    const StructShape::Text& first = operation.shape->texts.front();
    for (const std::string& text : odd)
      add(operation, name + " with the " + first.name + " " + inQuotes(text),
          [&](Input& in) { setText(in, operation, first.offset, in.own(text)); });
  }
  return out;
}

namespace {
void eachFailure(Context& context, const std::function<void(const std::string&, const Outcome&)>& judge) {
  Session session(context);
  for (BadInput& bad : badInputs(session)) {
    testing::FakeCall call(session.host);
    context.step(bad.what);
    const Outcome outcome = bad.operation->call(session, call, bad.input);
    if (!outcome.ok()) judge(bad.what, outcome);
  }
}
}  // namespace

void errorTexts(Context& context) {
  eachFailure(context, [&](const std::string& what, const Outcome& outcome) {
    if (outcome.threw) return;
    if (outcome.errors == 0 || outcome.text.empty()) {
      context.note(what + " fails with " + statusText(outcome.status) + " and says nothing");
      return;
    }
    if (const std::string wrong = wrongText(outcome.text); !wrong.empty())
      context.note("the text of " + what + " " + wrong + ": " + inQuotes(outcome.text));
    if (const std::string wrong = wrongText(outcome.hint); !wrong.empty())
      context.note("the hint of " + what + " " + wrong + ": " + inQuotes(outcome.hint));
  });
}

void errorStatuses(Context& context) {
  eachFailure(context, [&](const std::string& what, const Outcome& outcome) {
    if (outcome.threw) return;
    const bool known = (outcome.status > RAUHA_OK && outcome.status <= RAUHA_E_INTERNAL) || outcome.status >= 1000;
    if (!known) context.note(what + " gives " + statusText(outcome.status));
    if (outcome.errors > 0 && outcome.told != outcome.status)
      context.note(what + " returns " + statusText(outcome.status) + " and told set_error " + statusText(outcome.told));
  });
}

void outputsUntouched(Context& context) {
  eachFailure(context, [&](const std::string& what, const Outcome& outcome) {
    if (!outcome.touched.empty()) context.note(what + " fails and changes " + outcome.touched);
  });
  testing::FakeHost::Options options;
  options.instance = context.instance;
  options.directory = context.directory;
  testing::FakeHost host(options);
  const testing::Plugin plugin = context.load();
  testing::FakeCall call(host);
  int sentinel = 0;
  auto* out = reinterpret_cast<rauha_instance*>(&sentinel);
  context.step("create() with an unknown key");
  const std::string config = context.options.config + "\nrauha_check_unknown = 1\n";
  ::mkdir(host.pluginDir(plugin.descriptor()->name).c_str(), 0700);
  Outcome created;
  guardedCall(created, call, [&] { return plain(plugin.descriptor()->create)(host.table(), call.raw(), sdk::str(config), &out); });
  const rauha_status status = created.status;
  if (status != RAUHA_OK && out != reinterpret_cast<rauha_instance*>(&sentinel)) context.note("create() fails and changes the instance");
  if (status == RAUHA_OK && out != nullptr) plugin.descriptor()->destroy(out);
}

void noExceptions(Context& context) {
  eachFailure(context, [&](const std::string& what, const Outcome& outcome) {
    if (outcome.threw) context.note("an exception came out of " + what);
  });
}

}  // namespace rauha::conformance
