#pragma once
// The bodies of the cases, by group; cases.cpp has the list with the rules. And what several groups need.

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "driver.h"

namespace rauha::conformance {

// load
void exportsOnlyTheEntry(Context&);
void dynamicEntries(Context&);
void noteAgrees(Context&);
void openingHasNoEffects(Context&);
void entryHasNoEffects(Context&);
void descriptorIsComplete(Context&);
void interfacesById(Context&);
// versions
void olderHost(Context&);
void newerHost(Context&);
void withoutServices(Context&);
// config
void unknownKey(Context&);
void malformedConfig(Context&);
// specs
void zeroTail(Context&);
void nonzeroTail(Context&);
void unknownFlags(Context&);
void criticalRecord(Context&);
void otherRecord(Context&);
void recordStride(Context&);
void smallStructs(Context&);
void badIds(Context&);
void hostileTexts(Context&);
// errors
void errorTexts(Context&);
void errorStatuses(Context&);
void outputsUntouched(Context&);
void noExceptions(Context&);
// life
void life(Context&);
void answersKeepTheContract(Context&);
void removingTheUnknown(Context&);
void removingTwice(Context&);
void reconcileTwice(Context&);
// cancel
void cancelledBefore(Context&);
void cancelledInTheMiddle(Context&);
void deadlinePassed(Context&);
// crash, resources, threads, random
void crashAndReconcile(Context&);
void roundsLeaveNothing(Context&);
void instancesLeaveNothing(Context&);
void manyThreads(Context&);
void randomInputs(Context&);

// An input that asks for something that cannot be.
struct BadInput {
  std::string what;
  const Operation* operation;
  Input input;
};
// Moderate ones, for every operation: unknown flags and tails, records, ids and texts that are nobody's.
std::vector<BadInput> badInputs(Session& session);

// Skips the case when nothing can be made here.
void needMaking(Context& context);
// One operation with a correct input about `name`, by a call of its own.
Outcome callOnce(Session& session, const Operation& operation, const std::string& name);
Outcome makeOnce(Session& session, const std::string& name);
Outcome unmakeOnce(Session& session, const std::string& name);
// The same input, with another text in place of what identifies it: the operation's text, or the field at `offset`.
void setText(Input& input, const Operation& operation, size_t offset, rauha_str text);

// What is there of the case's instance, below `directory` and on the machine; paths relative to it.
std::set<std::string> residue(const Context& context, const std::string& directory);

}  // namespace rauha::conformance
