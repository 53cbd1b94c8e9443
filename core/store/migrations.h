#pragma once
// The shape of the store's file, as the steps that lead to it. Step n takes a file of version n to n+1; PRAGMA user_version is the version.
// A step that was released is never changed: a file that took it would not get the change.

#include <span>

#include "core/store/database.h"

namespace rauha::store {

// Marks a file as ours (PRAGMA application_id): "Rauh".
inline constexpr int64_t kApplicationId = 0x52617568;

std::span<const char* const> migrations() noexcept;

// Only reads. Refused: a newer version (unsupported), a file of something else (corrupt).
void checkVersion(Database& database, std::span<const char* const> steps);

// checkVersion, then takes the file to the last version, each step in a transaction of its own.
void migrate(Database& database, std::span<const char* const> steps);

}  // namespace rauha::store
