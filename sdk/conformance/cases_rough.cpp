// What a plugin goes through in a bad hour: cancelled, killed, called a hundred times, by many at once, and with nonsense.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "cases.h"
#include "process_state.h"

namespace rauha::conformance {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr size_t kMappingSlack = 32;  // an arena, a thread's stack that libc keeps
constexpr unsigned kThreads = 8;

bool isOneOf(rauha_status status, std::initializer_list<rauha_status> list) {
  return std::find(list.begin(), list.end(), status) != list.end();
}

struct Timed {
  Outcome outcome;
  milliseconds took{0};
};
Timed timed(const std::function<Outcome()>& f) {
  const auto begin = Clock::now();
  Timed out;
  out.outcome = f();
  out.took = duration_cast<milliseconds>(Clock::now() - begin);
  return out;
}

void judgeCancelled(Context& context, const std::string& what, const Timed& t, std::initializer_list<rauha_status> allowed) {
  if (t.took > context.options.cancelLimit)
    context.note(what + " returned after " + std::to_string(t.took.count()) + " ms, the limit is " +
                 std::to_string(context.options.cancelLimit.count()));
  if (!t.outcome.threw && !isOneOf(t.outcome.status, allowed))
    context.note(what + ": " + statusText(t.outcome.status) + " " + inQuotes(t.outcome.text));
}

// All operations and making, each with a call that `arm` has prepared; the statuses allowed besides the one that it has anyway.
void eachArmed(Context& context, const std::string& what, const std::function<void(testing::FakeCall&)>& arm,
               std::initializer_list<rauha_status> allowed) {
  Session session(context);
  for (const Operation& operation : session.driver->operations()) {
    const rauha_status anyway = callOnce(session, operation, "zone_a").status;
    unmakeOnce(session, "zone_a");
    session.driver->empty(session);
    testing::FakeCall call(session.host);
    arm(call);
    Input input = session.driver->input(session, operation, "zone_a");
    context.step(std::string(operation.name) + " " + what);
    const Timed t = timed([&] { return operation.call(session, call, input); });
    if (t.outcome.status != anyway || t.took > context.options.cancelLimit)
      judgeCancelled(context, std::string(operation.name) + " " + what, t, allowed);
    unmakeOnce(session, "zone_a");
    session.driver->empty(session);
  }
}

std::string list(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& l : lines) out += (out.empty() ? "" : "\n") + l;
  return out;
}

}  // namespace

void cancelledBefore(Context& context) {
  eachArmed(context, "when it was cancelled before", [](testing::FakeCall& call) { call.cancel(); }, {RAUHA_OK, RAUHA_E_CANCELLED});
}

void deadlinePassed(Context& context) {
  eachArmed(context, "when its deadline has passed", [](testing::FakeCall& call) { call.setDeadlineNs(1); },
            {RAUHA_OK, RAUHA_E_CANCELLED, RAUHA_E_DEADLINE});
}

void cancelledInTheMiddle(Context& context) {
  needMaking(context);
  Session session(context);
  testing::FakeCall first(session.host);
  context.step("making, to see how often it looks");
  const Timed whole = timed([&] { return session.driver->make(session, first, "zone_a"); });
  expectStatus(context, whole.outcome, "making", {RAUHA_OK});
  const uint64_t uses = first.uses();
  unmakeOnce(session, "zone_a");
  session.driver->empty(session);
  constexpr unsigned kMoments = 10;
  for (unsigned i = 0; i < kMoments; ++i) {
    testing::FakeCall call(session.host);
    const uint64_t moment = uses == 0 ? 0 : 1 + context.random() % uses;
    const auto delay = microseconds(context.random() % (static_cast<uint64_t>(whole.took.count()) * 1000 + 1));
    const bool byUse = uses > 0 && i % 2 == 0;
    const std::string what = byUse ? "making, cancelled when it used its call for the " + std::to_string(moment) + ". time"
                                   : "making, cancelled after " + std::to_string(delay.count()) + " us";
    context.step(what);
    if (byUse) call.cancelAfter(moment);
    std::thread canceller;
    if (!byUse)
      canceller = std::thread([&] {
        std::this_thread::sleep_for(delay);
        call.cancel();
      });
    const Timed t = timed([&] { return session.driver->make(session, call, "zone_a"); });
    if (canceller.joinable()) canceller.join();
    judgeCancelled(context, what, t, {RAUHA_OK, RAUHA_E_CANCELLED});
    if (!t.outcome.ok() && context.kind != Kind::enforcer) {  // the enforcer's making is two calls
      context.step("making again after " + what);
      const Outcome again = makeOnce(session, "zone_a");
      if (!again.ok()) context.note(what + ": the next attempt gives " + statusText(again.status) + " " + inQuotes(again.text));
    }
    unmakeOnce(session, "zone_a");
    session.driver->empty(session);
  }
}

namespace {

// A directory of the case's own for one run of a fake host.
std::string freshDirectory(const Context& context, const std::string& name) {
  const std::string path = context.directory + "/" + name;
  std::filesystem::create_directory(path);
  return path;
}

// In a process of its own: make `name`, killed at the `moment`th call of a host function (0: after it was made) or after `delay`.
void makeAndDie(Context& context, const std::string& directory, const std::string& name, uint64_t moment, microseconds delay) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    try {
      std::atomic<uint64_t> left{0};
      Session::Settings settings;
      settings.directory = directory;
      settings.onCall = [&left](const char*) {
        if (left != 0 && --left == 0) ::raise(SIGKILL);
      };
      Session session(context, settings);
      testing::FakeCall call(session.host);
      left = moment;
      session.driver->make(session, call, name);
      ::raise(SIGKILL);
    } catch (...) {
      ::_exit(1);  // the reconcile that follows tells what is wrong
    }
  }
  if (delay.count() > 0) {
    std::this_thread::sleep_for(delay);
    ::kill(pid, SIGKILL);
  }
  ::waitpid(pid, nullptr, 0);
}

// What is left when everything went well: the least that the plugin keeps for itself.
std::set<std::string> undisturbed(Context& context, milliseconds& took, uint64_t& calls) {
  const std::string directory = freshDirectory(context, "undisturbed");
  Session::Settings settings;
  settings.directory = directory;
  uint64_t count = 0;
  settings.onCall = [&count](const char*) { ++count; };
  {
    Session session(context, settings);
    testing::FakeCall call(session.host);
    count = 0;
    const auto begin = Clock::now();
    expectStatus(context, session.driver->make(session, call, "zone_a"), "making", {RAUHA_OK});
    took = duration_cast<milliseconds>(Clock::now() - begin);
    calls = count;
    unmakeOnce(session, "zone_a");
    session.driver->empty(session);
  }
  return residue(context, directory);
}

}  // namespace

void crashAndReconcile(Context& context) {
  needMaking(context);
  milliseconds took{0};
  uint64_t calls = 0;
  const std::set<std::string> allowed = undisturbed(context, took, calls);
  for (unsigned i = 0; i < context.options.kills; ++i) {
    const bool byCall = calls > 0 && i % 3 != 2;
    const uint64_t moment = byCall ? 1 + context.random() % calls : 0;
    const auto delay =
        byCall || i == 2 ? microseconds(0) : microseconds(1 + context.random() % (static_cast<uint64_t>(took.count()) * 1500 + 1000));
    const std::string what = byCall               ? "a kill at host call " + std::to_string(moment) + " of " + std::to_string(calls)
                             : delay.count() == 0 ? "a kill when all was made"
                                                  : "a kill after " + std::to_string(delay.count()) + " us";
    const std::string directory = freshDirectory(context, "kill" + std::to_string(i));
    context.step(what);
    makeAndDie(context, directory, "zone_a", moment, delay);
    {
      Session::Settings settings;
      settings.directory = directory;
      context.step("create() and reconcile after " + what);
      Session session(context, settings);
      testing::FakeCall call(session.host);
      expectStatus(context, session.driver->reconcile(session, call, {}, nullptr), "reconcile after " + what, {RAUHA_OK});
      session.driver->empty(session);
      const Outcome again = makeOnce(session, "zone_a");
      if (!again.ok())
        context.note("after " + what + " and reconcile, making again gives " + statusText(again.status) + " " + inQuotes(again.text));
      unmakeOnce(session, "zone_a");
      session.driver->empty(session);
    }
    for (const std::string& object : residue(context, directory))
      if (allowed.count(object) == 0) context.note("after " + what + " and reconcile there is still " + object);
    context.finish();
  }
}

namespace {

void compareResources(Context& context, const std::string& what, const ProcessState& before, const std::set<std::string>& objectsBefore) {
  const ProcessState after = processState();
  const auto changed = differences(before, after);
  if (!changed.empty()) context.note(what + ":\n" + list(changed));
  if (after.mappings > before.mappings + kMappingSlack)
    context.note(what + ": mappings grew from " + std::to_string(before.mappings) + " to " + std::to_string(after.mappings));
  for (const std::string& object : residue(context, context.directory))
    if (objectsBefore.count(object) == 0) context.note(what + ": there is now " + object);
}

}  // namespace

void roundsLeaveNothing(Context& context) {
  needMaking(context);
  Session session(context);
  const auto round = [&] {
    const Outcome made = makeOnce(session, "zone_a");
    if (!made.ok()) context.fail("making in a later round gives " + statusText(made.status) + " " + inQuotes(made.text));
    testing::FakeCall call(session.host);
    session.driver->verify(session, call, "zone_a");
    unmakeOnce(session, "zone_a");
    for (const Operation& operation : session.driver->operations())
      if (operation.takes == Operation::Takes::nothing) callOnce(session, operation, "");
  };
  for (int i = 0; i < 3; ++i) round();
  const ProcessState before = processState();
  const std::set<std::string> objects = residue(context, context.directory);
  for (unsigned i = 0; i < context.options.rounds; ++i) round();
  compareResources(context, "after " + std::to_string(context.options.rounds) + " rounds", before, objects);
}

void instancesLeaveNothing(Context& context) {
  const auto round = [&] { Session session(context); };
  for (int i = 0; i < 3; ++i) round();
  const ProcessState before = processState();
  const std::set<std::string> objects = residue(context, context.directory);
  for (unsigned i = 0; i < context.options.rounds; ++i) round();
  compareResources(context, "after " + std::to_string(context.options.rounds) + " instances", before, objects);
}

void manyThreads(Context& context) {
  needMaking(context);
  Session session(context);
  std::mutex mutex;
  std::vector<std::string> wrong;
  context.step("8 threads, each making and removing its own");
  const auto work = [&](unsigned number) {
    const std::string name = "zone_t" + std::to_string(number);
    for (int round = 0; round < 3; ++round) {
      for (const char* what : {"making", "checking", "removing"}) {
        testing::FakeCall call(session.host);
        const Outcome outcome = what[0] == 'm'   ? session.driver->make(session, call, name)
                                : what[0] == 'c' ? session.driver->verify(session, call, name)
                                                 : session.driver->unmake(session, call, name);
        if (outcome.ok()) continue;
        const std::lock_guard held(mutex);
        wrong.push_back(std::string(what) + " " + name + ": " + statusText(outcome.status) + " " + inQuotes(outcome.text));
      }
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (std::thread& t : threads) t.join();
  for (const std::string& w : wrong) context.note(w);
  session.driver->empty(session);
}

namespace {

// An input somewhere within the size rules.
class Dice final {
 public:
  explicit Dice(std::mt19937_64& random) : random_(random) {}
  uint64_t below(uint64_t n) { return random_() % n; }
  std::string text() {
    static constexpr char kLetters[] = "abcxyz019_-./: %\n\0\x7f\xc3\xa4\xff";
    std::string out(below(below(8) == 0 ? 3000 : 24), ' ');
    for (char& c : out) c = kLetters[below(sizeof kLetters - 1)];
    return out;
  }
  uint64_t number() { return below(3) == 0 ? random_() : below(2) == 0 ? below(70'000) : below(4); }

 private:
  std::mt19937_64& random_;
};

void scramble(Dice& dice, Input& input, const StructShape& shape) {
  for (const StructShape::Text& field : shape.texts)
    if (dice.below(3) == 0) {
      const rauha_str text = input.own(dice.text());
      std::memcpy(input.bytes.data() + field.offset, &text, sizeof text);
    }
  if (dice.below(4) == 0) {
    const auto flags = static_cast<uint32_t>(dice.below(2) == 0 ? dice.below(4) : dice.number());
    std::memcpy(input.bytes.data() + sizeof(uint32_t), &flags, sizeof flags);
  }
  if (shape.records != 0 && dice.below(2) == 0) {
    const auto records = std::make_shared<std::vector<rauha_record>>(dice.below(6));
    for (rauha_record& r : *records)
      r = {sizeof r,
           static_cast<uint32_t>(dice.below(8) == 0 ? dice.number() : dice.below(2)),
           static_cast<uint32_t>(dice.below(18)),
           static_cast<uint32_t>(dice.below(10) == 0 ? 1 : 0),
           dice.number(),
           dice.below(2) == 0 ? input.own(dice.text()) : rauha_str{nullptr, 0}};
    const rauha_array array{records->data(), static_cast<uint32_t>(records->size()), sizeof(rauha_record)};
    std::memcpy(input.bytes.data() + shape.records, &array, sizeof array);
    input.keep.push_back(records);
  }
  if (dice.below(6) == 0) {  // an older or a newer caller
    const size_t size = dice.below(2) == 0 ? 8 + dice.below(shape.size / 8) * 8 : shape.size + 8 * dice.below(4);
    input.bytes.resize(std::max(size, shape.size), static_cast<unsigned char>(dice.below(2)));
    const auto size32 = static_cast<uint32_t>(size);
    std::memcpy(input.bytes.data(), &size32, sizeof size32);
  }
}

}  // namespace

void randomInputs(Context& context) {
  Session session(context);
  Dice dice(context.random);
  const auto& operations = session.driver->operations();
  for (unsigned i = 0; i < context.options.randomInputs; ++i) {
    const Operation& operation = operations[dice.below(operations.size())];
    const std::string name = "zone_r" + std::to_string(dice.below(3));
    testing::FakeCall call(session.host);
    if (dice.below(10) == 0) call.cancelAfter(1 + dice.below(5));
    Input input = session.driver->input(session, operation, name);
    std::vector<rauha_str> names;
    if (operation.takes == Operation::Takes::record) scramble(dice, input, *operation.shape);
    if (operation.takes == Operation::Takes::text && dice.below(2) == 0) input.text = input.own(dice.text());
    if (operation.takes == Operation::Takes::list) {
      for (uint64_t n = dice.below(4); n > 0; --n) names.push_back(input.own(dice.below(2) == 0 ? dice.text() : name));
      input.list = {names.data(), static_cast<uint32_t>(names.size()), sizeof(rauha_str)};
    }
    context.step("input " + std::to_string(i) + " (" + operation.name + ") of the seed " + std::to_string(context.options.seed));
    operation.call(session, call, input);
  }
  testing::FakeCall call(session.host);
  context.step("reconcile after the random inputs");
  session.driver->reconcile(session, call, {}, nullptr);
  session.driver->empty(session);
  std::vector<std::string> left;
  testing::FakeCall again(session.host);
  context.step("reconcile once more after the random inputs");
  session.driver->reconcile(session, again, {}, &left);
  for (const std::string& finding : left) context.note("after the random inputs and a reconcile, another one reports " + inQuotes(finding));
  session.end();
  for (const std::string& object : residue(context, context.directory))
    if (object.rfind("file /state/", 0) != 0 && object.rfind("file /run/", 0) != 0)
      context.note("after the random inputs there is still " + object);
}

}  // namespace rauha::conformance
