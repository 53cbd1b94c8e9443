#include "plugins/image-oci/fuzz_targets.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/files.h"
#include "plugins/image-oci/layer_unpack.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/manifest.h"
#include "plugins/image-oci/reference.h"
#include "plugins/image-oci/registry/address.h"
#include "plugins/image-oci/registry/challenge.h"
#include "plugins/image-oci/registry/credentials.h"
#include "plugins/image-oci/registry/url_text.h"
#include "plugins/image-oci/source.h"
#include "plugins/image-oci/store_root.h"
#include "plugins/image-oci/test_directory.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci::fuzz {
namespace {

void must(bool truth) {
  if (!truth) std::abort();
}

// A refusal is a good answer if it says something in one line.
template <typename F>
bool accepted(F&& f) {
  try {
    f();
    return true;
  } catch (const Error& e) {
    must(!e.text().empty() && e.text().find('\n') == std::string::npos && isUtf8(e.text()) && isUtf8(e.hint()));
    must(e.code() != Code::none && e.code() != Code::internal);
    return false;
  }
}

// A source with one file for every name.
class OneFile final : public Files {
 public:
  explicit OneFile(std::string_view content) : content_(content) {}
  std::optional<OpenFile> open(const std::string& name) override {
    const std::string text = name == "manifest.json" ? content_ : R"({"os":"linux","rootfs":{"type":"layers","diff_ids":[]}})";
    return OpenFile{streamText(text), text.size()};
  }

 private:
  std::string content_;
};

// A place for layers that is made once for each process, with canaries around the root.
struct Playground {
  test::TempDir temp{access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"};
  Playground() {
    test::spill(temp / "canary", "canary");
    test::spill(temp / "outside/file", "outside");
  }
  void checkCanaries() const {
    must(test::slurp(temp / "canary") == "canary" && test::look(temp / "canary").st_nlink == 1 &&
         test::look(temp / "canary").st_uid == geteuid());
    must(test::slurp(temp / "outside/file") == "outside");
    must(std::distance(std::filesystem::directory_iterator(temp.path()), {}) == 2);
    must(std::distance(std::filesystem::directory_iterator(temp / "outside"), {}) == 1);
  }
};

Limits smallLimits() {
  Limits limits;
  limits.layerBytesMax = 4 << 20;
  limits.entriesMax = 300;
  limits.ratioFree = 1 << 20;
  return limits;
}

// What came out obeys the rules, whatever went in.
void checkTree(int root) {
  forEachDir(root, [](int fd, const struct stat& meta) {
    must(S_ISDIR(meta.st_mode) && meta.st_uid <= kIdMax && meta.st_gid <= kIdMax);
    for (const std::string& name : namesIn(fd, "")) {
      struct stat entry {};
      must(fstatat(fd, name.c_str(), &entry, AT_SYMLINK_NOFOLLOW) == 0);
      must(entry.st_uid <= kIdMax && entry.st_gid <= kIdMax && !S_ISBLK(entry.st_mode) && !S_ISSOCK(entry.st_mode));
      must(!S_ISCHR(entry.st_mode) || entry.st_rdev == makedev(0, 0));
      must(name.compare(0, 4, ".wh.") != 0);
    }
  });
}

}  // namespace

bool reference(std::string_view bytes) {
  return accepted([&] {
    const Reference r = parseReference(bytes);
    must(r.text == bytes);
    must(r.path.size() <= kPathMax && r.path.find('\0') == std::string::npos);
    must(r.needsSource() != r.path.empty());
    must(r.digest.empty() || isSha256(r.digest));
    if (r.kind == Reference::Kind::stored) {
      const Reference again = parseReference(r.name);
      must(again.name == r.name && again.domain == r.domain && again.repository == r.repository && again.digest == r.digest);
      must(!r.domain.empty() && !r.repository.empty());
      registryFault(r);
    }
    if (r.needsSource() && r.kind != Reference::Kind::dir) must(parseStoredName(nameFor(r)) == nameFor(r));
  });
}

bool headers(std::string_view bytes) {
  for (const Challenge& c : parseChallenges(bytes)) must(!c.scheme.empty() && c.realm.find('\n') == std::string::npos);
  parseRetryAfter(bytes, 0);
  if (const auto range = parseContentRange(bytes)) must(range->first < range->size);
  must(originOf(bytes).size() <= bytes.size() + 8 && urlEncoded(bytes).size() <= 3 * bytes.size());
  isLoopbackHost(bytes);
  return accepted([&] {
    if (const auto credentials = parseCredentials(bytes)) must(!credentials->registry.empty());
  });
}

bool document(std::string_view bytes) {
  if (bytes.empty()) return false;
  const std::string_view text = bytes.substr(1);
  return accepted([&] {
    if (bytes[0] == 'i') {
      const auto entries = parseIndex(text, "index");
      must(isSha256(chooseEntry(entries, "", false, hostPlatform(), "index").descriptor.digest));
    } else if (bytes[0] == 'm') {
      const Manifest m = parseManifest(text, "manifest");
      must(isSha256(m.config.digest) && m.layers.size() <= kLayersMax);
      for (const Descriptor& d : m.layers) must(isSha256(d.digest));
    } else if (bytes[0] == 'c') {
      for (const std::string& d : parseConfig(text, "configuration").diffIds) must(isSha256(d));
    } else {
      Reference r;
      r.kind = Reference::Kind::dockerArchive;
      must(isSha256(dockerArchiveSource(std::make_unique<OneFile>(text), r)->find().digest));
    }
  });
}

bool layer(std::string_view bytes) {
  static const Playground playground;  // one for the process: making it costs more than an input
  const UniqueFd base = test::openDir(playground.temp.path());
  const Limits limits = smallLimits();
  const UniqueFd root = makeDir(base.get(), "root", "root");
  const bool good = accepted([&] {
    DigestStream tar(decompress(streamText(std::string(bytes)), "layer"), limits.layerBytesMax + (2 << 20), "layer");
    unpackLayer(tar, root.get(), limits, {}, "layer");
    tar.finish();
  });
  checkTree(root.get());
  removeTree(base.get(), "root");
  playground.checkCanaries();
  return good;
}

bool archive(std::string_view bytes) {
  static const test::TempDir temp(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  static const StoreRoot store(temp / "plugins/image-oci");
  const UniqueFd file(memfd_create("archive", MFD_CLOEXEC));
  must(file && write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const Watch watch;
  bool any = false;
  for (const Reference::Kind kind : {Reference::Kind::ociArchive, Reference::Kind::dockerArchive}) {
    Reference r;
    r.kind = kind;
    r.path = "x";
    any |= accepted([&] {
      auto files = tarFiles(file.get(), store, 4 << 20, watch, "archive");
      const auto source = kind == Reference::Kind::ociArchive ? ociSource(std::move(files), r) : dockerArchiveSource(std::move(files), r);
      const Descriptor found = source->find();
      must(isSha256(found.digest));
      const Manifest manifest = parseManifest(source->document(found, "manifest"), "manifest");
      const std::string config = source->document(manifest.config, "configuration");
      must(sha256(config) == manifest.config.digest);
      for (const Descriptor& d : manifest.layers) drain(*source->layer(d).stream, bytes.size(), "layer");
    });
  }
  return any;
}

}  // namespace rauha::oci::fuzz
