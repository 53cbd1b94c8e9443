#pragma once
// POSIX access control lists as extended attributes (acl(5); <linux/posix_acl_xattr.h>): the ids in them need the same translation as
// owners. Pure; any thread.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace rauha {

bool isAcl(std::string_view attribute) noexcept;

// Rewrites the ids of named users and groups in place. False, with `value` as it was: it is no list that this version understands, or an
// id has no translation (the function answers false).
using TranslateId = std::function<bool(uint32_t& id)>;
bool translateAcl(std::string& value, const TranslateId& user, const TranslateId& group);

}  // namespace rauha
