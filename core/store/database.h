#pragma once
// SQLite as the store uses it: one connection, statements that are prepared once, transactions that undo themselves, errors as
// rauha::Error.
//
// The only door to sqlite3.h. Resources with one owner; one thread at a time: who shares the connection holds lock() from the first use of
// a statement to its last. Every failure carries what was being done and the file's path, and is
// told apart: full disk (limit), damaged file (corrupt), a lock (busy), everything else (io).

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace rauha::store {

class Database final {
 public:
  // Opens or makes the file; reads nothing yet.
  explicit Database(std::string path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // One or several statements without results. what: for the message, "migrate to version 2".
  void execute(const char* sql, std::string_view what);
  // The first column of the first row; 0 and "" without a row.
  int64_t readInteger(const char* sql, std::string_view what);
  std::string readText(const char* sql, std::string_view what);
  std::unique_lock<std::recursive_mutex> lock() { return std::unique_lock(mutex_); }
  // Rows that the last statement changed.
  size_t changes() const noexcept;
  // Did a failure already roll the transaction back?
  bool inTransaction() const noexcept;
  [[noreturn]] void fail(int code, std::string_view what) const;
  const std::string& path() const noexcept { return path_; }
  sqlite3* handle() const noexcept { return handle_; }

 private:
  std::string path_;
  sqlite3* handle_ = nullptr;
  std::recursive_mutex mutex_;
};

class Statement final {
 public:
  // sql: one statement; kept. what: for messages.
  Statement(Database& database, const char* sql, std::string_view what);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Parameters count from 1 in the order of the calls. Bytes are borrowed until the next reset.
  Statement& text(std::string_view value);
  Statement& blob(std::string_view value);
  Statement& integer(int64_t value);

  // The next row; false after the last one, which also resets.
  bool row();
  // Runs to the end. false: a UNIQUE or PRIMARY KEY constraint refused it, nothing was changed.
  bool run();
  // Columns of the current row, from 0.
  std::string readText(int column) const;
  int64_t readInteger(int column) const noexcept;
  void reset() noexcept;

 private:
  void check(int code);
  void finish(int code);
  Database& database_;
  std::string what_;
  sqlite3_stmt* handle_ = nullptr;
  int bound_ = 0;
};

// Resets a statement when the scope ends, so that an exception between two rows leaves no open read.
class Use final {
 public:
  explicit Use(Statement& statement) noexcept : statement_(statement) {}
  ~Use() { statement_.reset(); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  Statement* operator->() noexcept { return &statement_; }

 private:
  Statement& statement_;
};

// BEGIN IMMEDIATE; rolled back unless committed.
class Transaction final {
 public:
  explicit Transaction(Database& database, std::string_view what);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  std::string what_;
  bool open_ = true;
};

}  // namespace rauha::store
