#include "core/store/database.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/error.h"

namespace rauha::store {
namespace {

// Only somebody who looks into the file from outside makes us wait.
constexpr int kBusyTimeoutMs = 1000;

bool isDiskFull(sqlite3* handle, int code) noexcept {
  if ((code & 0xff) == SQLITE_FULL) return true;
  if ((code & 0xff) != SQLITE_IOERR) return false;
  const int error = sqlite3_system_errno(handle);
  return error == ENOSPC || error == EDQUOT;
}

}  // namespace

Database::Database(std::string path) : path_(std::move(path)) {
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path_.c_str(), &handle_, flags, nullptr);
  if (code != SQLITE_OK) {
    const int error = handle_ != nullptr ? sqlite3_system_errno(handle_) : 0;
    sqlite3_close_v2(std::exchange(handle_, nullptr));
    const std::string reason = error != 0 ? std::strerror(error) : sqlite3_errstr(code);
    throw Error("store", error != 0 ? codeFromErrno(error) : Code::io, "open " + path_ + ": " + reason,
                "the state directory must exist and be writable by rauhad", path_);
  }
  sqlite3_busy_timeout(handle_, kBusyTimeoutMs);
  // The file may have been tampered with: nothing in its schema is run as code, and no double-quoted text passes as a string.
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
}

Database::~Database() { sqlite3_close_v2(handle_); }

void Database::fail(int code, std::string_view what) const {
  const std::string text = std::string(what) + ": " + path_ + ": ";
  if (isDiskFull(handle_, code))
    throw Error("store", Code::limit, text + "no space left on device", "free space on the file system of " + path_, path_);
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      throw Error("store", Code::corrupt, text + "the file is damaged or no Rauha store (" + sqlite3_errstr(code) + ")",
                  "stop rauhad, move the file away and start again; what its zones left behind is then removed", path_);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw Error("store", Code::busy, text + "locked by another program", "close what has the file open, then try again", path_);
    case SQLITE_READONLY:
    case SQLITE_PERM:
      throw Error("store", Code::denied, text + "not writable", "check owner and mount options of " + path_, path_);
    case SQLITE_NOMEM:
      throw Error("store", Code::limit, text + "out of memory", "free memory on this machine", path_);
    default:
      break;
  }
  const int error = sqlite3_system_errno(handle_);
  const bool system = (code & 0xff) == SQLITE_IOERR && error != 0;
  throw Error("store", Code::io, text + (system ? std::strerror(error) : sqlite3_errmsg(handle_)), "see the kernel's log for disk errors",
              path_);
}

void Database::execute(const char* sql, std::string_view what) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, what);
}

int64_t Database::readInteger(const char* sql, std::string_view what) {
  Statement statement(*this, sql, what);
  return statement.row() ? statement.readInteger(0) : 0;
}

std::string Database::readText(const char* sql, std::string_view what) {
  Statement statement(*this, sql, what);
  return statement.row() ? statement.readText(0) : std::string();
}

size_t Database::changes() const noexcept { return static_cast<size_t>(sqlite3_changes64(handle_)); }
bool Database::inTransaction() const noexcept { return sqlite3_get_autocommit(handle_) == 0; }

Statement::Statement(Database& database, const char* sql, std::string_view what) : database_(database), what_(what) {
  check(sqlite3_prepare_v3(database.handle(), sql, -1, SQLITE_PREPARE_PERSISTENT, &handle_, nullptr));
}

Statement::~Statement() { sqlite3_finalize(handle_); }

void Statement::check(int code) {
  if (code != SQLITE_OK) database_.fail(code, what_);
}

Statement& Statement::text(std::string_view value) {
  // A null pointer would bind NULL, which no column takes.
  check(sqlite3_bind_text64(handle_, ++bound_, value.empty() ? "" : value.data(), value.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}

Statement& Statement::blob(std::string_view value) {
  check(sqlite3_bind_blob64(handle_, ++bound_, value.empty() ? "" : value.data(), value.size(), SQLITE_STATIC));
  return *this;
}

Statement& Statement::integer(int64_t value) {
  check(sqlite3_bind_int64(handle_, ++bound_, value));
  return *this;
}

bool Statement::row() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  finish(code);
  return false;
}

bool Statement::run() {
  int code = SQLITE_ROW;
  while (code == SQLITE_ROW) code = sqlite3_step(handle_);
  const bool taken = code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY;
  finish(taken ? SQLITE_DONE : code);
  return !taken;
}

void Statement::finish(int code) {
  const Use use(*this);  // resets at the end: the reason must be read before the reset forgets it
  if (code != SQLITE_DONE) database_.fail(code, what_);
}

std::string Statement::readText(int column) const {
  const void* bytes = sqlite3_column_blob(handle_, column);
  const int size = sqlite3_column_bytes(handle_, column);
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), static_cast<size_t>(size));
}

int64_t Statement::readInteger(int column) const noexcept { return sqlite3_column_int64(handle_, column); }

void Statement::reset() noexcept {
  sqlite3_reset(handle_);
  sqlite3_clear_bindings(handle_);
  bound_ = 0;
}

Transaction::Transaction(Database& database, std::string_view what) : database_(database), what_(what) {
  database_.execute("BEGIN IMMEDIATE", what_);
}

Transaction::~Transaction() {
  // SQLite itself rolls back after some failures (a full disk among them).
  if (open_ && database_.inTransaction()) sqlite3_exec(database_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_.execute("COMMIT", what_);
  open_ = false;
}

}  // namespace rauha::store
