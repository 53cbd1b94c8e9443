// What a kill or a full disk leaves behind: nothing that looks whole and is not, and nothing that reconcile does not remove.

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <thread>

#include "core/base/error.h"
#include "plugins/image-oci/library.h"
#include "plugins/image-oci/test_image.h"

namespace rauha::oci {
namespace {

using namespace test;

constexpr int kFiles = 60;

std::string layerTar(int number) {
  TarWriter tar;
  const std::string folder = "l" + std::to_string(number) + "/";
  tar.add({.name = folder, .type = '5'});
  for (int i = 0; i < kFiles; ++i)
    tar.add({.name = folder + std::to_string(i), .content = std::string(3000 + i, static_cast<char>('a' + i % 26))});
  return tar.finish();
}

Resolved resolveIn(ImageLibrary& library, const std::string& reference, const std::string& path, const std::string& lease) {
  const UniqueFd dir = openDir(path);
  Request request;
  request.reference = reference;
  request.sourceFd = dir.get();
  request.lease = lease;
  return library.resolve(request, {});
}

void expectWhole(const Resolved& image) {
  int number = 0;
  for (const ResolvedLayer& layer : image.layers) {
    const std::string folder = layer.path + "/l" + std::to_string(number++) + "/";
    for (int i = 0; i < kFiles; ++i) EXPECT_EQ(look(folder + std::to_string(i)).st_size, 3000 + i) << folder << i;
  }
}

size_t countIn(const std::string& path) { return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path), {})); }

TEST(Crash, KilledAtAnyPoint) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: owners, whiteouts and trusted xattrs";
  TempDir temp(exists("/dev/shm") ? "/dev/shm" : "/tmp");  // in memory: more kills in the same time
  std::filesystem::create_directory(temp / "state");
  const std::string store = temp / "state/plugins/image-oci", path = temp / "image", reference = "oci:" + path;
  TestImage({{layerTar(0)}, {layerTar(1)}, {layerTar(2)}}).writeLayout(path);
  int killed = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {  // resolve and remove again and again, so that a kill meets every step
      try {
        for (;;) {
          ImageLibrary library(store, {});
          resolveIn(library, reference, path, "zone_child");
          library.release("zone_child");
          library.remove(reference);
        }
      } catch (const std::exception& e) {
        fprintf(stderr, "child: %s\n", e.what());
        _exit(1);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(round * 7919 % 60'000));  // the moment of the kill, not a wait for something
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself";
    ++killed;
    ImageLibrary library(store, {});
    library.reconcile({});
    for (const char* part : {"tmp", "leases", "locks"}) EXPECT_EQ(countIn(store + "/" + part), 0u) << part;
    expectWhole(resolveIn(library, reference, path, ""));
    if (round % 2 == 0) library.remove(reference);
  }
  EXPECT_EQ(killed, 40);
}

// In a child with a mount namespace of its own: a small file system that fills up at every point in turn.
int fullDisk(const std::string& mountPoint, const std::string& path, const std::string& reference) {
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 10;
  int full = 0;
  for (int kilobytes = 8; kilobytes <= 1024; kilobytes += 24) {
    const std::string options = "size=" + std::to_string(kilobytes) + "k,nr_inodes=2000";
    if (mount("rauha-test", mountPoint.c_str(), "tmpfs", 0, options.c_str()) != 0) return 11;
    const std::string store = mountPoint + "/plugins/image-oci";
    ImageLibrary library(store, {});
    try {
      const Resolved image = resolveIn(library, reference, path, "zone_x");
      expectWhole(image);
    } catch (const Error& e) {
      if (e.code() != Code::limit || e.text().find("disk is full") == std::string::npos) {
        fprintf(stderr, "%d KiB: %s\n", kilobytes, e.what());
        return 12;
      }
      ++full;
      if (countIn(store + "/leases") != 0 || countIn(store + "/images") != 0 || countIn(store + "/tmp") != 0) {
        fprintf(stderr, "%d KiB: something is left after: %s\n", kilobytes, e.what());
        return 13;
      }
      library.reconcile({});
      if (countIn(store + "/layers") != 0 || countIn(store + "/blobs/sha256") != 0) return 14;
    }
    if (umount2(mountPoint.c_str(), MNT_DETACH) != 0) return 15;
  }
  if (::testing::Test::HasFailure()) return 16;
  return full >= 10 ? 0 : 17;
}

TEST(Crash, DiskFullAtAnyPoint) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: a mount namespace";
  TempDir temp;
  const std::string path = temp / "image", mountPoint = temp / "disk";
  std::filesystem::create_directory(mountPoint);
  TestImage({{layerTar(0)}, {layerTar(1)}}).writeLayout(path);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      _exit(fullDisk(mountPoint, path, "oci:" + path));
    } catch (const std::exception& e) {
      fprintf(stderr, "child: %s\n", e.what());
      _exit(20);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace rauha::oci
