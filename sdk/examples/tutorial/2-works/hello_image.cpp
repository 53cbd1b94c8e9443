// hello-image: "hello:NAME" is the machine's own programs, read-only, and a file /etc/greeting that greets NAME.
#include <rauha/config.hpp>
#include <rauha/plugin.hpp>

namespace {

namespace sdk = rauha::sdk;
using sdk::Call;
using sdk::Error;

constexpr std::string_view kScheme = "hello:";

std::string greetingOf(std::string_view text) {
  sdk::Config config(text);
  std::string greeting = config.text("greeting", "hello");
  if (greeting.empty() || greeting.size() > 200) config.refuse("greeting", "greeting has 1 to 200 bytes");
  config.refuseUnknown();
  return greeting;
}

class HelloImage {
 public:
  HelloImage(sdk::Host, std::string_view config) : greeting_(greetingOf(config)) {}

  void resolve(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    refuseUnknown(request);
    call.check();
    const std::string_view reference = sdk::view(request.reference);
    const std::string text = greeting_ + ", " + nameIn(reference) + "\n";

    rauha_image_info info{};
    info.struct_size = sizeof info;
    info.reference = sdk::str(reference);
    info.source = sdk::str("hello");
    sink.info(sink.context, &info);

    push(sink, RAUHA_MOUNT_BIND, "/usr", "/usr", RAUHA_MOUNT_EXEC);
    for (const auto& [target, link] : {std::pair{"/bin", "usr/bin"}, std::pair{"/lib", "usr/lib"}, std::pair{"/lib64", "usr/lib64"}})
      push(sink, RAUHA_MOUNT_SYMLINK, link, target);
    push(sink, RAUHA_MOUNT_DIRECTORY, {}, "/etc", 0, 0755);
    push(sink, RAUHA_MOUNT_FILE, text, "/etc/greeting");
  }

  // Looking costs no more than using: nothing is made ready in either case.
  void inspect(Call& call, const rauha_image_request& request, const rauha_image_sink& sink) { resolve(call, request, sink); }

  void list(Call&, const rauha_image_request& request, const rauha_image_sink&) { refuseUnknown(request); }  // it stores nothing
  void importImage(Call&, const rauha_image_request& request, const rauha_image_sink&) {
    refuseUnknown(request);
    throw Error(RAUHA_E_UNSUPPORTED, "image " + nameIn(sdk::view(request.reference)) + ": hello-image stores nothing", "use it as it is");
  }
  void remove(Call&, const rauha_image_request& request) {
    refuseUnknown(request);
    throw Error(RAUHA_E_NOT_FOUND, "image " + nameIn(sdk::view(request.reference)) + ": hello-image stores nothing",
                "there is nothing to remove");
  }
  void release(Call&, std::string_view) {}
  void reconcile(Call&, const std::vector<std::string_view>&) {}

 private:
  // A later Rauha may ask for something that did not exist when this was written: say no, instead of giving another image than was meant.
  static void refuseUnknown(const rauha_image_request& request) {
    sdk::refuseUnknownFlags(request.flags, 0, "image request");
    sdk::eachRecord(request.records, "image request", [](const rauha_record&) { return false; });
  }

  static std::string nameIn(std::string_view reference) {
    const bool ours = reference.starts_with(kScheme);
    const std::string name(ours ? reference.substr(kScheme.size()) : std::string_view());
    if (name.empty() || name.size() > 64 || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos)
      throw Error(RAUHA_E_INVALID, "image " + std::string(reference.substr(0, 100)) + " is not hello:NAME",
                  "NAME is made of a-z, 0-9 and '-', at most 64");
    return name;
  }

  static void push(const rauha_image_sink& sink, uint32_t kind, std::string_view source, std::string_view target, uint32_t flags = 0,
                   uint64_t number = 0) {
    rauha_image_mount mount{};
    mount.struct_size = sizeof mount;
    mount.flags = flags;
    mount.kind = kind;
    mount.number = number;
    mount.source = sdk::str(source);
    mount.target = sdk::str(target);
    sink.mount(sink.context, &mount);
  }

  const std::string greeting_;
};

}  // namespace

RAUHA_IMAGE_PLUGIN(HelloImage, "hello-image", "0.2", "Apache-2.0");
