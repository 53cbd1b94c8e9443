#include "cases.h"

#include <algorithm>

#include "process_state.h"

namespace rauha::conformance {
namespace {

constexpr unsigned kEvery = 0xf;
constexpr unsigned bit(Kind kind) { return 1u << static_cast<unsigned>(kind); }
constexpr unsigned kWithRecords = kEvery;

const Case kCases[] = {
    {"load.exports", "the file exports its entry and no other symbol", "plugin.h, first comment; cmake/plugin.map", kEvery, false,
     exportsOnlyTheEntry},
    {"load.dynamic", "the file has no search path of its own, no text relocations and no executable stack", "ABI.md, what is checked",
     kEvery, false, dynamicEntries},
    {"load.note", "note and descriptor say the same: ABI, kind, name, version", "plugin.h, rauha_note", kEvery, false, noteAgrees},
    {"load.open", "constructors of the library do nothing: no threads, descriptors, signals, environment, locale, directory",
     "README.md, how the daemon takes a plugin", kEvery, false, openingHasNoEffects},
    {"load.entry", "the entry returns the same static data each time, and has no effects", "plugin.h, rauha_plugin_entry_v1", kEvery, false,
     entryHasNoEffects},
    {"load.descriptor", "the descriptor is complete: size, texts, what it provides, functions", "plugin.h, rauha_plugin", kEvery, false,
     descriptorIsComplete},
    {"load.interfaces", "get_interface gives the same complete table for what is provided, and NULL for everything else",
     "plugin.h, get_interface", kEvery, false, interfacesById},
    {"versions.older_host", "a plugin takes no more of the host's table than struct_size says; one that needs more refuses in create",
     "plugin.h, size rule 3", kEvery, false, olderHost},
    {"versions.newer_host", "a larger host table and a higher minor change nothing", "plugin.h, size rule 3", kEvery, false, newerHost},
    {"versions.services", "a plugin works without the services that it does not list in requires_services", "plugin.h, requires_services",
     kEvery, false, withoutServices},
    {"config.unknown_key", "an unknown key is refused by its name", "plugin.h, create", kEvery, false, unknownKey},
    {"config.malformed", "a configuration that is no TOML is refused", "plugin.h, create", kEvery, false, malformedConfig},
    {"specs.tail_zero", "a larger struct with a zero tail is the same as without it", "plugin.h, size rule 4", kEvery, false, zeroTail},
    {"specs.tail_nonzero", "a larger struct with a non-zero tail is refused with UNSUPPORTED", "plugin.h, size rule 4", kEvery, false,
     nonzeroTail},
    {"specs.flags", "unknown flag bits are refused with UNSUPPORTED", "plugin.h, size rule 5", kEvery, false, unknownFlags},
    {"specs.record_critical", "an unknown record marked critical is refused with UNSUPPORTED", "plugin.h, size rule 5", kWithRecords, false,
     criticalRecord},
    {"specs.record_other", "an unknown record that is not critical changes nothing", "plugin.h, size rule 5", kWithRecords, false,
     otherRecord},
    {"specs.stride", "arrays are read by their stride; an element's tail follows size rule 4", "plugin.h, size rules 4 and 6", kWithRecords,
     false, recordStride},
    {"specs.small", "a struct that ends before its second field is refused", "plugin.h, size rule 1", kEvery, false, smallStructs},
    {"specs.ids", "a zone id that is not 1 to 40 bytes of [a-z0-9_] is refused", "backend.h, zone_id",
     bit(Kind::backend) | bit(Kind::enforcer) | bit(Kind::net), false, badIds},
    {"specs.texts", "no text harms the plugin: empty, absent, not UTF-8, with NUL bytes, 1 MiB", "plugin.h, rauha_str", kEvery, false,
     hostileTexts},
    {"errors.text", "each failure says why: one line of at most 512 bytes of UTF-8, and so is the hint",
     "plugin.h, errors; README.md, limits", kEvery, false, errorTexts},
    {"errors.status", "a status is one of RAUHA_E_* or 1000 and above, and the one that was given to set_error", "plugin.h, rauha_status",
     kEvery, false, errorStatuses},
    {"errors.untouched", "a failing call leaves its out-parameters as they were", "plugin.h, errors", kEvery, false, outputsUntouched},
    {"errors.exceptions", "no exception leaves the plugin", "plugin.h, errors", kEvery, false, noExceptions},
    {"life", "the interface's own story: what each call answers in each state", "the interface's header", kEvery, false, life},
    {"answers", "what is pushed and returned is as its header says: sizes, flags, paths, digests, descriptors", "the interface's header",
     kEvery, false, answersKeepTheContract},
    {"idempotence.unknown", "removing what never was is RAUHA_OK", "the interface's header", kEvery, false, removingTheUnknown},
    {"idempotence.twice", "removing twice is RAUHA_OK twice", "the interface's header", kEvery, false, removingTwice},
    {"idempotence.reconcile", "a second reconcile finds nothing more to do", "the interface's header, reconcile", kEvery, false,
     reconcileTwice},
    {"cancel.before", "a call that is cancelled before it begins returns soon, with OK or CANCELLED", "plugin.h, cancelled", kEvery, false,
     cancelledBefore},
    {"cancel.middle", "a call that is cancelled in the middle returns soon, with OK or CANCELLED, and can be made again",
     "plugin.h, cancelled", kEvery, true, cancelledInTheMiddle},
    {"cancel.deadline", "a call whose deadline has passed returns soon, with OK, DEADLINE or CANCELLED", "plugin.h, deadline_ns", kEvery,
     false, deadlinePassed},
    {"crash.reconcile", "after a kill in the middle, reconcile removes everything that no zone needs", "the interface's header, reconcile",
     kEvery, true, crashAndReconcile},
    {"resources.rounds", "many rounds of making and removing leave descriptors, threads, memory and files as they were",
     "plugin.h, errors; README.md", kEvery, false, roundsLeaveNothing},
    {"resources.instances", "many rounds of create and destroy leave descriptors, threads, memory and files as they were",
     "plugin.h, destroy", kEvery, false, instancesLeaveNothing},
    {"threads.parallel", "calls about different zones may run at once", "plugin.h, threads", kEvery, false, manyThreads},
    {"random.inputs", "random inputs within the size rules neither harm the plugin nor leave anything", "plugin.h, size rules", kEvery,
     true, randomInputs},
};

}  // namespace

std::vector<Case> casesOf(Kind kind) {
  std::vector<Case> out;
  for (const Case& c : kCases)
    if ((c.kinds & bit(kind)) != 0) out.push_back(c);
  return out;
}

void needMaking(Context& context) {
  if (const std::string why = driverOf(context.kind)->cannotMake(context); !why.empty()) context.skip(why);
}

Outcome callOnce(Session& session, const Operation& operation, const std::string& name) {
  testing::FakeCall call(session.host);
  Input input = session.driver->input(session, operation, name);
  session.context.step(std::string(operation.name) + " of " + name);
  return operation.call(session, call, input);
}

Outcome makeOnce(Session& session, const std::string& name) {
  testing::FakeCall call(session.host);
  session.context.step("making " + name);
  return session.driver->make(session, call, name);
}

Outcome unmakeOnce(Session& session, const std::string& name) {
  testing::FakeCall call(session.host);
  session.context.step("removing " + name);
  return session.driver->unmake(session, call, name);
}

void setText(Input& input, const Operation& operation, size_t offset, rauha_str text) {
  if (operation.takes == Operation::Takes::text)
    input.text = text;
  else
    std::memcpy(input.bytes.data() + offset, &text, sizeof text);
}

std::set<std::string> residue(const Context& context, const std::string& directory) {
  std::set<std::string> out;
  for (std::string object : objectsOf(context.instance, {directory + "/state", directory + "/run"})) {
    for (size_t at = object.find(directory); at != std::string::npos; at = object.find(directory)) object.erase(at, directory.size());
    out.insert(object);
  }
  return out;
}

}  // namespace rauha::conformance
