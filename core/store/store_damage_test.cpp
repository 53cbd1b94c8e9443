// What the store says and does when its file is damaged, foreign, newer, locked, or its disk is full.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/store/database.h"
#include "core/store/migrations.h"
#include "core/store/store.h"
#include "core/store/testing/temporary_directory.h"

namespace rauha::store {
namespace {

using testing::TemporaryDirectory;

std::string file(const TemporaryDirectory& directory) { return directory.path() + "/rauha.db"; }

Error refusal(const std::string& directory) {
  try {
    Store store(directory);
  } catch (const Error& e) {
    EXPECT_EQ(e.errorClass(), "store");
    EXPECT_FALSE(e.hint().empty());
    return e;
  }
  ADD_FAILURE() << "opened";
  return Error("store", Code::none, "");
}

ZoneRow zoneRow(const std::string& id) {
  ZoneRow row;
  row.id = row.name = id;
  row.state = "ready";
  return row;
}

void overwrite(const std::string& path, size_t from, size_t size) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string garbage(size, '\xa5');
  ASSERT_EQ(pwrite(fd.get(), garbage.data(), size, static_cast<off_t>(from)), static_cast<ssize_t>(size));
}

TEST(StoreDamage, AFileThatIsNoDatabase) {
  const TemporaryDirectory directory;
  std::ofstream(file(directory)) << std::string(8192, 'x');
  const Error e = refusal(directory.path());
  EXPECT_EQ(e.code(), Code::corrupt);
  EXPECT_EQ(e.object(), file(directory));
  EXPECT_EQ(readFile(file(directory)), std::string(8192, 'x'));
}

TEST(StoreDamage, DamagedPagesAreRefusedOrSurvivedNeverACrash) {
  for (size_t page = 0; page < 8; ++page) {
    const TemporaryDirectory directory;
    {
      Store store(directory.path());
      for (int i = 0; i < 200; ++i) store.insertZone(zoneRow("zone_" + std::to_string(i)));
    }
    overwrite(file(directory), page * 4096 + (page == 0 ? 100 : 0), 3000);
    try {
      Store store(directory.path());
      // The damage is in a page that the zones do not need.
      EXPECT_EQ(store.zones().size(), 200u) << "page " << page;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::corrupt) << e.text();
    }
  }
}

TEST(StoreDamage, ADamagedLeafOfZonesIsFoundAtTheStart) {
  const TemporaryDirectory directory;
  {
    Store store(directory.path());
    for (int i = 0; i < 500; ++i) store.insertZone(zoneRow("zone_" + std::to_string(i)));
  }
  // Not the first pages (schema, roots): one in the middle of the rows.
  overwrite(file(directory), 20 * 4096, 4096);
  EXPECT_EQ(refusal(directory.path()).code(), Code::corrupt);
}

TEST(StoreDamage, ATruncatedFile) {
  const TemporaryDirectory directory;
  {
    Store store(directory.path());
    for (int i = 0; i < 500; ++i) store.insertZone(zoneRow("zone_" + std::to_string(i)));
  }
  ASSERT_EQ(truncate(file(directory).c_str(), 9000), 0);
  EXPECT_EQ(refusal(directory.path()).code(), Code::corrupt);
}

TEST(StoreDamage, SomebodyElsesDatabaseIsLeftAlone) {
  const TemporaryDirectory directory;
  {
    Database other(file(directory));
    other.execute("CREATE TABLE bookmarks (url TEXT)", "test");
  }
  const Error e = refusal(directory.path());
  EXPECT_EQ(e.code(), Code::corrupt);
  EXPECT_NE(e.text().find("database of something else"), std::string::npos);
  Database other(file(directory));
  EXPECT_EQ(other.readInteger("SELECT count(*) FROM sqlite_schema", "test"), 1);
}

TEST(StoreDamage, ANewerSchemaIsRefusedByNumber) {
  const TemporaryDirectory directory;
  { Store store(directory.path()); }
  {
    Database database(file(directory));
    database.execute("PRAGMA user_version = 99", "test");
  }
  const Error e = refusal(directory.path());
  EXPECT_EQ(e.code(), Code::unsupported);
  EXPECT_EQ(e.text(), file(directory) + " has schema version 99, this rauhad knows up to " + std::to_string(migrations().size()));
}

TEST(StoreDamage, MissingDirectory) {
  try {
    Store store("/nonexistent/rauha");
    FAIL() << "opened";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::notFound);
    EXPECT_EQ(e.errorClass(), "store");
  }
}

TEST(StoreDamage, ALinkInPlaceOfTheLockIsRefused) {
  const TemporaryDirectory directory;
  const std::string target = directory.path() + "/victim";
  std::ofstream(target) << "keep";
  ASSERT_EQ(symlink(target.c_str(), (directory.path() + "/rauha.lock").c_str()), 0);
  EXPECT_THROW(Store store(directory.path()), Error);
  EXPECT_EQ(readFile(target), "keep");
}

TEST(Migrations, RunOnceEachInOrderAndKeepTheData) {
  const TemporaryDirectory directory;
  const char* const first[] = {"CREATE TABLE t (a INTEGER) STRICT; INSERT INTO t VALUES (1);"};
  const char* const both[] = {first[0], "ALTER TABLE t ADD COLUMN b INTEGER NOT NULL DEFAULT 7;"};
  Database database(file(directory));
  migrate(database, first);
  migrate(database, first);
  EXPECT_EQ(database.readInteger("SELECT count(*) FROM t", "test"), 1);
  migrate(database, both);
  EXPECT_EQ(database.readInteger("SELECT a + b FROM t", "test"), 8);
  EXPECT_EQ(database.readInteger("PRAGMA user_version", "test"), 2);
}

TEST(Migrations, AFailingStepChangesNothing) {
  const TemporaryDirectory directory;
  const char* const steps[] = {"CREATE TABLE t (a INTEGER) STRICT;", "CREATE TABLE u (a INTEGER); CREATE TABLE t (a INTEGER);"};
  Database database(file(directory));
  EXPECT_THROW(migrate(database, steps), Error);
  EXPECT_EQ(database.readInteger("PRAGMA user_version", "test"), 1);
  EXPECT_EQ(database.readInteger("SELECT count(*) FROM sqlite_schema", "test"), 1);
}

TEST(Transactions, AreUndoneByAnException) {
  const TemporaryDirectory directory;
  Database database(file(directory));
  database.execute("CREATE TABLE t (a INTEGER)", "test");
  try {
    Transaction transaction(database, "test");
    database.execute("INSERT INTO t VALUES (1)", "test");
    throw 1;
  } catch (int) {
  }
  EXPECT_FALSE(database.inTransaction());
  EXPECT_EQ(database.readInteger("SELECT count(*) FROM t", "test"), 0);
}

// Runs `body` in a child; what it throws or crashes with fails the test.
void inChild(const std::function<int()>& body) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int code = 99;
    try {
      code = body();
    } catch (const std::exception& e) {
      fprintf(stderr, "child: %s\n", e.what());
    }
    _exit(code);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// Fills the disk, then frees it: the store must refuse, lose nothing, and go on.
int fullDisk(const std::string& directory) {
  Store store(directory);
  int stored = 0;
  bool refused = false;
  for (int i = 0; i < 10000 && !refused; ++i) {
    TaskRow row;
    row.id = "task_" + std::to_string(i);
    row.state = "running";
    row.requestSummary = std::string(10000, 'x');
    try {
      store.insertTask(row);
      ++stored;
    } catch (const Error& e) {
      refused = e.code() == Code::limit && e.errorClass() == "store" && e.text().find("no space left on device") != std::string::npos;
      if (!refused) fprintf(stderr, "unexpected: %s\n", e.what());
      if (!refused) return 3;
    }
  }
  if (!refused) return 4;
  if (store.openTasks().size() != static_cast<size_t>(stored)) return 5;
  if (unlink((directory + "/ballast").c_str()) != 0) return 6;
  store.insertZone(zoneRow("zone_1"));
  return store.zone("zone_1") ? 0 : 7;
}

TEST(StoreDamage, AFullDiskIsAnErrorAndNotTheEnd) {
  if (geteuid() != 0) GTEST_SKIP() << "mounts a small tmpfs: needs root";
  const TemporaryDirectory directory;
  inChild([&] {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 20;
    if (mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=2m") != 0) return 21;
    {
      const UniqueFd ballast(open((directory.path() + "/ballast").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      if (posix_fallocate(ballast.get(), 0, 1 << 20) != 0) return 22;
    }
    return fullDisk(directory.path());
  });
}

TEST(StoreDamage, AKilledDaemonLeavesACommittedRecordAndNoLock) {
  const TemporaryDirectory directory;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Store store(directory.path());
    store.insertZone(zoneRow("zone_1"));
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(1);
  }
  close(ready[1]);
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  EXPECT_NE(refusal(directory.path()).text().find(std::to_string(child)), std::string::npos);
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  Store store(directory.path());
  EXPECT_TRUE(store.zone("zone_1"));
}

}  // namespace
}  // namespace rauha::store
