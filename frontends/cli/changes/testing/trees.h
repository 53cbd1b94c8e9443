#pragma once
// For tests of diff and apply: two directories, "host" as a task saw it and "task" as it left it, and the change set between them. The
// comparison is written here a second time, the simple way, so that it can disagree with the code under test.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "frontends/cli/changes/apply_plan.h"
#include "frontends/cli/changes/apply_run.h"
#include "frontends/cli/changes/change.h"

namespace rauha::cli::testing {

class DirectorySource final : public ContentSource {
 public:
  explicit DirectorySource(std::string top) : top_(std::move(top)) {}
  UniqueFd open(const std::string& path) override;
  size_t opened = 0;

 private:
  std::string top_;
};

// Everything that apply promises to reproduce, by path; times of directories only where asked.
using Listing = std::map<std::string, std::string>;
Listing listing(const std::string& top, bool directoryTimes = false);

class Trees : public ::testing::Test {
 protected:
  Trees();
  ~Trees() override;

  // In `side` ("host" or "task").
  std::string at(const std::string& side, const std::string& path) const { return top_ + "/" + side + "/" + path; }
  void put(const std::string& side, const std::string& path, const std::string& content, unsigned mode = 0644) const;
  void directory(const std::string& side, const std::string& path, unsigned mode = 0755) const;
  void link(const std::string& side, const std::string& path, const std::string& target) const;
  std::string content(const std::string& side, const std::string& path) const;
  bool exists(const std::string& side, const std::string& path) const;
  // The task begins: its tree is what the host's is, times included.
  void begin() const;
  // What the task did, seen from outside.
  ChangeSet changes() const;
  std::vector<Item> apply(const ChangeSet& set, const ApplyOptions& options = {});
  std::vector<Item> apply(const ApplyOptions& options = {}) { return apply(set_ = changes(), options); }
  // After an apply: the host's tree is the task's.
  void expectSame() const;

  std::string top_;
  ChangeSet set_;
  ApplyReport report_;
};

const Item& itemOf(const std::vector<Item>& items, const std::string& path);
size_t countOf(const std::vector<Item>& items, Verdict verdict);

// Some operations of a task on a tree, reproducible.
void scribble(const std::string& top, std::mt19937& random, int operations);

}  // namespace rauha::cli::testing
