// An image plugin by the C++ wrapper that keeps the contract; the reference says what it does.
#include <fcntl.h>
#include <unistd.h>
#include <rauha/plugin.hpp>

#include <set>

namespace {

using rauha::sdk::Call;
using rauha::sdk::Error;
using rauha::sdk::str;
using rauha::sdk::view;

class GoodImages {
 public:
  GoodImages(rauha::sdk::Host, std::string_view) {}

  void resolve(Call&, const rauha_image_request& request, const rauha_image_sink& sink) {
    const std::string reference(view(request.reference));
    if (reference == "missing") throw Error(RAUHA_E_NOT_FOUND, "image missing is not in the store", "import it");
    push(sink, reference, reference == "host");
  }
  void release(Call&, std::string_view) {}
  void list(Call&, const rauha_image_request&, const rauha_image_sink& sink) {
    push(sink, "first", false);
    push(sink, "second", true);
  }
  void inspect(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) { resolve(call, request, sink); }
  void remove(Call&, const rauha_image_request& request) {
    if (view(request.reference) == "used") throw Error(RAUHA_E_BUSY, "image used is in use by zone_x");
  }
  void importImage(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    if (request.source_fd_borrow < 0) throw Error(RAUHA_E_INVALID, "no source was given");
    resolve(call, request, sink);
  }
  void reconcile(Call&, const std::vector<std::string_view>& leases) {
    if (leases.size() != 2) throw Error(RAUHA_E_INVALID, "expected 2 leases, got " + std::to_string(leases.size()));
  }

 private:
  static void push(const rauha_image_sink& sink, std::string_view reference, bool assembled) {
    static const std::string digest = "sha256:" + std::string(64, 'a');
    rauha_image_info info{};
    info.struct_size = sizeof info;
    info.reference = str(reference);
    if (!assembled) info.digest = str(digest);
    info.source = str(assembled ? "host" : "oci");
    info.config_json = str("{\"architecture\":\"amd64\"}");
    info.size = 77;
    sink.info(sink.context, &info);
    if (assembled) {
      mount(sink, RAUHA_MOUNT_BIND, RAUHA_MOUNT_OPTIONAL | RAUHA_MOUNT_EXEC, 0, "/usr", "/usr");
      mount(sink, RAUHA_MOUNT_SYMLINK, 0, 0, "usr/bin", "/bin");
      mount(sink, RAUHA_MOUNT_FILE, 0, 0, std::string_view("a\0b", 3), "/etc/hostname");
      mount(sink, RAUHA_MOUNT_DIRECTORY, 0, 01777, "", "/tmp");
      mount(sink, RAUHA_MOUNT_TMPFS, 0, 1 << 20, "", "/run");
      return;
    }
    layer(sink, "/store/layers/1", -1, RAUHA_LAYER_ID_ZONE, digest);
    const int here = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    layer(sink, "", here, RAUHA_LAYER_ID_OWNER, "");
    close(here);
  }
  static void layer(const rauha_image_sink& sink, std::string_view path, int fd, uint32_t mapping, std::string_view digest) {
    rauha_image_layer l{};
    l.struct_size = sizeof l;
    l.id_mapping = mapping;
    l.directory_fd_borrow = fd;
    l.path = str(path);
    l.digest = str(digest);
    l.media_type = str("application/vnd.oci.image.layer.v1.tar+gzip");
    l.size = 5;
    sink.layer(sink.context, &l);
  }
  static void mount(const rauha_image_sink& sink, uint32_t kind, uint32_t flags, uint64_t number, std::string_view source,
                    std::string_view target) {
    rauha_image_mount m{};
    m.struct_size = sizeof m;
    m.flags = flags;
    m.kind = kind;
    m.number = number;
    m.source = str(source);
    m.target = str(target);
    sink.mount(sink.context, &m);
  }
};

}  // namespace

RAUHA_IMAGE_PLUGIN(GoodImages, "good-image", "0.1", "Apache-2.0");
