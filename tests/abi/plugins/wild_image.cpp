// An image plugin that does what its reference says, for the tests of a process of its own: crashes, hangs, floods, answers that reach
// outside, and attempts ("try:NAME": the errno of the attempt is the answer's size, 0 when it worked).
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>
#include <rauha/plugin.hpp>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace {

using rauha::sdk::Call;
using rauha::sdk::Error;
using rauha::sdk::str;
using rauha::sdk::view;

int errnoOf(long result) { return result < 0 ? errno : 0; }

int closing(int fd) {
  const int error = errnoOf(fd);
  if (fd >= 0) close(fd);
  return error;
}

// The call came as far as its arguments, which are wrong on purpose.
int letThrough(long result, int complaint) {
  const int error = errnoOf(result);
  return error == complaint ? 0 : error;
}

int connectTo(int family, uint16_t port = 1) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(port);
  const int error = errnoOf(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to));
  close(fd);
  return port == 1 && error == ECONNREFUSED ? 0 : error;  // it was reached
}

class WildImages {
 public:
  WildImages(rauha::sdk::Host host, std::string_view config) : host_(host), store_(std::string(host.stateDir()) + "/plugins/wild-image") {
    if (config.find("die = true") != std::string_view::npos) abort();
    if (config.find("refuse = true") != std::string_view::npos) throw Error(RAUHA_E_INVALID, "the configuration says refuse");
    if (config.find("sleep = true") != std::string_view::npos) sleep(1000);
  }

  void resolve(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    std::string what(view(request.reference));
    if (what.rfind("wild:", 0) == 0) what.erase(0, 5);  // asked by its scheme, through a daemon
    if (what.rfind("try:", 0) == 0) return answer(sink, what, static_cast<uint64_t>(attempt(what.substr(4), request.source_fd_borrow)));
    misbehave(what, call);
    if (what == "bind_outside" || what == "bind_climbs") {
      answer(sink, what, 0);
      return mount(sink, what == "bind_outside" ? "/etc/shadow" : "/usr/../etc/shadow");
    }
    if (what == "bind_usr") {
      answer(sink, what, 0);
      return mount(sink, "/usr");
    }
    answer(sink, what, 0);
    mkdir((store_ + "/layer").c_str(), 0755);
    if (what == "outside") return layer(sink, "/etc", -1);
    if (what == "climbs") return layer(sink, store_ + "/../../../", -1);
    if (what == "link") {
      if (symlink("/etc", (store_ + "/link").c_str()) != 0 && errno != EEXIST) throw Error(RAUHA_E_IO, "symlink");
      return layer(sink, store_ + "/link", -1);
    }
    if (what == "own_descriptor") {
      const int fd = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
      layer(sink, "", fd);
      close(fd);
      return;
    }
    if (what == "source") return layer(sink, "", request.source_fd_borrow);
    if (what == "many")
      for (int i = 0; i < 129; ++i) layer(sink, store_ + "/layer", -1);
    else
      layer(sink, store_ + "/layer", -1);
  }
  void inspect(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) { resolve(call, request, sink); }
  void importImage(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) { resolve(call, request, sink); }
  void release(Call&, std::string_view) {}
  void list(Call&, const rauha_image_request&, const rauha_image_sink& sink) {
    for (const auto& lease : leases_) answer(sink, "lease:" + lease, 0);
  }
  void remove(Call&, const rauha_image_request&) { throw Error(1234, "a status of its own"); }
  void reconcile(Call&, const std::vector<std::string_view>& leases) { leases_.assign(leases.begin(), leases.end()); }

 private:
  void misbehave(const std::string& what, Call& call) {
    if (what == "segv") {
      signal(SIGSEGV, SIG_DFL);  // sanitizers have a handler of their own
      raise(SIGSEGV);
    }
    if (what == "abort") abort();
    if (what == "exit") _exit(3);
    if (what == "hang") {
      close(open((store_ + "/hanging").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
      call.progress("hanging", 1, 1);
      for (;;) sleep(1000);
    }
    if (what == "patient") {
      call.progress("waiting", 1, 2);
      while (!call.cancelled()) usleep(1000);
      throw Error(RAUHA_E_CANCELLED, "gave up when told");
    }
    if (what == "log_flood")
      for (int i = 0; i < 5000; ++i) host_.log(RAUHA_LOG_INFO, "line " + std::to_string(i));
    if (what == "event_flood") {
      rauha_event event{};
      event.struct_size = sizeof event;
      event.name = str("wild.event");
      for (int i = 0; i < 5000; ++i) host_.raw()->emit(host_.raw()->context, &event);
    }
    if (what.rfind("socket_", 0) == 0) abuseTheSocket(what.substr(7));
    if (what == "memory") {
      std::vector<std::string> kept;
      for (;;) kept.emplace_back(16 << 20, 'x');
    }
  }

  // Past our own host library: the connection to the daemon is in this process, and so it is the plugin's to abuse.
  static void abuseTheSocket(const std::string& how) {
    constexpr int kSocket = 3;
    if (how == "closed") {
      shutdown(kSocket, SHUT_RDWR);
      close(kSocket);
      for (;;) sleep(1000);
    }
    if (how == "garbage") {
      const std::string garbage(1 << 20, '\xa5');
      if (write(kSocket, garbage.data(), garbage.size()) < 0) _exit(4);
      for (;;) sleep(1000);
    }
    // A whole message of one null word, and as many descriptors as the kernel takes with it.
    const uint32_t message[] = {0, 1, 0, 0};
    iovec bytes{const_cast<uint32_t*>(message), sizeof message};
    std::vector<char> control(CMSG_SPACE(250 * sizeof(int)));
    msghdr out{};
    out.msg_iov = &bytes;
    out.msg_iovlen = 1;
    out.msg_control = control.data();
    out.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&out);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(250 * sizeof(int));
    const std::vector<int> same(250, 0);
    memcpy(CMSG_DATA(header), same.data(), same.size() * sizeof(int));
    for (int i = 0; i < 200; ++i)
      if (sendmsg(kSocket, &out, MSG_NOSIGNAL) < 0) return;
  }

  // The descriptor by which this very file is known.
  static int ownFile() {
    Dl_info info{};  // it was linked as /proc/self/fd/N
    if (dladdr(reinterpret_cast<void*>(&ownFile), &info) == 0) return -1;
    return std::stoi(std::string(info.dli_fname).substr(strlen("/proc/self/fd/")));
  }
  static int sameMode(int fd) {
    struct stat st {};
    if (fstat(fd, &st) != 0) return errno;
    return errnoOf(fchmod(fd, st.st_mode & 07777));
  }
  static int leaseOn(int source) {
    const int fd = openat(source, "inside", O_RDONLY | O_CLOEXEC);
    const int error = errnoOf(fcntl(fd, F_SETLEASE, F_RDLCK));
    if (fd >= 0) close(fd);
    return error;
  }
  static int sameLimit(pid_t pid) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return errno;
    return errnoOf(prlimit(pid, RLIMIT_NOFILE, &limit, nullptr));
  }
  static int sameAffinity(pid_t pid) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (sched_getaffinity(pid, sizeof cpus, &cpus) != 0) return errno;
    return errnoOf(sched_setaffinity(pid, sizeof cpus, &cpus));
  }
  static int pairOf(int type) {
    int pair[2];
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    close(pair[0]);
    close(pair[1]);
    return 0;
  }
  // EINVAL as long as there is another thread: in the control, the one that ran create() may still be ending.
  static int newUserNamespace() {
    int error = EINVAL;
    for (int i = 0; i < 1000 && error == EINVAL; ++i) {
      error = errnoOf(unshare(CLONE_NEWUSER));
      if (error == EINVAL) usleep(10'000);
    }
    return error;
  }
  static int sharedMemory() {
    void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return errno;
    munmap(at, 4096);
    return 0;
  }

  int attempt(const std::string& what, int source) const {
    const std::string device = store_ + "/device";
    const std::map<std::string, std::function<int()>> attempts{
        {"read_shadow", [] { return closing(open("/etc/shadow", O_RDONLY | O_CLOEXEC)); }},
        {"write_shadow", [] { return closing(open("/etc/shadow", O_WRONLY | O_CLOEXEC)); }},
        {"write_passwd", [] { return closing(open("/etc/passwd", O_WRONLY | O_CLOEXEC)); }},
        {"chmod_usr", [] { return errnoOf(chmod("/usr", 0755)); }},
        {"chown_usr", [] { return errnoOf(chown("/usr", 0, 0)); }},
        {"write_store", [&] { return closing(open((store_ + "/file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); }},
        {"chown_store", [&] { return errnoOf(lchown((store_ + "/file").c_str(), 1000, 1000)); }},
        {"device",
         [&] {
           return mknod(device.c_str(), S_IFCHR | 0600, makedev(1, 3)) != 0 && errno != EEXIST
                      ? -1
                      : closing(open(device.c_str(), O_RDONLY | O_CLOEXEC));
         }},
        {"mount", [] { return letThrough(::mount("none", "/nowhere", "tmpfs", 0, nullptr), ENOENT); }},
        {"userns", [] { return newUserNamespace(); }},
        {"netns", [] { return errnoOf(unshare(CLONE_NEWNET)); }},
        {"fork",
         [] {
           const int pid = static_cast<int>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
           if (pid == 0) _exit(0);
           return errnoOf(pid);
         }},
        {"execve",
         [] {
           char name[] = "/nowhere";
           char* argv[] = {name, nullptr};
           return letThrough(execv(name, argv), ENOENT);
         }},
        {"ptrace", [] { return errnoOf(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }},
        {"inet", [] { return connectTo(AF_INET); }},
        {"netlink", [] { return closing(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)); }},
        {"unix", [] { return closing(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }},
        {"chmod_null", [] { return errnoOf(chmod("/dev/null", 0666)); }},
        {"chmod_stdin", [] { return sameMode(0); }},
        {"chmod_self", [] { return sameMode(ownFile()); }},
        {"write_self", [] { return closing(open(("/proc/self/fd/" + std::to_string(ownFile())).c_str(), O_WRONLY | O_CLOEXEC)); }},
        {"write_null", [] { return errnoOf(write(open("/dev/null", O_WRONLY | O_CLOEXEC), "x", 1)); }},
        {"stream_pair", [] { return pairOf(SOCK_STREAM); }},
        {"datagram_pair", [] { return pairOf(SOCK_DGRAM); }},
        {"private_memory", [] { return std::string(1 << 20, 'x').size() == 1 << 20 ? 0 : ENOMEM; }},
        {"shared_memory", [] { return sharedMemory(); }},
        {"memfd", [] { return closing(static_cast<int>(syscall(SYS_memfd_create, "m", 0))); }},
        {"zero", [] { return closing(open("/dev/zero", O_RDWR | O_CLOEXEC)); }},
        {"inotify", [] { return closing(static_cast<int>(syscall(SYS_inotify_init1, 0))); }},
        {"lease", [&] { return leaseOn(source); }},
        {"own_limit", [] { return sameLimit(0); }},
        {"limit_of_supervisor", [] { return sameLimit(getppid()); }},
        {"affinity_of_supervisor", [] { return sameAffinity(getppid()); }},
        {"bpf", [] { return letThrough(syscall(SYS_bpf, 9999, nullptr, 0), EINVAL); }},
        {"keyctl", [] { return errnoOf(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1)); }},
        {"io_uring", [] { return letThrough(syscall(SYS_io_uring_setup, 0, nullptr), EFAULT); }},
        {"perf", [] { return letThrough(syscall(SYS_perf_event_open, nullptr, 0, 0, 0, 0), EFAULT); }},
        {"handle", [] { return letThrough(syscall(SYS_open_by_handle_at, AT_FDCWD, nullptr, 0), EFAULT); }},
        {"climb_source", [&] { return closing(openat(source, "../outside", O_RDONLY | O_CLOEXEC)); }},
        {"read_source", [&] { return closing(openat(source, "inside", O_RDONLY | O_CLOEXEC)); }},
        {"write_source", [&] { return closing(openat(source, "inside", O_WRONLY | O_CLOEXEC)); }},
        {"chmod_source", [&] { return errnoOf(fchmod(source, 0755)); }},
    };
    if (what.rfind("environment_of ", 0) == 0)
      return closing(open(("/proc/" + what.substr(15) + "/environ").c_str(), O_RDONLY | O_CLOEXEC));
    if (what.rfind("connect ", 0) == 0) return connectTo(AF_INET, static_cast<uint16_t>(std::stoi(what.substr(8))));
    if (what.rfind("signal ", 0) == 0) return errnoOf(kill(std::stoi(what.substr(7)), 0));
    const auto it = attempts.find(what);
    if (it == attempts.end()) throw Error(RAUHA_E_INVALID, "no attempt is called " + what);
    errno = 0;
    return it->second();
  }

  static void answer(const rauha_image_sink& sink, const std::string& reference, uint64_t size) {
    rauha_image_info info{};
    info.struct_size = sizeof info;
    info.reference = str(reference);
    info.source = str("wild");
    info.size = size;
    sink.info(sink.context, &info);
  }
  static void layer(const rauha_image_sink& sink, const std::string& path, int fd) {
    rauha_image_layer l{};
    l.struct_size = sizeof l;
    l.id_mapping = RAUHA_LAYER_ID_ZONE;
    l.directory_fd_borrow = fd;
    l.path = str(path);
    sink.layer(sink.context, &l);
  }
  static void mount(const rauha_image_sink& sink, const char* source) {
    rauha_image_mount m{};
    m.struct_size = sizeof m;
    m.kind = RAUHA_MOUNT_BIND;
    m.source = str(source);
    m.target = str("/seen");
    sink.mount(sink.context, &m);
  }

  rauha::sdk::Host host_;
  const std::string store_;
  std::vector<std::string> leases_;
};

}  // namespace

RAUHA_IMAGE_PLUGIN(WildImages, "wild-image", "0.1", "Apache-2.0");
