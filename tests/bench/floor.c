// The floor: the least work that one run with the layers of a Rauha zone can be made of. No daemon, no configuration, no parsing, no
// record, no result, nobody who watches: one process, one child, the system calls that cannot be left out.
//
// Layers: user namespace with an id map of its own; pid, mount, uts, ipc, net and cgroup namespaces; a v2 group and, on hybrid machines, v1
// groups with limits; an overlay over an id-mapped lower layer; /proc, /sys, /dev, /dev/pts, /dev/shm, /tmp; pivot_root; capabilities down
// to a few; no_new_privs; Landlock; a real seccomp program. Not there, because a run is possible without: covers over files of /proc, a
// process 1 beside the task, captured output.
//
//   floor --rootfs DIR --group DIR [--v1 DIR FILE=VALUE…]… [--seccomp FILE] [--runs N] [--parallel N] [--stages] [-- COMMAND…]
//
// --group and --v1 name directories in which a group is made for each run. The seccomp program is a file of raw instructions. Prints with
// --stages the median of each stage in microseconds, else nothing. The status is the command's.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kMostV1 = 12, kMostLimits = 4, kMostInstructions = 4096, kIdBase = 1879048192, kIds = 65536 };
enum { kMsRecursive = 0x4000, kMsPrivate = 0x40000, kMsNoSuid = 2, kMsNoDev = 4, kDetach = 2 };
extern int mount(const char*, const char*, const char*, unsigned long, const void*);

enum { kBegin, kGroups, kClone, kChild, kMaps, kRoot, kKernel, kPivot, kConfine, kExit, kCleanUp, kStages };
static const char* const kNames[kStages] = {"",      "groups",  "clone3",          "child",   "id maps", "root", "proc sys dev",
                                            "pivot", "confine", "exec, run, exit", "clean up"};

struct V1 {
  const char* directory;
  const char* limits[kMostLimits];
  int limitCount;
};
static struct V1 v1[kMostV1];
static int v1Count, runs = 1, parallel = 1, stages;
static const char *rootfs, *group;
static char** command;
static struct sock_filter program[kMostInstructions];
static struct sock_fprog filter = {0, program};
static double* at;  // shared with the child

static _Noreturn void die(const char* what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  _exit(125);
}

static int check(long result, const char* what) {
  if (result < 0) die(what);
  return (int)result;
}
#define CHECK(call) check((long)(call), #call)

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void put(const char* file, const char* text) {
  int fd = CHECK(open(file, O_WRONLY | O_CLOEXEC));
  CHECK(write(fd, text, strlen(text)));
  close(fd);
}

// --- mounts

static int newMount(const char* type, const char* const* options, unsigned attributes) {
  int context = CHECK(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
  for (; options && options[0]; options += 2) CHECK(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, options[0], options[1], 0));
  CHECK(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0));
  int made = CHECK(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes));
  close(context);
  return made;
}

static void attach(int made, const char* place) {
  CHECK(syscall(SYS_move_mount, made, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH));
  close(made);
}

static const unsigned kInert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

static void makeDev(void) {
  const char* const options[] = {"size", "64k", "mode", "755", "uid", "1879048192", "gid", "1879048192", 0};
  static const struct {
    const char* name;
    unsigned major, minor;
  } nodes[] = {{"m/dev/null", 1, 3},   {"m/dev/zero", 1, 5},    {"m/dev/full", 1, 7},
               {"m/dev/random", 1, 8}, {"m/dev/urandom", 1, 9}, {"m/dev/tty", 5, 0}};
  attach(newMount("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), "m/dev");
  for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++) {
    CHECK(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
    CHECK(chown(nodes[i].name, kIdBase, kIdBase));
  }
  CHECK(symlink("/proc/self/fd", "m/dev/fd"));
  CHECK(symlink("pts/ptmx", "m/dev/ptmx"));
  CHECK(mkdir("m/dev/pts", 0755));
  CHECK(mkdir("m/dev/shm", 0755));
}

// In the child's mount namespace, with the credentials of the host: the child itself could not map ids of a layer or make device nodes.
static void buildRoot(int layer, int userns) {
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                                  .userns_fd = (uint64_t)userns};
  CHECK(syscall(SYS_mount_setattr, layer, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
  CHECK(mount(0, "/", 0, kMsRecursive | kMsPrivate, 0));
  attach(newMount("tmpfs", (const char* const[]){"mode", "755", 0}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "/sys");
  CHECK(chdir("/sys"));
  CHECK(mkdir("l", 0755));
  CHECK(mkdir("u", 0755));
  CHECK(chown("u", kIdBase, kIdBase));
  CHECK(mkdir("w", 0700));
  CHECK(mkdir("m", 0755));
  attach(layer, "l");
  CHECK(mount("overlay", "m", "overlay", kMsNoSuid | kMsNoDev, "lowerdir=l,upperdir=u,workdir=w"));
  makeDev();
}

static void mountKernel(void) {
  attach(newMount("proc", 0, kInert), "proc");
  attach(newMount("sysfs", 0, kInert | MOUNT_ATTR_RDONLY), "sys");
  attach(newMount("devpts", (const char* const[]){"ptmxmode", "0666", "mode", "0620", 0}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
         "dev/pts");
  attach(newMount("tmpfs", (const char* const[]){"size", "64m", "mode", "1777", 0}, kInert), "dev/shm");
  attach(newMount("tmpfs", (const char* const[]){"size", "64m", "mode", "1777", 0}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "tmp");
}

// --- confinement

static void allow(int ruleset, const char* path, uint64_t rights) {
  struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = CHECK(open(path, O_PATH | O_CLOEXEC))};
  CHECK(syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0));
  close(rule.parent_fd);
}

static void confine(void) {
  const uint64_t keep = 1 << CAP_CHOWN | 1 << CAP_DAC_OVERRIDE | 1 << CAP_FOWNER | 1 << CAP_SETGID | 1 << CAP_SETUID | 1 << CAP_KILL;
  for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
    if (!(keep >> cap & 1)) CHECK(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{(uint32_t)keep, (uint32_t)keep, (uint32_t)keep}, {0, 0, 0}};
  CHECK(syscall(SYS_capset, &header, data));
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  const uint64_t devices = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK, all = (LANDLOCK_ACCESS_FS_REFER << 1) - 1;
  struct landlock_ruleset_attr handled = {.handled_access_fs = all};
  int ruleset = CHECK(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
  allow(ruleset, "/", all & ~devices);
  allow(ruleset, "/dev", all & ~devices);
  CHECK(syscall(SYS_landlock_restrict_self, ruleset, 0));
  CHECK(syscall(SYS_close_range, 3, ~0u, 0));
  if (filter.len > 0) CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
}

static void bringUpLo(void) {
  int fd = CHECK(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct ifreq request = {.ifr_name = "lo", .ifr_ifru.ifru_flags = IFF_UP | IFF_RUNNING};
  CHECK(ioctl(fd, SIOCSIFFLAGS, &request));
  close(fd);
}

static void child(int control, const int* tasks) {
  at[kChild] = now();
  CHECK(prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0));
  for (int i = 0; i < v1Count; i++) CHECK(write(tasks[i], "0", 1));
  CHECK(unshare(CLONE_NEWCGROUP));
  CHECK(sethostname("floor", 5));
  bringUpLo();
  char byte;
  if (read(control, &byte, 1) != 1) _exit(125);
  CHECK(setresgid(0, 0, 0));
  CHECK(setresuid(0, 0, 0));
  CHECK(chdir("/sys/m"));
  mountKernel();
  at[kKernel] = now();
  CHECK(syscall(SYS_pivot_root, ".", "."));
  CHECK(syscall(SYS_umount2, ".", kDetach));
  CHECK(chdir("/"));
  at[kPivot] = now();
  confine();
  at[kConfine] = now();
  execve(command[0], command, (char*[]){"PATH=/bin", 0});
  die(command[0]);
}

// --- the parent

static void makeGroups(unsigned run, int* groupFd, int* tasks) {
  char path[600];
  snprintf(path, sizeof path, "%s/%u", group, run);
  CHECK(mkdir(path, 0755));
  *groupFd = CHECK(open(path, O_PATH | O_CLOEXEC | O_DIRECTORY));
  for (int i = 0; i < v1Count; i++) {
    snprintf(path, sizeof path, "%s/%u", v1[i].directory, run);
    CHECK(mkdir(path, 0755));
    for (int k = 0; k < v1[i].limitCount; k++) {
      const char* value = strchr(v1[i].limits[k], '=');
      snprintf(path, sizeof path, "%s/%u/%.*s", v1[i].directory, run, (int)(value - v1[i].limits[k]), v1[i].limits[k]);
      put(path, value + 1);
    }
    snprintf(path, sizeof path, "%s/%u/tasks", v1[i].directory, run);
    tasks[i] = CHECK(open(path, O_WRONLY | O_CLOEXEC));
  }
}

static void removeGroups(unsigned run) {
  char path[600];
  snprintf(path, sizeof path, "%s/%u", group, run);
  CHECK(rmdir(path));
  for (int i = 0; i < v1Count; i++) {
    snprintf(path, sizeof path, "%s/%u", v1[i].directory, run);
    CHECK(rmdir(path));
  }
}

static int mapIds(pid_t pid) {
  char path[64], map[64];
  snprintf(map, sizeof map, "0 %d %d\n", kIdBase, kIds);
  snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
  put(path, map);
  snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
  put(path, map);
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  return CHECK(open(path, O_RDONLY | O_CLOEXEC));
}

static int oneRun(unsigned run, int ownMounts) {
  int groupFd = -1, pidfd = -1, control[2], tasks[kMostV1];
  at[kBegin] = now();
  makeGroups(run, &groupFd, tasks);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control));
  at[kGroups] = now();
  struct clone_args arguments = {
      .flags = CLONE_PIDFD | CLONE_INTO_CGROUP | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
      .pidfd = (uint64_t)(uintptr_t)&pidfd,
      .exit_signal = SIGCHLD,
      .cgroup = (uint64_t)groupFd};
  pid_t pid = CHECK(syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid == 0) child(control[1], tasks);
  at[kClone] = now();
  int userns = mapIds(pid);
  at[kMaps] = now();
  int layer = CHECK(syscall(SYS_open_tree, AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  CHECK(setns(pidfd, CLONE_NEWNS));
  buildRoot(layer, userns);
  CHECK(setns(ownMounts, CLONE_NEWNS));
  at[kRoot] = now();
  CHECK(write(control[0], "g", 1));
  close(userns);
  close(groupFd);
  for (int i = 0; i < v1Count; i++) close(tasks[i]);
  struct pollfd ended = {.fd = pidfd, .events = POLLIN};
  CHECK(poll(&ended, 1, -1));
  siginfo_t how;
  CHECK(waitid(P_PIDFD, (id_t)pidfd, &how, WEXITED));
  close(pidfd);
  close(control[0]);
  close(control[1]);
  at[kExit] = now();
  removeGroups(run);
  at[kCleanUp] = now();
  return how.si_code == CLD_EXITED ? how.si_status : 128 + how.si_status;
}

static int byValue(const void* a, const void* b) {
  const double left = *(const double*)a, right = *(const double*)b;
  return (left > right) - (left < right);
}

// The parent and the child work at the same time: what each stage took is the distance to the one that it follows.
static int begunBy(int stage) { return stage == kChild ? kGroups : stage == kMaps ? kClone : stage - 1; }

static int worker(int number, int count) {
  int status = 0, ownMounts = CHECK(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  double* spent = calloc((size_t)count * kStages, sizeof *spent);
  for (int run = 0; run < count; run++) {
    const int ended = oneRun((unsigned)getpid() * 1000u + (unsigned)run, ownMounts);
    if (ended != 0) status = ended;
    for (int s = 1; s < kStages; s++) spent[s * count + run] = at[s] - at[begunBy(s)];
    spent[run] = at[kCleanUp] - at[kBegin];
  }
  if (stages && number == 0) {
    for (int s = 0; s < kStages; s++) {
      qsort(spent + s * count, (size_t)count, sizeof *spent, byValue);
      printf("%s\t%.1f\n", s == 0 ? "all" : kNames[s], spent[s * count + count / 2]);
    }
  }
  free(spent);
  return status;
}

static void readProgram(const char* file) {
  int fd = CHECK(open(file, O_RDONLY | O_CLOEXEC));
  const int bytes = CHECK(read(fd, program, sizeof program));
  filter.len = (unsigned short)((size_t)bytes / sizeof *program);
  close(fd);
}

static int parse(int count, char** words) {
  int i = 1;
  for (; i < count && strcmp(words[i], "--") != 0; i++) {
    if (strcmp(words[i], "--stages") == 0) {
      stages = 1;
      continue;
    }
    if (strchr(words[i], '=') && v1Count > 0) {
      struct V1* last = &v1[v1Count - 1];
      if (last->limitCount == kMostLimits) return -1;
      last->limits[last->limitCount++] = words[i];
      continue;
    }
    if (i + 1 == count) return -1;
    char* value = words[i + 1];
    if (strcmp(words[i], "--rootfs") == 0)
      rootfs = value;
    else if (strcmp(words[i], "--group") == 0)
      group = value;
    else if (strcmp(words[i], "--runs") == 0)
      runs = atoi(value);
    else if (strcmp(words[i], "--parallel") == 0)
      parallel = atoi(value);
    else if (strcmp(words[i], "--seccomp") == 0)
      readProgram(value);
    else if (strcmp(words[i], "--v1") == 0 && v1Count < kMostV1)
      v1[v1Count++].directory = value;
    else
      return -1;
    i++;
  }
  static char* otherwise[] = {"/bin/true", 0};
  command = i + 1 < count ? words + i + 1 : otherwise;
  return rootfs && group && runs > 0 && parallel > 0 ? 0 : -1;
}

int main(int count, char** words) {
  if (parse(count, words) != 0) {
    fprintf(
        stderr,
        "usage: floor --rootfs DIR --group DIR [--v1 DIR FILE=VALUE...]... [--seccomp FILE] [--runs N] [--parallel N] [--stages] [-- COMMAND...]\n");
    return 2;
  }
  umask(0);
  if (parallel == 1) return worker(0, runs);
  for (int i = 0; i < parallel; i++) {
    const pid_t pid = CHECK(fork());
    if (pid == 0) _exit(worker(i, runs / parallel + (i < runs % parallel)));
  }
  int status = 0, how;
  while (wait(&how) > 0)
    if (how != 0) status = WIFEXITED(how) ? WEXITSTATUS(how) : 125;
  return status;
}
