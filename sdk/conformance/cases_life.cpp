// The interface's own story, the shape of answers, and doing things twice.
#include "cases.h"

namespace rauha::conformance {

void life(Context& context) {
  if (const std::string why = driverOf(context.kind)->cannotMake(context); !why.empty()) {
    const bool expected = context.kind == Kind::image ? context.options.references.empty() : ::geteuid() != 0;
    if (expected) context.skip(why);
    context.fail(why);
  }
  Session session(context);
  session.driver->life(context, session);
}

void answersKeepTheContract(Context& context) {
  needMaking(context);
  Session session(context);
  const Outcome made = makeOnce(session, "zone_a");
  if (!made.contract.empty()) context.note(made.contract);
  for (const Operation& operation : session.driver->operations()) {
    const Outcome outcome = callOnce(session, operation, "zone_a");
    if (outcome.ok() && !outcome.contract.empty()) context.note(std::string(operation.name) + ": " + outcome.contract);
    if (operation.removes || std::string_view(operation.name) == "reconcile") makeOnce(session, "zone_a");
  }
  unmakeOnce(session, "zone_a");
  session.driver->empty(session);
}

void removingTheUnknown(Context& context) {
  Session session(context);
  for (const Operation& operation : session.driver->operations())
    if (operation.removes)
      expectStatus(context, callOnce(session, operation, "zone_never"), std::string(operation.name) + " of what never was", {RAUHA_OK});
}

void removingTwice(Context& context) {
  needMaking(context);
  Session session(context);
  expectStatus(context, makeOnce(session, "zone_a"), "making", {RAUHA_OK});
  expectStatus(context, unmakeOnce(session, "zone_a"), "removing", {RAUHA_OK});
  expectStatus(context, unmakeOnce(session, "zone_a"), "removing once more", {RAUHA_OK});
}

void reconcileTwice(Context& context) {
  needMaking(context);
  Session session(context);
  expectStatus(context, makeOnce(session, "zone_a"), "making", {RAUHA_OK});
  std::vector<std::string> first, second;
  testing::FakeCall call(session.host);
  context.step("reconcile");
  expectStatus(context, session.driver->reconcile(session, call, {}, &first), "reconcile", {RAUHA_OK});
  context.step("reconcile once more");
  expectStatus(context, session.driver->reconcile(session, call, {}, &second), "reconcile once more", {RAUHA_OK});
  for (const std::string& finding : second) context.note("the second reconcile reports " + inQuotes(finding));
}

}  // namespace rauha::conformance
