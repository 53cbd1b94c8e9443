#pragma once
// What is fuzzed: any bytes as a kept result, or as another message that is printed as JSON. Shared by the fuzzer and by the replay of its
// corpus in ordinary builds.

#include <string_view>

namespace rauha {

// The first byte says which type: 'r' TaskResult, 'z' ZoneInfo, 'i' ImageInfo, 'p' Policy, 'l' PluginInfo, 'd' DoctorReport, 'e' Event,
// 's' ServerInfo. The rest is a flat message. Aborts when what is printed is not one JSON document in UTF-8, or says another thing pretty
// than plain. true: it was printed; false: the message was refused.
bool fuzzResultJson(std::string_view bytes);

}  // namespace rauha
