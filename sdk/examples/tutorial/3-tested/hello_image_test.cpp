// The plugin against a host that is part of this test.
#include <rauha/testing/fake_host.hpp>

#include <cstdio>
#include <cstdlib>

namespace testing = rauha::testing;

static void expect(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}
#define EXPECT(condition) expect(condition, #condition)

int main() {
  testing::FakeHost host;
  const auto plugin = testing::Plugin::fromEntry(rauha_plugin_entry_v1);
  testing::Instance instance(host, plugin, "greeting = \"good day\"\n");
  const auto* images = instance.table<rauha_image_v1>(RAUHA_IMAGE_V1);

  rauha_image_request request{};
  request.struct_size = sizeof request;
  request.source_fd_borrow = -1;
  const auto resolve = [&](testing::FakeCall& call, testing::ImageCapture& got, std::string_view reference) {
    request.reference = rauha::sdk::str(reference);
    return images->resolve(instance.raw(), call.raw(), &request, got.raw());
  };

  {  // what it is for
    testing::FakeCall call(host);
    testing::ImageCapture got;
    EXPECT(resolve(call, got, "hello:world") == RAUHA_OK);
    EXPECT(got.images.size() == 1);
    EXPECT(got.images[0].mounts.back().source == "good day, world\n");
  }
  {  // what it refuses, and in which words
    testing::FakeCall call(host);
    testing::ImageCapture got;
    EXPECT(resolve(call, got, "hello:../world") == RAUHA_E_INVALID);
    EXPECT(call.text() == "image hello:../world is not hello:NAME");
    EXPECT(got.images.empty());
  }
  {  // a call that nobody waits for any more
    testing::FakeCall call(host);
    testing::ImageCapture got;
    call.cancel();
    EXPECT(resolve(call, got, "hello:world") == RAUHA_E_CANCELLED);
  }
  try {
    const testing::Instance other(host, plugin, "\ngreting = \"hi\"\n");
    EXPECT(!"a misspelt key was accepted");
  } catch (const testing::PluginError& e) {
    EXPECT(std::string(e.what()) == "configuration: line 2: unknown key 'greting'");
  }
  std::puts("all is well");
}
