#include "core/base/acl.h"

#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

#include <cstring>

namespace rauha {

bool isAcl(std::string_view attribute) noexcept {
  return attribute == "system.posix_acl_access" || attribute == "system.posix_acl_default";
}

bool translateAcl(std::string& value, const TranslateId& user, const TranslateId& group) {
  struct posix_acl_xattr_header header;
  struct posix_acl_xattr_entry entry;
  if (value.size() < sizeof header || (value.size() - sizeof header) % sizeof entry != 0) return false;
  std::memcpy(&header, value.data(), sizeof header);
  if (le32toh(header.a_version) != POSIX_ACL_XATTR_VERSION) return false;
  std::string out = value;
  for (size_t at = sizeof header; at < out.size(); at += sizeof entry) {
    std::memcpy(&entry, out.data() + at, sizeof entry);
    const uint16_t tag = le16toh(entry.e_tag);
    if (tag != ACL_USER && tag != ACL_GROUP) continue;
    uint32_t id = le32toh(entry.e_id);
    if (!(tag == ACL_USER ? user : group)(id)) return false;
    entry.e_id = htole32(id);
    std::memcpy(out.data() + at, &entry, sizeof entry);
  }
  value = std::move(out);
  return true;
}

}  // namespace rauha
