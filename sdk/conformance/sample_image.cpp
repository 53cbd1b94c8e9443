#include "sample_image.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

namespace rauha::conformance {
namespace {

constexpr int kFiles = 40;  // per layer: enough moments in which a plugin can be killed or cancelled
constexpr size_t kFileBytes = 20'000;

// FIPS 180-4. The kit has no dependencies, and speed does not matter here.
constexpr std::array<uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t turned(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

void compress(std::array<uint32_t, 8>& state, const unsigned char* block) {
  std::array<uint32_t, 64> w{};
  for (size_t i = 0; i < 16; ++i)
    w[i] = uint32_t{block[4 * i]} << 24 | uint32_t{block[4 * i + 1]} << 16 | uint32_t{block[4 * i + 2]} << 8 | block[4 * i + 3];
  for (size_t i = 16; i < 64; ++i)
    w[i] = w[i - 16] + (turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ (w[i - 15] >> 3)) + w[i - 7] +
           (turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ (w[i - 2] >> 10));
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t t1 = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const uint32_t t2 = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::array<uint32_t, 8> more = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += more[i];
}

// A ustar archive in memory.
class Tar final {
 public:
  void directory(const std::string& name) { entry(name + "/", '5', 0755, {}); }
  void file(const std::string& name, const std::string& content) { entry(name, '0', 0644, content); }
  std::string finish() { return bytes_ + std::string(1024, '\0'); }

 private:
  void entry(const std::string& name, char type, unsigned mode, const std::string& content) {
    char header[512] = {};
    std::snprintf(header, 100, "%s", name.c_str());
    std::snprintf(header + 100, 8, "%07o", mode);
    std::snprintf(header + 108, 8, "%07o", 0u);
    std::snprintf(header + 116, 8, "%07o", 0u);
    std::snprintf(header + 124, 12, "%011zo", content.size());
    std::snprintf(header + 136, 12, "%011o", 1'000'000'000u);
    std::memset(header + 148, ' ', 8);
    header[156] = type;
    constexpr char kMagic[8] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};
    std::copy(std::begin(kMagic), std::end(kMagic), header + 257);
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    std::snprintf(header + 148, 8, "%06o", sum);
    bytes_.append(header, sizeof header);
    bytes_ += content;
    bytes_.append((512 - content.size() % 512) % 512, '\0');
  }
  std::string bytes_;
};

std::string contentOf(int n) {
  std::string out;
  for (uint32_t x = static_cast<uint32_t>(n) + 1; out.size() < kFileBytes; x = x * 1664525 + 1013904223) out += static_cast<char>(x >> 24);
  return out;
}

std::string layerTar(int number) {
  Tar tar;
  const std::string top = "layer" + std::to_string(number);
  tar.directory(top);
  for (int i = 0; i < kFiles; ++i) tar.file(top + "/file" + std::to_string(i), contentOf(number * 1000 + i));
  return tar.finish();
}

struct Blobs {
  std::vector<std::string> layers, digests;
  std::string config, manifest, index;
};

#if defined(__x86_64__)
constexpr const char* kArchitecture = "amd64";
#elif defined(__aarch64__)
constexpr const char* kArchitecture = "arm64";
#elif defined(__riscv)
constexpr const char* kArchitecture = "riscv64";
#else
constexpr const char* kArchitecture = "unknown";
#endif

std::string descriptor(const char* type, const std::string& blob, const std::string& more = {}) {
  return std::string("{\"mediaType\":\"application/vnd.oci.image.") + type + "\",\"digest\":\"sha256:" + sha256Hex(blob) +
         "\",\"size\":" + std::to_string(blob.size()) + more + "}";
}

Blobs sample() {
  Blobs out;
  std::string diffIds, descriptors;
  for (int i = 0; i < 2; ++i) {
    out.layers.push_back(layerTar(i));
    diffIds += std::string(i == 0 ? "" : ",") + "\"sha256:" + sha256Hex(out.layers.back()) + "\"";
    descriptors += (i == 0 ? "" : ",") + descriptor("layer.v1.tar", out.layers.back());
  }
  out.config = std::string("{\"os\":\"linux\",\"architecture\":\"") + kArchitecture +
               "\",\"config\":{\"Cmd\":[\"/bin/sh\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" + diffIds + "]}}";
  out.manifest = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":" +
                 descriptor("config.v1+json", out.config) + ",\"layers\":[" + descriptors + "]}";
  out.index = "{\"schemaVersion\":2,\"manifests\":[" +
              descriptor("manifest.v1+json", out.manifest, ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"latest\"}") + "]}";
  return out;
}

void write(const std::string& path, const std::string& content) {
  std::ofstream out(path, std::ios::binary);
  out << content;
  out.close();
  if (!out) throw std::runtime_error("write " + path + ": " + std::strerror(errno));
}

// Name and content of each file of the layout.
std::vector<std::pair<std::string, std::string>> layoutFiles() {
  const Blobs blobs = sample();
  std::vector<std::pair<std::string, std::string>> out = {{"oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"},
                                                          {"index.json", blobs.index}};
  for (const std::string& blob : {blobs.layers[0], blobs.layers[1], blobs.config, blobs.manifest})
    out.emplace_back("blobs/sha256/" + sha256Hex(blob), blob);
  return out;
}

}  // namespace

std::string sha256Hex(const std::string& data) {
  std::array<uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::string padded = data + '\x80';
  while (padded.size() % 64 != 56) padded += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) padded += static_cast<char>(uint64_t{data.size()} * 8 >> shift);
  for (size_t at = 0; at < padded.size(); at += 64) compress(state, reinterpret_cast<const unsigned char*>(padded.data()) + at);
  std::string out;
  for (const uint32_t word : state) {
    char text[9];
    std::snprintf(text, sizeof text, "%08x", word);
    out += text;
  }
  return out;
}

void makeSampleDirectory(const std::string& path) {
  for (const char* folder : {"bin", "etc", "usr/lib"}) std::filesystem::create_directories(path + "/" + folder);
  write(path + "/etc/hostname", "sample\n");
  write(path + "/bin/program", "#!/bin/sh\n");
  for (int i = 0; i < kFiles; ++i) write(path + "/usr/lib/file" + std::to_string(i), contentOf(i));
}

void makeSampleOci(const std::string& path) {
  std::filesystem::create_directories(path + "/blobs/sha256");
  for (const auto& [name, content] : layoutFiles()) write(path + "/" + name, content);
}

void makeSampleOciArchive(const std::string& path) {
  Tar tar;
  for (const auto& [name, content] : layoutFiles()) tar.file(name, content);
  write(path, tar.finish());
}

void makeSampleDockerArchive(const std::string& path) {
  const Blobs blobs = sample();
  const std::string config = sha256Hex(blobs.config) + ".json";
  Tar tar;
  tar.file(config, blobs.config);
  tar.file("layer0.tar", blobs.layers[0]);
  tar.file("layer1.tar", blobs.layers[1]);
  tar.file("manifest.json",
           "[{\"Config\":\"" + config + "\",\"RepoTags\":[\"sample:latest\"],\"Layers\":[\"layer0.tar\",\"layer1.tar\"]}]");
  write(path, tar.finish());
}

}  // namespace rauha::conformance
